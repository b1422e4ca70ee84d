"""What the person refuses to everyone, or to the link, or to the representative who gave it, no link opens.

Nobody knows who holds a link, and what for. So a refusal of treatment counts as well as one of the purpose that the
link states, and an exception in a Consent that refuses opens nothing to a link.
"""

from __future__ import annotations

from consent.condition import AllOf, AnyOf, Condition, In, Is, Nothing, Some
from consent.rules.rule import IN_FORCE, Question, Rule


def _condition(question: Question) -> Condition:
    actor = question.actor
    if actor.kind != "link" or not question.is_read:
        return Nothing()
    reached = AllOf(In("keys", {actor.reference, "*"}), In("purposes", {question.purpose, "TREAT", "*"}))
    giver = Nothing() if actor.giver is None else AllOf(Is("family", "restriction"), Is("keys", actor.giver))
    return Some("rulings", AllOf(Is("effect", "deny"), IN_FORCE, AnyOf(reached, giver)))


RULE = Rule("link-denied", "deny", "subject", "consent-deny", _condition)
