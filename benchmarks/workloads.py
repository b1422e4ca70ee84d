"""What is asked: the same requests of the server and of the floor, the server's with a token.

Goals are multiples of the floor's processor time, in the same run, with token, decision and durable audit included.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

import orjson

from benchmarks import data, load

FHIR_JSON = "application/fhir+json"
JSON_PATCH = "application/json-patch+json"

# Numbers of resources that are created, far above those of any region.
_NEW = itertools.count(100_000_000)


@dataclass(frozen=True, slots=True)
class Query:
    """One request before it is addressed: method, target below the FHIR base, body and its type."""

    method: str
    target: str
    body: bytes | None = None
    content_type: str = FHIR_JSON


@dataclass(frozen=True, slots=True)
class Workload:
    """A kind of request: its goal as a multiple of the floor, how often a round sends it, and the next one to send.

    `writes` says whose token goes with it: a hospital's system writes, a doctor reads. `rows` is how many entries an
    answer has, where that is looked at before it is measured: a search that finds nothing is quick, too.
    """

    name: str
    goal: float
    count: int
    status: int
    make: Callable[[data.Region, random.Random], Query]
    writes: bool = False
    rows: range | None = None
    connections: int = 8

    def queries(self, region: data.Region, seed: int, count: int) -> Iterator[Query]:
        """`count` requests, the same for the same seed, but for the numbers of what is created."""
        chance = random.Random(seed)
        return (self.make(region, chance) for _ in range(count))


def wire(query: Query, host: str, token: str | None) -> bytes:
    """The request as it is sent to one of the programs."""
    headers = {"Accept": FHIR_JSON}
    if query.body is not None:
        headers["Content-Type"] = query.content_type
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return load.request(query.method, f"/fhir{query.target}", host=host, headers=headers, body=query.body)


def _read(region: data.Region, chance: random.Random) -> Query:
    return Query("GET", f"/Patient/bench-p{chance.randrange(region.patients)}")


def _search20(region: data.Region, chance: random.Random) -> Query:
    return Query("GET", f"/ImagingStudy?patient=Patient/bench-p{chance.choice(region.with_many())}&_count=20")


def _ident(region: data.Region, chance: random.Random) -> Query:
    token = f"{data.IDENTIFIER_SYSTEM}|{data.identifier_of(chance.randrange(region.patients))}"
    return Query("GET", f"/Patient?identifier={quote(token, safe=':')}")


def _create_patient(_region: data.Region, _chance: random.Random) -> Query:
    return Query("POST", "/Patient", data.new_patient(next(_NEW)))


def _create_study(region: data.Region, chance: random.Random) -> Query:
    return Query("POST", "/ImagingStudy", data.new_study(next(_NEW), chance.randrange(region.patients)))


def _transaction(_region: data.Region, _chance: random.Random) -> Query:
    return Query("POST", "", data.new_record(next(_NEW)))


WORKLOADS = (
    Workload("read", 1.8, 2_000, 200, _read),
    Workload("search20", 2.0, 1_000, 200, _search20),
    Workload("ident", 2.0, 1_500, 200, _ident),
    Workload("create_patient", 2.5, 800, 201, _create_patient, writes=True),
    Workload("create_study", 2.5, 800, 201, _create_study, writes=True),
    Workload("transaction", 2.5, 400, 200, _transaction, writes=True),
)


def changes(region: data.Region) -> Workload:
    """Three updates of each of 250 studies, one study after the other: two of the versions are past ones then."""
    studies = [(number, patient) for patient in region.with_many() for number in region.studies_of(patient)]
    queries = iter(
        Query("PUT", f"/ImagingStudy/bench-s{number}", data.changed_study(number, patient, turn))
        for turn in range(3)
        for number, patient in studies[:CHANGED]
    )
    count = 3 * min(CHANGED, len(studies))
    return Workload("changes", 1.0, count, 200, lambda _region, _chance: next(queries), writes=True, connections=1)


CHANGED = 250
"""Studies that are changed before the feed is measured."""


def _to_be_changed(region: data.Region) -> tuple[int, int, int]:
    """A new number, and a study with its patient: requests under way at once are of different patients."""
    turn = next(_NEW)
    patients = region.with_many()
    patient = patients[turn % len(patients)]
    return turn, region.studies_of(patient)[turn // len(patients) % data.MANY], patient


def _update(region: data.Region, _chance: random.Random) -> Query:
    """A whole study, of which one element is another than before."""
    turn, number, patient = _to_be_changed(region)
    return Query("PUT", f"/ImagingStudy/bench-s{number}", data.changed_study(number, patient, turn))


def _patch(region: data.Region, _chance: random.Random) -> Query:
    """That element alone."""
    turn, number, _ = _to_be_changed(region)
    change = [{"op": "replace", "path": "/description", "value": f"Change {turn}"}]
    return Query("PATCH", f"/ImagingStudy/bench-s{number}", orjson.dumps(change), JSON_PATCH)


UPDATE = Workload("update", 1.0, 400, 200, _update, writes=True)
PATCH = Workload("JSON Patch", 1.3, 400, 200, _patch, writes=True)


PAGE = 10
"""Entries of a page where pages far in are measured."""
FAR = 1_000
"""The page that is held against the first."""


def first_page() -> Query:
    """The first page of all patients: every page tells as many trails as another."""
    return Query("GET", f"/Patient?_count={PAGE}")


def page(query: Query) -> Workload:
    """One page, again and again."""
    return Workload("page", 1.1, 400, 200, lambda _region, _chance: query)


def latest_versions(_region: data.Region, _chance: random.Random) -> Query:
    """The latest thousand versions of studies."""
    return Query("GET", "/ImagingStudy/_history?_count=1000")


def latest_studies(_region: data.Region, _chance: random.Random) -> Query:
    """The latest thousand studies."""
    return Query("GET", "/ImagingStudy?_count=1000")


def study_in_json(region: data.Region, chance: random.Random) -> Query:
    """One study as it is stored."""
    return Query("GET", f"/ImagingStudy/bench-s{_study(region, chance)}?_format=json")


def study_in_xml(region: data.Region, chance: random.Random) -> Query:
    """The same study, made into XML."""
    return Query("GET", f"/ImagingStudy/bench-s{_study(region, chance)}?_format=xml")


def _study(region: data.Region, chance: random.Random) -> int:
    return chance.choice(region.studies_of(chance.choice(region.with_many())))


def latest_across_patients(_region: data.Region, _chance: random.Random) -> Query:
    """The latest twenty studies of all patients who are followed."""
    return Query("GET", "/ImagingStudy?_sort=-started&_count=20")


# Searches that follow references, each beside a plain search that finds the same number of rows.


def _two_steps(region: data.Region, chance: random.Random) -> Query:
    """The twenty studies of a patient, by what refers to the patient."""
    number = chance.choice(region.with_many())
    return Query("GET", f"/ImagingStudy?patient._has:CareTeam:patient:_id=bench-t{number}&_count=20")


def _has(region: data.Region, chance: random.Random) -> Query:
    """One patient, by a report of theirs."""
    return Query("GET", f"/Patient?_has:DiagnosticReport:patient:_id=bench-r{chance.randrange(region.studies)}")


def _by_name(region: data.Region, chance: random.Random) -> Query:
    """The twenty studies of a patient, by the patient's identifier."""
    token = f"{data.IDENTIFIER_SYSTEM}|{data.identifier_of(chance.choice(region.with_many()))}"
    return Query("GET", f"/ImagingStudy?patient.identifier={quote(token, safe=':')}&_count=20")


