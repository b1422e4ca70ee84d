"""The job that removes an erased record: it ends whatever happens to those who run it, and counts each thing once."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from fhirserver.access import SystemAccess
from fhirserver.config import Config
from fhirserver.errors import Unavailable
from fhirserver.operations.erase import events_of_end, resume
from fhirserver.store.database import Database
from fhirserver.store.erasing import Erasures
from fhirserver.store.erasure import Erasure
from fhirserver.store.resource_store import ResourceStore
from tests.conftest import NOW, Region

PATIENT = "Patient/gone"
BY = {"reference": "tester", "organization": None, "client": "tests", "purpose": None, "request": None}

# Works as the server does, a row at a time, and is killed when it has told of its progress so many times.
DOOMED = """
import os, signal, sys
from pathlib import Path
from fhirserver.config import Config
from fhirserver.operations.erase import events_of_end
from fhirserver.store.database import connect
from fhirserver.store.erasing import Erasures
uri, name, data, left = sys.argv[1:]
config = Config(data=Path(data), mongodb_uri=uri, database=name)
database = connect(uri, config)
jobs = Erasures(database, config)
jobs.rows, jobs.lease, left = 1, 0.1, [int(left)]
def tell(_):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
if left[0] < 0:
    delete = database.objects.delete
    def delete_and_die(key):
        delete(key)
        os.kill(os.getpid(), signal.SIGKILL)
    database.objects.delete = delete_and_die
jobs.run(events_of_end, tell)
"""


@pytest.fixture
def record(region: Region, database: Database) -> Callable[[], Any]:
    """Write a record: a patient, a study of twelve instances with their objects, two observations, one of two versions;
    then lock it. Give the objects."""

    def write() -> Any:
        for one in (
            {"resourceType": "Patient", "id": "gone"},
            {"resourceType": "ImagingStudy", "id": "gone", "status": "available", "subject": {"reference": PATIENT}},
            *(
                {
                    "resourceType": "Observation",
                    "id": f"gone-{number}",
                    "status": status,
                    "code": {"text": "x"},
                    "subject": {"reference": PATIENT},
                }
                for number, status in ((1, "final"), (1, "amended"), (2, "final"))
            ),
        ):
            region.put(one)
        database.resources.update_one({"_id": "ImagingStudy/gone"}, {"$set": {"dicom": {"StudyInstanceUID": "1.2"}}})
        for number in range(12):
            key = f"dicom/1.2/{number}"
            with database.objects.begin() as upload:
                upload.write(b"x")
                upload.finish(key)
            row = {"_id": f"1.2.{number}", "study": "1.2", "series": "1", "number": number, "object": key}
            database.instances.insert_one({**row, "resource": "ImagingStudy/gone"})
        lock(region, database)

    return write


def lock(region: Region, database: Database) -> None:
    store = ResourceStore(database, SystemAccess.named("operator", NOW, "test"), region.config)
    store.transact(lambda unit: unit.erase("gone", BY, is_operator=True))


@pytest.fixture(autouse=True)
def _clean(database: Database) -> None:
    for name in ("resources", "history", "instances", "erasures", "patient_access", "audit"):
        database.database[name].delete_many({})


def left_of(database: Database, config: Config) -> tuple[int, int, int, int]:
    """What is left: rows beside the tombstone, past versions, instances, objects."""
    objects = [path for path in (config.data / "objects" / "dicom").rglob("*") if path.is_file()]
    rows = database.resources.count_documents({"facts.subjects.patient": PATIENT, "_id": {"$ne": PATIENT}})
    return rows, database.history.count_documents({}), database.instances.count_documents({}), len(objects)


def counts_of(erasure: Erasure | None) -> dict[str, int]:
    assert erasure is not None
    assert erasure.status == "done"
    return {kind: count for kind, count in erasure.counts.items() if count}


def ends_told(database: Database) -> int:
    """How many events say that the record is gone."""
    return sum(b"erasure-ended" in row["b"] for row in database.audit.find({}, {"b": 1}))


WHOLE = {"studies": 1, "instances": 12, "objects": 12, "resources": 4, "versions": 1}


def test_a_record_is_removed_and_counted(config: Config, database: Database, record: Callable[[], Any]) -> None:
    record()
    seen: list[int] = []
    jobs = Erasures(database, config)
    jobs.rows = 1
    jobs.run(events_of_end, lambda erasure: seen.append(erasure.percent))
    assert left_of(database, config) == (0, 0, 0, 0)
    assert counts_of(jobs.get(PATIENT)) == WHOLE
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0, 100)


@pytest.mark.parametrize("left", [2, 3, 5, 7, 9, -1])
def test_a_job_that_is_killed_is_finished_by_who_comes_next(
    config: Config, database: Database, record: Callable[[], Any], left: int
) -> None:
    record()
    arguments = [config.mongodb_uri, config.database, str(config.data), str(left)]
    killed = subprocess.run([sys.executable, "-c", DOOMED, *arguments], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    jobs = Erasures(database, config)
    assert jobs.is_left()
    resumed = resume(database, config)
    assert resumed is not None
    resumed.join()
    assert left_of(database, config) == (0, 0, 0, 0)
    assert counts_of(jobs.get(PATIENT)) == WHOLE
    assert ends_told(database) == 1


def test_an_object_store_that_does_not_answer_is_waited_for(
    config: Config, database: Database, record: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    record()
    delete, failures = database.objects.delete, [Unavailable("not now"), OSError("nor now")]

    def sometimes(key: str) -> None:
        if failures:
            raise failures.pop()
        delete(key)

    monkeypatch.setattr(database.objects, "delete", sometimes)
    jobs = Erasures(database, config)
    jobs.pause = 0.01
    jobs.run_in_background(events_of_end).join()
    assert left_of(database, config) == (0, 0, 0, 0)
    assert counts_of(jobs.get(PATIENT)) == WHOLE


def test_two_workers_do_not_count_twice(config: Config, database: Database, record: Callable[[], Any]) -> None:
    record()
    first, second = Erasures(database, config), Erasures(database, config)
    first.rows, first.lease, second.lease = 1, 0, 0  # each may take the job from the other at any time
    other = first.run_in_background(events_of_end)
    second.run(events_of_end)
    other.join()
    assert counts_of(first.get(PATIENT)) == WHOLE
    assert ends_told(database) == 1


def test_one_that_cannot_be_finished_does_not_hold_up_the_others(
    region: Region, config: Config, database: Database, record: Callable[[], Any]
) -> None:
    record()
    database.instances.update_one({"_id": "1.2.0"}, {"$set": {"object": "no key of ours!"}})
    region.put({"resourceType": "Patient", "id": "next"})
    store = ResourceStore(database, SystemAccess.named("operator", NOW, "test"), region.config)
    store.transact(lambda unit: unit.erase("next", BY, is_operator=True))
    jobs = Erasures(database, config)
    jobs.run_in_background(events_of_end).join()
    counts_of(jobs.get("Patient/next"))
    assert (stuck := jobs.get(PATIENT)) is not None
    assert stuck.status == "running"
    database.instances.update_one({"_id": "1.2.0"}, {"$set": {"object": "dicom/1.2/0"}})
    again = Erasures(database, config)
    database.erasures.update_one({"_id": PATIENT}, {"$unset": {"lease": ""}})
    again.run(events_of_end)
    assert counts_of(again.get(PATIENT)) == WHOLE


def test_there_is_nothing_to_resume_where_nothing_was_left(config: Config, database: Database) -> None:
    assert resume(database, config) is None
