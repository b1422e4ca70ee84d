"""Why nothing permitted: the most telling reason, for the trail and for explanations. Decides nothing."""

from __future__ import annotations

from consent.condition import NOW, AllOf, AnyOf, AtMost, Condition, GreaterThan, In, Is, Not, Some
from consent.rules.rule import IN_FORCE, Question
from consent.rules.terms import CARE_KINDS, ORDINARY, base_permits, related

_NOT_IN_FORCE = Not(IN_FORCE)


def near_misses(question: Question) -> list[tuple[str, Condition]]:
    """Return the codes that may explain why one patient did not permit, the most telling first, over that subject."""
    if question.actor.kind == "representative":
        ended = AllOf(Is("kind", "representative"), Is("key", question.actor.reference), _NOT_IN_FORCE)
        return [("authority-ended", Some("relations", ended))]
    if question.actor.kind != "professional":
        return []
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
