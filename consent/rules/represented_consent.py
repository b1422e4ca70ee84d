"""A legal representative gives, changes and withdraws grants and restrictions for the person they represent."""

from __future__ import annotations

from consent.condition import AllOf, Condition, Is, Nothing
from consent.rules.rule import Question, Rule
from consent.rules.terms import PERSONAL_CONSENT, represents


def _condition(question: Question) -> Condition:
    """Speak on what this representative gave: the authors of a Consent are its performers."""
    if question.actor.kind != "representative" or question.is_read or question.resource_type != "Consent":
        return Nothing()
    return AllOf(PERSONAL_CONSENT, Is("authors", question.actor.reference), represents(question))


RULE = Rule("represented-consent", "permit", "subject", "permit-representative", _condition)
