"""An establishment's system reads and writes what its establishment answers for, and nothing else of the record.

A Patient is read by every establishment that holds something of the person, and written by the one that brought them.
Consents addressed to third parties do not reach it. The audit trail is not an establishment's to read or write.
"""

from __future__ import annotations

from consent.condition import AllOf, AnyOf, Condition, Is, Not, Nothing
from consent.rules.rule import Question, Rule


def _condition(question: Question) -> Condition:
    if question.actor.kind != "system" or not question.actor.organization:
        return Nothing()
    own: Condition = Is("custodians", question.actor.organization)
    if question.is_read:
        own = AnyOf(own, Is("establishments", question.actor.organization))
    return AllOf(own, Not(Is("kind", "audit")))


RULE = Rule("custodian", "permit", "resource", "permit-custodian", _condition)
