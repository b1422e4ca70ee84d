"""A record that was erased is as if it had never been, for everybody, from the instant it was decided.

What other persons share with the one who was erased is withheld from everybody too, since each of them must permit it.
The establishment that answers for it may still replace or delete it without having it read to them, so that what is the
others' can be written anew.
"""

from __future__ import annotations

from consent.condition import AllOf, AnyOf, Condition, In, Is, Not
from consent.rules.rule import Question, Rule

_SET_RIGHT = frozenset({"update", "delete"})


def _condition(question: Question) -> Condition:
    if question.actor.kind != "system" or question.interaction not in _SET_RIGHT:
        return In("lifecycle", {"erased", "withheld"})
    withheld = AllOf(Is("lifecycle", "withheld"), Not(In("custodians", {question.actor.organization} - {None})))
    return AnyOf(Is("lifecycle", "erased"), withheld)


RULE = Rule("erased", "lifecycle", "resource", "erased", _condition)
