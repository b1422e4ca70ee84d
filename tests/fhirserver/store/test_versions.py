"""Histories of types and of all: in order, each version once, and nothing that may not be seen."""

from __future__ import annotations

import itertools
import random
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from fhirserver.errors import NotFound, NotSupported
from fhirserver.store import versions
from fhirserver.store.rows import Row
from fhirserver.store.versions import Span
from tests.conftest import NOW, Region

DOCTOR = "Practitioner/d"
TYPES = ("ImagingStudy", "Patient", "CareTeam")
END = NOW + timedelta(minutes=500)
"""After the last version of the record; what tests write comes later."""

_EARLY, _LATE = itertools.count(1), itertools.count(501)


def early() -> datetime:
    return NOW + timedelta(minutes=next(_EARLY))


def later() -> datetime:
    return NOW + timedelta(minutes=next(_LATE))


def study(id_: str, patient: str, **more: Any) -> dict[str, Any]:
    subject = {"reference": f"Patient/{patient}"}
    return {"resourceType": "ImagingStudy", "id": id_, "status": "available", "subject": subject, **more}


def team(patient: str, doctor: str = DOCTOR, status: str = "active") -> dict[str, Any]:
    return {
        "resourceType": "CareTeam",
        "id": f"team-{patient}",
        "status": status,
        "subject": {"reference": f"Patient/{patient}"},
        "participant": [{"member": {"reference": doctor}}],
    }


@pytest.fixture(scope="module")
def record(region: Region) -> Region:
    """The doctor follows p and nobody follows x; studies of both, some of several versions, one deleted."""
    for patient in ("p", "x"):
        region.put({"resourceType": "Patient", "id": patient}, now=early())
    region.put(team("p"), now=early())
    for number in range(6):
        for description in ("first", "second", "third")[: 1 + number % 3]:
            for patient in ("p", "x"):
                region.put(study(f"{patient}{number}", patient, description=description), now=early())
    client = region.store("Client/e1", organization="Organization/e1", now=early())
    client.transact(lambda unit: unit.delete("ImagingStudy", "p1"))
    return region


def named(rows: list[Row]) -> list[str]:
    return [f"{row.reference}/{row.version}" for row in rows]


def pages(region: Region, who: str, types: tuple[str, ...], span: Span, **options: Any) -> list[list[str]]:
    """All pages, each asked of a store of its own, as requests are."""
    found, after = [], None
    while True:
        asked = Span(span.count, span.since, span.before, span.current_in, span.oldest_first, after)
        page = region.store(who, now=NOW + timedelta(days=1), **options).history_of(types, asked)
        found.append(named(page.rows))
        after = page.next
        if after is None:
            return found


def one(region: Region, who: str, types: tuple[str, ...], span: Span, **options: Any) -> list[str]:
    return list(itertools.chain(*pages(region, who, types, span, **options)))


OF_P = [
    *("ImagingStudy/p1/3", "ImagingStudy/p5/3", "ImagingStudy/p5/2", "ImagingStudy/p5/1"),
    *("ImagingStudy/p4/2", "ImagingStudy/p4/1", "ImagingStudy/p3/1", "ImagingStudy/p2/3", "ImagingStudy/p2/2"),
    *("ImagingStudy/p2/1", "ImagingStudy/p1/2", "ImagingStudy/p1/1", "ImagingStudy/p0/1"),
]


@pytest.mark.parametrize("count", [1, 2, 5, 100])
def test_every_version_comes_once_and_the_newest_first(record: Region, count: int) -> None:
    found = pages(record, DOCTOR, ("ImagingStudy",), Span(count, before=END))
    assert list(itertools.chain(*found)) == OF_P
    assert all(len(page) == count for page in found[:-1])


@pytest.mark.parametrize("count", [1, 3, 100])
def test_the_oldest_may_come_first(record: Region, count: int) -> None:
    assert one(record, DOCTOR, ("ImagingStudy",), Span(count, before=END, oldest_first=True)) == OF_P[::-1]


@pytest.mark.parametrize("few", [0, versions.FEW])
@pytest.mark.parametrize("bounds", [(1, 1), (2, 3), (100, 100)])
def test_a_scan_in_small_steps_finds_the_same(
    record: Region, monkeypatch: pytest.MonkeyPatch, bounds: tuple[int, int], few: int
) -> None:
    """Where little may be looked at for one page, pages are shorter and nothing is lost."""
    monkeypatch.setattr(versions, "_LEAST_AT_ONCE", bounds[0])
    monkeypatch.setattr(versions, "_MOST_AT_ONCE", bounds[1])
    monkeypatch.setattr(versions, "MOST_PASSED_OVER", bounds[1])
    monkeypatch.setattr(versions, "FEW", few)
    for oldest_first in (False, True):
        found = one(record, DOCTOR, ("ImagingStudy",), Span(2, before=END, oldest_first=oldest_first))
        assert found == (OF_P[::-1] if oldest_first else OF_P)


