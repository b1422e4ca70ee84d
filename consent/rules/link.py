"""Whoever holds a link reads the one exam for which it was given, as long as its giver may and does let them.

The Consent behind the link permits it, and nothing else ever does: no relation, no directory, no base Consent. It opens
reading and searching, not the past: no version, no history.
"""

from __future__ import annotations

from consent.condition import AllOf, Condition, Is, Nothing
from consent.rules.rule import Question, Rule
from consent.rules.terms import given_rightly, permitting

TYPES = frozenset({"ImagingStudy", "DiagnosticReport", "DocumentReference", "Binary"})
"""What a link can open: a study, its reports, its documents, and their content."""
_INTERACTIONS = frozenset({"read", "search", "retrieve"})


def _condition(question: Question) -> Condition:
    if question.actor.kind != "link" or question.interaction not in _INTERACTIONS:
        return Nothing()
    if question.resource_type not in TYPES:
        return Nothing()
    named = permitting(question, Is("family", "grant"), Is("keys", question.actor.reference))
    return AllOf(Is("kind", "clinical"), given_rightly(question), named)


RULE = Rule("link", "permit", "subject", "permit-link", _condition)
