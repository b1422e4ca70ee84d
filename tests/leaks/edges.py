"""Every route, and every way to ask it about a record.

An edge says how one request about a record is made. `rule` is the router's own rule, so that a test can say which
routes have no edge.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

from fhirserver.demo.http import FHIR_JSON, Answer, Caller
from resources import SUPPORTED
from resources.declaration import SearchParameter
from tests.leaks.world import HOME, TYPES, Record

REQUEST_ID: Final = "leaks-0123456789abcdef"
DICOM_JSON: Final = "application/dicom+json"
ANY_DICOM: Final = 'multipart/related; type="application/dicom"; transfer-syntax=*'
FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str | None = None
    accept: str = FHIR_JSON


@dataclass(frozen=True, slots=True)
class Edge:
    """A way to ask about a record: `about` are the types it may tell of.

    `tells` says that the answer differs for who may see the record: a test that holds the suite itself to account.
    """

    name: str
    method: str
    rule: str
    ask: Callable[[Record], Asked]
    about: tuple[str, ...] = TYPES
    tells: bool = True

    def put(self, caller: Caller, record: Record) -> Answer:
        """Ask."""
        asked = self.ask(record)
        return caller.ask(
            self.method,
            asked.path,
            body=asked.body,
            content_type=asked.content_type,
            accept=asked.accept,
            headers={"X-Request-Id": REQUEST_ID, **asked.headers},
        )

    def __str__(self) -> str:
        """As it is called in the name of a test."""
        return self.name


INSTANCE: Final = "/fhir/<type>/<id>"
VERSION: Final = f"{INSTANCE}/_history/<version_id>"
HISTORY: Final = f"{INSTANCE}/_history"
TYPE: Final = "/fhir/<type>"
TYPE_HISTORY: Final = f"{TYPE}/_history"
SYSTEM_HISTORY: Final = "/fhir/_history"
SEARCH: Final = f"{TYPE}/_search"
BASE: Final = "/fhir"


def _query(pairs: Mapping[str, str]) -> str:
    return urlencode(pairs, safe=",:/|", quote_via=quote)


# One resource

_LOOKED_AT_CLOSELY: Final = ("Patient", "Consent", "ImagingStudy", "DiagnosticReport")


def _instances() -> Iterator[Edge]:
    ways: tuple[tuple[str, str, str, str, Mapping[str, str]], ...] = (
        ("read", "GET", INSTANCE, "", {}),
        ("head", "HEAD", INSTANCE, "", {}),
        ("read, any version known", "GET", INSTANCE, "", {"If-None-Match": "*"}),
        ("read, version 1 known", "GET", INSTANCE, "", {"If-None-Match": 'W/"1"'}),
        ("read, since ever", "GET", INSTANCE, "", {"If-Modified-Since": "Fri, 31 Dec 2100 23:59:59 GMT"}),
        ("vread", "GET", VERSION, "/_history/1", {}),
        ("vread of the second version", "GET", VERSION, "/_history/2", {}),
        ("history", "GET", HISTORY, "/_history", {}),
    )
    for type_ in TYPES:
        for name, method, rule, below, headers in ways if type_ in _LOOKED_AT_CLOSELY else ways[::5]:
            yield Edge(
                f"{name} of {type_}",
                method,
                rule,
                lambda record, type_=type_, below=below, headers=headers: Asked(
                    f"/fhir/{record.reference(type_)}{below}", headers
                ),
                (type_,),
                tells="second" not in name,
            )
    more: tuple[tuple[str, str, str, str], ...] = (
        ("read as a summary", "GET", INSTANCE, "?_summary=true"),
        ("read of some elements", "GET", INSTANCE, "?_elements=status"),
        ("read, indented", "GET", INSTANCE, "?_pretty=true"),
        ("read with an unknown parameter", "GET", INSTANCE, "?nosuch=1"),
        ("vread of a version that never was", "GET", VERSION, "/_history/99"),
        ("vread of no number", "GET", VERSION, "/_history/none"),
        ("head of a version", "HEAD", VERSION, "/_history/1"),
        ("short history", "GET", HISTORY, "/_history?_count=1"),
        ("history since", "GET", HISTORY, "/_history?_since=2020-01-01T00:00:00Z"),
        ("history since tomorrow", "GET", HISTORY, "/_history?_since=2100-01-01T00:00:00Z"),
        ("history from a made-up page", "GET", HISTORY, "/_history?_page=AAAA"),
    )
    for name, method, rule, below in more:
        yield Edge(
            name,
            method,
            rule,
            lambda record, below=below: Asked(f"/fhir/{record.reference('ImagingStudy')}{below}"),
            ("ImagingStudy",),
            tells="unknown" not in name and "no number" not in name and "made-up" not in name and "never" not in name,
        )


def _feeds() -> Iterator[Edge]:
    """The histories of types and of all, which nobody can ask about one record: what they tell has a test of its own.

    They are asked for a time to come, so that what others write meanwhile makes no difference.
    """
    for type_ in _LOOKED_AT_CLOSELY:
        yield Edge(
            f"history of all {type_}s",
            "GET",
            TYPE_HISTORY,
            lambda _, type_=type_: Asked(f"/fhir/{type_}/_history?_since=2100-01-01T00:00:00Z"),
            (type_,),
            tells=False,
        )
    yield Edge(
        "history of everything",
        "GET",
        SYSTEM_HISTORY,
        lambda _: Asked("/fhir/_history?_since=2100-01-01T00:00:00Z"),
        tells=False,
    )


# Searches


def _searches() -> Iterator[Edge]:
    """The ways to name a record in a search, by each parameter type, and what a search can be told to add."""
    asked: tuple[tuple[str, str, Callable[[Record], Mapping[str, str]]], ...] = (
        ("by _id", "ImagingStudy", lambda one: {"_id": one.id("ImagingStudy")}),
        ("by _id, counted", "ImagingStudy", lambda one: {"_id": one.id("ImagingStudy"), "_summary": "count"}),
        ("by _id, no row", "ImagingStudy", lambda one: {"_id": one.id("ImagingStudy"), "_count": "0"}),
        ("by _id, total", "ImagingStudy", lambda one: {"_id": one.id("ImagingStudy"), "_total": "accurate"}),
        ("by _lastUpdated", "Patient", lambda one: {"_id": one.key, "_lastUpdated": "ge2020"}),
        ("by study UID", "ImagingStudy", lambda one: {"identifier": f"urn:dicom:uid|urn:oid:{one.uids[0]}"}),
        ("by series UID", "ImagingStudy", lambda one: {"series": one.uids[1]}),
        ("by instance UID", "ImagingStudy", lambda one: {"instance": one.uids[2]}),
        ("by patient", "ImagingStudy", lambda one: {"patient": one.key}),
        ("by patient reference", "DiagnosticReport", lambda one: {"patient": f"Patient/{one.key}"}),
        ("by subject with a type", "Observation", lambda one: {"subject:Patient": one.key}),
        ("by patient, sorted", "ImagingStudy", lambda one: {"patient": one.key, "_sort": "-started"}),
        ("by patient, some elements", "ImagingStudy", lambda one: {"patient": one.key, "_elements": "status"}),
        ("by patient, a summary", "ImagingStudy", lambda one: {"patient": one.key, "_summary": "true"}),
        ("by patient, by date", "ImagingStudy", lambda one: {"patient": one.key, "started": "ge2020"}),
        ("by patient, by no date", "ImagingStudy", lambda one: {"patient": one.key, "started": "lt2020"}),
        ("by patient, by modality", "ImagingStudy", lambda one: {"patient": one.key, "modality": "CT"}),
        ("by patient, but a modality", "ImagingStudy", lambda one: {"patient": one.key, "modality:not": "CT"}),
        ("by patient, by quantity", "Observation", lambda one: {"patient": one.key, "value-quantity": "gt1"}),
        ("by patient, by composite", "Observation", lambda one: {"code-value-quantity": f"{one.key}$gt1"}),
        ("by encounter length", "Encounter", lambda one: {"patient": one.key, "length": "gt1"}),
        ("by code", "Observation", lambda one: {"code": f"urn:leaks:code|{one.key}"}),
        ("by code text", "DiagnosticReport", lambda one: {"code:text": one.key}),
        ("by identifier", "DiagnosticReport", lambda one: {"identifier": f"urn:leaks|{one.key}"}),
        ("by identifier of a patient", "Patient", lambda one: {"identifier": f"urn:oid:{HOME.oid}|{one.key}"}),
        ("by family name", "Patient", lambda one: {"family:exact": f"Family-{one.key}"}),
        ("by part of a name", "Patient", lambda one: {"name:contains": one.key}),
        ("by city", "Patient", lambda one: {"address-city": one.key}),
        ("by study of a document", "DocumentReference", lambda one: {"related": one.reference("ImagingStudy")}),
        ("by location", "DocumentReference", lambda one: {"location": f"urn:leaks:{one.key}"}),
        ("by description", "DocumentReference", lambda one: {"description": one.key}),
        ("by filter", "ImagingStudy", lambda one: {"_filter": f"_id eq {one.id('ImagingStudy')}"}),
        ("by filter, but others", "Patient", lambda one: {"_id": one.key, "_filter": f"not (_id eq {one.key})"}),
        ("by a part of an identifier", "DiagnosticReport", lambda one: {"_filter": f"identifier ew {one.key}"}),
        ("by words of a report", "DiagnosticReport", lambda one: {"_content": one.key}),
        ("by words of a name", "Patient", lambda one: {"_content": f"Family-{one.key}", "_total": "estimate"}),
        ("by patient, but some words", "ImagingStudy", lambda one: {"patient": one.key, "_content": "NOT nosuchword"}),
        ("by a hierarchy", "Encounter", lambda one: {"_id": one.id("Encounter"), "part-of:above": one.id("Encounter")}),
        ("by canonical quantity", "Observation",
         lambda one: {"patient": one.key, "value-quantity": "gt0.001|http://unitsofmeasure.org|kg"}),
        ("of care teams", "CareTeam", lambda one: {"patient": one.key}),
        ("of Consents", "Consent", lambda one: {"patient": one.key, "status": "active"}),
        ("of related persons", "RelatedPerson", lambda one: {"patient": one.key}),
        ("of the audit trail", "AuditEvent", lambda one: {"patient": f"Patient/{one.key}", "_total": "accurate"}),
        ("of the whole audit trail", "AuditEvent", lambda one: {"patient": f"Patient/{one.key}", "_count": "1000"}),
        ("of the trail of a study", "AuditEvent", lambda one: {"entity": one.reference("ImagingStudy")}),
        ("of a Binary", "Binary", lambda one: {"_id": one.key}),
        ("of documents with their study", "DocumentReference",
         lambda one: {"_id": one.key, "_include": "DocumentReference:related"}),
        ("of documents with the versions that they name", "DocumentReference",
         lambda one: {"patient": one.key, "_include:iterate": "*", "_revinclude:iterate": "DocumentReference:related"}),
        ("of reports with their patient", "DiagnosticReport",
         lambda one: {"patient": one.key, "_include": "DiagnosticReport:patient"}),
        ("of patients with what refers to them", "Patient",
         lambda one: {"_id": one.key, "_revinclude": "ImagingStudy:patient"}),
        ("of observations with their reports", "Observation",
         lambda one: {"_id": one.key, "_revinclude": "DiagnosticReport:result"}),
        ("of a patient with all that refers to them", "Patient",
         lambda one: {"_id": one.key, "_revinclude": "*", "_sort": "_id"}),
        # What refers to the directory would lead to other records, of which a page holds as many as it happens to.
        ("of reports with all they refer to, iterated", "DiagnosticReport",
         lambda one: {"patient": one.key, "_include": "*", "_include:iterate": "*",
                      "_revinclude:iterate": "ImagingStudy:patient"}),
        ("by name of its patient", "ImagingStudy", lambda one: {"patient.family:exact": f"Family-{one.key}"}),
        ("by identifier of its patient", "DiagnosticReport",
         lambda one: {"subject:Patient.identifier": f"urn:oid:{HOME.oid}|{one.key}", "_total": "accurate"}),
        ("by code of what its patient has", "ImagingStudy",
         lambda one: {"patient._has:Observation:patient:code": f"urn:leaks:code|{one.key}", "_sort": "started"}),
        ("by what refers to it", "Patient", lambda one: {"_has:ImagingStudy:patient:_id": one.id("ImagingStudy")}),
        ("by what refers to what refers to it", "Patient",
         lambda one: {"_has:DiagnosticReport:patient:result.code": f"urn:leaks:code|{one.key}"}),
        ("by its reports, counted", "Observation",
         lambda one: {"_has:DiagnosticReport:result:identifier": f"urn:leaks|{one.key}", "_summary": "count"}),
        ("by what is contained", "Specimen",
         lambda one: {"identifier": f"urn:leaks|{one.key}", "_contained": "true", "_total": "accurate"}),
        ("of what is contained", "Specimen",
         lambda one: {"identifier": f"urn:leaks|{one.key}", "_contained": "true", "_containedType": "contained",
                      "_total": "accurate"}),
        ("by a phrase", "ImagingStudy", lambda one: {"_content": f'"study {one.key}"', "_total": "accurate"}),
        ("by what is contained, too", "Specimen",
         lambda one: {"identifier": f"urn:leaks|{one.key}", "_contained": "both", "_summary": "count"}),
    )  # fmt: skip
    for name, type_, pairs in asked:
        about = _told_of(type_, name)
        yield Edge(
            f"search {name}",
            "GET",
            TYPE,
            lambda record, type_=type_, pairs=pairs: Asked(f"/fhir/{type_}?{_query(pairs(record))}"),
            about,
            tells=type_ not in {"AuditEvent", "Binary"}
            and "but" not in name
            and "by no date" not in name
            and "by a hierarchy" not in name
            and "canonical" not in name,
        )
    posted = (asked[0], asked[3], asked[8], asked[24], asked[39], asked[40])
    for name, type_, pairs in posted:
        yield Edge(
            f"search by form {name}",
            "POST",
            SEARCH,
            lambda record, type_=type_, pairs=pairs: Asked(
                f"/fhir/{type_}/_search", body=_query(pairs(record)).encode(), content_type=FORM
            ),
            _told_of(type_, name),
        )
    yield Edge(
        "search head",
        "HEAD",
        TYPE,
        lambda record: Asked(f"/fhir/Patient?_id={record.key}"),
        ("Patient",),
    )


def _together() -> Iterator[Edge]:
    """Searches of compartments and of several types."""
    member = f"{INSTANCE}/<target>"
    asked: tuple[tuple[str, str, str, Callable[[Record], str], tuple[str, ...]], ...] = (
        ("studies of a patient", "GET", member,
         lambda one: f"Patient/{one.key}/ImagingStudy?_total=accurate", ("Patient", "ImagingStudy")),
        ("reports of a patient by study code", "GET", member,
         lambda one: f"Patient/{one.key}/Observation?code=urn:leaks:code|{one.key}&_sort=date",
         ("Patient", "Observation")),
        ("everything of a patient", "GET", member,
         lambda one: f"Patient/{one.key}/*?_total=accurate&_count=100&_sort=_id", TYPES),
        ("observations of an encounter", "GET", member,
         lambda one: f"{one.reference('Encounter')}/Observation?_total=accurate", ("Encounter", "Observation")),
        ("a type that is not in the compartment", "GET", member,
         lambda one: f"Patient/{one.key}/Organization", ("Patient",)),
        ("several types by id", "GET", BASE,
         lambda one: f"?_type=Patient,Observation&_id={one.key},{one.id('Observation')}&_total=accurate",
         ("Patient", "Observation")),
        ("all types by id", "GET", BASE,
         lambda one: f"?_id={one.key},{one.id('ImagingStudy')}&_sort=_id", ("Patient", "ImagingStudy")),
        ("two types by patient", "GET", BASE,
         lambda one: f"?_type=ImagingStudy,DiagnosticReport&patient={one.key}", ("ImagingStudy", "DiagnosticReport")),
    )  # fmt: skip
    for name, method, rule, path, about in asked:
        yield Edge(
            f"search together: {name}",
            method,
            rule,
            lambda record, path=path: Asked(f"/fhir/{path(record)}".replace("/?", "?")),
            about,
            tells="not in the compartment" not in name,
        )
    posted: tuple[tuple[str, str, Callable[[Record], str], Callable[[Record], Mapping[str, str]]], ...] = (
        ("of several types", f"{BASE}/_search", lambda _: "_search", lambda one: {"_type": "Patient", "_id": one.key}),
        ("of a compartment", f"{member}/_search", lambda one: f"Patient/{one.key}/Patient/_search", lambda _: {}),
    )
    for name, rule, path, pairs in posted:
        yield Edge(
            f"search by form {name}",
            "POST",
            rule,
            lambda record, path=path, pairs=pairs: Asked(
                f"/fhir/{path(record)}", body=_query(pairs(record)).encode(), content_type=FORM
            ),
            ("Patient",),
        )


def _told_of(type_: str, name: str) -> tuple[str, ...]:
    if "with their study" in name:
        return ("DocumentReference", "ImagingStudy")
    if "refers to them" in name:
        return ("ImagingStudy",)
    if "their reports" in name or "is contained" in name:
        return ("DiagnosticReport",)
    return TYPES if type_ == "AuditEvent" else (type_,)


# By each parameter of each type: whether a value is there, and a value that fits any type of parameter


def parameters(type_: str) -> Iterator[tuple[str, SearchParameter]]:
    """The search parameters of a type, in order."""
    yield from sorted(SUPPORTED[type_].parameters.items())


def by_parameter(type_: str, name: str, parameter: SearchParameter) -> Iterator[Edge]:
    """Ask for the record's resource of a type by one parameter, whatever its value, and sorted by it."""
    kind = parameter.type
    questions = {} if kind == "composite" else {f"{name}:missing": ("true", "false")}
    if kind in {"date", "number", "quantity"}:
        questions[name] = ("gt1", "lt1") if kind != "date" else ("gt1900", "lt1900")
    for asked, values in questions.items():
        for value in values:
            yield Edge(
                f"{type_}?{asked}={value}",
                "GET",
                TYPE,
                lambda record, asked=asked, value=value: Asked(
                    f"/fhir/{type_}?{_query({'_id': record.id(type_), asked: value, '_total': 'accurate'})}"
                ),
                (type_,),
            )


