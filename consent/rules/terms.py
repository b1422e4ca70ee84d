"""Conditions that several rules share."""

from __future__ import annotations

from consent.condition import (
    AllOf,
    AnyOf,
    Condition,
    Everything,
    In,
    Is,
    Not,
    Nothing,
    Some,
)
from consent.eligibility import PURPOSE
from consent.rules.rule import IN_FORCE, Question

ORDINARY = Is("ordinary", True)  # noqa: FBT003 - the value that is compared
"""The implicit policy covers the labels."""

CARE_KINDS = In("kind", {"clinical", "patient", "care-team"})
"""What professionals may read of a record."""

PERSONAL_KINDS = In("kind", {"clinical", "patient", "consent", "care-team", "audit"})
"""What the person concerned, and whoever represents them, may read of it."""

PERSONAL_CONSENT = AllOf(Is("kind", "consent"), In("family", {"grant", "restriction"}))
"""A Consent of a family that is the person's own to give."""


def permitting(question: Question, *narrower: Condition) -> Condition:
    """Return: some permit speaks of this actor, purpose and instant. `narrower` limits which permits count."""
    return Some("rulings", AllOf(Is("effect", "permit"), *narrower, question.addressed))


def denying(question: Question, *narrower: Condition) -> Condition:
    """Return: some deny speaks of this actor, purpose and instant, and no permit nested in its Consent beats it.

    `narrower` limits which denies count.
    """
    excepted = Some("unless", question.addressed)
    return Some("rulings", AllOf(*narrower, question.addressed, Is("effect", "deny"), Not(excepted)))


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
        permitting(question, Is("family", "base")),
    )


def in_session(question: Question) -> Condition:
    """Return: the actor has broken the glass for the patient, and the session lasts."""
    return In("patient", question.actor.emergencies)


def objecting(question: Question) -> Condition:
    """Return: the person objected beforehand to emergency access, by this actor or by anybody."""
    return objecting_to(question.names | {"*"})


def objecting_to(names: frozenset[str]) -> Condition:
    """Return: a deny in force reaches one of these names, for an emergency or for any purpose, without exception.

    The exception is a permit of the same Consent for BTG.
    """
    reached = In("keys", names)
    anyway = AllOf(In("keys", names | {"*"}), In("purposes", {PURPOSE, "*"}), IN_FORCE)
    objected = AllOf(Is("effect", "deny"), reached, In("purposes", {"ETREAT", PURPOSE, "*"}), IN_FORCE)
    return Some("rulings", AllOf(objected, Not(Some("unless", anyway))))


def emergency_base(question: Question) -> Condition:
    """Return: the base Consent in force, or the implicit policy, lets a declared professional read.

    What it permits for treatment it permits in an emergency; what it says of BTG itself counts as it stands.
    """
    addressed = AllOf(In("keys", question.names | {"*"}), In("purposes", {"TREAT", "*"}), IN_FORCE)
    of_base = AllOf(Is("family", "base"), addressed)
    permits = Some("rulings", AllOf(Is("effect", "permit"), of_base))
    denies = Some("rulings", AllOf(Is("effect", "deny"), of_base, Not(Some("unless", addressed))))
    return AnyOf(base_permits(question), AllOf(permits, Not(denies)))


def represents(question: Question) -> Condition:
    """Return: the actor is a representative of the patient whose authority is in force."""
    return _represented_by(question.actor.reference)


def given_rightly(question: Question) -> Condition:
    """Return: whoever gave the link is the patient, or represents them now."""
    giver = question.actor.giver
    if giver is None:
        return Nothing()
    return Is("patient", giver) if giver.startswith("Patient/") else _represented_by(giver)


def _represented_by(reference: str) -> Condition:
    return Some("relations", AllOf(Is("kind", "representative"), Is("key", reference), IN_FORCE))
