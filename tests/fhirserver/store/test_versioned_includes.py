"""Includes through a reference to a version: that version and no other, decided as a read of it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from pymongo import MongoClient

from fhirserver.errors import Gone, NotFound, TooCostly
from fhirserver.store.database import Database
from fhirserver.store.embedded import EmbeddedMongo
from fhirserver.store.expunge import Purge
from fhirserver.store.objects import Objects
from fhirserver.store.resource_store import Page, Position, ResourceStore
from tests.conftest import Region
from tests.fhirserver.store.test_links import DOCTOR, asked, observation, patient, team
from tests.fhirserver.store.test_paging import Commands

MEMBERS = "_include=Observation:has-member"
RESTRICTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
HIDDEN: dict[str, Any] = {"meta": {"security": [RESTRICTED]}}


def refers(id_: str, *members: str, subject: str = "p", **more: Any) -> dict[str, Any]:
    """An Observation that names others, each perhaps in one version: `a/1` is the first version of `a`."""
    references = []
    for member in members:
        name, _, version = member.partition("/")
        references.append({"reference": f"Observation/{name}" + (f"/_history/{version}" if version else "")})
    return observation(id_, subject, "a", **({"hasMember": references} if references else {}), **more)


@pytest.fixture(scope="module")
def record(region: Region) -> Region:
    """Patient p, whom the doctor follows, and q, whom nobody does; Observation a in three versions, and others."""
    region.put({"resourceType": "Organization", "id": "e1", "name": "a"}, by="operator")
    for id_ in "pq":
        region.put(patient(id_))
    region.put(team("p"))
    for code in ("first", "second", "third"):
        region.put(observation("a", "p", code))
    region.put(observation("b", "p", "only"))
    for code in ("1", "2"):
        region.put(observation("foreign", "q", code))
    for id_, versions in (("secret", (HIDDEN, {})), ("closed", ({}, HIDDEN))):
        for more in versions:
            region.put(observation(id_, "p", "a", **more))
    region.put(observation("moved", "q", "a"))
    region.put(observation("moved", "p", "a"))
    for code in ("1", "2"):
        region.put(observation("deleted", "p", code))
    client(region).transact(lambda unit: unit.delete("Observation", "deleted"))
    return region


def client(region: Region) -> ResourceStore:
    return region.store("Client/e1", organization="Organization/e1")


def found(store: ResourceStore, query: str, position: Position | None = None, type_: str = "Observation") -> Page:
    return store.search(asked(type_, query), position=position)


def named(page: Page) -> list[str]:
    """What a page includes: id and version."""
    return [f"{row.id}/{row.version}" for row in page.included]


def included(region: Region, *members: str, who: str = DOCTOR, **more: Any) -> list[str]:
    """What is included of these members of a new Observation."""
    region.put(refers("asked", *members, **more))
    return named(found(region.store(who), f"_id=asked&{MEMBERS}"))


def test_a_reference_to_a_version_includes_that_version(record: Region) -> None:
    assert included(record, "a/1") == ["a/1"]
    (row,) = found(record.store(DOCTOR), f"_id=asked&{MEMBERS}").included
    assert (row.reference, row.patients, row.type) == ("Observation/a", ("Patient/p",), "Observation")
    assert b'"code":"first"' in row.body.replace(b" ", b"")
    assert row.body == record.store(DOCTOR).vread("Observation", "a", 1).body


def test_the_same_is_included_by_every_name(record: Region) -> None:
    record.put(refers("asked", "a/2"))
    for query in ("_include=*", "_include=Observation:*", "_include=Observation:has-member:Observation"):
        assert "a/2" in named(found(record.store(DOCTOR), f"_id=asked&{query}"))
    assert named(found(record.store(DOCTOR), "_id=asked&_include=Observation:has-member:QuestionnaireResponse")) == []


def test_the_present_version_and_older_ones_come_together(record: Region) -> None:
    assert included(record, "a", "a/1", "b", "a/2") == ["a/3", "a/1", "a/2", "b/1"]
    assert included(record, "a/1", "a") == ["a/3", "a/1"]
    record.put(refers("beside", "a"))
    record.put(refers("asked", "a/2"))
    assert named(found(record.store(DOCTOR), f"_id=asked,beside&{MEMBERS}")) == ["a/3", "a/2"]


def test_the_present_version_comes_once_by_whatever_name(record: Region) -> None:
    assert included(record, "a/3") == ["a/3"]
    assert included(record, "a", "a/3") == ["a/3"]
    record.put(refers("itself", "a/3", "a/1"))
    assert named(found(record.store(DOCTOR), f"_id=itself,a&{MEMBERS}")) == ["a/1"]  # a is a match already


def test_a_version_that_is_not_there_is_nothing(record: Region) -> None:
    assert included(record, "a/4", "a/0", "a/01", "a/x", "b/2", "none/1") == []
    assert included(record, "deleted/3", "deleted") == []  # the deletion, and what is deleted


def test_an_older_version_of_what_was_deleted_comes_as_a_read_of_it_does(record: Region) -> None:
    doctor = record.store(DOCTOR)
    assert doctor.vread("Observation", "deleted", 1).version == 1
    with pytest.raises(Gone):
        doctor.vread("Observation", "deleted", 3)
    assert included(record, "deleted/1", "deleted/2", "deleted/3") == ["deleted/1", "deleted/2"]


def test_a_deletion_of_what_came_back_is_nothing(record: Region) -> None:
    record.put(observation("again", "p", "1"))
    client(record).transact(lambda unit: unit.delete("Observation", "again"))
    record.put(observation("again", "p", "3"))
    assert included(record, "again/1", "again/2", "again/3") == ["again/3", "again/1"]


@pytest.mark.parametrize(
    "version",
    ["foreign/1", "foreign/2", "secret/1", "secret/2", "closed/1", "closed/2", "moved/1", "moved/2", "a/1", "a/9"],
)
@pytest.mark.parametrize("who", [DOCTOR, "Practitioner/stranger", "Patient/p", "Client/e1"])
def test_a_version_is_included_exactly_where_a_read_gives_it(record: Region, version: str, who: str) -> None:
    """Versions of another patient, of labels that were taken off or put on, and of a patient corrected since."""
    options = {"organization": "Organization/e1"} if who == "Client/e1" else {}
    record.put(refers("asked", version, "b"))
    id_, _, number = version.partition("/")
    try:
        expected = [f"{id_}/{record.store(who, **options).vread('Observation', id_, int(number)).version}"]
    except NotFound:
        expected = []
    page = found(record.store(who, **options), f"_id=asked&{MEMBERS}")
    assert [one for one in named(page) if one != "b/1"] == (expected if page.rows else [])


def test_what_the_doctor_may_not_see_of_the_versions(record: Region) -> None:
    """The property above, spelt out, so that a read that leaks does not make an include right."""
    assert included(record, "foreign/1", "secret/1", "secret/2", "closed/1", "closed/2", "moved/1", "moved/2") == [
        "moved/2",
        "secret/2",
    ]


def test_a_version_from_before_a_label_carries_it_into_the_audit(record: Region) -> None:
    record.put(refers("asked", "closed/1"))
    (row,) = found(client(record), f"_id=asked&{MEMBERS}").included
    assert row.version == 1
    assert (
        row.facts["labels"]
        == record.store("Client/e1", organization="Organization/e1").read("Observation", "closed").facts["labels"]
        != []
    )


def test_iteration_goes_on_from_the_version_and_not_from_the_present_one(record: Region) -> None:
    record.put(refers("middle", "a/1"))
    record.put(refers("middle", "b"))
    query = f"_id=asked&{MEMBERS}&_include:iterate=Observation:has-member"
    record.put(refers("asked", "middle/1"))
    assert named(found(record.store(DOCTOR), query)) == ["middle/1", "a/1"]
    record.put(refers("asked", "middle/2"))
    assert named(found(record.store(DOCTOR), query)) == ["middle/2", "b/1"]
    record.put(refers("asked", "middle/1", "middle"))
    assert named(found(record.store(DOCTOR), query)) == ["middle/2", "middle/1", "a/1", "b/1"]


def test_iteration_backwards_from_a_version_finds_what_names_that_version(record: Region) -> None:
    for code in ("x", "y"):
        record.put(observation("named", "p", code))
    record.put(refers("by-version", "named/1"))
    record.put(refers("by-other", "named/2"))
    record.put(refers("by-name", "named"))
    record.put(refers("asked", "named/1"))
    query = f"_id=asked&{MEMBERS}&_revinclude:iterate=Observation:has-member"
    assert named(found(record.store(DOCTOR), query)) == ["named/1", "by-version/1"]


def test_nothing_is_gone_through_that_may_not_be_seen(record: Region) -> None:
    record.put(refers("veiled", "b", **HIDDEN))
    record.put(refers("veiled"))
    record.put(refers("asked", "veiled/1"))
    query = f"_id=asked&{MEMBERS}&_include:iterate=Observation:has-member"
    assert named(found(record.store(DOCTOR), query)) == []
    assert named(found(client(record), query)) == ["veiled/1", "b/1"]


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
def test_versions_are_given_in_parts_each_once(record: Region, limit: int) -> None:
    record.put(refers("middle-of-parts", "a", "a/1", "b"))
    record.put(refers("middle-of-parts", "b"))
    record.put(refers("asked", "a", "a/2", "middle-of-parts/1", "secret/1", "moved/2"))
    query = f"_id=asked&{MEMBERS}&_include:iterate=Observation:has-member"
    whole = named(found(record.store(DOCTOR), query))
    assert whole == ["a/3", "a/2", "middle-of-parts/1", "moved/2", "a/1", "b/1"]
    config = replace(record.config, include_max=limit)
    page = found(ResourceStore(record.database, record.access(DOCTOR), config), query)
    given = named(page)
    while page.rest is not None:
        page = found(ResourceStore(record.database, record.access(DOCTOR), config), query, page.rest)
        assert len(page.included) <= limit
        given += named(page)
    assert given == whole


# Later pages


@pytest.fixture
def later(record: Region, request: pytest.FixtureRequest) -> Iterator[tuple[Region, Position, str]]:
    """A first page that is followed by one whose match names versions of an Observation of this test's own."""
    own = f"own-{abs(hash(request.node.name)) % 10_000}"
    for code in ("1", "2"):
        record.put(observation(own, "p", code))
    record.put(refers(f"{own}-a"))
    record.put(refers(f"{own}-b", f"{own}/1", f"{own}/2", f"{own}/3"))
    query = f"_id={own}-a,{own}-b&_sort=_id&_count=1&{MEMBERS}"
    position = found(record.store(DOCTOR), query).next
    assert position is not None
    assert named(found(record.store(DOCTOR), query, position)) == [f"{own}/2", f"{own}/1"]
    yield record, position, query
    record.put(team("p"))