# Batches


def _bundle(type_: str, *entries: Mapping[str, Any]) -> Asked:
    body = {"resourceType": "Bundle", "type": type_, "entry": list(entries)}
    return Asked("/fhir", body=json.dumps(body).encode(), content_type=FHIR_JSON)


def _get(url: str, **conditions: str) -> dict[str, Any]:
    return {"request": {"method": "GET", "url": url, **conditions}}


def _batches() -> Iterator[Edge]:
    kinds: tuple[tuple[str, Callable[[Record, str], dict[str, Any]]], ...] = (
        ("read", lambda one, type_: _get(one.reference(type_))),
        ("conditional read", lambda one, type_: _get(one.reference(type_), ifNoneMatch="*")),
        ("search", lambda one, type_: _get(f"{type_}?_id={one.id(type_)}&_total=accurate")),
    )
    only_batch: tuple[tuple[str, Callable[[Record, str], dict[str, Any]]], ...] = (
        ("vread", lambda one, type_: _get(f"{one.reference(type_)}/_history/1")),
        ("history", lambda one, type_: _get(f"{one.reference(type_)}/_history")),
    )
    for name, entry in (*kinds, *only_batch):
        yield Edge(
            f"{name} of everything in a batch",
            "POST",
            BASE,
            lambda record, entry=entry: _bundle("batch", *(entry(record, type_) for type_ in TYPES)),
        )
    for name, entry in kinds:
        for type_ in ("Patient", "ImagingStudy"):
            yield Edge(
                f"{name} of {type_} in a transaction",
                "POST",
                BASE,
                lambda record, entry=entry, type_=type_: _bundle("transaction", entry(record, type_)),
                (type_,),
            )


