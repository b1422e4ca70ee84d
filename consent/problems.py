"""What a Consent must state before it is stored: a text we could not enforce as the patient meant it is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from consent import pcf
from consent.family import family_of, is_privacy
from consent.policy import DEFAULT, Policy
from consent.problem import Problem
from consent.provision import is_recipient

__all__ = ["Problem", "problems"]


def problems(consent: Mapping[str, Any], policy: Policy = DEFAULT) -> list[Problem]:
    """Return every reason to refuse the Consent; none for one that is not active, or whose scope is not
    patient-privacy.

    So a Consent can always be withdrawn, whatever is wrong with it.
    """
    if consent.get("status") != "active" or not is_privacy(consent):
        return []
    return [*_missing(consent, policy), *_provision_problems(consent, policy), *pcf.problems(consent)]


def _missing(consent: Mapping[str, Any], policy: Policy) -> Iterator[Problem]:
    if not consent.get("patient"):
        yield Problem("Consent.patient", "A privacy Consent names its patient.")
    if not consent.get("performer"):
        yield Problem("Consent.performer", "A privacy Consent names who gave it: the patient or a representative.")
    if not consent.get("dateTime"):
        yield Problem(
            "Consent.dateTime", "A privacy Consent says when it was given: which of two counts may depend on it."
        )
    if "verification" in consent:
        yield Problem("Consent.verification", "A verification is not looked at: a Consent counts as it stands.")
    if family_of(consent, policy) is None:
        known = ", ".join((*policy.base[:1], *policy.grant, *policy.restriction, *policy.opposition))
        yield Problem("Consent.policy.uri", f"Exactly one policy of this region must be named: {known}.")


def _provision_problems(consent: Mapping[str, Any], policy: Policy) -> Iterator[Problem]:
    root = consent.get("provision") or {}
    effect = root.get("type")
    if effect not in {"permit", "deny"}:
        yield Problem("Consent.provision.type", "The root provision says permit or deny.")
    yield from _role_problems(root, "Consent.provision")
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


def _role_problems(provision: Mapping[str, Any], path: str) -> Iterator[Problem]:
    for index, actor in enumerate(provision.get("actor", ())):
        if not is_recipient(actor.get("role")):
            yield Problem(f"{path}.actor[{index}].role", "An actor is an information recipient: role IRCP.")


def _nested_problems(root: Mapping[str, Any]) -> Iterator[Problem]:
    for index, nested in enumerate(root.get("provision", ())):
        path = f"Consent.provision.provision[{index}]"
        if nested.get("type") not in {"permit", "deny"}:
            yield Problem(f"{path}.type", "A nested provision says permit or deny.")
        yield from _role_problems(nested, path)
        if nested.get("provision"):
            yield Problem(f"{path}.provision", "Provisions nest one level deep, not further.")
