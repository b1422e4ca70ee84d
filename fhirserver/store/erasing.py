"""Remove what `erasure` has locked: a job that survives whoever runs it.

What is left to do is what is left in the collections, so the job needs no other memory: a batch is read, its objects
are deleted, and then its rows, in one transaction with the count of them. A crash before that leaves rows whose objects
are gone already, which nobody can read; they are found again. The rows of studies go last, since they say where the
instances are.

Whoever runs the job holds a lease and renews it; after a crash another process, or the same one started again, takes it
over. The end is one transaction too, with its event in the trail.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from pymongo.client_session import ClientSession
from pymongo.errors import InvalidOperation, PyMongoError

from fhirserver.config import Config
from fhirserver.errors import Unavailable
from fhirserver.search.stored import SEPARATOR
from fhirserver.store import actors, erasure
from fhirserver.store.database import Database, Document
from fhirserver.store.erasure import Erasure, of_patient
from fhirserver.store.indexes import BY_PATIENT, BY_VALUE, stored_event
from fhirserver.store.writes import Writes
from resources.declaration import local_address
from resources.validation import parse

Record = Callable[[Erasure], Sequence[Document]]
"""Makes the events of the end of an erasure, as rows of the trail."""

_ROWS: Final = 200
"""Resources of one batch, of which the bytes are read; twice as many of what is removed unread.

A batch and its objects must be gone well within the lease, also where the object store is across a network.
"""

_LEASE: Final = 15
"""Seconds after which a job without a sign of life is taken over."""

_DELETIONS: Final = 8
"""Objects that are deleted at once: a store across a network takes its time for each."""

_STUDY_UID: Final = "urn:dicom:uid"
_ADDRESSES: Final = frozenset({"url", "reference"})

log = structlog.get_logger()


class Erasures:
    """The erasures, seen from one process. Safe to be run in several at once: one works, the others watch."""

    def __init__(self, database: Database, config: Config) -> None:
        """Nothing is read or written yet."""
        self.pause, self.rows, self.lease = 0.5, _ROWS, _LEASE
        self._database = database
        self._config = config
        self._erasures = database.erasures
        self._name = uuid.uuid4().hex
        self._passed_over: set[str] = set()

    def get(self, patient: str) -> Erasure | None:
        """The erasure of that patient's record, None where there is none."""
        return erasure.find(self._database, patient)

    def is_left(self) -> bool:
        """Whether a record is still to be removed."""
        return self._erasures.count_documents(self._left(), limit=1) > 0

    def _left(self) -> Document:
        return {"status": "running", "_id": {"$nin": sorted(self._passed_over)}}

    def run(self, record: Record, tell: Callable[[Erasure], None] = lambda _: None) -> None:
        """Work, or watch another process work, until nothing is left; `tell` hears how far each erasure is.

        One that fails for another reason than a database or object store out of reach is passed over, so that the
        others do not wait for it; it stays locked, and whoever asks after it has it tried again.
        """
        while (found := self._erasures.find_one(self._left(), sort=[("asked", 1)])) is not None:
            patient = found["_id"]
            tell(Erasure.of(found))
            if self._take(patient):
                try:
                    _Work(self, patient, self._name, tell).run(record)
                except _LostError:
                    continue
                except (PyMongoError, Unavailable, OSError):
                    raise
                except Exception as error:  # noqa: BLE001 - whatever failed, the others go on
                    log.warning("an erasure cannot be finished", error=type(error).__name__)
                    self._passed_over.add(patient)
            else:
                time.sleep(self.pause)

    def run_in_background(self, record: Record) -> threading.Thread:
        """The same in a thread, of which this process has one at most; it ends with the process."""
        return self._database.erasing.begin(lambda: self._persist(record), self._may_be_left)

    def _persist(self, record: Record) -> None:
        try:
            self.run(record)
        except InvalidOperation:  # the client is closed: the process ends
            return
        except (PyMongoError, Unavailable, OSError) as error:
            log.warning("an erasure waits for the database or the object store", error=type(error).__name__)
            time.sleep(self.pause)

    def _may_be_left(self) -> bool:
        try:
            return self.is_left()
        except InvalidOperation:
            return False
        except PyMongoError:
            return True

    def _take(self, patient: str) -> bool:
        """Take the job, unless somebody else is at work."""
        over = {"$expr": {"$lt": [{"$ifNull": ["$lease.until", datetime.min.replace(tzinfo=UTC)]}, "$$NOW"]}}
        wanted = {"_id": patient, "status": "running", "$or": [over, {"lease.by": self._name}]}
        return self._erasures.update_one(wanted, [{"$set": self.held(self._name)}]).matched_count > 0

    def held(self, name: str) -> Document:
        """The lease of a worker, from now on, in an update pipeline."""
        return {"lease": {"by": name, "until": {"$add": ["$$NOW", self.lease * 1_000]}}}

    @property
    def database(self) -> Database:
        """Where it works."""
        return self._database

    @property
    def base(self) -> str:
        """The address that references to this server may begin with."""
        return self._config.fhir_base


