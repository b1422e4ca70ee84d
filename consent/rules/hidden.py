"""What is not to be seen by the person concerned, or by their representatives, does not exist for them (TRE_A07).

That holds for a label, and for an instant of release that has not come yet.
"""

from __future__ import annotations

from consent.condition import NOW, Condition, GreaterThan, In, Nothing
from consent.facts import VISIBILITY_SYSTEMS
from consent.rules.rule import Question, Rule

_CONCERNED = frozenset({"patient", "representative", "link"})


def _labelled(*codes: str) -> Condition:
    return In("labels", {f"{system}|{code}" for system in VISIBILITY_SYSTEMS for code in codes})


def _from_patient(question: Question) -> Condition:
    """Speak to the patient and, as they see through the patient's eyes, to representatives and holders of a link."""
    return _labelled("INVISIBLE_PATIENT") if question.actor.kind in _CONCERNED else Nothing()


def _from_representatives(question: Question) -> Condition:
    """Speak to representatives, and to whom one of them gave a link."""
    giver = question.actor.giver or ""
    is_theirs = question.actor.kind == "representative" or giver.startswith("RelatedPerson/")
    return _labelled("INVISIBLE_REPRESENTANTS_LEGAUX") if is_theirs else Nothing()


def _unreleased(question: Question) -> Condition:
    """Speak to the same as the label does, until the instant of release; what states none is not held back."""
    return GreaterThan("released", NOW) if question.actor.kind in _CONCERNED else Nothing()


FROM_PATIENT = Rule("hidden-from-patient", "audience", "resource", "hidden-from-patient", _from_patient)
FROM_REPRESENTATIVES = Rule(
    "hidden-from-representatives", "audience", "resource", "hidden-from-representatives", _from_representatives
)
NOT_RELEASED = Rule("not-released", "audience", "resource", "not-released", _unreleased)
