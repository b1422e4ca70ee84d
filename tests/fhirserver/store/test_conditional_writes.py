"""Conditional creates and versioned updates that race: no duplicate, no lost update."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fhirserver.errors import PreconditionFailed
from fhirserver.search.expression import Equals
from fhirserver.search.query import Query
from fhirserver.store.unit import Unit
from fhirserver.store.versions import Span
from resources.validation import check
from tests.conftest import Region


def patient(**more: Any) -> Any:
    body = {"resourceType": "Patient", "identifier": [{"system": "urn:oid:1.2", "value": "7"}], **more}
    return check("Patient", json.dumps(body).encode())


def test_racing_conditional_creates_make_one_resource(region: Region) -> None:
    criteria = Query("Patient", Equals("identifier\x1furn:oid:1.2|7"), 2)

    def create(_number: int) -> str:
        def work(unit: Unit) -> str:
            found = unit.match(criteria)
            return found[0].id if found else unit.create(patient()).id

        return region.store("Client/e1", organization="Organization/e1").transact(work)

    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(create, range(40)))
    assert len(ids) == 1
    assert region.store("Client/e1", organization="Organization/e1").count(criteria) == 1


def test_racing_updates_lose_nothing(region: Region) -> None:
    region.put({"resourceType": "Patient", "id": "counter", "multipleBirthInteger": 0})

    def increase(_number: int) -> int:
        while True:
            store = region.store("Client/e1", organization="Organization/e1")
            row = store.read("Patient", "counter")
            count = json.loads(row.body)["multipleBirthInteger"]
            body = {"resourceType": "Patient", "id": "counter", "multipleBirthInteger": count + 1}
            parsed = check("Patient", json.dumps(body).encode())
            try:
                store.transact(
                    lambda unit, parsed=parsed, row=row: unit.update(parsed, "counter", if_match=(row.version,))
                )
            except PreconditionFailed:
                continue
            return count

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(increase, range(40))) == list(range(40))


def test_the_same_content_again_makes_no_new_version(region: Region) -> None:
    first = region.put({"resourceType": "Patient", "id": "same"})
    again = region.put({"resourceType": "Patient", "id": "same"})
    assert (first.version, again.version) == (1, 1)


def test_a_deleted_resource_comes_back_as_its_next_version(region: Region) -> None:
    region.put({"resourceType": "Patient", "id": "back"})
    region.store("Client/e1", organization="Organization/e1").transact(lambda unit: unit.delete("Patient", "back"))
    assert region.put({"resourceType": "Patient", "id": "back"}).version == 3
    found = region.store("Client/e1", organization="Organization/e1").history("Patient", "back", Span(10))
    assert ([row.method for row in found.rows], found.next) == (["PUT", "DELETE", "PUT"], None)