def test_the_versions_of_all_types_are_of_those_that_are_asked_and_permitted(record: Region) -> None:
    found = one(record, DOCTOR, TYPES, Span(4, before=END))
    assert [name for name in found if name.startswith("ImagingStudy/")] == OF_P
    assert [name for name in found if not name.startswith("ImagingStudy/")] == ["CareTeam/team-p/1", "Patient/p/1"]
    assert one(record, DOCTOR, TYPES, Span(4, before=END), scope="user/Patient.rs") == ["Patient/p/1"]
    assert one(record, DOCTOR, TYPES, Span(4, before=END), scope="user/Observation.rs") == []


def test_a_stranger_sees_no_version(record: Region) -> None:
    assert pages(record, "Practitioner/stranger", TYPES, Span(5)) == [[]]


def test_an_establishment_sees_the_versions_of_what_it_holds(record: Region) -> None:
    options = {"organization": "Organization/e1"}
    found = one(record, "Client/e1", ("ImagingStudy",), Span(7, before=END), **options)
    assert [name for name in found if "/p" in name] == OF_P
    assert len(found) == len(set(found)) == 2 * len(OF_P) - 1
    assert one(record, "Client/e2", ("ImagingStudy",), Span(7), organization="Organization/e2") == []


def test_instants_bound_what_is_told(record: Region) -> None:
    rows = record.store(DOCTOR).history_of(("ImagingStudy",), Span(100)).rows
    instants = {f"{row.reference}/{row.version}": row.last_updated for row in rows}
    since, before = instants["ImagingStudy/p2/3"], instants["ImagingStudy/p4/2"]
    assert one(record, DOCTOR, ("ImagingStudy",), Span(2, since=since, before=before)) == OF_P[5:8]


def test_versions_that_were_current_in_a_period_are_told(record: Region) -> None:
    rows = record.store(DOCTOR).history_of(("ImagingStudy",), Span(100)).rows
    instants = {f"{row.reference}/{row.version}": row.last_updated for row in rows}
    at = instants["ImagingStudy/p2/2"]
    current_then = ["ImagingStudy/p2/2", "ImagingStudy/p1/2", "ImagingStudy/p0/1"]
    assert one(record, DOCTOR, ("ImagingStudy",), Span(2, current_in=(at, at))) == current_then
    until = instants["ImagingStudy/p2/3"]
    assert one(record, DOCTOR, ("ImagingStudy",), Span(2, current_in=(at, until))) == [
        "ImagingStudy/p2/3",
        *current_then,
    ]
    found = record.store(DOCTOR).history("ImagingStudy", "p2", Span(10, current_in=(at, at)))
    assert named(found.rows) == ["ImagingStudy/p2/2"]


def test_a_version_that_was_another_patients_is_not_told(region: Region, record: Region) -> None:
    record.put(study("moved", "x"), now=later())
    record.put(study("moved", "p"), now=later())
    found = one(record, DOCTOR, ("ImagingStudy",), Span(3))
    assert [name for name in found if "moved" in name] == ["ImagingStudy/moved/2"]
    record.put(study("moved", "x"), now=later())
    assert [name for name in one(record, DOCTOR, ("ImagingStudy",), Span(3)) if "moved" in name] == []


def test_a_version_that_was_labelled_is_not_told_to_who_may_not_see_the_label(record: Region) -> None:
    restricted = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
    record.put(study("labelled", "p", meta={"security": [restricted]}), now=later())
    record.put(study("labelled", "p"), now=later())
    found = one(record, DOCTOR, ("ImagingStudy",), Span(3))
    assert [name for name in found if "labelled" in name] == ["ImagingStudy/labelled/2"]
    record.put(study("labelled", "p", meta={"security": [restricted]}), now=later())
    assert [name for name in one(record, DOCTOR, ("ImagingStudy",), Span(3)) if "labelled" in name] == []


def test_a_relation_that_ends_between_two_pages_ends_the_feed(record: Region) -> None:
    first = record.store(DOCTOR).history_of(("ImagingStudy",), Span(3))
    assert first.next is not None
    record.put(team("p", status="inactive"), now=later())
    rest = record.store(DOCTOR).history_of(("ImagingStudy",), Span(3, after=first.next))
    assert (rest.rows, rest.next) == ([], None)
    record.put(team("p"), now=later())


def test_what_becomes_past_between_two_pages_keeps_its_place(record: Region) -> None:
    """The version that the second page begins with is current when the first is read, and past afterwards."""
    whole = one(record, DOCTOR, ("ImagingStudy",), Span(100))
    first = record.store(DOCTOR).history_of(("ImagingStudy",), Span(3))
    for id_ in ("p0", "p3", "p4"):
        record.put(study(id_, "p", description="changed"), now=later())
    found, after = named(first.rows), first.next
    while after is not None:
        page = record.store(DOCTOR).history_of(("ImagingStudy",), Span(3, after=after))
        found, after = found + named(page.rows), page.next
    assert found == whole


def test_a_version_is_given_with_its_own_bytes(record: Region) -> None:
    record.put(study("bytes", "p", description="before"), now=later())
    record.put(study("bytes", "p", description="after"), now=later())
    rows = record.store(DOCTOR).history_of(("ImagingStudy",), Span(2)).rows
    assert [row.version for row in rows if b'"after"' in row.body] == [2]
    assert [row.version for row in rows if b'"before"' in row.body] == [1]