# Writes that leave nothing behind, or the same behind whether or not the record is there


def _resource(type_: str, record: Record, **elements: Any) -> bytes:
    """A valid resource of the caller's own, about nobody unless `elements` say so."""
    plain: Mapping[str, Mapping[str, Any]] = {
        "Patient": {"active": False},
        "Basic": {"code": {"text": "leak"}},
        "Consent": record.resources()["Consent"],
        "Observation": {"status": "final", "code": {"text": "leak"}},
        "CareTeam": {"status": "active"},
    }
    content = {name: value for name, value in plain[type_].items() if name != "id"}
    return json.dumps({**content, "resourceType": type_, **elements}).encode()


def _writes() -> Iterator[Edge]:
    for type_ in ("Patient", "Consent"):
        for name, tag in (("the first version", 'W/"1"'), ("any version", "*"), ("the next version", 'W/"2"')):
            yield Edge(
                f"update of {name} of {type_}",
                "PUT",
                INSTANCE,
                lambda record, type_=type_, tag=tag: Asked(
                    f"/fhir/{record.reference(type_)}",
                    {"If-Match": tag},
                    _resource(type_, record, id=record.id(type_)),
                    FHIR_JSON,
                ),
                (type_,),
                tells=False,
            )
            yield Edge(
                f"update of {name} of {type_} in a transaction",
                "POST",
                BASE,
                lambda record, type_=type_, tag=tag: _bundle(
                    "transaction",
                    {
                        "resource": json.loads(_resource(type_, record, id=record.id(type_))),
                        "request": {"method": "PUT", "url": record.reference(type_), "ifMatch": tag},
                    },
                ),
                (type_,),
                tells=False,
            )
    for type_ in TYPES:
        yield Edge(
            f"delete of {type_}",
            "DELETE",
            INSTANCE,
            lambda record, type_=type_: Asked(f"/fhir/{record.reference(type_)}"),
            (type_,),
            tells=False,
        )
    for name, tag in (("version 1", 'W/"1"'), ("any version", "*")):
        yield Edge(
            f"delete of {name} of Patient",
            "DELETE",
            INSTANCE,
            lambda record, tag=tag: Asked(f"/fhir/{record.reference('Patient')}", {"If-Match": tag}),
            ("Patient",),
            tells=False,
        )
    for kind in ("batch", "transaction"):
        yield Edge(
            f"delete in a {kind}",
            "POST",
            BASE,
            lambda record, kind=kind: _bundle(
                kind, {"request": {"method": "DELETE", "url": record.reference("Patient")}}
            ),
            ("Patient",),
            tells=False,
        )
    yield from _by_criteria_and_patches()
    yield Edge(
        "create where none has the number",
        "POST",
        TYPE,
        lambda record: Asked(
            "/fhir/Patient",
            {"If-None-Exist": f"identifier=urn:oid:{HOME.oid}|{record.key}", "Prefer": "return=minimal"},
            _resource("Patient", record, identifier=[{"system": f"urn:oid:{HOME.oid}", "value": record.key}]),
            FHIR_JSON,
        ),
        ("Patient",),
        tells=False,
    )
    yield Edge(
        "conditional reference",
        "POST",
        BASE,
        lambda record: _bundle(
            "transaction",
            {
                "resource": {
                    "resourceType": "Basic",
                    "code": {"text": "leak"},
                    "subject": {"reference": f"DocumentReference?identifier=urn:leaks|{record.key}"},
                },
                "request": {"method": "POST", "url": "Basic"},
            },
        ),
        ("DocumentReference",),
        tells=False,
    )
    for type_ in ("Observation", "CareTeam", "Consent"):
        yield Edge(
            f"create of {type_} about the patient",
            "POST",
            TYPE,
            lambda record, type_=type_: Asked(
                f"/fhir/{type_}",
                {"Prefer": "return=minimal"},
                _resource(
                    type_,
                    record,
                    **{"patient" if type_ == "Consent" else "subject": {"reference": record.reference("Patient")}},
                ),
                FHIR_JSON,
            ),
            ("Patient",),
            tells=False,
        )


