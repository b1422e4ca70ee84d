"""A deny of any Consent in force beats every permit.

It speaks of those with whom a record is shared: professionals. The person concerned cannot lock themselves out, nor
by a deny for everyone their representative; an establishment keeps what it answers for itself.
"""

from __future__ import annotations

from consent.condition import Condition, Nothing
from consent.rules.rule import Question, Rule
from consent.rules.terms import denying


def _condition(question: Question) -> Condition:
    if question.actor.kind != "professional" or not question.is_read:
        return Nothing()
    return denying(question)


RULE = Rule("consent-deny", "deny", "subject", "consent-deny", _condition)