def test_a_page_past_what_may_be_looked_at_is_short_and_goes_on(
    record: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another patient's versions fill what may be looked at: the page ends, and the next one goes on behind them."""
    monkeypatch.setattr(versions, "_LEAST_AT_ONCE", 3)
    monkeypatch.setattr(versions, "MOST_PASSED_OVER", 3)
    monkeypatch.setattr(versions, "FEW", 0)
    for number in range(12):
        record.put(study("busy", "x", description=str(number)), now=later())
    found = pages(record, DOCTOR, ("ImagingStudy",), Span(2))
    assert [] in found
    monkeypatch.setattr(versions, "FEW", 1_000)  # who may see few resources is not led past those of others
    assert [] not in pages(record, DOCTOR, ("ImagingStudy",), Span(2))
    assert list(itertools.chain(*found))[-len(OF_P) :] == OF_P


@pytest.mark.parametrize("type_", ["AuditEvent", "Binary"])
def test_audit_events_and_binaries_have_no_history_of_their_type(record: Region, type_: str) -> None:
    with pytest.raises(NotSupported):
        record.store(DOCTOR).history_of((type_, "Patient"), Span(1))


def test_the_feed_goes_by_indexes(record: Region) -> None:
    """The planner is asked: no sort, and no reading of rows in any other way than by an index."""
    reader = versions.VersionReader(record.database, record.access(DOCTOR))
    for types, index in ((("ImagingStudy",), versions.BY_UPDATE), (TYPES, versions.BY_CHANGE)):
        visible = reader._visible(types)
        current = record.database.resources.find({"$and": [visible]}).sort([("lu", -1), ("_id", 1)]).hint(index)
        past = record.database.history.find(versions._of_types(types)).sort([("lu", -1), ("r", 1)])
        for found in (current.limit(5), past.hint(versions.BY_CHANGE).limit(5)):
            plan = str(found.explain()["queryPlanner"]["winningPlan"])
            assert "IXSCAN" in plan
            assert "'SORT'" not in plan
            assert "COLLSCAN" not in plan


def test_references_to_versions_bring_those_versions_where_they_may_be_seen(record: Region) -> None:
    restricted = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
    for number in range(3):
        security = {"meta": {"security": [restricted]}} if number == 1 else {}
        record.put(study("named", "p", description=str(number), **security), now=later())
    record.put(study("unseen", "x", description="1"), now=later())
    record.put(study("unseen", "x", description="2"), now=later())
    wanted = [f"ImagingStudy/{name}/_history/{number}" for name in ("named", "unseen") for number in range(5)]
    wanted += ["ImagingStudy/p1/_history/2", "ImagingStudy/p1/_history/3", "Binary/b/_history/1", "no reference"]
    found = record.store(DOCTOR, now=NOW + timedelta(days=1)).versions(wanted)
    assert sorted(named(found)) == ["ImagingStudy/named/1", "ImagingStudy/named/3", "ImagingStudy/p1/2"]
    assert {row.version: b'"0"' in row.body for row in found if row.id == "named"} == {1: True, 3: False}
    assert record.store("Practitioner/stranger").versions(wanted) == []
    assert record.store(DOCTOR).versions([]) == []


@pytest.mark.parametrize("seed", range(12))
def test_a_feed_is_what_the_histories_of_all_resources_are_together(
    record: Region, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Against the histories one by one, for spans and bounds drawn by chance."""
    chance = random.Random(seed)
    monkeypatch.setattr(versions, "_LEAST_AT_ONCE", chance.randint(1, 5))
    monkeypatch.setattr(versions, "_MOST_AT_ONCE", chance.randint(1, 8))
    monkeypatch.setattr(versions, "MOST_PASSED_OVER", chance.randint(1, 20))
    monkeypatch.setattr(versions, "FEW", chance.choice((0, 3, 1_000)))

    def instant() -> datetime | None:
        return chance.choice((None, NOW + timedelta(minutes=chance.randint(0, 45), seconds=chance.choice((0, 30)))))

    ends = sorted(filter(None, (instant(), instant())))
    span = Span(
        chance.randint(1, 9),
        since=instant(),
        before=instant() or END,
        current_in=(ends[0], ends[1]) if len(ends) == 2 else None,
        oldest_first=chance.random() < 0.5,
    )
    alone = []
    for reference in record.database.resources.distinct("_id", {"facts.type": {"$in": ["ImagingStudy", "CareTeam"]}}):
        type_, _, id_ = reference.partition("/")
        with suppress(NotFound):
            found = record.store(DOCTOR, now=NOW + timedelta(days=1)).history(type_, id_, replace(span, count=1_000))
            alone += [(row.last_updated, f"{row.reference}/{row.version}") for row in found.rows]
    alone.sort(reverse=not span.oldest_first)
    assert one(record, DOCTOR, ("ImagingStudy", "CareTeam"), span) == [name for _, name in alone]