# Operations


def _parameters(**values: Any) -> bytes:
    parts = [{"name": name, f"value{name.capitalize()}": value} for name, value in values.items()]
    return json.dumps({"resourceType": "Parameters", **({"parameter": parts} if parts else {})}).encode()


def _graphql() -> Iterator[Edge]:
    queries: tuple[tuple[str, str, str, str], ...] = (
        ("a read", "", 'Patient(id: "{key}") { id name { family } }', "Patient"),
        ("a list", "", 'ObservationList(patient: "{key}") { id status }', "Observation"),
        ("a total", "", 'ObservationConnection(patient: "{key}") { count edges { mode } }', "Observation"),
        ("a list of its type", "Encounter", 'EncounterList(_id: "{key}") { id }', "Encounter"),
        ("a patient's studies", "Patient/{key}", "ImagingStudyList(_reference: patient) { id status }", "ImagingStudy"),
        ("a report's results", "DiagnosticReport/{key}", "result { resource(optional: true) { id } }", "Observation"),
        ("a report's patient", "DiagnosticReport/{key}", "subject { resource { ... on Patient { id } } }", "Patient"),
    )
    for method in ("GET", "POST"):
        for name, path, query, about in queries:
            level = INSTANCE if "/" in path else TYPE if path else BASE
            yield Edge(
                f"{method} $graphql of {name}",
                method,
                f"{level}/$graphql",
                lambda record, path=path, query=query: Asked(
                    f"{BASE}/{path}/$graphql?query=".replace("//", "/").replace("{key}", record.key)
                    + quote(f"{{ {query.replace('{key}', record.key)} }}"),
                    accept="application/json",
                ),
                (about, "DiagnosticReport") if "report" in name else (about,),
                tells="report" not in name,
            )


