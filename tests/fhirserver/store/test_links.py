"""Searches that follow references: what is hidden leads nowhere, on any page, and in conditional writes."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import pytest

from fhirserver.config import Config
from fhirserver.errors import TooCostly
from fhirserver.search import expression as e
from fhirserver.search.parse import parse
from fhirserver.search.query import Query
from fhirserver.search.values import extract
from fhirserver.store.resource_store import ResourceStore
from fhirserver.store.unit import Unit
from resources import SUPPORTED
from resources.validation import check
from tests.conftest import Region

PARIS = ZoneInfo("Europe/Paris")
DOCTOR = "Practitioner/d"


def asked(type_: str, query: str, **more: Any) -> Query:
    pairs = [*parse_qsl(query, keep_blank_values=True), *more.items()]
    return parse(SUPPORTED[type_], pairs, handling="strict", zone=PARIS, supported=SUPPORTED)


def found(store: ResourceStore, type_: str, query: str, **more: Any) -> list[str]:
    return sorted(row.id for row in store.search(asked(type_, query, **more)).rows)


def patient(id_: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id_, **more}


def study(id_: str, patient: str, **more: Any) -> dict[str, Any]:
    subject = {"reference": f"Patient/{patient}"}
    return {"resourceType": "ImagingStudy", "id": id_, "status": "available", "subject": subject, **more}


def observation(id_: str, patient: str, code: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": id_,
        "status": "final",
        "code": {"coding": [{"system": "urn:c", "code": code}]},
        "subject": {"reference": f"Patient/{patient}"},
        **more,
    }


def team(patient: str, status: str = "active") -> dict[str, Any]:
    return {
        "resourceType": "CareTeam",
        "id": f"team-{patient}",
        "status": status,
        "subject": {"reference": f"Patient/{patient}"},
        "participant": [{"member": {"reference": DOCTOR}}],
    }


# What a caller may see


@pytest.fixture(scope="module")
def record(region: Region) -> Region:
    """Patients p and q; the doctor follows p only. Each has a study, an observation and an encounter."""
    region.put({"resourceType": "Organization", "id": "e1", "name": "Colmar"}, by="operator")
    for id_, family in (("p", "Durand"), ("q", "Petit")):
        region.put(
            patient(
                id_, name=[{"family": family}], managingOrganization={"reference": "Organization/e1"}, gender="male"
            )
        )
        region.put(study(f"s-{id_}", id_))
        region.put(observation(f"o-{id_}", id_, "flu"))
    region.put(team("p"))
    return region


def test_a_chain_finds_what_a_search_of_its_end_would(record: Region) -> None:
    his = record.store("Client/e1", organization="Organization/e1")
    assert found(his, "ImagingStudy", "patient.family=durand") == ["s-p"]
    assert found(his, "ImagingStudy", "patient.gender=male") == ["s-p", "s-q"]
    assert found(his, "ImagingStudy", "patient.organization.name=colmar") == ["s-p", "s-q"]
    assert found(his, "ImagingStudy", "patient.organization.name=metz") == []
    assert found(his, "ImagingStudy", "_id=s-p,s-q&patient.family:missing=true") == []
    assert found(his, "Patient", "_has:Observation:patient:code=flu") == ["p", "q"]
    assert found(his, "Patient", "_has:Observation:patient:subject:Patient.family=petit") == ["q"]
    assert found(his, "ImagingStudy", "patient._has:Observation:patient:_id=o-p") == ["s-p"]


def test_what_is_hidden_matches_nothing_through_a_chain_and_is_not_counted(record: Region) -> None:
    doctor = record.store(DOCTOR)
    for query in ("patient.family=petit", "patient._has:Observation:patient:_id=o-q"):
        page = doctor.search(asked("ImagingStudy", query, _total="accurate", _sort="-started"))
        assert (page.rows, page.total) == ([], 0)
        assert doctor.count(asked("ImagingStudy", query)) == 0
    assert found(doctor, "Patient", "_id=p,q&_has:ImagingStudy:patient:status=available") == ["p"]


def test_a_chain_through_a_hidden_resource_matches_nothing_though_its_own_end_is_visible(record: Region) -> None:
    """The doctor sees the study of p, and that p's observation is not told by it once it is hidden."""
    hidden = {"security": [{"system": "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/"
                                      "TRE-A07-StatutVisibiliteDocument", "code": "INVISIBLE_PATIENT"}]}  # fmt: skip
    record.put(patient("h"))
    record.put(team("h"))
    record.put(observation("o-h", "h", "hiv", meta=hidden))
    own = record.store("Patient/h")
    if found(own, "Observation", "code=hiv"):
        pytest.fail("the label does not hide: this test says nothing")
    assert found(own, "Patient", "_has:Observation:patient:code=hiv") == []
    assert found(record.store(DOCTOR), "Patient", "_has:Observation:patient:code=hiv") == ["h"]


def test_a_type_that_the_token_does_not_cover_matches_nothing_in_the_store(record: Region) -> None:
    store = record.store(DOCTOR, scope="user/ImagingStudy.rs")
    assert found(store, "ImagingStudy", "patient.family=durand") == []
    assert found(store, "ImagingStudy", "_id=s-p,s-q") == ["s-p"]