class _LostError(Exception):
    """Another process has taken the job over."""


class _Work:
    """The removal of one record, by one worker that holds the lease."""

    def __init__(self, jobs: Erasures, patient: str, name: str, tell: Callable[[Erasure], None]) -> None:
        self._jobs = jobs
        self._database = jobs.database
        self._patient = patient
        self._name = name
        self._tell = tell
        self._own = of_patient(patient, is_shared=False)

    def run(self, record: Record) -> None:
        """From the beginning, or from where somebody left it. Raises _LostError without the lease."""
        studies = self._studies()
        if (self._of_record() or {}).get("digest") is None:
            self._go_through(studies)
        for reference, uids in studies.items():
            while self._remove_instances(reference, uids):
                pass
        while self._remove_versions():
            pass
        while self._remove_resources():
            pass
        self._remove_the_rest()
        self._finish(record)

    # The steps

    def _studies(self) -> dict[str, list[str]]:
        """The person's ImagingStudies, deleted ones included, each with the UIDs that it has had."""
        wanted = {**self._own, "t": {"$in": ["ImagingStudy", "~ImagingStudy"]}}
        rows = self._database.resources.find(wanted, {"dicom.StudyInstanceUID": 1, "t": 1}).sort([("_id", 1)])
        return {
            row["_id"]: [row["dicom"]["StudyInstanceUID"]]
            if "StudyInstanceUID" in row.get("dicom", {})
            else self._uids_of_versions(row["_id"])
            for row in rows.to_list()
        }

    def _uids_of_versions(self, reference: str) -> list[str]:
        """Of a study that was deleted, or never had an instance: what its versions say."""
        versions = [
            *self._database.resources.find({"_id": reference}, {"b": 1}),
            *self._database.history.find({"r": reference}, {"b": 1}),
        ]
        return sorted(
            {
                identifier["value"].removeprefix("urn:oid:")
                for version in versions
                if version.get("b")
                for identifier in parse(version["b"]).get("identifier", ())
                if identifier.get("system") == _STUDY_UID and "value" in identifier
            }
        )

    def _go_through(self, studies: Mapping[str, Sequence[str]]) -> None:
        """Write down how much it is, and the digest: SHA-256 of a line for each name, in a fixed order.

        The Patient, then every other resource by its reference, each study followed by the UIDs of its instances.
        """
        digest, total = hashlib.sha256(f"{self._patient}\n".encode()), 1
        own = {**self._own, "_id": {"$ne": self._patient}}
        for row in self._database.resources.find(own, {"_id": 1}).sort([("_id", 1)]).hint(BY_PATIENT):
            names = [row["_id"]]
            if uids := studies.get(row["_id"]):
                wanted = {"study": {"$in": uids}, "resource": row["_id"]}
                names += sorted(one["_id"] for one in self._database.instances.find(wanted, {"_id": 1}))
            digest.update("".join(f"{name}\n" for name in names).encode())
            total += len(names)
        total += self._database.history.count_documents(self._own)
        self._commit(lambda _session: {}, {"digest": digest.hexdigest(), "total": total})

    def _remove_instances(self, reference: str, uids: Sequence[str]) -> bool:
        """A batch of the DICOM instances of one study; False where there was none."""
        wanted = {"study": {"$in": uids}, "resource": reference}
        rows = self._database.instances.find(wanted, {"object": 1}).limit(2 * self._jobs.rows).to_list()
        if not rows:
            return False
        self._delete(row["object"] for row in rows)
        names = {"_id": {"$in": [row["_id"] for row in rows]}}

        def remove(session: ClientSession) -> Mapping[str, int]:
            count = self._database.instances.delete_many(names, session=session).deleted_count
            return {"instances": count, "objects": count}

        self._commit(remove)
        return True

    def _remove_versions(self) -> bool:
        """A batch of the past versions that were of this person; False where there was none."""
        rows = self._database.history.find(self._own, {"content.object": 1}).limit(2 * self._jobs.rows).to_list()
        if not rows:
            return False
        objects = _objects(rows)
        self._delete(objects)
        names = {"_id": {"$in": [row["_id"] for row in rows]}}

        def remove(session: ClientSession) -> Mapping[str, int]:
            count = self._database.history.delete_many(names, session=session).deleted_count
            return {"versions": count, "objects": len(objects)}

        self._commit(remove)
        return True

    def _remove_resources(self) -> bool:
        """A batch of resources, and what hangs on them and names no patient; False where there was none."""
        own = {**self._own, "_id": {"$ne": self._patient}}
        fields = {"b": 1, "t": 1, "facts.custodians": 1, "content.object": 1}
        rows = self._database.resources.find(own, fields).hint(BY_PATIENT).limit(self._jobs.rows).to_list()
        if not rows:
            return False
        references = [row["_id"] for row in rows]
        hanging = [*self._provenances([*references, self._patient]), *self._binaries(rows)]
        gone = [*references, *(row["_id"] for row in hanging)]
        past = self._database.history.find({"r": {"$in": gone}}, {"content.object": 1}).to_list()
        objects = _objects([*rows, *hanging, *past])
        self._delete(objects)
        changes = self._actor_changes(rows)
        studies = sum(row["t"].endswith("ImagingStudy") for row in rows)

        def remove(session: ClientSession) -> Mapping[str, int]:
            versions = self._database.history.delete_many({"r": {"$in": gone}}, session=session)
            resources = self._database.resources.delete_many({"_id": {"$in": gone}}, session=session)
            writes = Writes()
            writes.update("actors", changes)
            writes.send(self._database, session)
            return {
                "studies": studies,
                "resources": resources.deleted_count,
                "versions": versions.deleted_count,
                "objects": len(objects),
                "results": self._forget_results(gone, session),
            }

        with ExitStack() as directory:
            if changes and self._database.generation is not None:
                directory.enter_context(self._database.generation.writing())
            self._commit(remove)
        return True

    def _remove_the_rest(self) -> None:
        """What is kept beside the resources and names the patient."""
        wanted = {"patient": self._patient}
        links = [one["_id"] for one in self._database.share_links.find(wanted, {"_id": 1})]

        def remove(session: ClientSession) -> Mapping[str, int]:
            self._database.share_files.delete_many({"link": {"$in": links}}, session=session)
            return {
                "links": self._database.share_links.delete_many(wanted, session=session).deleted_count,
                "sessions": self._database.emergencies.delete_many(wanted, session=session).deleted_count,
                "notices": self._database.notices.delete_many(wanted, session=session).deleted_count,
            }

        self._commit(remove)

    def _finish(self, record: Record) -> None:
        ended = datetime.now(UTC)
        document = self._of_record()
        if document is None:
            raise _LostError
        done = Erasure.of({**document, "status": "done", "ended": ended})
        rows = [{**stored_event(row), "log": None} for row in record(done)]

        def end(session: ClientSession) -> Mapping[str, int]:
            self._database.audit.insert_many([dict(row) for row in rows], session=session)
            return {}

        self._commit(end, {"status": "done", "ended": ended})
        if self._database.sealer is not None:
            self._database.sealer.seal(rows)

    # What hangs on a resource

    def _provenances(self, references: Sequence[str]) -> list[Document]:
        """The Provenances that tell of these alone, and of no other resource that is there."""
        named = {"t": "Provenance", "tk": {"$in": [f"target{SEPARATOR}{reference}" for reference in references]}}
        fields = {"tk": 1, "facts.subjects.patient": 1, "content.object": 1}
        found = self._database.resources.find(named, fields).hint(BY_VALUE).to_list()
        gone = set(references)
        others = {one["_id"]: _targets(one) - gone for one in found if not one["facts"]["subjects"]}
        wanted = {"_id": {"$in": sorted(set().union(*others.values()))}, "facts.lifecycle": {"$ne": "erased"}}
        present = {one["_id"] for one in self._database.resources.find(wanted, {"_id": 1})} if others else set()
        return [one for one in found if one["_id"] in others and not others[one["_id"]] & present]

    def _binaries(self, rows: Iterable[Document]) -> list[Document]:
        """The Binaries that these refer to, of the same establishments, which are nobody's record by themselves.

        Not one that another person's document has as well: it is theirs too.
        """
        custodians: dict[str, set[str]] = {}
        for row in rows:
            if row.get("b") and b"Binary/" in row["b"]:
                for address in _addresses(parse(row["b"])):
                    reference = local_address(address, self._jobs.base)
                    if reference is not None and reference.startswith("Binary/"):
                        custodians.setdefault(reference, set()).update(row["facts"]["custodians"])
        if not custodians:
            return []
        fields = {"facts.custodians": 1, "facts.subjects": 1, "content.object": 1}
        found = self._database.resources.find({"_id": {"$in": sorted(custodians)}}, fields).to_list()
        loose = [
            one
            for one in found
            if not one["facts"]["subjects"] and custodians[one["_id"]].issuperset(one["facts"]["custodians"])
        ]
        return [one for one in loose if not self._is_kept_by_another(one["_id"])]

    def _is_kept_by_another(self, binary: str) -> bool:
        """Whether a DocumentReference that is not erased has this content, in any version of it."""
        forms = [f"location{SEPARATOR}{base}{binary}" for base in ("", f"{self._jobs.base}/")]
        versions = [re.compile(f"^{re.escape(form)}/_history/") for form in forms]
        named = {"t": "DocumentReference", "tk": {"$in": [*forms, *versions]}, "facts.lifecycle": {"$ne": "erased"}}
        return self._database.resources.find_one(named, {"_id": 1}, hint=BY_VALUE) is not None

    def _actor_changes(self, rows: Iterable[Document]) -> list[Document]:
        """What follows for who is in which team, as if the resources had been deleted."""
        return [
            write
            for row in rows
            if row["t"] in actors.TYPES
            for write in actors.changes(row["_id"], parse(row["b"]), None, self._known_team)
        ]

    def _known_team(self, reference: str) -> actors.Known:
        row = self._database.resources.find_one({"_id": reference, "del": {"$ne": True}}, {"b": 1})
        is_member = self._database.actors.count_documents({"_id": reference, "rows.0": {"$exists": True}}, limit=1)
        return actors.Known(None if row is None else parse(row["b"]), is_member > 0)

    def _forget_results(self, references: Sequence[str], session: ClientSession) -> int:
        """Take names out of what was found for searches that are answered later; how many that were."""
        named = {"found.rows": {"$in": [*references]}}
        jobs = self._database.jobs.find(named, {"found.rows": 1}, session=session).to_list()
        if jobs:
            self._database.jobs.update_many(named, {"$pull": named}, session=session)
        gone = set(references)
        return sum(len(gone.intersection(job["found"]["rows"])) for job in jobs)

    # The record

    def _of_record(self) -> Document | None:
        return self._jobs.database.erasures.find_one({"_id": self._patient, "status": "running"})

    def _delete(self, keys: Iterable[str]) -> None:
        """Delete objects; one that is gone already is no error. Raises Unavailable where the store does not answer."""
        with ThreadPoolExecutor(_DELETIONS, thread_name_prefix="erase") as pool:
            for _ in pool.map(self._database.objects.delete, keys):
                pass

    def _commit(
        self, remove: Callable[[ClientSession], Mapping[str, int]], fields: Mapping[str, Any] | None = None
    ) -> None:
        """One step in a transaction with its counts and the lease, and tell of it. Raises _LostError."""

        def body(session: ClientSession) -> None:
            counts = remove(session)
            raised = {
                f"counts.{kind}": {"$add": [{"$ifNull": [f"$counts.{kind}", 0]}, count]}
                for kind, count in counts.items()
            }
            kept = self._database.erasures.update_one(
                {"_id": self._patient, "status": "running", "lease.by": self._name},
                [{"$set": {**self._jobs.held(self._name), **(fields or {}), **raised}}],
                session=session,
            )
            if not kept.matched_count:
                raise _LostError

        with self._database.client.start_session() as session:
            session.with_transaction(body)
        found = self._jobs.get(self._patient)
        if found is not None:
            self._tell(found)


def _objects(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    return [row["content"]["object"] for row in rows if "content" in row]


def _targets(provenance: Document) -> set[str]:
    """What a Provenance is about, without versions."""
    beginning = f"target{SEPARATOR}"
    named = (value.removeprefix(beginning) for value in provenance["tk"] if value.startswith(beginning))
    return {value.partition("/_history/")[0] for value in named}


def _addresses(node: Any) -> Iterator[str]:
    """Every address that a resource names, of a Reference or an Attachment."""
    if isinstance(node, list):
        for value in node:
            yield from _addresses(value)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name in _ADDRESSES and isinstance(value, str):
                yield value
            else:
                yield from _addresses(value)
