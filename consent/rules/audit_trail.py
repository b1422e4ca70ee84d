"""An auditor reads the audit trail; that reading is itself traced."""

from __future__ import annotations

from consent.condition import Condition, Is, Nothing
from consent.rules.rule import Question, Rule


def _condition(question: Question) -> Condition:
    return Is("kind", "audit") if question.actor.kind == "auditor" and question.is_read else Nothing()


RULE = Rule("audit-trail", "permit", "resource", "permit-auditor", _condition)
