"""Pages answer from the state that the first one saw, and give nothing that is not permitted now."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from fhirserver.errors import Gone
from fhirserver.search.expression import Always, Equals
from fhirserver.search.query import Include, Query
from fhirserver.store.database import Database
from fhirserver.store.embedded import EmbeddedMongo
from fhirserver.store.objects import Objects
from fhirserver.store.resource_store import Position, ResourceStore
from tests.conftest import Region

DOCTOR = "Practitioner/d"


def study(number: int, patient: str = "Patient/p", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "ImagingStudy",
        "id": f"s{number:03d}",
        "status": "available",
        "subject": {"reference": patient},
        "started": f"2026-{1 + number // 40:02d}-{1 + number % 40 // 2:02d}",
        **more,
    }


def team(patient: str, doctor: str = DOCTOR, status: str = "active") -> dict[str, Any]:
    return {
        "resourceType": "CareTeam",
        "id": f"team-{patient.partition('/')[2]}",
        "status": status,
        "subject": {"reference": patient},
        "participant": [{"member": {"reference": doctor}}],
    }


@pytest.fixture(scope="module")
def record(region: Region) -> Region:
    """Patients p and q, followed by one doctor, with 25 studies of p."""
    for patient in ("p", "q"):
        region.put({"resourceType": "Patient", "id": patient})
        region.put(team(f"Patient/{patient}"))
    for number in range(25):
        region.put(study(number))
    return region


def pages(store: ResourceStore, query: Query, *between: Any) -> list[list[str]]:
    """The ids of all pages; `between` are called after the first, second, ... page."""
    actions = list(between)
    found, position = [], None
    while True:
        page = store.search(query, position=position)
        found.append([row.id for row in page.rows])
        position = page.next
        if position is None:
            return found
        if actions:
            actions.pop(0)()


def by(*sort: tuple[str, bool], count: int = 10, **more: Any) -> Query:
    return Query("ImagingStudy", Always(), count, sort, **more)


@pytest.mark.parametrize(
    "sort", [(), (("started", True),), (("started", False),), (("_id", True),), (("status", False),)]
)
def test_every_row_stands_on_exactly_one_page_whatever_the_order(record: Region, sort: Any) -> None:
    found = pages(record.store(DOCTOR), by(*sort))
    assert [len(page) for page in found] == [10, 10, 5]
    assert len({id_ for page in found for id_ in page}) == 25


def test_a_descending_sort_is_the_ascending_one_reversed_up_to_equal_keys(record: Region) -> None:
    newest = [id_ for page in pages(record.store(DOCTOR), by(("started", True), ("_id", True))) for id_ in page]
    oldest = [id_ for page in pages(record.store(DOCTOR), by(("started", False), ("_id", False))) for id_ in page]
    assert newest == oldest[::-1]


def test_rows_without_the_sort_key_are_neither_lost_nor_repeated(record: Region) -> None:
    undated = study(50)
    del undated["started"]
    record.put(undated)
    for descending in (True, False):
        found = [id_ for page in pages(record.store(DOCTOR), by(("started", descending), count=7)) for id_ in page]
        assert sorted(found) == sorted({*found})
        assert "s050" in found
    record.store("Client/e1", organization="Organization/e1").transact(lambda unit: unit.delete("ImagingStudy", "s050"))


def test_what_is_written_between_two_pages_does_not_move_the_rest(record: Region) -> None:
    store = record.store(DOCTOR)
    found = pages(store, by(), lambda: record.put(study(90)), lambda: record.put(study(91)))
    seen = [id_ for page in found for id_ in page]
    assert "s090" not in seen
    assert len(seen) == len(set(seen)) == 25
    client = record.store("Client/e1", organization="Organization/e1")
    for id_ in ("s090", "s091"):
        client.transact(lambda unit, id_=id_: unit.delete("ImagingStudy", id_))


def test_a_relation_that_ends_between_two_pages_ends_the_pages(record: Region) -> None:
    found = pages(record.store(DOCTOR), by(), lambda: record.put(team("Patient/p", status="inactive")))
    assert [len(page) for page in found] == [10, 0]
    record.put(team("Patient/p"))


def test_a_total_counts_what_may_be_seen_and_is_given_when_asked_or_known(record: Region) -> None:
    store = record.store(DOCTOR)
    assert store.search(by()).total is None
    assert store.search(by(total="accurate")).total == 25
    assert store.search(by(count=100)).total == 25
    assert record.store("Practitioner/stranger").search(by(total="accurate")).total == 0


def test_a_count_of_zero_gives_the_total_alone(record: Region) -> None:
    page = record.store(DOCTOR).search(by(count=0))
    assert (page.rows, page.total) == ([], 25)


def test_a_link_that_outlived_its_snapshot_is_gone(record: Region) -> None:
    with pytest.raises(Gone):
        record.store(DOCTOR).search(by(), position=Position((1, 1), (None, "x")))


def test_an_included_row_is_decided_like_any_other(record: Region) -> None:
    restricted = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
    include = Include("ImagingStudy", "patient")
    query = Query("ImagingStudy", Equals("_id\x1f|s001"), 10, includes=(include,))
    assert [row.reference for row in record.store(DOCTOR).search(query).included] == ["Patient/p"]
    record.put({"resourceType": "Patient", "id": "p", "meta": {"security": [restricted]}})
    assert record.store(DOCTOR).search(query).included == []
    record.put({"resourceType": "Patient", "id": "p"})


def test_reverse_includes_bring_what_refers_to_the_page_and_may_be_seen(record: Region) -> None:
    report = {
        "resourceType": "DiagnosticReport",
        "id": "r",
        "status": "final",
        "code": {"text": "report"},
        "subject": {"reference": "Patient/p"},
    }
    record.put(report)
    query = Query("Patient", Always(), 10, includes=(Include("DiagnosticReport", "subject", reverse=True),))
    assert "DiagnosticReport/r" in [row.reference for row in record.store(DOCTOR).search(query).included]
    assert record.store("Practitioner/stranger").search(query).included == []


def test_a_page_that_does_not_fit_into_one_answer_of_the_database_is_whole(region: Region) -> None:
    region.put({"resourceType": "Patient", "id": "large"})
    region.put(team("Patient/large", "Practitioner/large"))
    text = {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{"x" * 900_000}</div>'}
    for number in range(200, 220):
        region.put(study(number, "Patient/large", text=text))
    page = region.store("Practitioner/large").search(by(count=100))
    assert len(page.rows) == page.total == 20


class Commands(CommandListener):
    """The commands that a client sent."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.names.append(event.command_name)

    def succeeded(self, event: CommandSucceededEvent) -> None:
        pass

    def failed(self, event: CommandFailedEvent) -> None:
        pass


