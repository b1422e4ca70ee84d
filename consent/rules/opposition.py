"""Opposition to sharing, in force, hides the clinical record from everybody and keeps new exams out.

It is region-wide and asks neither who reads nor for what, so keys and purposes of its rulings are not looked at.
"""

from __future__ import annotations

from consent.condition import AllOf, Condition, Is, Some
from consent.rules.rule import IN_FORCE, Question, Rule


def _condition(_question: Question) -> Condition:
    opposed = Some("rulings", AllOf(Is("effect", "deny"), Is("family", "opposition"), IN_FORCE))
    return AllOf(Is("kind", "clinical"), Some("subjects", opposed))


RULE = Rule("opposition", "lifecycle", "resource", "opposed", _condition)
