"""Includes: by every name, in rounds, in parts, and never what the caller may not see."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fhirserver.errors import TooCostly
from fhirserver.store import includes
from fhirserver.store.resource_store import Page, Position, ResourceStore
from tests.conftest import Region
from tests.fhirserver.store.test_links import DOCTOR, asked, observation, patient, study, team


@pytest.fixture(scope="module")
def record(region: Region) -> Region:
    """Patient p, whom the doctor follows, and q, whom nobody does; observations that are parts of each other."""
    region.put({"resourceType": "Organization", "id": "e1", "name": "a"}, by="operator")
    region.put({"resourceType": "Organization", "id": "above", "name": "b"}, by="operator")
    region.put(
        {"resourceType": "Organization", "id": "below", "name": "c", "partOf": {"reference": "Organization/above"}},
        by="operator",
    )
    for id_ in "pq":
        region.put(patient(id_, managingOrganization={"reference": "Organization/below"}))
        region.put(study(f"s-{id_}", id_))
    region.put(team("p"))
    for number in range(12):
        later = {} if number == 0 else {"hasMember": [{"reference": f"Observation/o{number - 1:02d}"}]}
        region.put(observation(f"o{number:02d}", "p", "a", **later))
    region.put(observation("hidden", "q", "a", hasMember=[{"reference": "Observation/o00"}]))
    return region


def found(store: ResourceStore, type_: str, query: str, position: Position | None = None) -> Page:
    return store.search(asked(type_, query), position=position)


def ids(page: Page) -> list[str]:
    return [row.reference for row in page.included]


def limited(region: Region, limit: int, who: str = DOCTOR, **options: Any) -> ResourceStore:
    config = replace(region.config, include_max=limit)
    return ResourceStore(region.database, region.access(who, **options), config)


def test_a_wild_card_includes_by_every_reference(record: Region) -> None:
    doctor = record.store(DOCTOR)
    for value in ("ImagingStudy:*", "*"):
        assert ids(found(doctor, "ImagingStudy", f"_id=s-p&_include={value}")) == ["Patient/p"]
    reverse = ids(found(doctor, "Patient", "_id=p&_revinclude=*"))
    assert {one.partition("/")[0] for one in reverse} == {"CareTeam", "ImagingStudy", "Observation"}
    assert len(ids(found(doctor, "Patient", "_id=p&_revinclude=Observation:*"))) == 12


def test_iteration_goes_on_from_what_was_included(record: Region) -> None:
    doctor = record.store(DOCTOR)
    once = "_id=s-p&_include=ImagingStudy:patient&_include=ImagingStudy:patient"
    assert ids(found(doctor, "ImagingStudy", once)) == ["Patient/p"]
    both = f"{once}&_include:iterate=Patient:organization&_include:iterate=Organization:partof"
    page = found(doctor, "ImagingStudy", both)
    assert ids(page) == ["Patient/p", "Organization/below", "Organization/above"]
    reverse = "_id=above&_revinclude=Organization:partof&_revinclude:iterate=Patient:organization"
    assert ids(found(doctor, "Organization", reverse)) == ["Organization/below", "Patient/p"]


def test_iteration_ends_where_references_go_round(region: Region) -> None:
    for one, other in (("x", "y"), ("y", "x")):
        above = {"reference": f"Organization/{other}"}
        region.put({"resourceType": "Organization", "id": one, "name": one, "partOf": above}, by="operator")
    page = found(region.store(DOCTOR), "Organization", "_id=x&_include:iterate=Organization:partof")
    assert (ids(page), page.is_stopped) == (["Organization/y"], False)


def test_iteration_that_goes_too_deep_says_that_it_stopped(record: Region) -> None:
    page = found(record.store(DOCTOR), "Observation", "_id=o11&_include:iterate=Observation:has-member")
    assert len(page.included) == includes.MOST_ROUNDS
    assert page.is_stopped
    page = found(record.store(DOCTOR), "Observation", "_id=o10&_include:iterate=Observation:has-member")
    assert (len(page.included), page.is_stopped) == (10, False)


def test_what_may_not_be_seen_is_not_included_nor_gone_through(record: Region) -> None:
    doctor = record.store(DOCTOR)
    query = "_id=o00&_revinclude=Observation:has-member&_revinclude:iterate=Observation:has-member"
    assert "Observation/hidden" not in ids(found(doctor, "Observation", query))
    through = "_id=o00&_revinclude=Observation:has-member&_include:iterate=Observation:patient"
    assert "Patient/q" not in ids(found(doctor, "Observation", through))
    his = record.store("Client/e1", organization="Organization/e1")
    assert {"Observation/hidden", "Patient/q"} <= set(ids(found(his, "Observation", through)))


def test_the_rest_of_a_large_include_follows_in_parts(record: Region) -> None:
    store, query = limited(record, 5), "_id=p&_revinclude=Observation:patient"
    page, parts = found(store, "Patient", query), []
    position = page.rest
    assert len(page.included) == 5
    while position is not None:
        part = found(store, "Patient", query, position)
        parts.append(ids(part))
        position = part.rest
    assert [len(part) for part in parts] == [5, 2]
    assert sorted(ids(page) + parts[0] + parts[1]) == [f"Observation/o{number:02d}" for number in range(12)]


def test_the_rest_goes_on_in_the_next_round_of_an_iteration(record: Region) -> None:
    query = "_id=s-p&_include=ImagingStudy:patient&_revinclude:iterate=Observation:patient"
    query += "&_include:iterate=Patient:organization"
    whole = found(record.store(DOCTOR), "ImagingStudy", query)
    for limit in (1, 3, 5):
        store = limited(record, limit)
        page = found(store, "ImagingStudy", query)
        given = ids(page)
        while page.rest is not None:
            page = found(store, "ImagingStudy", query, page.rest)
            given += ids(page)
        assert given == ids(whole)


def test_the_rest_belongs_to_its_page(record: Region) -> None:
    his = limited(record, 1, "Client/e1", organization="Organization/e1")
    query = "_id=s-p,s-q&_sort=_id&_count=1&_include=ImagingStudy:patient&_revinclude:iterate=Observation:patient"
    first = found(his, "ImagingStudy", query)
    second = found(his, "ImagingStudy", query, first.next)
    assert ids(second) == ["Patient/q"]
    assert second.rest is not None
    assert ids(found(his, "ImagingStudy", query, second.rest)) == ["Observation/hidden"]


def test_the_rest_is_of_the_state_of_its_page_and_decided_anew(region: Region) -> None:
    for number in range(6):
        region.put(patient(f"r{number}"))
        region.put(team(f"r{number}"))
        region.put(study(f"r{number}", f"r{number}", procedureCode=[{"text": "rest"}]))
    store, query = limited(region, 2), "_id=r0,r1,r2,r3,r4,r5&_include=ImagingStudy:patient"
    page = found(store, "ImagingStudy", query)
    assert ids(page) == ["Patient/r0", "Patient/r1"]

    region.put(patient("r00"))
    region.put(team("r00"))
    region.put(study("r5", "r00"))  # refers elsewhere now, but did not then
    region.put(team("r3", status="inactive"))

    second = found(store, "ImagingStudy", query, page.rest)
    third = found(store, "ImagingStudy", query, second.rest)
    assert (ids(second), ids(third), third.rest) == (["Patient/r2", "Patient/r4"], ["Patient/r5"], None)


def test_an_iteration_over_too_much_is_refused(record: Region) -> None:
    config = replace(record.config, include_max=2, linked_max=3)
    store = ResourceStore(record.database, record.access(DOCTOR), config)
    query = "_id=p&_revinclude=Observation:patient&_include:iterate=Observation:encounter"
    position: Position | None = None
    for _ in range(5):
        position = found(store, "Patient", query, position).rest
    with pytest.raises(TooCostly):
        found(store, "Patient", query, position)
