"""Conditions that several rules share."""

from __future__ import annotations

from consent.condition import (
    AllOf,
    AnyOf,
    AtMost,
    Condition,
    Everything,
    In,
    Is,
    Not,
    Nothing,
    Some,
)
from consent.documents import Effect
from consent.rules.rule import IN_FORCE, Question

CARE_KINDS = In("kind", {"clinical", "patient", "care-team"})
"""What professionals may read of a record."""

PERSONAL_KINDS = In("kind", {"clinical", "patient", "consent", "care-team", "audit"})
"""What the person concerned, and whoever represents them, may read of it."""


def ruling(question: Question, effect: Effect, *narrower: Condition) -> Condition:
    """Return: some ruling of this effect speaks of this actor, purpose and instant, and nothing in its Consent beats
    it.

    `narrower` limits which rulings count.
    """
    return Some(
        "rulings", AllOf(*narrower, Is("effect", effect), question.addressed, Not(Some("unless", question.addressed)))
    )


def related(question: Question) -> Condition:
    """Return: the professional is declared for the patient, or treats them, in the organisation they act for."""
    return Some(
        "relations",
        AllOf(
            In("key", question.names),
            In("kind", {"declared", "treating"}),
            In("organization", {None, question.actor.organization}),
            IN_FORCE,
        ),
    )


def base_permits(question: Question) -> Condition:
    """Return: the base Consent in force permits; without one, the implicit policy does, if it covers the purpose."""
    covered = question.purpose in question.policy.implicit_purposes
    return AnyOf(
        AllOf(Everything() if covered else Nothing(), Not(Some("base", IN_FORCE))),
        ruling(question, "permit", Is("family", "base")),
    )


def labels_are_ordinary(question: Question) -> Condition:
    """Return: the implicit policy covers the labels: confidentiality up to its limit, and nothing sensitive."""
    return AllOf(AtMost("confidentiality", question.policy.implicit_confidentiality), Is("sensitivities", ()))


def represents(question: Question) -> Condition:
    """Return: the actor is a representative of the patient whose authority is in force."""
    return Some(
        "relations",
        AllOf(Is("kind", "representative"), Is("key", question.actor.reference), IN_FORCE),
    )