def _with_patient(region: data.Region, chance: random.Random) -> Query:
    """The twenty studies of a patient, with the patient and the endpoints."""
    plain = _search20(region, chance).target
    return Query("GET", f"{plain}&_include=ImagingStudy:patient&_include=ImagingStudy:endpoint")


def _patients20(region: data.Region, chance: random.Random) -> Query:
    """Twenty studies of twenty patients."""
    with_one = [
        number
        for block in chance.sample(region.with_many()[:-1], 2)
        for number in chance.sample(range(block + 1, block + data.ONE_IN), 10)
    ]
    return Query(
        "GET", f"/ImagingStudy?patient={','.join(f'Patient/bench-p{number}' for number in with_one)}&_count=20"
    )


def _with_patients(region: data.Region, chance: random.Random) -> Query:
    """Twenty studies with their twenty patients and the endpoints."""
    plain = _patients20(region, chance).target
    return Query("GET", f"{plain}&_include=ImagingStudy:patient&_include=ImagingStudy:endpoint")


def _with_reports(region: data.Region, chance: random.Random) -> Query:
    """A patient with the twenty reports."""
    token = f"{data.IDENTIFIER_SYSTEM}|{data.identifier_of(chance.choice(region.with_many()))}"
    return Query("GET", f"/Patient?identifier={quote(token, safe=':')}&_revinclude=DiagnosticReport:patient")


def _exactly(count: int) -> range:
    return range(count, count + 1)


_BY_PATIENT = Workload("search20", 2.0, 400, 200, _search20, rows=_exactly(20))
_BY_PATIENTS = Workload("search20 of 20 patients", 2.0, 400, 200, _patients20, rows=_exactly(20))
_BY_IDENTIFIER = Workload("ident", 2.0, 400, 200, _ident, rows=_exactly(1))

CHAIN = Workload("chain", 2.0, 400, 200, _by_name, rows=_exactly(20))

LINKED = (
    (_BY_PATIENT, CHAIN),
    (_BY_PATIENT, Workload("chain of two steps", 2.0, 400, 200, _two_steps, rows=_exactly(20))),
    (_BY_IDENTIFIER, Workload("_has", 2.0, 400, 200, _has, rows=_exactly(1))),
    (_BY_PATIENT, Workload("_include", 2.0, 400, 200, _with_patient, rows=_exactly(20 + 1 + data.ENDPOINTS))),
    # A patient to whom another part wrote has more than one of the twenty.
    (_BY_PATIENTS, Workload("_include", 2.0, 400, 200, _with_patients, rows=range(30, 20 + 20 + data.ENDPOINTS + 1))),
    (_BY_PATIENT, Workload("_revinclude", 2.0, 400, 200, _with_reports, rows=_exactly(1 + 20))),
)
"""The plain search beside which each is measured, and the workload; its goal is a multiple of the plain search."""

GROWING = (*WORKLOADS[:3], CHAIN)
"""What must not be slower in a large region than in a small one."""