def _operations() -> Iterator[Edge]:
    yield from _meta()
    yield from _everything()
    yield from _lastn_document_and_diff()
    yield from _graphql()
    yield from _for_operators()
    yield from _in_emergencies()
    yield from _explanations()
    yield from _reports()
    yield from _consents()
    yield from _links()


def _consents() -> Iterator[Edge]:
    """What establishments and persons say of sharing: nobody who may not say it learns whether there is a record."""
    for name, path, query in (
        ("opposition", "Patient/{key}", "?performer=RelatedPerson/nobody"),
        ("withdraw-opposition", "Patient/{key}", ""),
        ("share", "ImagingStudy/{key}", "?recipient=Practitioner/nobody"),
        ("revoke", "Consent/{key}", ""),
    ):
        yield Edge(
            f"${name}",
            "POST",
            f"{INSTANCE}/${name}",
            lambda record, call=f"{path}/${name}{query}": Asked(f"{BASE}/{call.format(key=record.key)}"),
            (path.partition("/")[0],),
            tells=name.endswith("opposition"),
        )


def _links() -> Iterator[Edge]:
    """What links there are, and one more; what a link opens is asked for by whoever holds it (`outcomes`)."""
    for method in ("GET", "POST"):
        yield Edge(
            f"{method} $links",
            method,
            f"{INSTANCE}/$links",
            lambda record: Asked(f"/fhir/{record.reference('Patient')}/$links"),
            ("Patient",),
        )
    yield Edge(
        "$share by a link",
        "POST",
        f"{INSTANCE}/$share",
        lambda record: Asked(f"/fhir/{record.reference('ImagingStudy')}/$share?link=true"),
        ("ImagingStudy",),
        tells=False,
    )


def _explanations() -> Iterator[Edge]:
    """Why somebody may read a record, and who may: told to the person, who represents them, and operators."""
    for name, query in (("explain-access", "?actor=Practitioner/x"), ("who-can-access", "")):
        for method in ("GET", "POST"):
            yield Edge(
                f"{method} ${name}",
                method,
                f"{INSTANCE}/${name}",
                lambda record, name=name, query=query: Asked(f"/fhir/{record.reference('Observation')}/${name}{query}"),
                ("Observation",),
                tells=False,
            )


