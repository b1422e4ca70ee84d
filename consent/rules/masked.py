"""A document masked from professionals is read only by those who made it (TRE_A07 MASQUE_PS)."""

from __future__ import annotations

from consent.condition import AllOf, Condition, In, Not, Nothing
from consent.facts import VISIBILITY_SYSTEMS
from consent.rules.rule import Question, Rule


def _condition(question: Question) -> Condition:
    if question.actor.kind != "professional":
        return Nothing()
    masks = {f"{system}|MASQUE_PS" for system in VISIBILITY_SYSTEMS}
    return AllOf(In("labels", masks), Not(In("authors", question.names)))


RULE = Rule("masked", "deny", "resource", "masked", _condition)
