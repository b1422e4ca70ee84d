"""`$opposition`, `$withdraw-opposition`: an establishment records that a person refuses all sharing, or no longer does.

An opposition hides the clinical record from everybody in the region and keeps new exams out, from the next request on.
It is given to an establishment, which answers for it.
"""

from __future__ import annotations

from typing import Any

from consent import pcf
from fhirserver import audit
from fhirserver.errors import BadRequest
from fhirserver.interactions.context import Context
from fhirserver.interactions.entries import is_id
from fhirserver.operations.consents import consent, give, withdraw
from fhirserver.operations.operation import Given, Made, Operation, Parameter, Target
from fhirserver.operations.parameters import parameters
from fhirserver.store.rows import Row
from fhirserver.store.unit import Unit
from resources.validation import parse

_WHOLE = {"type": "deny"}


def _oppose(context: Context, target: Target, given: Given) -> Row:
    context.access.admit("create", "Consent")
    context.access.admit("read", "Patient")
    context.access.admit("read", "Consent")
    patient = f"Patient/{target.id}"
    performer = _performer(given, patient)
    custodian = context.access.custodian
    resource = consent(
        context,
        "opposition",
        patient=patient,
        performer=performer,
        provision=_WHOLE,
        profile=pcf.BASIC,
        organizations=[] if custodian is None else [custodian],
    )

    def work(unit: Unit) -> Row:
        unit.read("Patient", target.id)
        if performer != patient and not unit.represents(performer, patient):
            raise BadRequest(f"{performer} is not known to represent {patient}.", expression="performer")
        for row in unit.consents_of(patient, "opposition"):
            if parse(row.body)["provision"] == _WHOLE:  # one for a time, or of one exam, is no answer
                context.note_read(row)
                return row
        return give(context, unit, resource)

    return context.transact(work)


def _performer(given: Given, patient: str) -> str:
    performer: str = given.one("performer", patient)
    type_, _, id_ = performer.partition("/")
    if performer != patient and not (type_ == "RelatedPerson" and is_id(id_)):
        raise BadRequest("performer is the patient, or RelatedPerson/id.", expression="performer")
    return performer


def _withdraw(context: Context, target: Target, _given: Given) -> Made:
    context.access.admit("update", "Consent")
    context.access.admit("read", "Patient")
    context.access.admit("read", "Consent")
    patient, address = f"Patient/{target.id}", target.address("withdraw-opposition")

    def work(unit: Unit) -> tuple[list[Row], bool]:
        person = unit.read("Patient", target.id)
        context.note(audit.operation_events(context.access, "Patient", address, (), about=person))
        withdrawn = [withdraw(context, unit, row) for row in unit.consents_of(patient, "opposition")]
        unit.let_go(patient)
        return withdrawn, unit.is_said(patient, "opposition")

    withdrawn, is_opposed = context.transact(work)
    parts: list[dict[str, Any]] = [
        {"name": "consent", "valueReference": {"reference": f"{row.reference}/_history/{row.version}"}}
        for row in withdrawn
    ]
    return Made(parameters([*parts, {"name": "opposed", "valueBoolean": is_opposed}]))


OPPOSITION = Operation(
    name="opposition",
    title="Record that a person refuses all sharing (opposition).",
    about="Records that a person refuses all sharing; an establishment that knows the person calls it.",
    definition="opposition",
    levels=("instance",),
    perform=_oppose,
    types=("Patient",),
    takes=(Parameter("performer", "string", "Who gave it: RelatedPerson/id; the patient if not given."),),
    gives=(Parameter("return", "Consent", "The opposition: the new one, or the one that is in force already.", 1),),
    is_hl7s=False,
    changes=True,
)

WITHDRAWAL = Operation(
    name="withdraw-opposition",
    title="Withdraw the opposition that this establishment recorded (withdraw-opposition).",
    about="Withdraws what the calling establishment recorded by $opposition, and says whether another one stands.",
    definition="withdraw-opposition",
    levels=("instance",),
    perform=_withdraw,
    types=("Patient",),
    gives=(
        Parameter("consent", "Reference", "The Consents that are inactive now, with their versions.", 0, None),
        Parameter("opposed", "boolean", "Whether an opposition recorded elsewhere is still in force.", 1),
    ),
    is_hl7s=False,
    changes=True,
)
