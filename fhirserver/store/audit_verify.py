"""Recompute the audit trail: every chain, every segment and its seal, against the checkpoint and what a witness knows.

Events are read one after the other, so memory does not grow with the trail. A segment can be verified alone: its seal
says with which digest it begins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fhirserver.errors import NotFound
from fhirserver.store.audit_checkpoint import Head, heads
from fhirserver.store.audit_log import ORIGIN, digest, log_digest
from fhirserver.store.audit_segments import Seal, seals_of
from fhirserver.store.audit_witness import Testimony
from fhirserver.store.database import Database, Document

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Verdict:
    """What a verification found: how much was read, the first records that do not fit, and what waits for its seal."""

    logs: int = 0
    segments: int = 0
    events: int = 0
    unsealed: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def is_intact(self) -> bool:
        """Whether no record was altered, removed or inserted."""
        return not self.faults


@dataclass(frozen=True, slots=True)
class _Reader:
    """What a verification has at hand."""

    database: Database
    verdict: Verdict
    total: int
    progress: Progress | None

    def count(self) -> None:
        """One event more was read."""
        self.verdict.events += 1
        if self.progress is not None and self.verdict.events % 1_000 == 0:
            self.progress(self.verdict.events, self.total)


def verify(
    database: Database,
    checkpoints: Path | None = None,
    progress: Progress | None = None,
    testimony: Testimony | None = None,
) -> Verdict:
    """Recompute every chain. `progress` is called with events read and events in all, now and then.

    A log or a segment of which the checkpoints or a witness know more than the database holds was cut, or removed. Of
    each segment the first fault is told; the next one begins with the digest that its seal states.
    """
    witness = testimony or Testimony()
    kept = {} if checkpoints is None else heads(checkpoints)
    for of, head in witness.heads.items():
        kept[of] = max(kept.get(of, head), head)
    verdict = Verdict(unsealed=database.audit.count_documents({"log": None}))
    reader = _Reader(database, verdict, database.audit.estimated_document_count(), progress)
    told = dict(witness.seals)
    number, previous = 0, ORIGIN
    for log in database.audit_logs.find().sort([("_id", 1)]):
        number += 1
        verdict.logs += 1
        if log["_id"] != number or log["previous"] != previous:
            verdict.faults.append(f"log {number}: removed, or not where it was registered")
            number = log["_id"]
        if log["hash"] != log_digest(log["_id"], log["log"], log["previous"]):
            verdict.faults.append(f"log {number}: its registration was altered")
        previous = log["hash"]
        _verify_log(reader, log, kept.pop(log["log"], None), told)
    known = database.audit_logs.distinct("log")
    strays = database.audit.count_documents({"log": {"$nin": [None, *known]}})
    if strays:
        verdict.faults.append(f"{strays} events belong to no registered log")
    verdict.faults += [f"log {of}: removed with its {head.sequence} events" for of, head in kept.items()]
    verdict.faults += [f"segment {name}: its seal was removed; the witness knows it" for name in sorted(told)]
    return verdict


def verify_segment(database: Database, name: str, testimony: Testimony | None = None) -> Verdict:
    """Recompute one segment by its name, `log-number`. Raises NotFound where no seal has that name, here or told."""
    told = {} if testimony is None else testimony.seals
    document = database.audit_seals.find_one({"_id": name})
    if document is None and name not in told:
        raise NotFound(f"There is no segment {name}.")
    verdict = Verdict(logs=1)
    reader = _Reader(database, verdict, 0, None)
    if document is None:
        verdict.faults.append(f"segment {name}: its seal was removed; the witness knows it")
    seal = Seal.of(told.get(name, document or {}))
    if document is not None:
        verdict.faults += _altered(Seal.of(document), document["hash"], dict(told))
    _verify_range(reader, seal.log, _number_of(database, seal.log), seal.first, seal.previous, None, seal)
    verdict.segments = 1
    return verdict


def _verify_log(reader: _Reader, log: Document, kept: Head | None, told: dict[str, Document]) -> None:
    """Every segment of a log, and what is behind the last."""
    verdict, name = reader.verdict, f"log {log['_id']}"
    sequence, head, before, number = 0, log["hash"], "", 0
    for seal, stored in seals_of(reader.database, log["log"]):
        number += 1
        verdict.segments += 1
        verdict.faults += _altered(seal, stored, told)
        if seal.number != number or seal.first != sequence + 1 or seal.before != before:
            verdict.faults.append(f"{name}: segment {number} was removed, or is not where it was")
            number = seal.number
        elif seal.previous != head:
            verdict.faults.append(f"{name}: segment {number} does not begin where the one before it ends")
        _verify_range(reader, log["log"], log["_id"], seal.first, seal.previous, kept, seal)
        sequence, head, before = seal.last, seal.head, seal.digest
    reached = _verify_range(reader, log["log"], log["_id"], sequence + 1, head, kept, None)
    if kept is not None and reached is not None and kept.sequence > reached:
        verdict.faults.append(f"{name}: cut off after event {reached} of {kept.sequence}")


def _altered(seal: Seal, stored: str, told: dict[str, Document]) -> list[str]:
    """What is wrong with a seal itself, by its own digest and as the witness knows it."""
    known = told.pop(seal.name, None)
    if stored != seal.digest or (known is not None and known != seal.document):
        return [f"segment {seal.name}: its seal was altered"]
    return []


def _verify_range(
    reader: _Reader, log: str, number: int, first: int, previous: str, kept: Head | None, seal: Seal | None
) -> int | None:
    """Events of a log from `first` on, to the end of the segment that `seal` closed, or of the log.

    The number of the last event; None where a fault ended the reading.
    """
    verdict, name = reader.verdict, f"log {number}"
    sequence, head = first - 1, previous
    span = {"$gte": first} if seal is None else {"$gte": first, "$lte": seal.last}
    fields: dict[str, Any] = {"b": 1, "seq": 1, "prev": 1, "hash": 1}
    for row in reader.database.audit.find({"log": log, "seq": span}, fields).sort([("seq", 1)]):
        sequence += 1
        if row["seq"] != sequence:
            verdict.faults.append(f"{name}: event {sequence} is missing")
            return None
        expected = digest(log, sequence, head, row["_id"], row["b"])
        if row["prev"] != head or row["hash"] != expected:
            verdict.faults.append(f"{name}: event {sequence} ({row['_id']}) was altered")
            return None
        head = expected
        reader.count()
        if kept is not None and kept.sequence == sequence and kept.digest != head:
            verdict.faults.append(f"{name}: event {sequence} is not the one that the checkpoint knows")
    if seal is not None and sequence < seal.last:
        verdict.faults.append(f"{name}: cut off after event {sequence} of {seal.last} (segment {seal.number})")
        return None
    if seal is not None and head != seal.head:
        verdict.faults.append(f"{name}: segment {seal.number} does not end as its seal says")
    return sequence


def _number_of(database: Database, log: str) -> int:
    """Under which a log is registered; 0 where it is not."""
    found = database.audit_logs.find_one({"log": log}, {"_id": 1})
    return 0 if found is None else int(found["_id"])
