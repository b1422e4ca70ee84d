"""A professional whom the patient blocked by name reads nothing the block covers, whatever else relates them."""

from __future__ import annotations

from consent.condition import Condition, In, Is, Nothing
from consent.rules.rule import Question, Rule
from consent.rules.terms import denying


def _condition(question: Question) -> Condition:
    """Speak on a restriction that names the person, or one of their roles; of a representative, the person."""
    if question.actor.kind not in {"professional", "representative"} or not question.is_read:
        return Nothing()
    in_person = In("keys", question.personal_names | {question.actor.reference})
    return denying(question, in_person, Is("family", "restriction"))


RULE = Rule("blocked-professional", "deny", "subject", "blocked-professional", _condition)