def _reports() -> Iterator[Edge]:
    """Who saw what of a record: what is hidden from the person is in no line, and counted nowhere.

    A page of lines has one event: what is done within one minute is one line, and the two worlds have other minutes.
    """
    for name, query in (
        ("events", ""),
        ("events of others", "?own=false&_count=1000"),
        ("lines", "?form=lines&own=false&_count=1"),
        ("a page", "?_format=html&language=en&own=false&_count=1"),
    ):
        for method in ("GET", "POST"):
            yield Edge(
                f"{method} $access-report as {name}",
                method,
                f"{INSTANCE}/$access-report",
                lambda record, query=query: Asked(f"{BASE}/Patient/{record.key}/$access-report{query}"),
                tells=False,
            )


def _meta() -> Iterator[Edge]:
    for type_ in TYPES:
        yield Edge(
            f"$meta of {type_}",
            "GET",
            f"{INSTANCE}/$meta",
            lambda record, type_=type_: Asked(f"/fhir/{record.reference(type_)}/$meta"),
            (type_,),
        )
    yield Edge(
        "$meta by POST",
        "POST",
        f"{INSTANCE}/$meta",
        lambda record: Asked(
            f"/fhir/{record.reference('ImagingStudy')}/$meta", body=_parameters(), content_type=FHIR_JSON
        ),
        ("ImagingStudy",),
    )
    yield Edge(
        "$meta in a batch",
        "POST",
        BASE,
        lambda record: _bundle("batch", *(_get(f"{record.reference(type_)}/$meta") for type_ in TYPES)),
    )
    for method in ("GET", "POST"):
        for rule, path in ((f"{TYPE}/$meta", "/fhir/Observation/$meta"), (f"{BASE}/$meta", "/fhir/$meta")):
            yield Edge(
                f"{method} {path}",
                method,
                rule,
                lambda _record, path=path: Asked(path),
                ("Observation",),
                tells=False,
            )
    for name in ("meta-add", "meta-delete"):
        for type_ in ("Patient", "ImagingStudy"):
            yield Edge(
                f"${name} of {type_}",
                "POST",
                f"{INSTANCE}/${name}",
                lambda record, type_=type_, name=name: Asked(
                    f"/fhir/{record.reference(type_)}/${name}",
                    {"If-Match": 'W/"77"'},  # so that nothing is changed for the next question
                    _parameters(meta={"tag": [{"system": "urn:leaks", "code": "tag"}]}),
                    FHIR_JSON,
                ),
                (type_,),
                tells=False,
            )


def _everything() -> Iterator[Edge]:
    for type_ in ("Patient", "Encounter"):
        for method, query in (("GET", ""), ("GET", "?_count=1"), ("GET", "?_type=ImagingStudy"), ("POST", "")):
            yield Edge(
                f"{method} $everything{query} of {type_}",
                method,
                f"{INSTANCE}/$everything",
                lambda record, type_=type_, query=query: Asked(f"/fhir/{record.reference(type_)}/$everything{query}"),
            )
    for method in ("GET", "POST"):
        yield Edge(
            f"{method} $everything of one's own",
            method,
            f"{TYPE}/$everything",
            lambda _record: Asked("/fhir/Patient/$everything?_count=1000"),
            tells=False,
        )


def _lastn_document_and_diff() -> Iterator[Edge]:
    for method in ("GET", "POST"):
        of_type = (
            ("Observation/$lastn", "Observation/$lastn?patient={key}&category=x", False),
            ("Observation/$lastn", "Observation/$lastn?patient={key}&code=urn:leaks:code|{key}", True),
            ("Composition/$document", "Composition/$document?id={key}", False),
            ("Observation/$diff", "Observation/$diff?from=Observation/{key}&to=Observation/{key}", True),
            ("$diff", "$diff?from=Encounter/{key}&to=Encounter/{key}/_history/1", True),
        )
        for name, path, tells in of_type:
            kind, _, operation = name.rpartition("/")
            yield Edge(
                f"{method} {path}",
                method,
                f"{TYPE if kind else BASE}/{operation}",
                lambda record, path=path: Asked(f"/fhir/{path.format(key=record.key)}"),
                ("Observation", "Encounter"),
                tells=tells,
            )
        for name, path in (("document", "Composition/{key}"), ("diff", "Observation/{key}")):
            yield Edge(
                f"{method} {path}/${name}",
                method,
                f"{INSTANCE}/${name}",
                lambda record, path=path, name=name: Asked(
                    f"/fhir/{path.format(key=record.key)}/${name}{'?fromVersion=1' if name == 'diff' else ''}"
                ),
                ("Observation",),
                tells=name == "diff",
            )


def _for_operators() -> Iterator[Edge]:
    """Operations that nobody else may call: what belongs to nobody is not told of either."""
    for rule, path in ((INSTANCE, "Observation/{key}"), (TYPE, "Observation"), (BASE, "")):
        yield Edge(
            f"$expunge of {path or 'everything'}",
            "POST",
            f"{rule}/$expunge",
            lambda record, path=path: Asked(f"{BASE}/{path.format(key=record.key)}/$expunge".replace("//", "/")),
            ("Observation",),
            tells=False,
        )
    for method, name in (("POST", "erase"), ("GET", "erase-status"), ("POST", "erase-status")):
        yield Edge(
            f"{method} ${name}",
            method,
            f"{INSTANCE}/${name}",
            lambda record, name=name: Asked(f"{BASE}/{record.reference('Patient')}/${name}"),
            ("Patient",),
            tells=False,
        )
    for method, name in (("POST", "reindex"), ("GET", "reindex-status"), ("POST", "reindex-status")):
        for rule, path in ((INSTANCE, "/SearchParameter/{key}"), (BASE, "")):
            yield Edge(
                f"{method} ${name} of {path or 'everything'}",
                method,
                f"{rule}/${name}",
                lambda record, path=path, name=name: Asked(f"{BASE}{path.format(key=record.key)}/${name}"),
                ("Patient",),
                tells=False,
            )
    for method in ("GET", "POST"):
        yield Edge(
            f"{method} $explain-search by id",
            method,
            f"{TYPE}/$explain-search",
            lambda record: Asked(f"{BASE}/Patient/$explain-search?_id={record.key}"),
            ("Patient",),
            tells=False,
        )


