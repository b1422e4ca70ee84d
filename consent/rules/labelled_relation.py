"""A related professional reads what is labelled above the implicit policy where a Consent permits it to them."""

from __future__ import annotations

from consent.condition import AllOf, Condition, Nothing
from consent.rules.relation import code_of
from consent.rules.rule import Question, Rule
from consent.rules.terms import CARE_KINDS, base_permits, permitting, related


def _condition(question: Question) -> Condition:
    """Add to the relation rule: some permit, which speaks of this resource under its labels, speaks of this actor."""
    if question.actor.kind != "professional" or not question.is_read:
        return Nothing()
    return AllOf(CARE_KINDS, related(question), base_permits(question), permitting(question))


RULE = Rule("labelled-relation", "permit", "subject", "permit-declared", _condition, code_of=code_of)
