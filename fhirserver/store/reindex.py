"""Bring rows up to the search parameters of now: a job that survives whoever runs it.

The job is a document beside the parameters. Whoever runs it holds a lease and renews it; after a crash another process,
or the same one started again, goes on with the rows that are still behind, since each row says itself of which
generation it is. Only `tk`, `rg`, `so` and `g` are written, and only where the row is still the version that was read:
versions, instants and bytes stay.

A write that a process makes without knowing of a new parameter stamps its row with the older generation, so it is found
behind. The last look for such rows comes when no write can still be under way that began before every process knew
(docs/adr/0022); only then are the parameters usable.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from pymongo.errors import InvalidOperation, PyMongoError

from fhirserver.config import Config
from fhirserver.errors import FhirError
from fhirserver.store.database import Database, Document
from fhirserver.store.indexes import BY_GENERATION
from fhirserver.store.search_parameters import INDEXING, JOB, USABLE, Catalogue
from fhirserver.store.search_values import search_values
from fhirserver.store.writes import update_of
from resources import SUPPORTED
from resources.search_parameter import UNFIT
from resources.validation import parse

_ROWS: Final = 200
_BYTES: Final = 4 << 20
"""Of one batch: what is in memory, and how long the lease has to hold."""

_LEASE: Final = 30
"""Seconds after which a job without a sign of life is taken over."""

_FIELDS = {"b": 1, "v": 1, "lu": 1}

TYPES: Final = tuple(name for name in SUPPORTED if name not in UNFIT)
"""The types whose rows can be behind: the trail is append-only, and Binaries have no search."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Job:
    """How far the reindexing is: rows done of those that were behind. `status` is none, running, done or failed."""

    status: str
    types: tuple[str, ...] = ()
    total: int = 0
    done: int = 0
    reason: str | None = None

    @property
    def percent(self) -> int:
        """How far it is, in whole per cent; a hundred only when it is over."""
        return 100 if self.status == "done" else min(99, 100 * self.done // max(1, self.total))

    @classmethod
    def of(cls, document: Document | None) -> Job:
        """The job of its record."""
        if document is None:
            return cls("none")
        return cls(
            document["status"], tuple(document["types"]), document["total"], document["done"], document.get("reason")
        )


class Reindex:
    """The job, seen from one process. Safe to be run in several at once: one works, the others watch."""

    def __init__(self, database: Database, config: Config) -> None:
        """Nothing is read or written yet."""
        self.pause, self.rows = 0.5, _ROWS
        self._database = database
        self._config = config
        self._parameters = database.search_parameters
        self._jobs = database.database["search_parameters"]
        self._name = uuid.uuid4().hex

    def job(self) -> Job:
        """How far it is."""
        return Job.of(self._jobs.find_one({"_id": JOB}))

    def behind(self, types: Iterable[str] = TYPES) -> int:
        """How many rows are behind."""
        return self._behind(self._parameters.refresh(), types)

    def begin(self, types: Sequence[str] = (), *, rebuild: bool = False) -> Job:
        """Order the reindexing of these types, or of all: of the rows that are behind, or with `rebuild` of every row.

        An order while a job is under way is added to it.
        """
        wanted = tuple(types) or TYPES
        if rebuild:
            self._parameters.require(types)
        catalogue = self._parameters.refresh()
        present = self._jobs.find_one({"_id": JOB})
        if present is not None and present["status"] == "running":
            wanted = tuple(name for name in TYPES if name in {*wanted, *present["types"]})
        order = {
            "status": "running",
            "types": wanted,
            "total": self._behind(catalogue, wanted),
            "done": 0,
            "order": uuid.uuid4().hex,
        }
        self._jobs.update_one({"_id": JOB}, {"$set": order, "$unset": {"reason": ""}}, upsert=True)
        return self.job()

    def run(self, tell: Callable[[Job], None] = lambda _: None) -> Job:
        """Work, or watch another process work, until the job is no longer under way; `tell` hears how far it is."""
        while True:
            job = self.job()
            tell(job)
            if job.status != "running":
                self._parameters.refresh()
                return job
            if self._lease():
                try:
                    self._work(tell)
                except _LostError:
                    continue
            else:
                self._wait()

    def run_in_background(self) -> threading.Thread:
        """The same in a thread, of which this process has one at most; it ends with the process."""
        return self._database.reindexing.begin(self._persist, self._is_left)

    def _persist(self) -> None:
        try:
            self.run()
        except InvalidOperation:  # the client is closed: the process ends
            return
        except PyMongoError as error:
            log.warning("reindexing waits for the database", error=str(error))
            self._wait()

    def _is_left(self) -> bool:
        try:
            return self.job().status == "running"
        except InvalidOperation:
            return False
        except PyMongoError:
            return True

    def _wait(self) -> None:
        time.sleep(self.pause)

    # The steps

    def _work(self, tell: Callable[[Job], None]) -> None:
        """One order from its beginning, or from where somebody left it. Raises _LostError without the lease."""
        record = self._record()
        catalogue = self._parameters.refresh()
        known = datetime.now(UTC) + timedelta(seconds=self._parameters.age)
        remaining = self._behind(catalogue, record["types"])
        total = max(record["total"], remaining)
        self._renew({"total": total, "done": total - remaining})
        try:
            self._bring_up(catalogue, record["types"], tell)
            self._settle(known)
            self._bring_up(catalogue, record["types"], tell)
        except FhirError as error:
            self._finish(record, {"status": "failed", "reason": error.diagnostics})
            return
        self._make_usable(catalogue, set(record["types"]))
        self._finish(record, {"status": "done", "done": total, "total": total})

    def _bring_up(self, catalogue: Catalogue, types: Iterable[str], tell: Callable[[Job], None]) -> None:
        """Index anew the rows that are behind, batch by batch, until there is none."""
        for type_ in _required(catalogue, types):
            stale = _behind(catalogue, type_)
            while batch := list(self._batch(stale)):
                self._send([self._indexed(catalogue, row, stale["g"]) for row in batch])
                self._renew(count=len(batch))
                tell(self.job())

    def _batch(self, stale: Document) -> Iterator[Document]:
        size = 0
        with self._database.resources.find(stale, _FIELDS, hint=BY_GENERATION, limit=self.rows, batch_size=50) as rows:
            for row in rows:
                yield row
                size += len(row["b"])
                if size > _BYTES:
                    return

    def _indexed(self, catalogue: Catalogue, row: Document, stale: Document) -> Document:
        """The update of a row, if it is still that version and still behind."""
        try:
            found = search_values(catalogue, parse(row["b"]), row["lu"], self._config)
        except FhirError as error:
            error.diagnostics = f"{row['_id']}: {error.diagnostics}"
            raise
        absent = {name: "" for name in ("place", "wo") if name not in found}
        change = {"$set": found, **({"$unset": absent} if absent else {})}
        return update_of({"_id": row["_id"], "v": row["v"], "g": stale}, change)

    def _send(self, updates: list[Document]) -> None:
        answer = self._database.command("update", "resources", updates=updates, ordered=False)
        if errors := answer.get("writeErrors"):
            raise PyMongoError(str(errors[0].get("errmsg", "")))

    def _settle(self, known: datetime) -> None:
        """Return when all that was written by `known`, on the clock of any server, can be read."""
        margin = self._database.in_flight.margin
        while self._database.in_flight.complete_until() < known + margin:
            self._renew()
            self._wait()

    def _make_usable(self, catalogue: Catalogue, types: set[str]) -> None:
        """The parameters of this catalogue, all of whose types are done; one that has changed since is left."""
        for one in catalogue.added:
            if types.issuperset(one.definition.base):
                change = {"$set": {"state": USABLE}, "$currentDate": {"since": {"$type": "timestamp"}}}
                self._jobs.update_one({"_id": one.reference, "g": one.generation, "state": INDEXING}, change)

    def _behind(self, catalogue: Catalogue, types: Iterable[str]) -> int:
        count = self._database.resources.count_documents
        return sum(count(_behind(catalogue, type_), hint=BY_GENERATION) for type_ in _required(catalogue, types))

    # The record

    def _record(self) -> Document:
        record = self._jobs.find_one({"_id": JOB, "status": "running", "lease.by": self._name})
        if record is None:
            raise _LostError
        return record

    def _lease(self) -> bool:
        """Take the job, unless somebody else is at work."""
        over = {"$expr": {"$lt": [{"$ifNull": ["$lease.until", datetime.min.replace(tzinfo=UTC)]}, "$$NOW"]}}
        taken = self._jobs.update_one(
            {"_id": JOB, "status": "running", "$or": [over, {"lease.by": self._name}]}, [{"$set": self._held()}]
        )
        return taken.matched_count > 0

    def _held(self) -> Document:
        return {"lease": {"by": self._name, "until": {"$add": ["$$NOW", _LEASE * 1_000]}}}

    def _renew(self, fields: Document | None = None, *, count: int = 0) -> None:
        """Show a sign of life, and progress. Raises _LostError where the job was taken over or is over."""
        done: Document = {"done": {"$add": ["$done", count]}} if count else {}
        kept = self._jobs.update_one(
            {"_id": JOB, "status": "running", "lease.by": self._name},
            [{"$set": {**self._held(), **(fields or {}), **done}}],
        )
        if not kept.matched_count:
            raise _LostError

    def _finish(self, record: Document, end: Document) -> None:
        """End the job, unless more was ordered meanwhile: then it goes on with that."""
        self._jobs.update_one(
            {"_id": JOB, "order": record["order"], "lease.by": self._name},
            {"$set": end, "$unset": {"lease": ""}},
        )


class _LostError(Exception):
    """Another process has taken the job over."""


def _required(catalogue: Catalogue, types: Iterable[str]) -> list[str]:
    """Those of the types whose rows should be of a certain generation."""
    return [type_ for type_ in types if catalogue.required[type_]]


def _behind(catalogue: Catalogue, type_: str) -> Document:
    """The rows of a type that are older than they should be, those without a generation included."""
    return {"t": type_, "g": {"$not": {"$gte": catalogue.required[type_]}}}


def resume(database: Database, config: Config) -> threading.Thread | None:
    """Go on with a job that a stop has left, in the background."""
    reindex = Reindex(database, config)
    return reindex.run_in_background() if reindex.job().status == "running" else None


__all__ = ["Job", "Reindex", "resume"]
