"""The content of a large Binary is an object: never half there, never lost, and taken back with its transaction."""

from __future__ import annotations

import base64
import json
import os

import pytest
from pymongo.errors import AutoReconnect

from fhirserver.errors import Unavailable
from fhirserver.store.binary_content import LEAST, Contents, named_contents
from resources import validation

HIS = ("Client/e1", "Organization/e1")


@pytest.fixture
def store(region):
    return region.store(HIS[0], organization=HIS[1])


def binary(id_, size=40_000):
    data = base64.b64encode(os.urandom(size)).decode()
    return {"resourceType": "Binary", "id": id_, "contentType": "application/pdf", "data": data}


def parsed(resource):
    return validation.check(resource["resourceType"], json.dumps(resource).encode())


def objects_in(config):
    return sorted(
        str(path.relative_to(config.data / "objects"))
        for path in (config.data / "objects").rglob("*")
        if path.is_file()
    )


def test_a_content_is_kept_when_something_fails_after_the_commit(region, database, config, store):
    sent = binary("late")
    document = {"b": json.dumps(sent).encode()}

    def committed():
        with Contents(database.objects) as contents:
            contents.cut_out(document, sent)
            contents.keep()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        committed()
    assert objects_in(config) == [document["content"]["object"]]


@pytest.fixture(autouse=True)
def _no_objects_before(config):
    for path in (config.data / "objects").rglob("*"):
        if path.is_file():
            path.unlink()


def test_a_large_content_is_an_object_and_not_in_the_database(region, database, config, store):
    sent = binary("large")
    region.put(sent)
    row = database.resources.find_one({"_id": "Binary/large"})
    assert objects_in(config) == [row["content"]["object"]]
    assert len(row["b"]) < 1_000
    assert json.loads(store.read("Binary", "large").body)["data"] == sent["data"]


def test_a_small_content_stays_in_the_database(region, database, config, store):
    region.put(binary("small", LEAST // 4 * 3 - 3))
    assert objects_in(config) == []
    assert "content" not in database.resources.find_one({"_id": "Binary/small"})
    assert store.read("Binary", "small").version == 1


def test_each_version_has_an_object_of_its_own_and_keeps_it_after_a_deletion(region, config, store):
    first, second = binary("versions"), binary("versions")
    region.put(first)
    region.put(second)
    store.transact(lambda unit: unit.delete("Binary", "versions"))
    assert len(objects_in(config)) == 2
    for version, sent in ((1, first), (2, second)):
        assert json.loads(store.vread("Binary", "versions", version).body)["data"] == sent["data"]


def test_a_transaction_that_fails_leaves_no_object(region, config, store):
    def work(unit):
        unit.update(parsed(binary("failed")), "failed")
        raise Unavailable("the second half fails")

    with pytest.raises(Unavailable):
        store.transact(work)
    assert objects_in(config) == []


def test_an_attempt_that_conflicts_leaves_no_object_beside_that_of_the_one_that_succeeds(region, config, store):
    region.put(binary("conflict"))
    before = set(objects_in(config))
    attempts = []

    def work(unit):
        attempts.append(unit)
        written = unit.update(parsed(binary("conflict")), "conflict")
        if len(attempts) == 1:
            region.put(binary("conflict"))  # which makes this attempt fail when it is sent
        return written

    store.transact(work)
    assert len(attempts) == 2
    assert len(set(objects_in(config)) - before) == 2
    assert store.read("Binary", "conflict").version == 3


def test_a_commit_whose_answer_was_lost_keeps_the_object_until_the_next_start_looks(region, database, config):
    region.put(binary("kept"))
    (key,) = objects_in(config)
    with pytest.raises(AutoReconnect), database.objects.pending([key, "binary/of-lost/" + "0" * 32]):
        raise AutoReconnect("connection closed")
    assert key in objects_in(config)
    database.objects.sweep(lambda keys: named_contents(database, keys))
    assert objects_in(config) == [key]


def test_what_is_named_is_found_in_present_and_past_versions(region, database, config):
    region.put(binary("named"))
    region.put(binary("named"))
    keys = objects_in(config)
    assert named_contents(database, [*keys, "binary/of-named/" + "0" * 32, "a/b"]) == set(keys)
    assert named_contents(database, ["a/b"]) == set()


def test_an_object_store_that_has_lost_a_content_is_said_so(region, config, store):
    region.put(binary("lost"))
    (key,) = objects_in(config)
    (config.data / "objects" / key).unlink()
    with pytest.raises(Unavailable):
        store.read("Binary", "lost")
    again = binary("lost")
    region.put(again)
    assert json.loads(store.read("Binary", "lost").body)["data"] == again["data"]
