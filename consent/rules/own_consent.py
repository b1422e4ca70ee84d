"""The person concerned gives, changes and withdraws the Consents that are theirs to give: grants and restrictions.

The condition looks at one state of the Consent. An update is asked twice, of the state before and the state after.
"""

from __future__ import annotations

from consent.condition import AllOf, Condition, In, Nothing
from consent.rules.rule import Question, Rule
from consent.rules.terms import PERSONAL_CONSENT


def _condition(question: Question) -> Condition:
    """Speak on what the actor gave for themselves: the authors of a Consent are its performers."""
    if question.actor.kind != "patient" or question.is_read or question.resource_type != "Consent":
        return Nothing()
    own = In("patient", question.actor.patients)
    return AllOf(PERSONAL_CONSENT, own, In("authors", question.actor.patients))


RULE = Rule("own-consent", "permit", "subject", "permit-self", _condition)
