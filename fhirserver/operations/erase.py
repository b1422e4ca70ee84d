"""`$erase` and `$erase-status`: a person's record is removed from the region, and a receipt says so.

The establishment that answers for the Patient asks for it, or the operator; the person asks their establishment. From
the answer on the record is as if it had never been. What is stored of it is removed in the background, which
`$erase-status` tells as of an asynchronous request (https://hl7.org/fhir/R4/async.html), and in the end the receipt:
numbers, instants, who asked, and nothing clinical (docs/policy.md#erasure).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

from consent.decision import Decision
from fhirserver import audit
from fhirserver.access import Access
from fhirserver.config import Config
from fhirserver.errors import Forbidden, NotFound, NotSupported
from fhirserver.interactions.context import Context
from fhirserver.operations.operation import Given, Made, Operation, Parameter, Target
from fhirserver.operations.parameters import parameters
from fhirserver.store.database import Database, Document
from fhirserver.store.erasing import Erasures
from fhirserver.store.erasure import Erasure
from fhirserver.store.search_values import fhir_instant
from fhirserver.store.unit import Unit

ACCEPTED = 202


def _erase(context: Context, target: Target, given: Given) -> Made:
    if given.if_match is not None:
        raise NotSupported("$erase takes no If-Match.")
    is_operator = _admit(context.access)
    erasure = begin(context, target.id, is_operator=is_operator)
    jobs = context.store.erasures
    if erasure.is_running:
        jobs.run_in_background(events_of_end)
    return told(context, erasure)


def begin(context: Context, id_: str, *, is_operator: bool) -> Erasure:
    """Lock the record in one transaction with its event; one that was begun before is told of, as a question is.

    Raises NotFound where the caller has no such Patient.
    """
    access, patient = context.access, f"Patient/{id_}"

    def work(unit: Unit) -> Erasure:
        erasure, is_new = unit.erase(id_, who(access), is_operator=is_operator)
        if is_new:
            unit.record(event.document for event in audit.erasure_begun(access, patient))
        else:
            context.note(audit.operation_events(access, "Patient", f"{patient}/$erase", (), named=[patient]))
        return erasure

    return context.transact(work)


def who(access: Access) -> dict[str, Any]:
    """The caller, as the receipt names them."""
    return {
        "reference": access.actor.reference,
        "organization": access.actor.organization,
        "client": access.actor.client_id,
        "purpose": access.purpose,
        "request": access.request_id,
    }


def _admit(access: Access) -> bool:
    """Whether the caller is an operator. Raises Forbidden for all but operators and systems of establishments."""
    if access.actor.kind == "operator":
        access.admit_operator("delete", "Patient")
        return True
    access.admit("delete", "Patient")
    if access.custodian is None:
        decision = Decision("deny", "matrix-refusal", access.now, "forbidden")
        access.note("delete", "Patient", None, (), decision)
        raise Forbidden("The access token does not cover this request.")
    return False


def _status(context: Context, target: Target, _given: Given) -> Made:
    access, patient = context.access, f"Patient/{target.id}"
    may_know_any = _admit_to_status(access)
    jobs = context.store.erasures
    erasure = jobs.get(patient)
    if erasure is None or not (may_know_any or access.custodian in erasure.custodians):
        access.note("read", "Patient", target.id, (), Decision("deny", "no-relationship", access.now, "absent"))
        raise NotFound(f"No erasure of {patient} is known.")
    if erasure.is_running:  # whoever was at it may have died
        jobs.run_in_background(events_of_end)
    address = target.address("erase-status")
    context.note(audit.operation_events(access, "Patient", address, (), named=[patient]))
    return told(context, erasure)


def _admit_to_status(access: Access) -> bool:
    """Whether the caller may know of every erasure, as operators and auditors may."""
    if access.actor.kind == "auditor":
        access.admit("read", "AuditEvent")
        return True
    return _admit(access)


# What is told


def told(context: Context, erasure: Erasure) -> Made:
    """How far it is, or the receipt."""
    patient = erasure.patient
    headers = {"Content-Location": f"{context.config.fhir_base}/{patient}/$erase-status"}
    if erasure.is_running:
        headers["X-Progress"] = f"{erasure.percent} %"
    return Made(parameters(_parts(erasure)), ACCEPTED if erasure.is_running else 200, headers)


def _parts(erasure: Erasure) -> Iterator[dict[str, Any]]:
    yield {"name": "status", "valueCode": erasure.status}
    yield {"name": "asked", "valueInstant": fhir_instant(erasure.asked)}
    yield {"name": "by", "valueString": erasure.by["reference"]}
    if erasure.by["organization"]:
        yield {"name": "organization", "valueReference": {"reference": erasure.by["organization"]}}
    if erasure.ended is not None:
        yield {"name": "ended", "valueInstant": fhir_instant(erasure.ended)}
    if erasure.digest is not None:
        yield {"name": "digest", "valueString": erasure.digest}
    for kind, count in erasure.counts.items():
        parts = [{"name": "kind", "valueCode": kind}, {"name": "count", "valueUnsignedInt": count}]
        yield {"name": "removed", "part": parts}
    yield {"name": "withheld", "valueUnsignedInt": erasure.withheld}


def receipt(erasure: Erasure) -> dict[str, Any]:
    """The same as plain values, for the command line."""
    return {
        "patient": erasure.patient,
        "status": erasure.status,
        "asked": fhir_instant(erasure.asked),
        "ended": None if erasure.ended is None else fhir_instant(erasure.ended),
        "by": erasure.by["reference"],
        "organization": erasure.by["organization"],
        "digest": erasure.digest,
        "removed": dict(erasure.counts),
        "withheld": erasure.withheld,
    }


def events_of_end(erasure: Erasure) -> list[Document]:
    """The event that the record is gone, as rows of the trail."""
    if erasure.ended is None:
        raise ValueError("the erasure has not ended")
    details: Mapping[str, str] = {
        **{kind: str(count) for kind, count in erasure.counts.items()},
        "withheld": str(erasure.withheld),
        "digest": erasure.digest or "",
    }
    return [event.document for event in audit.erasure_ended(erasure.patient, erasure.by, erasure.ended, details)]


def resume(database: Database, config: Config) -> threading.Thread | None:
    """Go on with what a stop has left, in the background."""
    jobs = Erasures(database, config)
    return jobs.run_in_background(events_of_end) if jobs.is_left() else None


_GIVES = (
    Parameter("status", "code", "running or done.", 1),
    Parameter("asked", "instant", "When it was asked for; from then on the record is as if it had never been.", 1),
    Parameter("by", "string", "Who asked: the client or operator.", 1),
    Parameter("organization", "Reference", "The establishment for which they asked."),
    Parameter("ended", "instant", "When the last of it was removed."),
    Parameter("digest", "string", "SHA-256 of the names of what is removed."),
    Parameter("removed", "BackboneElement", "A kind, and how many of it have been removed.", 0, None),
    Parameter(
        "withheld", "unsignedInt", "Resources and versions that concern other persons too: kept, shown to nobody.", 1
    ),
)

OPERATION = Operation(
    name="erase",
    title="Erase the record of a person for good (erase); establishments and operators.",
    about="Removes the record of a person from the region, in the background. From the answer on it is as if it had "
    "never been, for everybody. There is no way back.",
    definition="fhirserver-erase",
    is_hl7s=False,
    levels=("instance",),
    types=("Patient",),
    perform=_erase,
    gives=_GIVES,
    changes=True,
)

STATUS = Operation(
    name="erase-status",
    title="How far an erasure is, and its receipt (erase-status).",
    about="Says how far the erasure of a record is, with status 202; then gives the receipt. For who may ask for one, "
    "and auditors.",
    definition="fhirserver-erase-status",
    is_hl7s=False,
    levels=("instance",),
    types=("Patient",),
    perform=_status,
    gives=_GIVES,
)
