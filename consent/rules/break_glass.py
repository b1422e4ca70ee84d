"""A physician who broke the glass for a patient reads the record as a declared one would, while the session lasts.

It stands in for the relation and for nothing else: every deny holds, and labels above the implicit policy are opened
only by a permit that says BTG. The patient's prior objection is looked at in every request, not only at the beginning.
"""

from __future__ import annotations

from consent.condition import AllOf, AnyOf, Condition, Is, Not, Nothing
from consent.eligibility import PURPOSE, is_eligible
from consent.rules.rule import Question, Rule
from consent.rules.terms import CARE_KINDS, ORDINARY, emergency_base, in_session, objecting, permitting


def _condition(question: Question) -> Condition:
    if question.purpose != PURPOSE or not question.is_read or not question.actor.emergencies:
        return Nothing()
    if not is_eligible(question.actor, question.policy):
        return Nothing()
    covered = AnyOf(ORDINARY, permitting(question, Is("purposes", PURPOSE)))
    return AllOf(CARE_KINDS, in_session(question), covered, emergency_base(question), Not(objecting(question)))


RULE = Rule("break-glass", "permit", "subject", "permit-break-glass", _condition)
