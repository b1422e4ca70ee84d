"""A token limited to a patient reaches that patient's resources only (SMART launch context)."""

from __future__ import annotations

from consent.condition import AnyOf, Condition, Every, In, Is, Not, Nothing
from consent.rules.rule import Question, Rule
from consent.scopes import context_patients


def _condition(question: Question) -> Condition:
    """Speak where the scopes limit the token to patients and the resource is not wholly theirs; the directory is
    nobody's.
    """
    patients = context_patients(question.actor, question.interaction, question.resource_type)
    if patients is None:
        return Nothing()
    return Not(AnyOf(Is("kind", "directory"), Every("subjects", In("patient", patients))))


RULE = Rule("patient-context", "scope", "resource", "patient-context-mismatch", _condition)
