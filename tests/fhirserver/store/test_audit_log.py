"""The audit chain: shared commits, seals after transactions, and what a verification finds."""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fhirserver.errors import Unavailable
from fhirserver.search.expression import Any as AnyOf
from fhirserver.search.expression import Equals
from fhirserver.search.query import Query
from fhirserver.store.audit_log import AuditLog
from fhirserver.store.audit_verify import verify
from fhirserver.store.compile import audit_prefilter
from fhirserver.store.database import Database
from tests.conftest import Region


def event(number: int) -> dict[str, Any]:
    return {
        "_id": f"AuditEvent/{number:05d}",
        "t": "AuditEvent",
        "v": 1,
        "lu": datetime.now(UTC),
        "b": b"{%d}" % number,
    }


@pytest.fixture
def trail(database: Database, tmp_path: Path) -> Iterator[tuple[AuditLog, Path]]:
    """An empty trail and where its checkpoint lies."""
    database.audit.delete_many({})
    database.audit_logs.delete_many({})
    database.audit_seals.delete_many({})
    checkpoint = tmp_path / "audit-checkpoint"
    log = AuditLog(database, checkpoint)
    yield log, checkpoint
    log.close()


def test_events_of_many_threads_make_one_unbroken_chain(database: Database, trail: tuple[AuditLog, Path]) -> None:
    log, checkpoint = trail
    threads = [
        threading.Thread(target=lambda first=first: [log.append([event(first + step)]) for step in range(20)])
        for first in range(0, 160, 20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    verdict = verify(database, checkpoint)
    assert (verdict.events, verdict.unsealed, verdict.faults) == (160, 0, [])


def test_an_event_of_a_transaction_is_sealed_after_it(database: Database, trail: tuple[AuditLog, Path]) -> None:
    log, checkpoint = trail
    database.audit.insert_one({**event(1), "log": None})
    assert verify(database, checkpoint).unsealed == 1
    log.seal([event(1)])
    log.close()
    verdict = verify(database, checkpoint)
    assert (verdict.events, verdict.unsealed, verdict.is_intact) == (1, 0, True)


def test_what_a_crash_left_unsealed_is_adopted_at_the_next_start(
    database: Database, trail: tuple[AuditLog, Path]
) -> None:
    log, checkpoint = trail
    database.audit.insert_many([{**event(number), "log": None} for number in range(3)])
    assert log.adopt(exclusive=False) == 0
    assert log.adopt(exclusive=True) == 3
    assert verify(database, checkpoint).events == 3


@pytest.mark.parametrize(
    ("harm", "finding"),
    [
        (lambda audit: audit.update_one({"seq": 2}, {"$set": {"b": b"{}"}}), "altered"),
        (lambda audit: audit.delete_one({"seq": 2}), "missing"),
        (lambda audit: audit.delete_one({"seq": 4}), "cut off"),
        (lambda audit: audit.insert_one({**event(9), "log": "forged", "seq": 1}), "no registered log"),
    ],
)
def test_an_event_altered_removed_cut_off_or_forged_is_found(
    database: Database, trail: tuple[AuditLog, Path], harm: Any, finding: str
) -> None:
    log, checkpoint = trail
    log.append([event(number) for number in range(4)])
    harm(database.audit)
    verdict = verify(database, checkpoint)
    assert not verdict.is_intact
    assert finding in verdict.faults[0]


def test_a_log_removed_from_between_two_others_is_found(database: Database, trail: tuple[AuditLog, Path]) -> None:
    for number in range(3):
        other = AuditLog(database)
        other.append([event(number)])
    database.audit.delete_one({"_id": event(1)["_id"]})
    database.audit_logs.delete_one({"_id": 2})
    assert "removed" in verify(database).faults[0]


@pytest.mark.parametrize("is_closed", [False, True])
def test_the_last_log_removed_with_all_its_events_is_found_by_its_checkpoint(
    database: Database, trail: tuple[AuditLog, Path], *, is_closed: bool
) -> None:
    first, checkpoint = trail
    first.append([event(1)])
    last = AuditLog(database, checkpoint)
    last.append([event(2), event(3)])
    if is_closed:
        last.close()
    database.audit.delete_many({"_id": {"$in": [event(2)["_id"], event(3)["_id"]]}})
    database.audit_logs.delete_one({"_id": 2})
    (fault,) = verify(database, checkpoint).faults
    assert "removed with its 2 events" in fault
    last.close()


def test_a_log_that_is_closed_leaves_a_line_and_no_file_and_is_still_protected(
    database: Database, trail: tuple[AuditLog, Path]
) -> None:
    _, checkpoint = trail
    for number in range(3):
        log = AuditLog(database, checkpoint)
        log.append([event(number)])
        log.close()
    assert [path.name for path in checkpoint.parent.iterdir()] == ["audit-checkpoint"]
    assert len(checkpoint.read_text().split("\n\n")) == 3
    assert verify(database, checkpoint).is_intact
    database.audit.delete_one({"_id": event(1)["_id"]})
    assert "cut off after event 0 of 1" in verify(database, checkpoint).faults[0]


def test_what_killed_processes_left_of_checkpoints_is_moved_at_the_next_start(
    database: Database, trail: tuple[AuditLog, Path]
) -> None:
    killed, checkpoint = trail
    killed.append([event(1)])
    (checkpoint.parent / f"audit-checkpoint-{'f' * 32}").touch()  # killed before its first event
    assert verify(database, checkpoint).is_intact
    AuditLog(database, checkpoint).adopt(exclusive=True)
    assert [path.name for path in checkpoint.parent.iterdir()] == ["audit-checkpoint"]
    assert verify(database, checkpoint).is_intact
    database.audit.delete_one({"_id": event(1)["_id"]})
    assert not verify(database, checkpoint).is_intact


def test_a_line_that_a_loss_of_power_cut_short_is_passed_over(database: Database, trail: tuple[AuditLog, Path]) -> None:
    log, checkpoint = trail
    log.append([event(1)])
    log.close()
    with checkpoint.open("ab") as book:
        book.write(b"f" * 32 + b" 000000\xff")
    again = AuditLog(database, checkpoint)
    again.append([event(2)])
    again.close()
    assert verify(database, checkpoint).is_intact
    database.audit.delete_one({"_id": event(2)["_id"]})
    assert not verify(database, checkpoint).is_intact


def test_a_line_that_the_disk_does_not_take_whole_leaves_the_file_of_the_log(
    database: Database, trail: tuple[AuditLog, Path]
) -> None:
    log, checkpoint = trail
    log.append([event(1)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, hard))  # as a disk that is full: half of the line fits
    try:
        with pytest.raises(OSError, match="No space left"):
            log.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(list(checkpoint.parent.glob("audit-checkpoint-*"))) == 1
    assert verify(database, checkpoint).is_intact
    AuditLog(database, checkpoint).adopt(exclusive=True)
    database.audit.delete_one({"_id": event(1)["_id"]})
    assert "cut off after event 0 of 1" in verify(database, checkpoint).faults[0]


def test_a_start_leaves_alone_what_is_no_head_of_a_log(database: Database, trail: tuple[AuditLog, Path]) -> None:
    _, checkpoint = trail
    damaged, copy = (
        checkpoint.with_name(f"audit-checkpoint-{'a' * 32}"),
        checkpoint.with_name("audit-checkpoint-old.bak"),
    )
    damaged.write_bytes(b"\0" * 86)
    copy.write_text("a copy")
    AuditLog(database, checkpoint).adopt(exclusive=True)
    assert damaged.exists()
    assert copy.exists()


def test_a_log_that_outlives_a_start_still_keeps_its_head(database: Database, trail: tuple[AuditLog, Path]) -> None:
    log, checkpoint = trail
    log.append([event(1)])
    AuditLog(database, checkpoint).adopt(exclusive=True)
    log.append([event(2)])
    log.close()
    database.audit.delete_one({"_id": event(2)["_id"]})
    assert "cut off after event 1 of 2" in verify(database, checkpoint).faults[0]


def test_a_trail_that_cannot_be_written_refuses_and_goes_on_in_a_new_log(
    database: Database, trail: tuple[AuditLog, Path]
) -> None:
    log, checkpoint = trail
    log.append([event(1)])
    with pytest.raises(Unavailable):
        log.append([{**event(2), "b": b"x" * 17_000_000}])
    log.append([event(3)])
    verdict = verify(database, checkpoint)
    assert (verdict.logs, verdict.events, verdict.faults) == (2, 2, [])


def test_the_events_of_a_patient_are_found_through_the_value_index(
    region: Region, trail: tuple[AuditLog, Path]
) -> None:
    log, _ = trail
    region.database.sealer = log
    region.put({"resourceType": "Patient", "id": "p"})
    region.put({"resourceType": "Patient", "id": "q"})
    query = Query("AuditEvent", Equals("patient\x1fPatient/p"), 10)
    assert [row.patients for row in region.store("Patient/p").search(query).rows] == [("Patient/p",)]
    either = Query("AuditEvent", AnyOf((Equals("patient\x1fPatient/q"), Equals("action\x1f|U"))), 10)
    assert len(region.store("Patient/p").search(either).rows) == 1
    plan = region.database.audit.find({"t": "AuditEvent", **audit_prefilter(query.expression)}).explain()
    assert plan["executionStats"]["totalDocsExamined"] == 1


def test_whatever_makes_a_commit_fail_refuses_all_who_share_it(
    database: Database, trail: tuple[AuditLog, Path]
) -> None:
    log, checkpoint = trail
    log.append([event(1)])
    refused: list[int] = []

    def append(number: int, version: int) -> None:
        try:
            log.append([{**event(number), "v": version}])
        except Unavailable:
            refused.append(number)

    threads = [threading.Thread(target=append, args=(2, 1)), threading.Thread(target=append, args=(3, 1 << 70))]
    with log._commit:  # so that both are taken by one commit
        for thread in threads:
            thread.start()
        with log._wanted:
            assert log._wanted.wait_for(lambda: len(log._waiting) == 2, timeout=30)
    for thread in threads:
        thread.join()
    assert sorted(refused) == [2, 3]
    log.append([event(4)])
    assert verify(database, checkpoint).events == 2
