"""A legal representative reads the record of the person they represent, while their authority lasts."""

from __future__ import annotations

from consent.condition import AllOf, Condition, Nothing
from consent.rules.rule import Question, Rule
from consent.rules.terms import PERSONAL_KINDS, represents


def _condition(question: Question) -> Condition:
    if question.actor.kind != "representative" or not question.is_read:
        return Nothing()
    return AllOf(PERSONAL_KINDS, represents(question))


RULE = Rule("representative", "permit", "subject", "permit-representative", _condition)
