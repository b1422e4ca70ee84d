"""Why nothing permitted: the most telling reason, for the trail and for explanations. Decides nothing."""

from __future__ import annotations

from consent.condition import NOW, AllOf, AnyOf, AtMost, Condition, GreaterThan, In, Is, Not, Some
from consent.rules.rule import IN_FORCE, Question
from consent.rules.terms import CARE_KINDS, base_permits, labels_are_ordinary, related

_NOT_IN_FORCE = Not(IN_FORCE)


def over_subject(question: Question) -> list[tuple[str, Condition]]:
    """Return the codes that one patient's relations and rulings may explain a refusal with, most telling first."""
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
    return [
        ("not-covered-by-consent", AllOf(related(question), Not(base_permits(question)))),
        ("acting-for-other-structure", Some("relations", AllOf(professional, named, IN_FORCE, Not(acting)))),
        ("careteam-participation-expired", Some("relations", AllOf(professional, named, acting, _NOT_IN_FORCE))),
        ("grant-expired", Some("rulings", over_grant)),
    ]


def over_resource(question: Question) -> list[tuple[str, Condition]]:
    """Return the codes that the resource itself may explain a refusal with, for a professional who is related."""
    if question.actor.kind != "professional":
        return []
    may_read = Some("subjects", AllOf(related(question), base_permits(question)))
    return [
        ("matrix-refusal", AllOf(may_read, Not(CARE_KINDS))),
        ("label-not-covered", AllOf(may_read, Not(labels_are_ordinary(question)))),
    ]
