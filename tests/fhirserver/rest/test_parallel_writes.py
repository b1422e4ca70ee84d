"""Writers at once: criteria make one resource, and no update is lost. `TRIES` says how many writes each test makes."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.fhirserver.rest.conftest import Caller

TRIES = int(os.environ.get("TRIES", "240"))
AT_ONCE = 8


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(AT_ONCE) as made:
        yield made


@pytest.fixture(scope="module")
def writers(his: Caller, caller: Callable[..., Caller]) -> Callable[[], list[Caller]]:
    """One client a thread, all of one hospital, with tokens that are good for a while."""
    return lambda: [caller("Client/his-e1", organization="Organization/e1") for _ in range(AT_ONCE)]


def having(number: str, writer: int) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "identifier": [{"system": "urn:race", "value": number}],
        "multipleBirthInteger": writer,
    }


def created(writer: Caller, number: str, place: int) -> int:
    condition = f"identifier=urn:race|{number}"
    return writer.post("Patient", having(number, place), If_None_Exist=condition).status_code


def updated(writer: Caller, number: str, place: int) -> int:
    return writer.put(f"Patient?identifier=urn:race|{number}", having(number, place)).status_code


def in_a_transaction(writer: Caller, number: str, place: int) -> int:
    request = {"method": "PUT", "url": f"Patient?identifier=urn:race|{number}"}
    entry = {"resource": having(number, place), "request": request}
    body = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    return int(writer.post("", body).json["entry"][0]["response"]["status"][:3])


@pytest.mark.parametrize(
    "kinds",
    [(created,), (updated,), (created, updated, in_a_transaction)],
    ids=["conditional create", "conditional update", "both, and in transactions"],
)
def test_the_same_criteria_make_one_resource(
    writers: Callable[[], list[Caller]], pool: ThreadPoolExecutor, kinds: tuple[Callable[..., int], ...]
) -> None:
    for _ in range(TRIES // AT_ONCE):
        number = uuid.uuid4().hex
        callers = writers()
        at_once = [
            pool.submit(kinds[place % len(kinds)], writer, number, place) for place, writer in enumerate(callers)
        ]
        assert sorted(one.result() for one in at_once) == [200] * (AT_ONCE - 1) + [201]
        found = callers[0].get(f"Patient?identifier=urn:race|{number}&_total=accurate")
        assert found.json["total"] == 1


def by_if_match(writer: Caller, path: str) -> bool:
    """Add one, bound to the version that was read."""
    read = writer.get(path)
    value = read.json["multipleBirthInteger"] + 1
    patch = [{"op": "replace", "path": "/multipleBirthInteger", "value": value}]
    headers = {"Content_Type": "application/json-patch+json", "If_Match": read.headers["ETag"]}
    status = writer.request("PATCH", path, patch, **headers).status_code
    assert status in {200, 412}
    return status == 200


def by_a_test(writer: Caller, path: str) -> bool:
    """Add one, bound to the value that was read."""
    value = writer.get(path).json["multipleBirthInteger"]
    patch = [
        {"op": "test", "path": "/multipleBirthInteger", "value": value},
        {"op": "replace", "path": "/multipleBirthInteger", "value": value + 1},
    ]
    status = writer.request("PATCH", path, patch, Content_Type="application/json-patch+json").status_code
    assert status in {200, 422}
    return status == 200


@pytest.mark.parametrize("add", [by_if_match, by_a_test])
def test_no_patch_is_lost(
    writers: Callable[[], list[Caller]], pool: ThreadPoolExecutor, add: Callable[[Caller, str], bool]
) -> None:
    path = f"Patient/{writers()[0].make(having(uuid.uuid4().hex, 0))['id']}"
    done = 0
    for _ in range(0, TRIES, AT_ONCE * 30):
        done += sum(pool.map(lambda writer: sum(add(writer, path) for _ in range(30)), writers()))
    read = writers()[0].get(path)
    assert read.json["multipleBirthInteger"] == done
    assert read.headers["ETag"] == f'W/"{done + 1}"'
    assert done > 0


def test_patches_of_different_elements_at_once_all_stay(
    writers: Callable[[], list[Caller]], pool: ThreadPoolExecutor
) -> None:
    """Each is applied to what is there when it is written, so without If-Match nothing is overwritten either."""
    path = f"Patient/{writers()[0].make({'resourceType': 'Patient'})['id']}"
    each = 8

    def add(place: int, writer: Caller) -> None:
        for count in range(each):
            value = {"system": "urn:race", "value": f"{place}-{count}"}
            body = {
                "resourceType": "Parameters",
                "parameter": [
                    {
                        "name": "operation",
                        "part": [
                            {"name": "type", "valueCode": "add"},
                            {"name": "path", "valueString": "Patient"},
                            {"name": "name", "valueString": "identifier"},
                            {"name": "value", "valueIdentifier": value},
                        ],
                    }
                ],
            }
            assert writer.request("PATCH", path, body).status_code == 200

    list(pool.map(add, range(AT_ONCE), writers()))
    assert len({one["value"] for one in writers()[0].get(path).json["identifier"]}) == each * AT_ONCE
