"""Why nothing permitted: the most telling reason, for the trail and for explanations. Decides nothing.

The person finds the reason in their trail; they are not told that an exam made somebody treating, for that exam may be
hidden from them.
"""

from __future__ import annotations

from dataclasses import dataclass

from consent.condition import NOW, AllOf, AnyOf, AtMost, Condition, GreaterThan, In, Is, Not, Some
from consent.eligibility import PURPOSE, is_eligible
from consent.rules.rule import IN_FORCE, Question
from consent.rules.terms import (
    CARE_KINDS,
    ORDINARY,
    base_permits,
    emergency_base,
    given_rightly,
    in_session,
    objecting,
)

_NOT_IN_FORCE = Not(IN_FORCE)


@dataclass(frozen=True, slots=True)
class Miss:
    """A code, the code that the person is told in its place, and the condition over the subject that shows it."""

    code: str
    told: str
    condition: Condition


def near_misses(question: Question) -> list[Miss]:
    """Return what may explain why one patient did not permit, the most telling first."""
    if question.actor.kind == "representative":
        ended = AllOf(Is("kind", "representative"), Is("key", question.actor.reference), _NOT_IN_FORCE)
        return [Miss("authority-ended", "authority-ended", Some("relations", ended))]
    if question.actor.kind == "link":
        return _of_link(question)
    if question.actor.kind != "professional":
        return []
    told = [*_in_emergency(question), *_of_relation(question, "declared")]
    over_grant = AllOf(
        Is("effect", "permit"),
        Is("family", "grant"),
        In("keys", question.names),
        AnyOf(AtMost("until", NOW), GreaterThan("from", NOW)),
    )
    return [
        *(Miss(code, code, condition) for code, condition in told),
        Miss("grant-expired", "grant-expired", Some("rulings", over_grant)),
        *(Miss(code, "no-relationship", condition) for code, condition in _of_relation(question, "treating")),
    ]


def _of_link(question: Question) -> list[Miss]:
    granted = AllOf(Is("effect", "permit"), Is("family", "grant"), Is("keys", question.actor.reference))
    over = Some("rulings", AllOf(granted, AnyOf(AtMost("until", NOW), GreaterThan("from", NOW))))
    ended = AllOf(Some("rulings", granted), Not(given_rightly(question)))
    return [Miss("grant-expired", "grant-expired", over), Miss("authority-ended", "authority-ended", ended)]


def _in_emergency(question: Question) -> list[tuple[str, Condition]]:
    if question.purpose != PURPOSE or not question.actor.emergencies:
        return []
    session = in_session(question)
    if not is_eligible(question.actor, question.policy):
        return [("btg-not-eligible", session)]
    permits = AllOf(session, emergency_base(question))
    return [
        ("btg-objection", AllOf(session, objecting(question))),
        ("matrix-refusal", AllOf(permits, Not(CARE_KINDS))),
        ("label-not-covered", AllOf(permits, Not(ORDINARY))),
        ("not-covered-by-consent", AllOf(session, Not(emergency_base(question)))),
    ]


def _of_relation(question: Question, kind: str) -> list[tuple[str, Condition]]:
    named = AllOf(Is("kind", kind), In("key", question.names))
    acting = In("organization", {None, question.actor.organization})
    known = Some("relations", AllOf(named, acting, IN_FORCE))
    may_read = AllOf(known, base_permits(question))
    return [
        ("matrix-refusal", AllOf(may_read, Not(CARE_KINDS))),
        ("label-not-covered", AllOf(may_read, Not(ORDINARY))),
        ("not-covered-by-consent", AllOf(known, Not(base_permits(question)))),
        ("acting-for-other-structure", Some("relations", AllOf(named, IN_FORCE, Not(acting)))),
        ("careteam-participation-expired", Some("relations", AllOf(named, acting, _NOT_IN_FORCE))),
    ]
