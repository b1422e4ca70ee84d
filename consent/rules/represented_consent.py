"""A legal representative gives, changes and withdraws grants and restrictions for the person they represent."""

from __future__ import annotations

from consent.condition import AllOf, Condition, In, Is, Nothing
from consent.rules.rule import Question, Rule
from consent.rules.terms import represents


def _condition(question: Question) -> Condition:
    if question.actor.kind != "representative" or question.is_read or question.resource_type != "Consent":
        return Nothing()
    return represents(question)


def _guard(question: Question) -> Condition:
    """Return: a Consent of a personal family, given by this representative."""
    return AllOf(
        Is("kind", "consent"),
        In("family", {"grant", "restriction"}),
        Is("authors", question.actor.reference),
    )


RULE = Rule("represented-consent", "permit", "subject", "permit-representative", _condition, guard=_guard)
