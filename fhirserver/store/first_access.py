"""Who has opened whose record before: a professional's first access to it is told to the person.

One document says it for each professional and patient; its name is unique, so of two first accesses at once one is the
first. It is written in one transaction with the AuditEvents that tell of the access and the notices that are owed for
it. A process keeps the pairs that it knows: an access that is not the first costs no round trip.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

from pymongo.client_session import ClientSession
from pymongo.errors import DuplicateKeyError, PyMongoError

from fhirserver.errors import Unavailable
from fhirserver.store.database import Database, Document
from fhirserver.store.indexes import stored_event
from fhirserver.store.writes import Writes

NOTIFIED: Final = ("patient", "representatives")
"""Who is owed a notice; whoever sends it asks whether they may read the event that it names."""

# Pairs of each of the two halves of what a process keeps: a few megabytes.
_MOST_KEPT = 25_000


class FirstAccesses:
    """The first accesses of a database. Made once a process; safe to use from all its threads."""

    def __init__(self, database: Database) -> None:
        """Nothing is read before it is asked for."""
        self._database = database
        self._guard = threading.Lock()
        self._young: set[str] = set()
        self._old: set[str] = set()

    def missing(self, subject: str, patients: Collection[str]) -> list[str]:
        """Those of the patients whose record the professional has not opened before.

        One query for those that this process does not know of. Raises Unavailable where it cannot be answered.
        """
        unknown = [patient for patient in patients if not self._knows(f"{subject} {patient}")]
        if not unknown:
            return unknown
        names = [f"{subject} {patient}" for patient in unknown]
        try:
            rows = self._database.first_accesses.find({"_id": {"$in": names}}, {"_id": 1}).to_list()
        except PyMongoError as error:
            raise Unavailable("The first accesses cannot be read; nothing was disclosed.") from error
        found = {row["_id"] for row in rows}
        self._keep(found)
        return [patient for patient in unknown if f"{subject} {patient}" not in found]

    def write(
        self, who: tuple[str, str | None], opened: Mapping[str, str], events: Sequence[Document], now: datetime
    ) -> bool:
        """Write first accesses, the notices of them and the events of the request, all or nothing.

        `who` is the professional and whom they act for, `opened` the AuditEvent that tells of each patient. False,
        with nothing written, where another request was the first meanwhile. Raises Unavailable where it cannot be
        written.
        """
        subject, organization = who
        names = {patient: f"{subject} {patient}" for patient in opened}
        writes = Writes()
        writes.insert(
            "first_accesses", [{"_id": names[patient], "event": opened[patient], "at": now} for patient in opened]
        )
        writes.insert(
            "notices",
            [
                {
                    "_id": f"first-access {names[patient]} {to}",
                    "kind": "first-access",
                    "to": to,
                    "patient": patient,
                    "subject": subject,
                    "organization": organization,
                    "event": event,
                    "at": now,
                    "sent": None,
                }
                for patient, event in opened.items()
                for to in NOTIFIED
            ],
        )
        writes.insert("audit", [{**stored_event(event), "log": None} for event in events])

        def work(session: ClientSession) -> None:
            writes.send(self._database, session)

        try:
            with self._database.client.start_session() as session:
                session.with_transaction(work)
        except DuplicateKeyError:
            return False
        except PyMongoError as error:
            raise Unavailable("The audit trail cannot be written; nothing was disclosed.") from error
        self._keep(names.values())
        return True

    def _knows(self, name: str) -> bool:
        return name in self._young or name in self._old

    def _keep(self, names: Collection[str]) -> None:
        """Keep pairs; those that were kept longest go first, half of all at once."""
        with self._guard:
            if len(self._young) + len(names) > _MOST_KEPT:
                self._old, self._young = self._young, set()
            self._young.update(names)
