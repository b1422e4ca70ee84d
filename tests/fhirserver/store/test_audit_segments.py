"""Segments of the audit trail, their seals, and a witness: whatever is altered, removed or cut off is found."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fhirserver.errors import NotFound, Unavailable
from fhirserver.store import audit_segments
from fhirserver.store.audit_log import AuditLog
from fhirserver.store.audit_verify import verify, verify_segment
from fhirserver.store.audit_witness import Reporter, known_by, known_from, witness_at
from fhirserver.store.database import Database

SIZE = 3


def event(number: int) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {"_id": f"AuditEvent/{number:05d}", "t": "AuditEvent", "v": 1, "lu": now, "b": b"{%d}" % number}


@pytest.fixture(autouse=True)
def empty(database: Database) -> None:
    for collection in (database.audit, database.audit_logs, database.audit_seals):
        collection.delete_many({})


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"file://{tmp_path}/witness"


@pytest.fixture
def log(database: Database, uri: str) -> Iterator[AuditLog]:
    """A log of eight events in segments of three, with a witness; the last segment is open."""
    log = AuditLog(database, None, Reporter(database, witness_at(uri), 3_600), SIZE)
    for number in range(8):
        log.append([event(number)])
    yield log
    log.close()


def seals(database: Database) -> list[dict[str, Any]]:
    return database.audit_seals.find().sort([("_id", 1)]).to_list()


def faults(database: Database, uri: str) -> list[str]:
    return verify(database, None, None, known_by(witness_at(uri))).faults


def test_a_segment_is_closed_by_a_seal_when_it_is_full_and_when_the_log_ends(database: Database, log: AuditLog) -> None:
    first, second = seals(database)
    assert (first["number"], first["first"], first["last"], first["count"]) == (1, 1, 3, 3)
    assert (second["first"], second["last"], second["before"]) == (4, 6, first["hash"])
    assert second["previous"] == first["head"]
    assert first["begun"] <= first["ended"] <= second["begun"]
    assert database.audit.find_one({"seq": 3})["hash"] == first["head"]

    log.close()

    assert [(one["first"], one["last"]) for one in seals(database)] == [(1, 3), (4, 6), (7, 8)]
    verdict = verify(database)
    assert (verdict.segments, verdict.events, verdict.faults) == (3, 8, [])


def test_a_commit_that_fills_a_segment_is_in_it_whole(database: Database) -> None:
    log = AuditLog(database, segment=SIZE)
    log.append([event(number) for number in range(7)])
    log.close()
    assert [(one["first"], one["last"], one["count"]) for one in seals(database)] == [(1, 7, 7)]


def test_what_a_killed_process_left_open_is_closed_at_the_next_start(database: Database) -> None:
    killed = AuditLog(database, segment=100)
    killed.append([event(number) for number in range(7)])

    AuditLog(database, segment=SIZE).adopt(exclusive=True)

    assert [(one["first"], one["last"]) for one in seals(database)] == [(1, 3), (4, 6), (7, 7)]
    assert verify(database).is_intact
    AuditLog(database, segment=SIZE).adopt(exclusive=True)
    assert len(seals(database)) == 3


def test_a_seal_whose_answer_was_lost_is_not_written_twice(database: Database) -> None:
    writer = audit_segments.Writer(database, "a" * 32, "0" * 64, 2)
    now = datetime.now(UTC)
    same = audit_segments.Writer(database, "a" * 32, "0" * 64, 2)
    writer.reach(2, "1" * 64, now, now)
    same.reach(2, "1" * 64, now, now)
    same.reach(4, "2" * 64, now, now)
    assert [(one["first"], one["last"]) for one in seals(database)] == [(1, 2), (3, 4)]


HARMS: dict[str, tuple[Any, str]] = {
    "an event altered": (lambda db: db.audit.update_one({"seq": 2}, {"$set": {"b": b"{}"}}), "was altered"),
    "an event removed": (lambda db: db.audit.delete_one({"seq": 5}), "event 5 is missing"),
    "the end of a segment removed": (lambda db: db.audit.delete_one({"seq": 6}), "cut off after event 5 of 6"),
    "the tail removed": (lambda db: db.audit.delete_many({"seq": {"$gt": 7}}), "cut off after event 7 of 8"),
    "a segment removed whole": (
        lambda db: db.audit.delete_many({"seq": {"$in": [4, 5, 6]}}),
        "cut off after event 3 of 6",
    ),
    "a segment removed with its seal": (
        lambda db: (db.audit.delete_many({"seq": {"$in": [4, 5, 6]}}), db.audit_seals.delete_one({"number": 2})),
        "is missing",
    ),
    "a seal removed": (lambda db: db.audit_seals.delete_one({"number": 1}), "segment 1 was removed"),
    "the last seal removed": (lambda db: db.audit_seals.delete_one({"number": 2}), "its seal was removed"),
    "a seal altered": (lambda db: db.audit_seals.update_one({"number": 2}, {"$set": {"count": 2}}), "seal was altered"),
    "a seal's instant altered": (
        lambda db: db.audit_seals.update_one({"number": 2}, {"$set": {"ended": "2020-01-01T00:00:00.000Z"}}),
        "seal was altered",
    ),
    "segments and tail cut off": (
        lambda db: (db.audit.delete_many({"seq": {"$gt": 3}}), db.audit_seals.delete_one({"number": 2})),
        "cut off after event 3 of 8",
    ),
    "the log removed whole": (
        lambda db: (db.audit.delete_many({}), db.audit_seals.delete_many({}), db.audit_logs.delete_many({})),
        "removed with its 8 events",
    ),
}


@pytest.mark.parametrize("name", HARMS)
def test_what_was_done_to_the_trail_is_found(database: Database, log: AuditLog, uri: str, name: str) -> None:
    harm, finding = HARMS[name]
    assert log._witness is not None
    assert log._witness.report()
    assert faults(database, uri) == []

    harm(database)

    assert any(finding in fault for fault in faults(database, uri)), faults(database, uri)


def test_a_trail_rewritten_with_its_seals_and_hashes_is_found_by_the_witness(
    database: Database, log: AuditLog, uri: str
) -> None:
    assert log._witness is not None
    assert log._witness.report()
    registered = database.audit_logs.find_one()
    for collection in (database.audit, database.audit_seals):
        collection.delete_many({})
    forger = AuditLog(database, segment=SIZE)
    forger._open()  # registers another log, which takes the place of the first
    database.audit_logs.delete_many({})
    database.audit_logs.insert_one(registered)
    forger._id, forger._head = registered["log"], registered["hash"]
    forger._segments = audit_segments.Writer(database, forger._id, forger._head, SIZE)
    for number in range(8):
        forger.append([{**event(number), "b": b"{forged}"}])

    assert verify(database).is_intact
    found = faults(database, uri)
    assert any("seal was altered" in fault for fault in found)
    assert any("not the one that the checkpoint knows" in fault for fault in found)


def test_one_segment_is_verified_alone_and_the_others_are_not_read(database: Database, log: AuditLog, uri: str) -> None:
    first, second = (one["_id"] for one in seals(database))
    database.audit.update_one({"seq": 2}, {"$set": {"b": b"{}"}})

    good, bad = verify_segment(database, second), verify_segment(database, first)

    assert (good.events, good.segments, good.faults) == (3, 1, [])
    assert "event 2 (AuditEvent/00001) was altered" in bad.faults[0]
    with pytest.raises(NotFound):
        verify_segment(database, "nothing")
    assert log._witness is not None
    assert log._witness.report()
    database.audit_seals.delete_one({"_id": second})
    (fault,) = verify_segment(database, second, known_by(witness_at(uri))).faults
    assert "its seal was removed" in fault


def test_every_broken_segment_is_told_not_the_first_alone(database: Database, log: AuditLog) -> None:
    log.close()
    for sequence in (1, 5, 8):
        database.audit.update_one({"seq": sequence}, {"$set": {"b": b"{}"}})
    assert [fault.split("(")[0] for fault in verify(database).faults] == [
        f"log 1: event {sequence} " for sequence in (1, 5, 8)
    ]


class _Endpoint(BaseHTTPRequestHandler):
    """Keeps what it was told; answers with the status that its server says."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.server.status  # type: ignore[attr-defined]
        if status == 201:
            self.server.told.append((self.headers["Idempotency-Key"], body))  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def endpoint() -> Iterator[Any]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Endpoint)
    server.status, server.told = 201, []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_what_a_witness_did_not_take_is_told_again_in_order_and_none_is_lost(database: Database, endpoint: Any) -> None:
    endpoint.status = 503
    log = AuditLog(database, segment=SIZE)
    for number in range(8):
        log.append([event(number)])
    address = f"http://127.0.0.1:{endpoint.server_port}/audit"
    telling = Reporter(database, witness_at(address), 3_600)
    assert not telling.report()
    assert endpoint.told == []

    endpoint.status = 201
    assert telling.report()
    names = [name for name, _ in endpoint.told]
    assert names == [f"seals/{one['_id']}" for one in seals(database)]

    assert telling.report()
    assert [name for name, _ in endpoint.told] == names
    kept = known_from(body.decode() for _, body in endpoint.told)
    assert verify(database, None, None, kept).is_intact
    database.audit.delete_many({"seq": {"$gt": 5}})
    assert any("cut off" in fault for fault in verify(database, None, None, kept).faults)
    with pytest.raises(Unavailable):
        known_by(witness_at(address))


