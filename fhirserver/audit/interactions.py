"""Events of the RESTful interactions: https://profiles.ihe.net/ITI/BALP/content.html, sections 3:5.7.1 to 3:5.7.5.

One event for each patient whose record was disclosed or changed, so that each may read their own and nobody else's
name; one without a patient where nobody's record was.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Final
from urllib.parse import parse_qsl

from consent.decision import Decision
from fhirserver.access import Access, visibility
from fhirserver.audit import codes, parts
from fhirserver.audit.caller import Caller, Moment
from fhirserver.audit.decisions import consent_events
from fhirserver.audit.event import Event, event
from fhirserver.audit.hidden import Labels, disclosed, labels_of, told_of
from fhirserver.audit.parts import Entity, Shape, frozen
from fhirserver.errors import BadRequest
from fhirserver.search.links import Has, Last, first_step
from fhirserver.store.rows import Row

# A search may name any number of patients; the trail of those beyond this many is not written.
MOST_NAMED_PATIENTS: Final = 50

_REST = frozen(codes.REST)
_PROFILES: Final[Mapping[str, str]] = {
    "read": "Read",
    "vread": "Read",
    "search": "Query",
    "search-system": "Query",
    "create": "Create",
    "update": "Update",
    "patch": "Update",
    "delete": "Delete",
}
# The code of http://hl7.org/fhir/restful-interaction, and the action, of each of our interactions.
_INTERACTIONS: Final[Mapping[str, tuple[str, parts.Action, parts.Role]]] = {
    "read": ("read", "R", "read"),
    "vread": ("vread", "R", "read"),
    "history": ("history-instance", "R", "read"),
    "history-type": ("history-type", "E", "query"),
    "history-system": ("history-system", "E", "query"),
    "search": ("search-type", "E", "query"),
    "search-system": ("search-system", "E", "query"),
    "operation": ("operation", "E", "query"),
    "create": ("create", "C", "create"),
    "update": ("update", "U", "update"),
    "patch": ("patch", "U", "update"),
    "delete": ("delete", "D", "delete"),
}
# At the end of an address, what reads the trail.
_OF_THE_TRAIL: Final = frozenset({"AuditEvent", "$access-report"})
# To whom the trail tells what the person may know.
_CONCERNED: Final = frozenset({"patient", "representative"})
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
# A Patient in a filter: by a reference, or by an id where the name of the parameter says that it is one.
_IN_FILTER = re.compile(
    r"""(?:\bPatient/|(?:^|[\s(\[.:])(?:(_id)|patient|patient\._id|subject:Patient\._id)\s+(?:eq|re)\s+"?)"""
    r"""([A-Za-z0-9\-.]{1,64})(?![\w/])""",
    re.ASCII,
)


def read_events(access: Access, row: Row, decision: Decision, interaction: str = "read") -> list[Event]:
    """A read, vread or history of one resource was permitted by `decision`.

    Where a Consent determined the decision, its AuthZconsent events follow.
    """
    reference = f"{row.type}/{row.id}" if interaction == "read" else f"{row.type}/{row.id}/_history/{row.version}"
    if interaction == "history":
        reference = f"{row.type}/{row.id}"
    events = _events(access, interaction, row, parts.data(reference, decision.told))
    return events + consent_events(access, interaction, row, decision)


def write_events(access: Access, interaction: str, row: Row) -> list[Event]:
    """A create, update, patch or delete was done; `row` is what it left."""
    return _events(access, interaction, row, parts.data(f"{row.type}/{row.id}/_history/{row.version}"))


def search_events(
    access: Access,
    path: str,
    query_string: str,
    matches: Sequence[Row],
    *,
    included: Sequence[Row] = (),
    labels: Labels = (),
    named: Sequence[str] = (),
    types: Sequence[str] = (),
    are_matches_given: bool = True,
    about: Row | None = None,
) -> list[Event]:
    """A search at `path`, below the FHIR base, was answered with `matches` and what they include.

    What was asked is told, not what was found; the patients are those of the rows and those the query names, and each
    is told how many resources of their own the answer held. Where there are several, or could be by an include, each is
    told the names of the parameters only, for the values may be those of others; an event about nobody then has the
    whole query.

    Resources with labels that say who may see them are counted in events of their own, which carry those labels: to
    whom they are hidden, the search is told as if it had not found them. `labels` are those of the resources by which a
    chain or `_has` found the rows, and count for all of these: that they were found tells of them. `named` are patients
    whom the query names by an identifier that a chain followed. `types` are those searched, where the path does not
    name one. The rest of a large include is given without the matches that are the reason for it. `about` is the
    resource whose compartment it is.
    """
    type_ = "Patient" if "Patient" in types else path.rpartition("/")[2]
    interaction = "search-system" if not path or path.endswith("*") else "search"
    counts = _disclosed(
        type_, query_string, matches, included, labels, named=named, are_matches_given=are_matches_given
    )
    return _query_events(access, interaction, path, query_string, _telling_of(about, counts), _address(about))


def operation_events(
    access: Access,
    type_: str,
    address: str,
    rows: Iterable[Row],
    query_string: str = "",
    labels: Labels = (),
    about: Row | None = None,
    named: Sequence[str] = (),
    *,
    names_patients: bool = True,
) -> list[Event]:
    """An operation at `address` was answered with `rows`, told as a search is; `type_` is empty for the system.

    `about` is the resource of whose record it is, `named` as for a search. Without `names_patients` a patient whom the
    query names is not told: it is then not of their record.
    """
    found = list(rows)
    matches, included = [one for one in found if one.type == type_], [one for one in found if one.type != type_]
    counts = _disclosed(type_, query_string if names_patients else "", matches, included, labels, named=named)
    return _query_events(access, "operation", address, query_string, _telling_of(about, counts), _address(about))


def _address(about: Row | None) -> tuple[str, ...]:
    """The resource that the address names, unless it is a Patient, who is told in any case."""
    return () if about is None or about.type == "Patient" else (about.reference,)


def _telling_of(about: Row | None, counts: Counter[tuple[str, Labels]]) -> Counter[tuple[str, Labels]]:
    """The counts, where the address names a resource that was read: its patients are told, whatever was found there.

    From whom it is hidden, all of it is hidden: the address tells of it. A Patient is told of in any case.
    """
    if about is None:
        return counts
    hiding = () if about.type == "Patient" else visibility(about.facts)
    told: Counter[tuple[str, Labels]] = Counter()
    for (patient, own), count in counts.items():
        told[patient, tuple(dict.fromkeys((*own, *hiding)))] += count
    for patient in about.patients:
        told.setdefault((patient, hiding), 0)
    return told


def _disclosed(
    type_: str,
    query_string: str,
    matches: Sequence[Row],
    included: Sequence[Row],
    labels: Labels = (),
    *,
    named: Sequence[str] = (),
    are_matches_given: bool = True,
) -> Counter[tuple[str, Labels]]:
    told = islice((*_named_patients(type_, query_string), *named), MOST_NAMED_PATIENTS)
    counts: Counter[tuple[str, Labels]] = Counter({(patient, ()): 0 for patient in told})
    for (patient, own), count in disclosed(matches, included, are_matches_given=are_matches_given).items():
        counts[patient, tuple(dict.fromkeys((*own, *labels)))] += count
    return counts


def history_events(access: Access, path: str, query_string: str, rows: Iterable[Row]) -> list[Event]:
    """The history of a type or of the system, at `path`, was answered with `rows`: told as a search is.

    BALP has no pattern for a history. Each patient is told how many versions of their own the answer held.
    """
    interaction = "history-system" if path == "_history" else "history-type"
    counts = Counter((patient, visibility(row.facts)) for row in rows for patient in row.patients)
    return _query_events(access, interaction, path, query_string, counts)


def _query_events(
    access: Access,
    interaction: str,
    path: str,
    query_string: str,
    counts: Counter[tuple[str, Labels]],
    about: Sequence[str] = (),
) -> list[Event]:
    concerned: Sequence[tuple[str | None, Labels]] = tuple(counts) or ((None, ()),)
    names = sorted({name for name, _ in parse_qsl(query_string, keep_blank_values=True)})
    cleaned = f"{path}?{'&'.join(names)}"
    whole = parts.query(f"{path}?{query_string}", cleaned)
    # Whom an include leads to may hang on a row that is hidden from the patient who is told: it decides nothing here.
    is_including = any(name.startswith(("_include", "_revinclude")) for name in names)
    is_shared = bool(counts) and (is_including or len({patient for patient, _ in concerned}) > 1)
    asked = parts.query(cleaned, cleaned) if is_shared else whole
    caller, moment = Caller.of(access), Moment(access.now, access.request_id)
    is_of_trail = path.rpartition("/")[2] in _OF_THE_TRAIL
    extra = (frozen(codes.AUDIT_LOG_USED),) if is_of_trail else ()
    # An auditor is given events that are hidden from the person, whom a number of them would tell so.
    is_counted = not is_of_trail or access.actor.kind in _CONCERNED
    request = parts.request(access.request_id)
    return [
        event(
            _shape(interaction, is_about_patient=patient is not None, extra=extra),
            caller,
            "query",
            moment,
            (whole, request)
            if patient is None
            else (
                asked,
                parts.patient(patient, counts[patient, hiding] if is_counted else None),
                request,
                *parts.sessions_of(access, patient),
            ),
            patient=patient,
            labels=hiding,
            about=about,
            is_access=patient is not None and counts[patient, hiding] > 0,
        )
        for patient, hiding in (*concerned, *([(None, ())] if is_shared else []))
    ]


def _events(access: Access, interaction: str, row: Row, data: Entity) -> list[Event]:
    caller, moment = Caller.of(access), Moment(access.now, access.request_id)
    request = parts.request(access.request_id)
    labels = labels_of(access, interaction, row)
    role = _INTERACTIONS[interaction][2]
    extra = (frozen(codes.AUDIT_LOG_USED),) if row.type == "AuditEvent" else ()
    concerned: Sequence[str | None] = row.patients or (None,)
    return [
        event(
            _shape(interaction, is_about_patient=patient is not None, extra=extra),
            caller,
            role,
            moment,
            (*_entities(data, patient, request), *parts.sessions_of(access, patient)),
            patient=patient,
            labels=labels,
            about=told_of(row),
            is_access=role == "read",
        )
        for patient in concerned
    ]


@cache
def _shape(interaction: str, *, is_about_patient: bool, extra: tuple[tuple[str, str, str], ...]) -> Shape:
    code, action, _ = _INTERACTIONS[interaction]
    profiles: tuple[str, ...] = (codes.OAUTH_MINIMAL,)
    if interaction in _PROFILES:  # BALP has no pattern for histories and operations.
        profiles = (codes.profile(f"{'Patient' * is_about_patient}{_PROFILES[interaction]}"), *profiles)
    return Shape(_REST, action, (frozen(codes.interaction(code)), *extra), profiles=profiles)


def _entities(data: Entity, patient: str | None, request: Entity) -> tuple[Entity, ...]:
    return (data, parts.patient(patient), request) if patient else (data, request)


def named_patients(type_: str, query_string: str) -> frozenset[str]:
    """The patients whom a query names, as references."""
    return frozenset(_named_patients(type_, query_string))


def _named_patients(type_: str, query_string: str) -> Iterator[str]:
    """Patients whom a query names, whether or not anything was found: who looked for them is theirs to know."""
    ids = (id_ for name, values in parse_qsl(query_string) for id_ in _named_ids(type_, name, values))
    return (f"Patient/{id_}" for id_ in islice(ids, MOST_NAMED_PATIENTS))


def _named_ids(type_: str, name: str, values: str) -> Iterator[str]:
    asked, parameter, modifier = _asked(type_, name)
    if parameter == "_filter":
        for found in _IN_FILTER.finditer(values):
            if found[1] is None or asked == "Patient":
                yield found[2]
        return
    for value in values.split(","):
        kind, _, id_ = value.rpartition("/")
        is_typed = kind == "Patient" or kind.endswith("/Patient") or (not kind and modifier == "Patient")
        is_patient = is_typed or (not kind and (parameter == "patient" or (asked, parameter) == ("Patient", "_id")))
        if is_patient and modifier in {None, "Patient"} and _ID.fullmatch(id_):
            yield id_


def _asked(type_: str, name: str) -> tuple[str | None, str, str | None]:
    """The type of what a parameter is asked of, its own name and its modifier, at the end of the references followed.

    A reference that does not say its type leads to a Patient where it has that name, and else to nothing we know.
    """
    of: str | None = type_
    try:
        while not isinstance(step := first_step(name), Last):
            if isinstance(step, Has):
                of = step.type
            else:
                of = step.type or ("Patient" if step.param in {"patient", "subject"} else None)
            name = step.rest
    except BadRequest:  # a name that cannot be read and that leniency passed over
        return None, name, None
    return of, step.name, step.modifier
