"""Every admitted actor but a link reads the directory: professionals, organisations, places, definitions."""

from __future__ import annotations

from consent.condition import Condition, Is, Nothing
from consent.rules.rule import Question, Rule


def _condition(question: Question) -> Condition:
    return Is("kind", "directory") if question.is_read and question.actor.kind != "link" else Nothing()


RULE = Rule("directory", "permit", "resource", "permit-directory", _condition)
