"""A professional declared in a care team, or who treats the person, reads the record: its ordinary part.

The base Consent, or without one the implicit policy, must permit; labels above the implicit policy are another rule's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from consent.condition import AllOf, Condition, Nothing
from consent.rules.rule import Question, Rule
from consent.rules.terms import CARE_KINDS, ORDINARY, base_permits, related


def _condition(question: Question) -> Condition:
    if question.actor.kind != "professional" or not question.is_read:
        return Nothing()
    return AllOf(CARE_KINDS, ORDINARY, related(question), base_permits(question))


def code_of(_question: Question, relation: Mapping[str, Any]) -> str:
    """Return the code of the relation that opened the record."""
    if relation["kind"] == "treating":
        return "permit-treating"
    return "permit-organisation" if relation["key"].startswith("Organization/") else "permit-declared"


RULE = Rule("relation", "permit", "subject", "permit-declared", _condition, code_of=code_of)