def test_a_page_is_one_query(record: Region, mongo: EmbeddedMongo) -> None:
    sent = Commands()
    with MongoClient[Any](mongo.uri, event_listeners=[sent], tz_aware=True) as client:
        watched = Region(Database(client, record.config.database, Objects(record.config)), record.config)
        store = watched.store(DOCTOR)
        sent.names.clear()
        page = store.search(Query("ImagingStudy", Equals("patient\x1fPatient/p"), 10))
        assert len(page.rows) == 10
        assert sent.names == ["find"]


@pytest.fixture(scope="module")
def late(region: Region) -> Region:
    """A hundred studies of one patient, begun on fifty days and written at one instant."""
    region.put({"resourceType": "Patient", "id": "late"})
    region.put(team("Patient/late", "Practitioner/late"))
    for number in range(100):
        region.put(study(number, "Patient/late", id=f"late{number:03d}"))
    return region


@pytest.mark.parametrize("sort", [(("started", True),), ()], ids=["by day", "of one instant"])
def test_a_late_page_looks_at_no_more_rows_than_an_early_one(late: Region, sort: Any) -> None:
    store, database = late.store("Practitioner/late", organization="Organization/e1"), late.database.database
    database.command("profile", 2)
    found = pages(store, by(*sort))
    database.command("profile", 0)
    read = {"op": "query", "command.find": "resources", "command.readConcern.level": "snapshot"}
    looked_at = [one["keysExamined"] for one in database["system.profile"].find(read)]
    database["system.profile"].drop()
    assert ([len(page) for page in found], len(looked_at)) == ([10] * 10, 10)
    assert max(looked_at) <= 20