def _in_emergencies() -> Iterator[Edge]:
    """Break-glass as far as nothing is begun by it; what a physician is told who begins is in its own tests."""
    yield Edge(
        "end of break-glass",
        "POST",
        f"{INSTANCE}/$break-glass-end",
        lambda record: Asked(f"/fhir/{record.reference('Patient')}/$break-glass-end"),
        ("Patient",),
        tells=False,
    )
    yield Edge(
        "break-glass without a reason",
        "POST",
        f"{INSTANCE}/$break-glass",
        lambda record: Asked(f"/fhir/{record.reference('Patient')}/$break-glass"),
        ("Patient",),
        tells=False,
    )

    yield Edge(
        "review of break-glass",
        "POST",
        f"{INSTANCE}/$break-glass-review",
        lambda record: Asked(f"/fhir/Task/{record.key}/$break-glass-review"),
        ("Patient",),
        tells=False,
    )


def _by_criteria_and_patches() -> Iterator[Edge]:
    """Patches that change nothing, and conditional writes bound to a version that never is."""
    merge, never = "application/merge-patch+json", {"If-Match": 'W/"99"'}
    test = json.dumps([{"op": "test", "path": "/resourceType", "value": "Patient"}]).encode()
    for type_ in TYPES:
        yield Edge(
            f"patch of {type_}",
            "PATCH",
            INSTANCE,
            lambda record, type_=type_: Asked(f"/fhir/{record.reference(type_)}", {}, b"{}", merge),
            (type_,),
            tells=type_ in {"Patient", "ImagingStudy"},
        )
    yield Edge(
        "patch that tests",
        "PATCH",
        INSTANCE,
        lambda record: Asked(f"/fhir/{record.reference('Patient')}", {}, test, "application/json-patch+json"),
        ("Patient",),
    )
    told = b'<diff xmlns:f="http://hl7.org/fhir"><remove sel="f:Patient/f:nosuch"/></diff>'
    yield Edge(
        "patch in XML that does not fit",
        "PATCH",
        INSTANCE,
        lambda record: Asked(f"/fhir/{record.reference('Patient')}", {}, told, "application/xml-patch+xml"),
        ("Patient",),
    )
    number: Callable[[Record], str] = lambda one: f"/fhir/Patient?identifier=urn:oid:{HOME.oid}|{one.key}"  # noqa: E731
    by_id: Callable[[Record], str] = lambda one: f"/fhir/Patient?_id={one.id('Patient')}"  # noqa: E731
    for name, address in (("number", number), ("_id", by_id)):
        yield Edge(
            f"patch by {name}",
            "PATCH",
            TYPE,
            lambda record, address=address: Asked(address(record), {}, b"{}", merge),
            ("Patient",),
        )
        yield Edge(
            f"update by {name}",
            "PUT",
            TYPE,
            lambda record, address=address: Asked(address(record), never, _resource("Patient", record), FHIR_JSON),
            ("Patient",),
        )
        yield Edge(
            f"delete by {name}",
            "DELETE",
            TYPE,
            lambda record, address=address: Asked(address(record), never),
            ("Patient",),
        )
        for kind in ("batch", "transaction"):
            yield Edge(
                f"patch by {name} in a {kind}",
                "POST",
                BASE,
                lambda record, address=address, kind=kind: _bundle(
                    kind,
                    {
                        "resource": {"resourceType": "Parameters"},
                        "request": {"method": "PATCH", "url": address(record).removeprefix("/fhir/")},
                    },
                ),
                ("Patient",),
            )
            yield Edge(
                f"delete by {name} in a {kind}",
                "POST",
                BASE,
                lambda record, address=address, kind=kind: _bundle(
                    kind,
                    {
                        "request": {
                            "method": "DELETE",
                            "url": address(record).removeprefix("/fhir/"),
                            "ifMatch": 'W/"99"',
                        }
                    },
                ),
                ("Patient",),
            )


# DICOMweb

STUDIES: Final = "/dicomweb/studies"
IN_STUDY: Final = f"{STUDIES}/<study>"
IN_SERIES: Final = f"{IN_STUDY}/series/<series>"
IN_INSTANCE: Final = f"{IN_SERIES}/instances/<instance>"
_OF_STUDY: Final = ("ImagingStudy",)


def _address(rule: str, record: Record, **more: str) -> str:
    study, series, instance = record.uids
    for name, value in {"study": study, "series": series, "instance": instance, **more}.items():
        rule = rule.replace(f"<{name}>", value).replace(f"<path:{name}>", value)
    return rule


