"""The audit trail at rest: AuditEvents that are only ever added, each bound to the one before it by a hash.

Each process writes a log of its own, so that no two wait for each other: a log is a chain of events with sequence
numbers from 1, and the logs are themselves a chain in `audit_logs`. Concurrent requests share a commit: whoever comes
first writes for all who came meanwhile, and each returns when its events are journaled.

An event that belongs to a write is inserted by the transaction of that write, and takes its place in the chain ("is
sealed") right after. One that a crash left unsealed is sealed at the next start.

The digest of an event covers log, sequence, the digest before it, the id and the bytes. The heads are kept outside the
database as well (`audit_checkpoint`), and told to a witness (`audit_witness`). So many events are a segment, which is
closed by a seal (`audit_segments`); `audit_verify` recomputes all of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pymongo.errors import DuplicateKeyError, OperationFailure

from fhirserver.errors import Unavailable
from fhirserver.store import audit_segments
from fhirserver.store.audit_checkpoint import Checkpoint, Head, move_all
from fhirserver.store.audit_witness import Reporter
from fhirserver.store.database import Database, Document
from fhirserver.store.first_access import FirstAccesses
from fhirserver.store.indexes import stored_event

# What the chain of logs begins with.
ORIGIN = "0" * 64

# Unsealed events younger than this may belong to a process that is about to seal them.
_ORPHAN_AGE = timedelta(seconds=60)

# How long the sealing of events that are already durable may wait for company, in seconds.
_GATHERING = 0.05

# How long a commit waits for the company it had the last time, in seconds. On a busy machine the others need this long
# to come; what a shared commit saves, each of them has sooner.
_COMMIT_DELAY = 0.006

# After so many commits one looks for a companion more than it had the last time.
_LOOK_AROUND = 8

# Rows of one write command: well within MongoDB's 48 MB for a message.
_MOST_AT_ONCE = 1_000


def digest(log: str, sequence: int, previous: str, identifier: str, body: bytes) -> str:
    """The hash of one event in its place, as hexadecimal SHA-256."""
    head = f"{log}|{sequence}|{previous}|{identifier}|".encode()
    return hashlib.sha256(head + body).hexdigest()


def _now() -> datetime:
    return datetime.now(UTC)


def log_digest(number: int, log: str, previous: str) -> str:
    """The hash by which a log is bound to the log opened before it; its first event is bound to it."""
    return hashlib.sha256(f"{number}|{log}|{previous}".encode()).hexdigest()


@dataclass(slots=True, eq=False)
class _Request:
    """Events that one caller waits for, or that are durable already and want their place."""

    rows: Sequence[Document]
    is_durable: bool
    error: BaseException | None = None
    is_done: bool = False


@dataclass(slots=True)
class _Links:
    """Rows and their links: those to insert and those to seal, and where the chain then stands."""

    sequence: int
    head: str
    new: list[tuple[Document, Document]] = field(default_factory=list)
    old: list[tuple[Document, Document]] = field(default_factory=list)


class AuditLog:
    """The log of this process. Made once a process; safe to use from all its threads."""

    def __init__(
        self,
        database: Database,
        checkpoints: Path | None = None,
        witness: Reporter | None = None,
        segment: int = audit_segments.SIZE,
    ) -> None:
        """Nothing is written before the first event.

        `checkpoints` is the file of the heads, `witness` tells of them elsewhere; a `segment` has so many events.
        """
        self._database = database
        self.first_accesses = FirstAccesses(database)
        self._checkpoints = checkpoints
        self._witness = witness
        self._segment = segment
        self._segments: audit_segments.Writer | None = None
        self._waiting: list[_Request] = []
        self._guard = threading.Lock()
        self._commit = threading.Lock()
        self._wanted = threading.Condition(self._guard)
        self._id = ""
        self._sequence = 0
        self._head = ""
        self._sealer: threading.Thread | None = None
        self._is_closed = False
        self._checkpoint: Checkpoint | None = None
        # How many requests the next commit hopes to carry.
        self._company = 1
        self._commits = 0

    def append(self, rows: Sequence[Document]) -> None:
        """Write events and return when they are durable. Raises Unavailable when that cannot be."""
        if not rows:
            return
        request = _Request(rows, is_durable=False)
        with self._wanted:
            self._waiting.append(request)
            if len(self._waiting) >= self._company:
                self._wanted.notify_all()
        with self._commit:
            if not request.is_done:
                self._gather()
                self._write(self._take())
        if request.error is not None:
            raise Unavailable("The audit trail cannot be written; nothing was disclosed.") from request.error

    def seal(self, rows: Sequence[Document]) -> None:
        """Give events that a transaction has made durable their place in the chain, soon."""
        if not rows:
            return
        with self._wanted:
            self._waiting.append(_Request(rows, is_durable=True))
            if self._sealer is None:
                self._sealer = threading.Thread(target=self._seal_on, name="audit-sealer", daemon=True)
                self._sealer.start()
            self._wanted.notify()

    def close(self) -> None:
        """Seal what waits, and keep the head."""
        with self._wanted:
            self._is_closed = True
            self._wanted.notify()
        with self._commit:
            self._write(self._take())
            if self._segments is not None:
                self._segments.close()
            self._close_checkpoint()
        if self._witness is not None:
            self._witness.close()

    def adopt(self, *, exclusive: bool) -> int:
        """Seal what other processes left unsealed; `exclusive` says that none of them runs. Returns how many."""
        claim = uuid.uuid4().hex
        wanted: Document = {"log": None}
        if not exclusive:
            wanted["lu"] = {"$lt": datetime.now(UTC) - _ORPHAN_AGE}
        self._database.audit.update_many(wanted, {"$set": {"log": f"claimed-{claim}"}})
        orphans = self._database.audit.find({"log": f"claimed-{claim}"}, {"b": 1, "lu": 1}).sort([("_id", 1)]).to_list()
        if exclusive and self._checkpoints is not None:
            move_all(self._checkpoints)
        if exclusive:
            audit_segments.close_all(self._database, self._id, self._segment)
        with self._commit:
            self._write([_Request(orphans, is_durable=True)] if orphans else [])
        return len(orphans)

    def _gather(self) -> None:
        """Where requests came together before, wait a moment for as many: one commit is cheaper than several.

        The database's own group commit does the same (its journal is flushed for all who wait). A request that comes
        alone never waits; one that has company waits for one more only now and then, to find out whether there is.
        """
        with self._wanted:
            if self._company > 1:
                self._wanted.wait_for(lambda: len(self._waiting) >= self._company, timeout=_COMMIT_DELAY)
            come = len(self._waiting)
            self._commits += 1
            is_looking = come > 1 and self._commits % _LOOK_AROUND == 0
            self._company = come + 1 if is_looking else come

    def _take(self) -> list[_Request]:
        with self._guard:
            taken, self._waiting = self._waiting, []
        return taken

    def _seal_on(self) -> None:
        while True:
            with self._wanted:
                self._wanted.wait_for(lambda: self._waiting or self._is_closed)
                if self._is_closed:
                    return
                # Durable events may wait for company; a reader that comes meanwhile takes them along.
                self._wanted.wait_for(lambda: self._is_closed, timeout=_GATHERING)
            with self._commit:
                self._write(self._take())

    def _write(self, requests: list[_Request]) -> None:
        """One round trip for all requests. Runs under the commit lock, so the chain has one writer."""
        if not requests:
            return
        try:
            if not self._id:
                self._open()
                self._forget_sealed(requests)
            # What is durable already comes first: should only the other half fail, the chain has no hole.
            links = self._linked(sorted(requests, key=lambda request: not request.is_durable))
            self._send(
                "update", "updates", [{"q": {"_id": row["_id"]}, "u": {"$set": link}} for row, link in links.old]
            )
            self._send("insert", "documents", [{**stored_event(row), **link} for row, link in links.new])
            self._sequence, self._head = links.sequence, links.head
        except BaseException as error:
            # What has been written is unknown; the chain goes on in a new log, and the tail of this one is verified
            # as far as it goes. Whatever went wrong, nobody whose events were taken may go on without them.
            self._id = ""
            for request in requests:
                request.error = error
                request.is_done = True
            self._keep_for_later(requests)
            if not isinstance(error, Exception):
                raise
        else:
            head = Head(self._sequence, self._head)
            if self._checkpoint is not None:
                self._checkpoint.keep(head)
            if self._segments is not None and (times := [row.get("lu", _now()) for row, _ in (*links.old, *links.new)]):
                self._segments.reach(*head, min(times), max(times))
            if self._witness is not None:
                self._witness.reach(self._id, head)
        for request in requests:
            request.is_done = True

    def _linked(self, requests: Iterable[_Request]) -> _Links:
        """Each row with its place in the chain."""
        links = _Links(self._sequence, self._head)
        for request in requests:
            for row in request.rows:
                sequence, previous = links.sequence + 1, links.head
                head = digest(self._id, sequence, previous, row["_id"], row["b"])
                link = {"log": self._id, "seq": sequence, "prev": previous, "hash": head}
                (links.old if request.is_durable else links.new).append((row, link))
                links.sequence, links.head = sequence, head
        return links

    def _send(self, command: str, field_: str, operations: Sequence[Document]) -> None:
        """One write command, journaled by a majority; any part of it that failed is an error."""
        for start in range(0, len(operations), _MOST_AT_ONCE):
            batch = operations[start : start + _MOST_AT_ONCE]
            answer = self._database.command(
                command, "audit", ordered=True, writeConcern={"w": "majority", "j": True}, **{field_: batch}
            )
            if "writeErrors" in answer or "writeConcernError" in answer:
                raise OperationFailure("the audit trail was not written whole", details=answer)

    def _keep_for_later(self, requests: Iterable[_Request]) -> None:
        durable = [_Request(request.rows, is_durable=True) for request in requests if request.is_durable]
        with self._guard:
            self._waiting.extend(durable)

    def _forget_sealed(self, requests: Iterable[_Request]) -> None:
        """After a failure, what had found its place before it stays there."""
        for request in requests:
            if request.is_durable:
                names = [row["_id"] for row in request.rows]
                waiting = {"_id": {"$in": names}, "$or": [{"log": None}, {"log": {"$regex": "^claimed-"}}]}
                open_ = set(self._database.audit.find(waiting, {"_id": 1}).distinct("_id"))
                request.rows = [row for row in request.rows if row["_id"] in open_]

    def _open(self) -> None:
        """Register a log, bound to the one registered before it."""
        log = uuid.uuid4().hex
        while True:
            last = next(iter(self._database.audit_logs.find().sort([("_id", -1)]).limit(1)), None)
            number, previous = (1, ORIGIN) if last is None else (last["_id"] + 1, last["hash"])
            bound = log_digest(number, log, previous)
            with contextlib.suppress(DuplicateKeyError):
                self._database.audit_logs.insert_one(
                    {"_id": number, "log": log, "previous": previous, "hash": bound, "opened": datetime.now(UTC)}
                )
                break
        self._id, self._sequence, self._head = log, 0, bound
        self._segments = audit_segments.Writer(self._database, log, bound, self._segment)
        self._close_checkpoint()
        if self._checkpoints is not None:
            self._checkpoint = Checkpoint(self._checkpoints, log)

    def _close_checkpoint(self) -> None:
        if self._checkpoint is not None:
            self._checkpoint.close()
            self._checkpoint = None
