"""A link reaches what it was given for, whatever else a Consent that names it says."""

from __future__ import annotations

from consent.condition import Condition, Is, Not, Nothing
from consent.rules.rule import Question, Rule


def _condition(question: Question) -> Condition:
    if question.actor.kind != "link":
        return Nothing()
    return Not(Is("instances", question.actor.shared))


RULE = Rule("beyond-link", "scope", "resource", "beyond-link", _condition)
