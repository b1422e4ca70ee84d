"""Structural bans: who and what never gets access, whatever a Consent says. Decided from the token alone."""

from __future__ import annotations

from collections.abc import Callable

from consent.policy import Policy
from consent.request import Actor

Ban = Callable[[Actor, str, Policy], bool]


def _is_inactive(actor: Actor, _purpose: str, _policy: Policy) -> bool:
    return not actor.is_active


def _is_payer(actor: Actor, purpose: str, policy: Policy) -> bool:
    return (
        purpose in policy.payer_purposes
        or actor.client_category == "payer"
        or bool(actor.organization_types & policy.payer_organizations)
    )


def _is_employer(actor: Actor, _purpose: str, policy: Policy) -> bool:
    return (
        actor.client_category == "employer"
        or bool(actor.organization_types & policy.employer_organizations)
        or bool(actor.specialties & policy.occupational_medicine)
    )


def _is_unknown_category(actor: Actor, _purpose: str, _policy: Policy) -> bool:
    return actor.client_category not in {"care", "operator", "auditor", "payer", "employer"}


def _is_no_health_profession(actor: Actor, _purpose: str, policy: Policy) -> bool:
    """Judge the professions stated in systems we know; with none stated, the policy says whether that is enough."""
    if actor.kind != "professional":
        return False
    stated = {code for code in actor.professions if code.rpartition("|")[0] in policy.profession_systems}
    if not stated:
        return policy.requires_stated_profession
    return not stated & policy.health_professions


def _is_outside_care(actor: Actor, _purpose: str, policy: Policy) -> bool:
    return actor.kind == "professional" and bool(actor.sectors) and not actor.sectors & policy.care_sectors


def _is_purpose_not_offered(_actor: Actor, purpose: str, policy: Policy) -> bool:
    return purpose not in policy.offered_purposes


BANS: tuple[tuple[str, Ban], ...] = (
    ("ban-inactive", _is_inactive),
    ("ban-payer", _is_payer),
    ("ban-employer", _is_employer),
    ("ban-app-category", _is_unknown_category),
    ("ban-profession", _is_no_health_profession),
    ("ban-sector", _is_outside_care),
    ("ban-purpose", _is_purpose_not_offered),
)
"""Every ban, in the order in which it gives its code."""


def banned(actor: Actor, purpose: str, policy: Policy) -> list[str]:
    """Return the codes of the bans that hold; none for who may go on."""
    return [code for code, holds in BANS if holds(actor, purpose, policy)]
