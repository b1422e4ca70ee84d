"""Why nothing permitted: the most telling reason, for the trail and for explanations. Decides nothing."""

from __future__ import annotations

from consent.condition import NOW, AllOf, AnyOf, AtMost, Condition, GreaterThan, In, Is, Not, Some
from consent.eligibility import PURPOSE, is_eligible
from consent.rules.rule import IN_FORCE, Question
from consent.rules.terms import CARE_KINDS, ORDINARY, base_permits, emergency_base, in_session, objecting, related

_NOT_IN_FORCE = Not(IN_FORCE)


def near_misses(question: Question) -> list[tuple[str, Condition]]:
    """Return the codes that may explain why one patient did not permit, the most telling first, over that subject."""
    if question.actor.kind == "representative":
        ended = AllOf(Is("kind", "representative"), Is("key", question.actor.reference), _NOT_IN_FORCE)
        return [("authority-ended", Some("relations", ended))]
    if question.actor.kind != "professional":
        return []
    return [*_in_emergency(question), *_of_professional(question)]


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


def _of_professional(question: Question) -> list[tuple[str, Condition]]:
    named = In("key", question.names)
    acting = In("organization", {None, question.actor.organization})
    professional = In("kind", {"declared", "treating"})
    over_grant = AllOf(
        Is("effect", "permit"),
        Is("family", "grant"),
        In("keys", question.names),
        AnyOf(AtMost("until", NOW), GreaterThan("from", NOW)),
    )
    may_read = AllOf(related(question), base_permits(question))
    return [
        ("matrix-refusal", AllOf(may_read, Not(CARE_KINDS))),
        ("label-not-covered", AllOf(may_read, Not(ORDINARY))),
        ("not-covered-by-consent", AllOf(related(question), Not(base_permits(question)))),
        ("acting-for-other-structure", Some("relations", AllOf(professional, named, IN_FORCE, Not(acting)))),
        ("careteam-participation-expired", Some("relations", AllOf(professional, named, acting, _NOT_IN_FORCE))),
        ("grant-expired", Some("rulings", over_grant)),
    ]
