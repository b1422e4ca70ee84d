"""`$everything`: a patient's record, or what belongs to one encounter, with what it refers to.

The Patient or Encounter comes first, then the record by id, each row decided as a search decides it; whoever and
whatever the rows of a page refer to is included with them, as far as it is nobody else's. Pages are those of a search:
of one state of the data, each decided anew.

https://hl7.org/fhir/R4/patient-operation-everything.html, https://hl7.org/fhir/R4/encounter-operation-everything.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from urllib.parse import urlencode

from fhirserver import audit
from fhirserver.errors import BadRequest, NotSupported
from fhirserver.interactions.context import Context
from fhirserver.operations.operation import Given, Operation, Page, Parameter, Target
from fhirserver.search import date
from fhirserver.search.stored import SEPARATOR
from fhirserver.store.resource_store import Position, Record
from fhirserver.store.rows import Row
from resources import SUPPORTED
from resources.declaration import compartment

_APART = frozenset({"AuditEvent", "Binary"})
"""The trail is searched by itself, and a Binary read by the address that refers to it."""


def _of_patient(context: Context, target: Target, given: Given) -> Page:
    context.access.admit("read", "Patient")
    row = context.store.read("Patient", target.id or _own(context))
    record = Record(
        row.reference,
        _types(given),
        row.reference,
        since=_instant(context, given, "_since"),
        start=_instant(context, given, "start"),
        end=_instant(context, given, "end", is_last=True),
    )
    return _page(context, target, given, row, record, owners=())


def _of_encounter(context: Context, target: Target, given: Given) -> Page:
    context.access.admit("read", "Encounter")
    row = context.store.read("Encounter", target.id)
    record = Record(
        row.patients[0] if row.patients else "",
        _types(given),
        row.reference,
        since=_instant(context, given, "_since"),
        values=_pointing_to(row.reference),
    )
    return _page(context, target, given, row, record, owners=row.patients)


def _page(context: Context, target: Target, given: Given, first: Row, record: Record, *, owners: Sequence[str]) -> Page:
    count = min(given.one("_count", context.config.page_default), context.config.page_max)
    after = given.after
    is_first = after is None or after.snapshot is None
    is_wanted = is_first and first.type in record.types and (record.since is None or first.last_updated >= record.since)
    position = None if after is None or after.snapshot is None else Position(after.snapshot, after.after)
    held = replace(record, types=[type_ for type_ in record.types if type_ in compartment("Patient")])
    found = context.store.gather(held, count=count - is_wanted, position=position)
    rows = [first, *found.rows] if is_wanted else found.rows
    included = [row for row in context.store.referred(rows, record.types, owners) if row.reference != first.reference]
    address = target.address("everything")
    asked = urlencode(given.pairs)
    given_out = [*rows, *included]
    context.note(audit.operation_events(context.access, first.type, address, given_out, asked, about=first))
    following = None
    if found.next is not None:
        following = context.seal(
            address, given.pairs, count=count, after=found.next.after, snapshot=found.next.snapshot
        )
    total = len(rows) if is_first and following is None else None
    return Page(address, given.pairs, rows, included, total, following)


def _own(context: Context) -> str:
    """The id of the patient for whom the caller acts without naming one."""
    actor = context.access.actor
    own = {actor.launch_patient} if actor.launch_patient else actor.patients
    if actor.kind not in {"patient", "representative"} or len(own) != 1:
        raise NotSupported("Name the patient: Patient/[id]/$everything.")
    return str(next(iter(own))).removeprefix("Patient/")


def _types(given: Given) -> Sequence[str]:
    """The types wanted. Raises BadRequest for a name that is none, NotSupported for one that is kept apart."""
    wanted = [name for value in given.all("_type") for name in value.split(",")]
    for name in wanted:
        if name not in SUPPORTED:
            raise BadRequest(f"_type: {name} is not a resource type of this server.", expression="_type")
        if name in _APART:
            raise NotSupported(f"_type: {name} is not among everything; search or read it.", expression="_type")
    return wanted or [name for name in SUPPORTED if name not in _APART]


def _instant(context: Context, given: Given, name: str, *, is_last: bool = False) -> datetime | None:
    """The first or last millisecond of a date, whose sign of an offset may have become a space in the address."""
    text = given.one(name)
    if text is None:
        return None
    try:
        return date.interval(text.replace(" ", "+"), context.zone)[is_last]
    except ValueError as error:
        raise BadRequest(f"{name} is a date or an instant, not: {text}", expression=name) from error


@cache
def _encounter_parameters() -> Mapping[str, tuple[str, ...]]:
    """By type the parameters that refer to its encounter: those of the published compartment, and `encounter`.

    R4 leaves ImagingStudy and some others out of that compartment.
    """
    published = compartment("Encounter")
    found = {}
    for type_, declaration in SUPPORTED.items():
        names = {*published.get(type_, ()), "encounter", "context"}
        found[type_] = tuple(
            name
            for name in sorted(names & declaration.parameters.keys())
            if "Encounter" in declaration.parameters[name].targets
        )
    return {type_: names for type_, names in found.items() if names}


def _pointing_to(encounter: str) -> dict[str, list[str]]:
    return {
        type_: [f"{name}{SEPARATOR}{encounter}" for name in names] for type_, names in _encounter_parameters().items()
    }


_SINCE = Parameter("_since", "instant", "Only what changed at or after this instant.")
_TYPE = Parameter("_type", "code", "Only resources of these types.", max=None)
_COUNT = Parameter("_count", "positiveInt", "Resources of a page, those that are included apart.")
_RETURN = Parameter("return", "Bundle", "A searchset; the rest is behind its next link.", 1)

OF_PATIENT = Operation(
    name="everything",
    title="The record of a patient, or what belongs to an encounter (everything).",
    about="The record of a patient, with what it refers to.",
    definition="Patient-everything",
    levels=("type", "instance"),
    types=("Patient",),
    perform=_of_patient,
    takes=(
        Parameter("start", "date", "Only care at or after this date; what has no date of care is given in any case."),
        Parameter("end", "date", "Only care up to this date, inclusive."),
        _SINCE,
        _TYPE,
        _COUNT,
    ),
    gives=(_RETURN,),
    paged=True,
)

OF_ENCOUNTER = Operation(
    name="everything",
    title=OF_PATIENT.title,
    about="What belongs to an encounter, with what it refers to.",
    definition="Encounter-everything",
    levels=("instance",),
    types=("Encounter",),
    perform=_of_encounter,
    takes=(_SINCE, _TYPE, _COUNT),
    gives=(_RETURN,),
    paged=True,
)
