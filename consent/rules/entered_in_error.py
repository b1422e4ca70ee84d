"""What was entered in error is as if it did not exist, except for the establishment that has to mend it."""

from __future__ import annotations

from consent.condition import AllOf, Condition, In, Is, Not
from consent.rules.rule import Question, Rule


def _condition(question: Question) -> Condition:
    in_error = Is("lifecycle", "entered-in-error")
    if question.actor.kind == "system":
        return AllOf(in_error, Not(In("custodians", {question.actor.organization} - {None})))
    return in_error


RULE = Rule("entered-in-error", "lifecycle", "resource", "entered-in-error", _condition)