def own_of(query: str) -> str:
    return query.removeprefix("_id=").partition("-a,")[0]


def test_a_later_page_has_the_versions_of_its_state(later: tuple[Region, Position, str]) -> None:
    region, position, query = later
    own = own_of(query)
    region.put(observation(own, "p", "3"))  # named, but not there then; and the second is past by now
    assert named(found(region.store(DOCTOR), query, position)) == [f"{own}/2", f"{own}/1"]


def test_a_later_page_is_decided_anew(later: tuple[Region, Position, str]) -> None:
    region, position, query = later
    own = own_of(query)
    region.put(observation(own, "p", "3", **HIDDEN))
    assert named(found(region.store(DOCTOR), query, position)) == []
    region.put(observation(own, "p", "4"))
    assert named(found(region.store(DOCTOR), query, position)) == [f"{own}/2", f"{own}/1"]
    region.put(team("p", status="inactive"))
    assert found(region.store(DOCTOR), query, position).included == []


def test_a_version_that_was_removed_for_good_is_on_no_later_page(later: tuple[Region, Position, str]) -> None:
    region, position, query = later
    own = own_of(query)
    purge = Purge(("Observation",), own, previous=True)
    removed = region.store("Client/operator", category="operator").expunge(purge, lambda _unit, _rows: None)
    assert removed == 1
    assert named(found(region.store(DOCTOR), query, position)) == [f"{own}/2"]


# Cost


def test_all_versions_of_a_page_are_asked_for_together(record: Region, mongo: EmbeddedMongo) -> None:
    """The same queries for one version and for twenty."""
    for number in range(20):
        for code in ("1", "2"):
            record.put(observation(f"many-{number:02d}", "p", code))
    sent, counts = Commands(), []
    with MongoClient[Any](mongo.uri, event_listeners=[sent], tz_aware=True) as watching:
        watched = Region(Database(watching, record.config.database, Objects(record.config)), record.config)
        for many in (1, 20):
            record.put(refers("asked", *(f"many-{number:02d}/1" for number in range(many))))
            store = watched.store(DOCTOR)
            sent.names.clear()
            assert len(found(store, f"_id=asked&{MEMBERS}").included) == many
            counts.append(sent.names[:])
    assert counts[0] == counts[1]
    assert len(counts[0]) <= 5


def test_more_versions_than_may_be_gone_on_from_are_refused(record: Region) -> None:
    store = ResourceStore(record.database, record.access(DOCTOR), replace(record.config, linked_max=3))
    record.put(refers("asked", "a/1", "a/2", "a/9", "b/1"))
    with pytest.raises(TooCostly):
        found(store, f"_id=asked&{MEMBERS}")
