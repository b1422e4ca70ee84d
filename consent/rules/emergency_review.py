"""An auditor says what a review of break-glass found: the Task that asks for it is theirs to close, by an operation.

What a client sends as a Task is clinical, whoever sends it, so that nothing but the operation leaves such a Task.
"""

from __future__ import annotations

from consent.condition import Condition, Is, Nothing
from consent.rules.rule import Question, Rule


def _condition(question: Question) -> Condition:
    is_closing = question.interaction == "update" and question.resource_type == "Task"
    return Is("kind", "audit") if question.actor.kind == "auditor" and is_closing else Nothing()


RULE = Rule("emergency-review", "permit", "resource", "permit-auditor", _condition)
