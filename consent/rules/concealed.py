"""An event of the trail that names what is hidden from the person now does not exist for them, whenever it happened."""

from __future__ import annotations

from consent.condition import Condition, In, Nothing
from consent.rules.rule import Question, Rule


def _condition(question: Question) -> Condition:
    if question.resource_type != "AuditEvent" or not question.actor.concealed:
        return Nothing()
    return In("about", question.actor.concealed)


RULE = Rule("concealed", "audience", "resource", "hidden-from-patient", _condition)
