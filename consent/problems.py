"""What a Consent must state before it is stored: a text we could not enforce as the patient meant it is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from consent.family import family_of, is_privacy
from consent.policy import DEFAULT, Policy


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason to refuse a Consent at write: where, as a FHIRPath, and why, in a sentence."""

    expression: str
    message: str


def problems(consent: Mapping[str, Any], policy: Policy = DEFAULT) -> list[Problem]:
    """Return every reason to refuse the Consent; none for one that is not active, or whose scope is not
    patient-privacy.

    So a Consent can always be withdrawn, whatever is wrong with it.
    """
    if consent.get("status") != "active" or not is_privacy(consent):
        return []
    return [*_missing(consent, policy), *_provision_problems(consent, policy)]


def _missing(consent: Mapping[str, Any], policy: Policy) -> Iterator[Problem]:
    if not consent.get("patient"):
        yield Problem("Consent.patient", "A privacy Consent names its patient.")
    if not consent.get("performer"):
        yield Problem("Consent.performer", "A privacy Consent names who gave it: the patient or a representative.")
    if family_of(consent, policy) is None:
        known = ", ".join((*policy.base[:1], *policy.grant, *policy.restriction, *policy.opposition))
        yield Problem("Consent.policy.uri", f"Exactly one policy of this region must be named: {known}.")


def _provision_problems(consent: Mapping[str, Any], policy: Policy) -> Iterator[Problem]:
    root = consent.get("provision") or {}
    effect = root.get("type")
    if effect not in {"permit", "deny"}:
        yield Problem("Consent.provision.type", "The root provision says permit or deny.")
    yield from _nested_problems(root)
    match family_of(consent, policy), effect:
        case "grant", "deny":
            yield Problem("Consent.provision.type", "A Consent of the grant policy permits.")
        case ("restriction" | "opposition") as family, "permit":
            yield Problem("Consent.provision.type", f"A Consent of the {family} policy denies.")
        case _:
            pass
    if family_of(consent, policy) == "grant" and not root.get("actor"):
        yield Problem("Consent.provision.actor", "A grant names to whom the record is opened.")


def _nested_problems(root: Mapping[str, Any]) -> Iterator[Problem]:
    for index, nested in enumerate(root.get("provision", ())):
        path = f"Consent.provision.provision[{index}]"
        if nested.get("type") not in {"permit", "deny"}:
            yield Problem(f"{path}.type", "A nested provision says permit or deny.")
        if nested.get("provision"):
            yield Problem(f"{path}.provision", "Provisions nest one level deep, not further.")
