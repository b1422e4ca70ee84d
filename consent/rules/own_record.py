"""The person concerned reads their own record, their Consents, their care team and who looked at it."""

from __future__ import annotations

from consent.condition import AllOf, Condition, In, Nothing
from consent.rules.rule import Question, Rule
from consent.rules.terms import PERSONAL_KINDS


def _condition(question: Question) -> Condition:
    if question.actor.kind != "patient" or not question.is_read:
        return Nothing()
    return AllOf(PERSONAL_KINDS, In("patient", question.actor.patients))


RULE = Rule("own-record", "permit", "subject", "permit-self", _condition)
