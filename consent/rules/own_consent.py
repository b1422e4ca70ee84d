"""The person concerned gives, changes and withdraws the Consents that are theirs to give: grants and restrictions.

The guard looks at one state of the Consent. An update is asked twice, of the state before and the state after.
"""

from __future__ import annotations

from consent.condition import AllOf, Condition, In, Is, Nothing
from consent.rules.rule import Question, Rule


def _condition(question: Question) -> Condition:
    if question.actor.kind != "patient" or question.is_read or question.resource_type != "Consent":
        return Nothing()
    return In("patient", question.actor.patients)


def _guard(question: Question) -> Condition:
    """Return: a Consent of a personal family, given by the actor (the authors of a Consent are its performers)."""
    return AllOf(
        Is("kind", "consent"),
        In("family", {"grant", "restriction"}),
        In("authors", question.actor.patients),
    )


RULE = Rule("own-consent", "permit", "subject", "permit-self", _condition, guard=_guard)
