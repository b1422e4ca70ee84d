"""What is asked: the same requests of the server and of the floor, the server's with a token.

Goals are multiples of the floor's processor time, in the same run, with token, decision and durable audit included.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

from benchmarks import data, load

FHIR_JSON = "application/fhir+json"

# Numbers of resources that are created, far above those of any region.
_NEW = itertools.count(100_000_000)


@dataclass(frozen=True, slots=True)
class Query:
    """One request before it is addressed: method, target below the FHIR base, and body."""

    method: str
    target: str
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """A kind of request: its goal as a multiple of the floor, how often a round sends it, and the next one to send.

    `writes` says whose token goes with it: a hospital's system writes, a doctor reads.
    """

    name: str
    goal: float
    count: int
    status: int
    make: Callable[[data.Region, random.Random], Query]
    writes: bool = False

    def queries(self, region: data.Region, seed: int, count: int) -> Iterator[Query]:
        """`count` requests, the same for the same seed, but for the numbers of what is created."""
        chance = random.Random(seed)
        return (self.make(region, chance) for _ in range(count))


def wire(query: Query, host: str, token: str | None) -> bytes:
    """The request as it is sent to one of the programs."""
    headers = {"Accept": FHIR_JSON}
    if query.body is not None:
        headers["Content-Type"] = FHIR_JSON
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


def changes(region: data.Region) -> list[Query]:
    """Three updates of each of 250 studies, one study after the other: two of the versions are past ones then."""
    studies = [(number, patient) for patient in region.with_many() for number in region.studies_of(patient)]
    return [
        Query("PUT", f"/ImagingStudy/bench-s{number}", data.changed_study(number, patient, turn))
        for turn in range(3)
        for number, patient in studies[:CHANGED]
    ]


CHANGED = 250
"""Studies that are changed before the feed is measured."""


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


def _with_reports(region: data.Region, chance: random.Random) -> Query:
    """A patient with the twenty reports."""
    token = f"{data.IDENTIFIER_SYSTEM}|{data.identifier_of(chance.choice(region.with_many()))}"
    return Query("GET", f"/Patient?identifier={quote(token, safe=':')}&_revinclude=DiagnosticReport:patient")


LINKED = (
    ("search20", Workload("chain", 2.0, 400, 200, _by_name)),
    ("search20", Workload("chain of two steps", 2.0, 400, 200, _two_steps)),
    ("ident", Workload("_has", 2.0, 400, 200, _has)),
    ("search20", Workload("_include", 2.0, 400, 200, _with_patient)),
    ("search20", Workload("_revinclude", 2.0, 400, 200, _with_reports)),
)
"""The plain search beside which each is measured, and the workload; its goal is a multiple of the plain search."""
