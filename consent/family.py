"""Which family a Consent belongs to, and whether it speaks of sharing at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from consent.documents import Family
from consent.policy import DEFAULT, Policy

CONSENT_SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"


def family_of(consent: Mapping[str, Any], policy: Policy = DEFAULT) -> Family | None:
    """Return the family that the Consent's policy.uri sorts it into; None where none, or more than one, is named."""
    uris = {each.get("uri") for each in consent.get("policy", ())}
    families: list[tuple[Family, tuple[str, ...]]] = [
        ("base", policy.base),
        ("grant", policy.grant),
        ("restriction", policy.restriction),
        ("opposition", policy.opposition),
    ]
    named = [family for family, known in families if uris & set(known)]
    return named[0] if len(named) == 1 else None


def is_privacy(consent: Mapping[str, Any]) -> bool:
    """Say whether the consent scope is patient-privacy, the only one that speaks of sharing."""
    scope = consent.get("scope")
    if not isinstance(scope, Mapping):
        return False
    return any(
        coding.get("code") == "patient-privacy" and coding.get("system") in {CONSENT_SCOPE, None}
        for coding in scope.get("coding", ())
    )
