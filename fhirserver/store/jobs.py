"""Searches that are answered later: what was asked, by whom, and where it stands.

A job is a small record that every process sees. What a search found is kept as the names of the rows, never as their
content: it is decided anew, for whoever fetches it, when it is fetched. The record ends by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pymongo import ReturnDocument

from fhirserver.store.database import Database, Document

State = Literal["running", "done", "failed"]


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found: its rows as `Type/id` in order, the sealed link to the rest, and whether this is all."""

    rows: Sequence[str]
    next: str | None
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Job:
    """One search, at a `path` below the FHIR base.

    `error` is status, code and text where it failed, `found` what it found where it is done.
    """

    id: str
    path: str
    pairs: tuple[tuple[str, str], ...]
    handling: str
    state: State
    began: datetime
    expires: datetime
    beat: datetime
    found: Found | None = None
    error: tuple[int, str, str] | None = None


class Jobs:
    """The jobs of all processes over one database."""

    def __init__(self, database: Database) -> None:
        """Nothing is read or written yet."""
        self._jobs = database.jobs

    def add(self, job: Job, caller: str) -> None:
        """Write a job that begins now."""
        self._jobs.insert_one(
            {
                "_id": job.id,
                "caller": caller,
                "path": job.path,
                "pairs": [list(pair) for pair in job.pairs],
                "handling": job.handling,
                "state": job.state,
                "began": job.began,
                "expires": job.expires,
                "beat": job.beat,
            }
        )

    def unfinished(self, caller: str) -> int:
        """How many searches of a caller are under way."""
        return self._jobs.count_documents({"caller": caller, "state": "running"})

    def get(self, id_: str, caller: str, now: datetime) -> Job | None:
        """The caller's own job; None for one that is unknown, another's, or has expired."""
        document = self._jobs.find_one({"_id": id_, "caller": caller, "expires": {"$gt": now}})
        return None if document is None else _job_of(document)

    def take_over(self, job: Job, now: datetime) -> bool:
        """Take a job whose process has died; False where another process was faster."""
        taken = self._jobs.find_one_and_update(
            {"_id": job.id, "state": "running", "beat": job.beat},
            {"$set": {"beat": now}},
            return_document=ReturnDocument.AFTER,
        )
        return taken is not None

    def beat(self, id_: str, now: datetime) -> bool:
        """Say that the job is being done; False where nobody wants it any more."""
        return self._jobs.update_one({"_id": id_, "state": "running"}, {"$set": {"beat": now}}).matched_count == 1

    def finish(self, id_: str, found: Found) -> None:
        """Keep what was found; nothing where the job was cancelled."""
        outcome = {"rows": [*found.rows], "next": found.next, "is_whole": found.is_whole}
        self._end(id_, {"state": "done", "found": outcome})

    def fail(self, id_: str, status: int, code: str, text: str) -> None:
        """Keep why it failed."""
        self._end(id_, {"state": "failed", "error": [status, code, text]})

    def remove(self, id_: str, caller: str) -> bool:
        """Forget the caller's own job; False where there is none."""
        return self._jobs.delete_one({"_id": id_, "caller": caller}).deleted_count == 1

    def _end(self, id_: str, changes: Document) -> None:
        self._jobs.update_one({"_id": id_, "state": "running"}, {"$set": changes})


def _job_of(document: Document) -> Job:
    found: dict[str, Any] | None = document.get("found")
    error = document.get("error")
    return Job(
        document["_id"],
        document["path"],
        tuple((name, value) for name, value in document["pairs"]),
        document["handling"],
        document["state"],
        document["began"],
        document["expires"],
        document["beat"],
        None if found is None else Found(found["rows"], found["next"], found["is_whole"]),
        None if error is None else (error[0], error[1], error[2]),
    )