def _retrievals() -> Iterator[Edge]:
    one_octets = "application/octet-stream"
    places: tuple[tuple[str, str, str, Mapping[str, str]], ...] = (
        ("study", IN_STUDY, ANY_DICOM, {}),
        ("series", IN_SERIES, ANY_DICOM, {}),
        ("instance", IN_INSTANCE, ANY_DICOM, {}),
        ("single instance", IN_INSTANCE, "application/dicom; transfer-syntax=*", {}),
        ("instance, not acceptable", IN_INSTANCE, "image/png", {}),
        ("metadata of study", f"{IN_STUDY}/metadata", DICOM_JSON, {}),
        ("metadata of series", f"{IN_SERIES}/metadata", DICOM_JSON, {}),
        ("metadata of instance", f"{IN_INSTANCE}/metadata", DICOM_JSON, {}),
        ("frame", f"{IN_INSTANCE}/frames/<numbers>", one_octets, {"numbers": "1"}),
        ("frame beyond the last", f"{IN_INSTANCE}/frames/<numbers>", one_octets, {"numbers": "99"}),
        ("frame, no number", f"{IN_INSTANCE}/frames/<numbers>", one_octets, {"numbers": "none"}),
        ("bulk data", f"{IN_INSTANCE}/bulkdata/<path:path>", one_octets, {"path": "60003000"}),
        ("bulk data nowhere", f"{IN_INSTANCE}/bulkdata/<path:path>", one_octets, {"path": "00100010"}),
    )
    for name, rule, accept, more in places:
        for method in ("GET", "HEAD"):
            yield Edge(
                f"{method} {name}",
                method,
                rule,
                lambda record, rule=rule, accept=accept, more=more: Asked(
                    _address(rule, record, **more), accept=accept
                ),
                _OF_STUDY,
                tells=not any(word in name for word in ("beyond", "no number", "nowhere")),
            )
    for rule in (IN_STUDY, IN_SERIES, IN_INSTANCE, f"{IN_INSTANCE}/frames/<numbers>"):
        for kind in ("rendered", "thumbnail"):
            yield Edge(
                f"{kind} of {rule}",
                "GET",
                f"{rule}/{kind}",
                lambda record, rule=rule, kind=kind: Asked(
                    f"{_address(rule, record, numbers='1')}/{kind}", accept="image/jpeg"
                ),
                _OF_STUDY,
                tells=False,
            )


def _matches() -> Iterator[Edge]:
    """Queries by every attribute that may be matched."""
    rows: tuple[tuple[str, str, Callable[[Record], Mapping[str, str]]], ...] = (
        ("study UID", STUDIES, lambda one: {"StudyInstanceUID": one.uids[0]}),
        ("patient id", STUDIES, lambda one: {"PatientID": one.key}),
        ("patient name", STUDIES, lambda one: {"PatientName": f"*{one.key}*"}),
        ("accession number", STUDIES, lambda one: {"AccessionNumber": one.key.upper()[:16]}),
        ("accession number and date", STUDIES,
         lambda one: {"AccessionNumber": one.key.upper()[:16], "StudyDate": "20200101-"}),
        ("accession number and time", STUDIES,
         lambda one: {"AccessionNumber": one.key.upper()[:16], "StudyTime": "000000-235959"}),
        ("study id", STUDIES, lambda one: {"StudyID": one.key.upper()[:16]}),
        ("modality of a study", STUDIES,
         lambda one: {"StudyInstanceUID": one.uids[0], "ModalitiesInStudy": "CT"}),
        ("referring physician", STUDIES,
         lambda one: {"StudyInstanceUID": one.uids[0], "ReferringPhysicianName": "*"}),
        ("everything", STUDIES, lambda one: {"StudyInstanceUID": one.uids[0], "includefield": "all"}),
        ("offset", STUDIES, lambda one: {"PatientID": one.key, "limit": "1", "offset": "0"}),
        ("fuzzy name", STUDIES, lambda one: {"PatientName": one.key, "fuzzymatching": "true"}),
        ("series UID", "/dicomweb/series", lambda one: {"SeriesInstanceUID": one.uids[1]}),
        ("series of a study UID", "/dicomweb/series", lambda one: {"StudyInstanceUID": one.uids[0]}),
        ("modality of a series", "/dicomweb/series",
         lambda one: {"SeriesInstanceUID": one.uids[1], "Modality": "CT"}),
        ("series number", "/dicomweb/series", lambda one: {"SeriesInstanceUID": one.uids[1], "SeriesNumber": "1"}),
        ("instance UID", "/dicomweb/instances", lambda one: {"SOPInstanceUID": one.uids[2]}),
        ("instance of a study UID", "/dicomweb/instances", lambda one: {"StudyInstanceUID": one.uids[0]}),
        ("SOP class", "/dicomweb/instances",
         lambda one: {"SOPInstanceUID": one.uids[2], "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}),
        ("instance number", "/dicomweb/instances",
         lambda one: {"SOPInstanceUID": one.uids[2], "InstanceNumber": "1"}),
        ("series within", f"{IN_STUDY}/series", lambda _: {}),
        ("instances within", f"{IN_STUDY}/instances", lambda _: {}),
        ("instances within a series", f"{IN_SERIES}/instances", lambda _: {}),
        ("one series within", f"{IN_STUDY}/series", lambda one: {"SeriesInstanceUID": one.uids[1]}),
        ("one instance within", f"{IN_STUDY}/instances", lambda one: {"SOPInstanceUID": one.uids[2]}),
    )  # fmt: skip
    for name, rule, pairs in rows:
        yield Edge(
            f"query by {name}",
            "GET",
            rule,
            lambda record, rule=rule, pairs=pairs: Asked(
                f"{_address(rule, record)}?{urlencode(pairs(record))}", accept=DICOM_JSON
            ),
            _OF_STUDY,
            tells=name not in {"referring physician", "fuzzy name"},
        )


EDGES: Final = (
    *_instances(), *_feeds(), *_searches(), *_together(), *_batches(), *_writes(), *_operations(),
    *_retrievals(), *_matches(),
)  # fmt: skip
