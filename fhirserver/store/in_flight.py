"""Which writes are under way, in all processes: up to which instant everything that was written can be read.

A version has its instant (`meta.lastUpdated`) before it is committed, so a reader may see a later one first. Whoever
follows the history must not go on from the latest instant they saw. Each process therefore keeps a promise in the
collection `writers`: an instant before which it will commit nothing any more. It is the instant of its oldest write
that is still under way, or that of a moment ago. A reader takes the earliest promise before it reads.

A process promises before its first write and renews its promise every second while it writes; one that has been idle
takes it back and costs nothing. See docs/adr/0012-history-as-a-feed.md for why there can be no gap.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from time import monotonic

from pymongo.collection import Collection
from pymongo.errors import PyMongoError

from fhirserver.errors import Unavailable

_FORGOTTEN = 180_000
"""Milliseconds after which a promise was that of a process that has died.

MongoDB ends a transaction after a minute, a minute and a half at the latest: what began under the promise cannot be
committed by then.
"""


class InFlight:
    """The writes of one process, and what all processes promise. Safe to use from all its threads.

    `margin` is by how much the clocks of servers over one database may differ, and a second in which a request may
    reach its transaction. In seconds: `period` lies between two promises of a process that writes; after `idle` one
    that writes nothing takes its promise back; for `fresh` a promise holds without being renewed, and nothing is
    committed under an older one.
    """

    def __init__(self, writers: Collection[dict[str, object]]) -> None:
        """Nothing is read or written yet."""
        self.margin = timedelta(seconds=5)
        self.period, self.idle, self.fresh = 1.0, 10.0, 45.0
        self._writers = writers
        self._guard = threading.Lock()
        self._publishing = threading.Lock()
        self._instants: dict[object, datetime] = {}
        self._name = ""
        self._promised_at = 0.0
        self._used_at = 0.0
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def writing(self, instant: datetime) -> Iterator[None]:
        """Hold back the promise of this process while a write with that instant may still be committed.

        Raises Unavailable where the promise cannot be made.
        """
        ticket = object()
        with self._guard:
            self._instants[ticket] = instant
            self._used_at = monotonic()
        try:
            if not self._is_fresh():
                self._promise_anew()
            yield
        finally:
            with self._guard:
                del self._instants[ticket]

    def require_promise(self) -> None:
        """Raise Unavailable where the promise has not been renewed for long: asked last before a commit."""
        if not self._is_fresh():
            raise Unavailable("The database was out of reach for too long; the write was not made.")

    def complete_until(self) -> datetime:
        """An instant up to which all that was written can be read from now on; later instants may have gaps."""
        now = datetime.now(UTC)
        alive = {"$expr": {"$gt": ["$at", {"$subtract": ["$$NOW", _FORGOTTEN]}]}}
        promises = [one["until"] for one in self._writers.find(alive, {"until": 1}).to_list()]
        return min([now - self.margin, *(one for one in promises if isinstance(one, datetime))])

    def close(self) -> None:
        """Take the promise back: this process writes nothing any more."""
        thread = self._thread
        self._wake.set()
        if thread is not None:
            thread.join()

    def _is_fresh(self) -> bool:
        with self._guard:
            return bool(self._name) and monotonic() - self._promised_at < self.fresh

    def _promise_anew(self) -> None:
        """Make the promise before going on, for all who wait for it."""
        with self._publishing:
            if self._is_fresh():
                return
            with self._guard:
                self._name = self._name or uuid.uuid4().hex
            try:
                self._publish()
            except PyMongoError as error:
                raise Unavailable("The database cannot be reached; the write was not made.") from error
            if self._thread is None:
                self._wake.clear()
                self._thread = threading.Thread(target=self._renew, name="promises", daemon=True)
                self._thread.start()

    def _publish(self) -> None:
        with self._guard:
            begun = monotonic()
            until = min([datetime.now(UTC) - self.margin, *self._instants.values()])
        change = {"$set": {"until": until}, "$currentDate": {"at": True}}
        self._writers.update_one({"_id": self._name}, change, upsert=True)
        with self._guard:
            self._promised_at = begun

    def _renew(self) -> None:
        while not self._wake.wait(self.period):
            with self._publishing:
                if self._leave(self.idle):
                    return
                with suppress(PyMongoError):  # tried again; whoever writes meanwhile asks whether it is fresh
                    self._publish()
        with self._publishing:
            self._leave()

    def _leave(self, idle_for: float = 0.0) -> bool:
        """Take the promise back, unless somebody writes or wrote just now; says whether it did.

        The next promise has another name, so that this deletion cannot touch it.
        """
        with self._guard:
            if idle_for and (self._instants or monotonic() - self._used_at < idle_for):
                return False
            name, self._name, self._thread = self._name, "", None
        with suppress(PyMongoError):
            self._writers.delete_one({"_id": name})
        return True
