"""The operator keeps the directory, and touches nothing clinical."""

from __future__ import annotations

from consent.condition import Condition, Is, Nothing
from consent.rules.rule import Question, Rule


def _condition(question: Question) -> Condition:
    return Is("kind", "directory") if question.actor.kind == "operator" and not question.is_read else Nothing()


RULE = Rule("operator", "permit", "resource", "permit-operator", _condition)
