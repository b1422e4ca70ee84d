"""Segments of the audit logs: so many events of a log, closed by a seal that says which they were.

A seal has the number of its segment, the first and last sequence, how many events, the digest before the first and that
of the last, the instants of both, and the digest of the seal before; its own digest covers all of it. So a segment can
be verified alone, and a seal that was taken out of the row shows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from pymongo.errors import DuplicateKeyError, PyMongoError

from fhirserver.store.database import Database, Document
from fhirserver.store.search_values import fhir_instant

SIZE: Final = 10_000
"""Events after which a segment is closed; the commit that reaches it is in it whole."""


@dataclass(frozen=True, slots=True)
class Seal:
    """What one segment of a log was when it was closed; `before` is the digest of the seal before it."""

    log: str
    number: int
    first: int
    last: int
    count: int
    previous: str
    head: str
    begun: str
    ended: str
    before: str

    @property
    def digest(self) -> str:
        """The hash of all of it, as hexadecimal SHA-256."""
        return hashlib.sha256("|".join(str(value) for value in asdict(self).values()).encode()).hexdigest()

    @property
    def name(self) -> str:
        """By which it is stored; in the order of the segments of a log."""
        return f"{self.log}-{self.number:010d}"

    @property
    def document(self) -> Document:
        """As it is stored here, and told to a witness."""
        return {**asdict(self), "hash": self.digest}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Seal:
        """From a document; whether its digest is right is for the verification to say. Raises KeyError, TypeError."""
        return cls(**{name: kind(document[name]) for name, kind in _FIELDS.items()})


_FIELDS: Final = {
    "log": str, "number": int, "first": int, "last": int, "count": int,
    "previous": str, "head": str, "begun": str, "ended": str, "before": str,
}  # fmt: skip


def seals_of(database: Database, log: str) -> Iterator[tuple[Seal, str]]:
    """The seals of a log in order, each with the digest that is stored beside it."""
    for document in database.audit_seals.find({"log": log}).sort([("_id", 1)]):
        yield Seal.of(document), str(document["hash"])


class Writer:
    """Closes the segments of the log that one process writes. Used under the log's commit lock."""

    def __init__(self, database: Database, log: str, bound: str, size: int) -> None:
        """Begin the first segment of a log; `bound` is the digest before its first event."""
        self._database = database
        self._log = log
        self._size = size
        self._number, self._first, self._previous, self._before = 1, 1, bound, ""
        self._last, self._head = 0, bound
        self._begun: datetime | None = None
        self._ended: datetime | None = None

    def reach(self, sequence: int, head: str, begun: datetime, ended: datetime) -> None:
        """Events were added up to this one, between these instants; the segment is closed where it is full."""
        self._last, self._head, self._ended = sequence, head, ended
        self._begun = self._begun or begun
        if self._last - self._first + 1 >= self._size:
            self.close()

    def close(self) -> None:
        """Close the segment, if it has events. What cannot be closed now is closed with what comes after it."""
        if self._begun is None or self._ended is None:
            return
        seal = Seal(
            self._log,
            self._number,
            self._first,
            self._last,
            self._last - self._first + 1,
            self._previous,
            self._head,
            fhir_instant(self._begun),
            fhir_instant(self._ended),
            self._before,
        )
        try:
            _write(self._database, seal)
        except DuplicateKeyError:  # an attempt whose answer was lost had done it
            document = self._database.audit_seals.find_one({"_id": seal.name})
            seal = seal if document is None else Seal.of(document)
        except PyMongoError:
            return
        self._number, self._first, self._previous, self._before = seal.number + 1, seal.last + 1, seal.head, seal.digest
        self._begun = None if seal.last == self._last else self._ended


def close_all(database: Database, own: str, size: int = SIZE) -> None:
    """Close what processes that ended left open; for a start while no other process runs. `own` goes on."""
    for log in database.audit_logs.find({"log": {"$ne": own}, "closed": None}, {"log": 1}).to_list():
        _close_whole(database, log["log"], size)
        database.audit_logs.update_one({"_id": log["_id"]}, {"$set": {"closed": True}})


def _close_whole(database: Database, log: str, size: int) -> None:
    """Close the events behind the last seal of a log as they lie in the database, in pieces of `size`."""
    last = next(iter(database.audit_seals.find({"log": log}).sort([("_id", -1)]).limit(1)), None)
    number, first, before = (1, 1, "") if last is None else (last["number"] + 1, last["last"] + 1, last["hash"])
    fields = {"seq": 1, "prev": 1, "hash": 1, "lu": 1}
    while rows := (
        database.audit.find({"log": log, "seq": {"$gte": first}}, fields).sort([("seq", 1)]).limit(size).to_list()
    ):
        seal = Seal(
            log,
            number,
            rows[0]["seq"],
            rows[-1]["seq"],
            len(rows),
            rows[0]["prev"],
            rows[-1]["hash"],
            fhir_instant(rows[0]["lu"]),
            fhir_instant(rows[-1]["lu"]),
            before,
        )
        _write(database, seal)
        number, first, before = number + 1, seal.last + 1, seal.digest


def _write(database: Database, seal: Seal) -> None:
    database.audit_seals.insert_one({"_id": seal.name, **seal.document, "told": None})
