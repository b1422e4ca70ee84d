"""A professional reads what the person opened to them, to their organisation, team or group, by a grant."""

from __future__ import annotations

from consent.condition import AllOf, Condition, In, Is, Nothing
from consent.rules.rule import Question, Rule
from consent.rules.terms import CARE_KINDS, permitting


def _condition(question: Question) -> Condition:
    """Speak on a grant that names the actor: a grant to everybody opens nothing to strangers."""
    if question.actor.kind != "professional" or not question.is_read:
        return Nothing()
    return AllOf(CARE_KINDS, permitting(question, Is("family", "grant"), In("keys", question.names)))


RULE = Rule("grant", "permit", "subject", "permit-grant", _condition)