def test_another_process_tells_what_a_killed_one_could_not(database: Database, uri: str) -> None:
    killed = AuditLog(database, segment=SIZE)
    killed.append([event(number) for number in range(3)])
    other = AuditLog(database, None, Reporter(database, witness_at(uri), 3_600), SIZE)
    other.append([event(9)])
    other.close()

    known = known_by(witness_at(uri))

    assert sorted(known.seals) == [one["_id"] for one in seals(database)]
    assert known.heads[killed._id].sequence == 3


def test_a_witness_that_does_not_answer_holds_nothing_up(database: Database) -> None:
    log = AuditLog(database, None, Reporter(database, witness_at("http://127.0.0.1:9/"), 3_600), SIZE)
    for number in range(4):
        log.append([event(number)])
    log.close()
    assert verify(database).events == 4
    assert [one["told"] for one in seals(database)] == [None, None]


def test_what_a_witness_knows_is_never_overwritten(uri: str, tmp_path: Path) -> None:
    witness = witness_at(uri)
    witness.tell("heads/a", b"one")
    witness.tell("heads/a", b"one")
    with pytest.raises(Unavailable, match="another"):
        witness.tell("heads/a", b"two")
    assert (tmp_path / "witness" / "heads" / "a.json").read_bytes() == b"one"


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(Unavailable, match="not the address"):
        witness_at("nowhere")


def test_the_head_that_a_witness_was_told_last_counts(database: Database, uri: str) -> None:
    telling = Reporter(database, witness_at(uri), 3_600)
    log = AuditLog(database, None, telling, 100)
    log.append([event(0)])
    telling.report()
    log.append([event(1), event(2)])
    telling.report()

    known = known_by(witness_at(uri))

    assert known.heads[log._id].sequence == 3
    assert json.loads(json.dumps(known.heads[log._id]._asdict()))["digest"] == log._head
    log.close()
