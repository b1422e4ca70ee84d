"""Reads that come at once share a command, and each is answered as it would be alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fhirserver.store.database import Database
from fhirserver.store.shared_read import SharedRead

FIELDS = {"b": 1, "v": 1}


class Held:
    """A find whose first call waits until the others have come."""

    def __init__(self, answer: Callable[[Sequence[str]], Mapping[str, dict[str, Any]]]) -> None:
        self.asked: list[list[str]] = []
        self.has_begun, self.may_go_on = threading.Event(), threading.Event()
        self._answer = answer

    def __call__(self, identities: Sequence[str]) -> Mapping[str, dict[str, Any]]:
        self.asked.append(list(identities))
        if len(self.asked) == 1:
            self.has_begun.set()
            assert self.may_go_on.wait(30)
            return {}
        return self._answer(identities)


def together(shared: SharedRead, held: Held, identities: Sequence[str]) -> list[Any]:
    """What reads give that all come while a first one is under way: documents, or errors."""

    def get(identity: str) -> Any:
        try:
            return shared.get(identity)
        except RuntimeError as error:
            return error

    with ThreadPoolExecutor(len(identities) + 1) as pool:
        first = pool.submit(get, "first")
        assert held.has_begun.wait(30)
        others = [pool.submit(get, identity) for identity in identities]
        while len(shared._waiting) < len(identities):
            threading.Event().wait(0.001)
        held.may_go_on.set()
        assert first.result(30) is None
        return [other.result(30) for other in others]


def test_those_who_come_together_ask_once_and_each_has_its_own() -> None:
    held = Held(lambda identities: {name: {"_id": name} for name in identities if name != "absent"})

    found = together(SharedRead(held), held, ["a", "absent", "b", "a"])

    assert found == [{"_id": "a"}, None, {"_id": "b"}, {"_id": "a"}]
    assert found[0] is not found[3]
    assert [sorted(asked) for asked in held.asked] == [["first"], ["a", "absent", "b"]]


def test_an_error_is_everybodys_and_nobodys_absence() -> None:
    def fail(_identities: Sequence[str]) -> Mapping[str, dict[str, Any]]:
        raise RuntimeError("the database cannot answer")

    held = Held(fail)
    shared = SharedRead(held)

    assert [str(error) for error in together(shared, held, ["a", "b"])] == ["the database cannot answer"] * 2
    with pytest.raises(RuntimeError):
        shared.get("c")


def test_documents_are_read_from_mongodb_alone_and_together(database: Database) -> None:
    rows = [
        {"_id": f"Patient/{number}", "b": b"x" * number, "v": number, "tk": ["not asked for"]} for number in range(40)
    ]
    database.resources.insert_many(rows)

    def get(number: int) -> Any:
        return database.get(database.resources, f"Patient/{number}", FIELDS)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(get, [*range(50)] * 4))

    whole = [{name: row[name] for name in ("_id", "b", "v")} for row in rows]
    assert found == [*whole, *[None] * 10] * 4


def test_together_they_may_be_larger_than_one_answer_of_mongodb(database: Database) -> None:
    rows = [{"_id": f"Binary/{number}", "b": bytes(12_000_000), "v": number} for number in range(3)]
    for row in rows:
        database.resources.insert_one(row)

    found = database._by_id(database.resources, FIELDS, [str(row["_id"]) for row in rows])

    assert {name: len(document["b"]) for name, document in found.items()} == {row["_id"]: 12_000_000 for row in rows}
