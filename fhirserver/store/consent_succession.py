"""What the Consents that are already there mean for one that is written: which it replaces, and which void it.

At most one base Consent of a person is active: a new one takes the place of the one before, whose versions stay, so
that what was decided by it can still be explained (IHE PCF, ITI-108). A grant that a restriction of the same person
voids is no grant: whoever makes it is told, if the restriction is theirs to know.

https://profiles.ihe.net/ITI/PCF/ITI-108.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from consent import engine
from consent.family import family_of, is_privacy
from consent.link import is_link, recipient_key
from consent.period import OPEN_START, interval, window
from consent.policy import Policy
from consent.reference import literal
from consent.request import Actor, Request, Scope
from fhirserver.errors import Conflict, Unprocessable

_DENIALS = frozenset({"blocked-professional", "consent-deny"})
_MOST_PAIRS = 50
_READS = (Scope("user", "*", frozenset("rs")),)
_LINK_READS = (Scope("patient", "*", frozenset("rs")),)


def is_active(consent: Mapping[str, Any], family: str, policy: Policy) -> bool:
    """Whether it is an active privacy Consent of the family."""
    return consent.get("status") == "active" and is_privacy(consent) and family_of(consent, policy) == family


def is_in_force(consent: Mapping[str, Any], now: datetime, policy: Policy) -> bool:
    """Whether the instant lies in the period of its root provision."""
    spent = window(consent.get("provision", {}).get("period"), policy.zone)
    return spent.start <= now < spent.until


def is_earlier(consent: Mapping[str, Any], other: Mapping[str, Any], now: datetime, policy: Policy) -> bool:
    """Whether a Consent was given before another one, or at the same time; none was given later than now.

    Which of two is older does not depend on the order in which they arrive.
    """
    return _given(consent, now, policy) <= _given(other, now, policy)


def _given(consent: Mapping[str, Any], now: datetime, policy: Policy) -> datetime:
    try:
        return min(interval(consent["dateTime"], policy.zone).start, now)
    except (KeyError, ValueError):
        return OPEN_START


def require_effect(
    grant: Mapping[str, Any],
    now: datetime,
    policy: Policy,
    facts_of: Callable[[str], Mapping[str, Any] | None],
    is_told: Callable[[str], bool],
) -> None:
    """Raise Conflict where a recipient of a grant is refused what it opens, by Consents that the writer may read.

    `facts_of` gives the facts of a resource as they will be, None where there is none; `is_told` says whether the
    writer may be told of a Consent, `Consent/id`. Recipients are taken as they are named, as professionals who act for
    nobody else; a link as one that the performer of the grant gives. Raises Unprocessable where it names too many
    recipients and resources for each to be looked at.
    """
    provision = grant.get("provision", {})
    instant = max(now, window(provision.get("period"), policy.zone).start)
    purpose = next((one.get("code", "") for one in provision.get("purpose", ())), "TREAT")
    opened_resources = _opened(provision, grant)
    if len(opened_resources) * len(provision.get("actor", ())) > _MOST_PAIRS:
        raise Unprocessable(
            f"A grant opens at most {_MOST_PAIRS} times: as many recipients, each of a resource.",
            expression="Consent.provision.actor",
        )
    opens = {one: facts for one in opened_resources if (facts := facts_of(one)) is not None}
    for index, actor in enumerate(provision.get("actor", ())):
        named = recipient_key(actor.get("reference")) or ""
        giver = next((literal(one) for one in grant.get("performer", ())), None)
        for opened, facts in opens.items():
            recipient = _link(named, giver, opened, facts) if is_link(named) else _professional(named)
            voiding = _voiding(recipient, facts, purpose, instant, policy)
            told = sorted(source for source in voiding if is_told(source))
            if told:
                who = "A link" if is_link(named) else named
                raise Conflict(
                    f"{who} is refused {opened} by {', '.join(told)}: lift or narrow that first.",
                    expression=f"Consent.provision.actor[{index}].reference",
                )


def _opened(provision: Mapping[str, Any], grant: Mapping[str, Any]) -> list[str]:
    """What a grant opens: the resources that it names, or the record of the patient."""
    instances = [data.get("reference") for data in provision.get("data", ()) if data.get("meaning") == "instance"]
    named = map(literal, instances or [grant.get("patient")])
    return list(dict.fromkeys(one for one in named if one is not None))


def _professional(named: str) -> Actor:
    organization = named if named.startswith("Organization/") else None
    return Actor("professional", named, organization=organization, keys=frozenset({named}), scopes=_READS)


def _link(named: str, giver: str | None, opened: str, facts: Mapping[str, Any]) -> Actor:
    patient = next((subject["patient"] for subject in facts["subjects"]), None)
    return Actor("link", named, scopes=_LINK_READS, launch_patient=patient, giver=giver, shared=opened)


def _voiding(actor: Actor, facts: Mapping[str, Any], purpose: str, instant: datetime, policy: Policy) -> list[str]:
    """The Consents by which somebody is refused a resource."""
    decision = engine.decide_apart(actor, Request("read", purpose, instant), facts, policy=policy)
    if decision.code not in _DENIALS:
        return []
    return [source.partition("/_history/")[0] for reason in decision.reasons for source in reason.sources]