def test_a_list_shows_its_entries_to_who_may_read_it(record: Region) -> None:
    items = [{"item": {"reference": f"ImagingStudy/s-{id_}"}} for id_ in "pq"]
    shared = {"resourceType": "List", "status": "current", "mode": "working"}
    record.put({**shared, "id": "l-p", "subject": {"reference": "Patient/p"}, "entry": items})
    record.put({**shared, "id": "l-q", "subject": {"reference": "Patient/q"}, "entry": items})
    his, doctor = record.store("Client/e1", organization="Organization/e1"), record.store(DOCTOR)

    assert found(his, "ImagingStudy", "_list=l-p") == ["s-p", "s-q"]
    assert found(doctor, "ImagingStudy", "_list=l-p") == ["s-p"]
    assert found(doctor, "ImagingStudy", "_list=l-q") == found(doctor, "ImagingStudy", "_list=none") == []


def test_too_many_resources_on_the_way_are_refused_and_hidden_ones_do_not_count(record: Region) -> None:
    narrow = Config(**{**{n: getattr(record.config, n) for n in record.config.__slots__}, "linked_max": 1})
    his = ResourceStore(record.database, record.access("Client/e1", organization="Organization/e1"), narrow)
    doctor = ResourceStore(record.database, record.access(DOCTOR), narrow)

    with pytest.raises(TooCostly, match="leads to more than 1"):
        his.search(asked("ImagingStudy", "patient.gender=male"))
    assert found(doctor, "ImagingStudy", "patient.gender=male") == ["s-p"]


# Pages


def test_pages_of_a_chain_neither_lose_nor_repeat_while_its_ends_change(region: Region) -> None:
    for number in range(12):
        region.put(patient(f"m{number:02d}", name=[{"family": "Moreau"}]))
        region.put(team(f"m{number:02d}"))
        region.put(study(f"m{number:02d}", f"m{number:02d}", started=f"2026-01-{number + 1:02d}"))
    store, query = region.store(DOCTOR), asked("ImagingStudy", "patient.family=moreau", _sort="started", _count="5")

    first = store.search(query)
    region.put(patient("m00", name=[{"family": "Other"}]))  # was on the first page
    region.put(patient("m05", name=[{"family": "Other"}]))  # no longer meets, but did in this state
    region.put(patient("new", name=[{"family": "Moreau"}]))
    region.put(team("new"))
    region.put(study("new", "new", started="2026-01-06"))
    region.put(team("m07", status="inactive"))  # refused from now on
    second = store.search(query, position=first.next)
    third = store.search(query, position=second.next)

    assert [row.id for row in first.rows] == [f"m{number:02d}" for number in range(5)]
    assert [row.id for row in second.rows] == ["m05", "m06", "m08", "m09", "m10"]
    assert ([row.id for row in third.rows], third.next) == (["m11"], None)


def test_what_led_to_a_row_is_asked_for_again_on_each_page(region: Region) -> None:
    """The organisation stays visible, the study too; the observation that leads to it is deleted, then nothing is."""
    for number in range(4):
        region.put(patient(f"n{number}"))
        region.put(observation(f"n{number}", f"n{number}", "measles"))
        region.put(study(f"n{number}", f"n{number}", started=f"2026-01-{number + 1:02d}"))
    his = region.store("Client/e1", organization="Organization/e1")
    query = asked("ImagingStudy", "patient._has:Observation:patient:code=measles", _sort="started", _count="2")
    first = his.search(query)

    his.transact(lambda unit: unit.delete("Observation", "n2"))

    assert [row.id for row in his.search(query, position=first.next).rows] == ["n3"]


# Conditional writes


def test_criteria_that_follow_references_see_what_the_transaction_sees(region: Region) -> None:
    region.put(patient("c", name=[{"family": "Caron"}]))
    region.put(study("s-c", "c"))
    his = region.store("Client/e1", organization="Organization/e1")
    criteria = asked("ImagingStudy", "patient.family=caron")
    parsed = check("Patient", json.dumps(patient("c", name=[{"family": "Dupond"}])).encode())

    def work(unit: Unit) -> tuple[list[str], e.Expression]:
        return [row.id for row in unit.match(criteria)], unit.followed(criteria)

    assert his.transact(work) == (["s-c"], e.Equals("patient\x1fPatient/c"))
    his.transact(lambda unit: unit.update(parsed, "c"))
    assert his.transact(work) == ([], e.Never())


def test_values_that_were_written_are_those_that_are_followed(record: Region) -> None:
    stored = record.database.resources.find_one({"_id": "ImagingStudy/s-q"})
    assert stored is not None
    assert stored["tk"] == extract(SUPPORTED["ImagingStudy"], json.loads(stored["b"]), PARIS).tk


# What it costs


def test_a_reverse_chain_reads_what_meets_its_criterion_and_not_all_that_refers(record: Region) -> None:
    for number in range(30):
        record.put(observation(f"many-{number}", "p", "many"))
    store, database = record.store(DOCTOR), record.database.database
    database.command("profile", 2)
    try:
        assert found(store, "Patient", "_has:Observation:patient:_id=many-7") == ["p"]
    finally:
        database.command("profile", 0)
    read = {"op": "query", "ns": record.database.resources.full_name}
    assert max(one["docsExamined"] for one in database["system.profile"].find(read)) == 1
