"""A document masked from professionals is read only by those who made it (TRE_A07 MASQUE_PS)."""

from __future__ import annotations

from consent.condition import AllOf, Condition, In, Not, Nothing
from consent.facts import VISIBILITY_SYSTEMS
from consent.rules.rule import Question, Rule


def _condition(question: Question) -> Condition:
    if question.actor.kind != "professional":
        return Nothing()
    masks = {f"{system}|MASQUE_PS" for system in VISIBILITY_SYSTEMS}
    return AllOf(In("labels", masks), Not(In("authors", _authoring(question))))


def _authoring(question: Question) -> frozenset[str]:
    """Return the names under which the actor made something.

    Who stands in for somebody did not make what that one made. Their roles cannot be told from the other's, so it is
    what names them in person.
    """
    own = question.actor.reference
    stands_in = any(name.startswith("Practitioner/") and name != own for name in question.names)
    return frozenset({own}) if stands_in else question.names


RULE = Rule("masked", "deny", "resource", "masked", _condition)
