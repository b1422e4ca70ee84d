"""A professional reads the exams they performed or reported themselves, also after the treating window.

As for every treating professional the base Consent, or the implicit policy, must permit. Labels do not keep authors
from what they wrote.
"""

from __future__ import annotations

from consent.condition import AllOf, Condition, In, Nothing
from consent.rules.rule import Question, Rule
from consent.rules.terms import CARE_KINDS, base_permits


def _condition(question: Question) -> Condition:
    if question.actor.kind != "professional" or not question.is_read:
        return Nothing()
    return AllOf(CARE_KINDS, In("authors", question.personal_names), base_permits(question))


RULE = Rule("author", "permit", "subject", "permit-treating", _condition)
