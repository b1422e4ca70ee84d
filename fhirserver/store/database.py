"""The connection of one process to MongoDB, and the names of the collections.

Connect after the process has forked. One client serves the whole process: pymongo binds a transaction to the client
that began it, so helpers must never open a second one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from functools import partial
from typing import Any, Protocol

import mongoengine
from bson import Timestamp
from bson.codec_options import CodecOptions
from pymongo import MongoClient
from pymongo.collection import Collection

from fhirserver.config import Config, Switch
from fhirserver.store.generation import Generation
from fhirserver.store.in_flight import InFlight
from fhirserver.store.objects import Objects
from fhirserver.store.one_thread import OneThread
from fhirserver.store.search_parameters import SearchParameters
from fhirserver.store.shared_read import SharedRead
from fhirserver.store.standing import Standing

Document = dict[str, Any]

_CODEC: CodecOptions[Document] = CodecOptions(tz_aware=True, tzinfo=UTC)


class Sealer(Protocol):
    """What gives audit rows that a transaction has written their place in the chain (`audit_log.AuditLog`)."""

    def seal(self, rows: Sequence[Document]) -> None:
        """Seal them soon; they are durable already."""


class Database:
    """The collections, by what they hold.

    `resources` current versions (and what is left of deleted ones); `history` earlier versions; `audit` AuditEvents,
    append-only; `audit_logs` the heads of the audit chains, `audit_seals` their closed segments; `patient_access` who
    is related to a patient and what the patient's Consents say; `actors` what groups, roles and teams somebody is in;
    `identities` which patients carry one national identifier; `instances` DICOM instances;
    `locks` what makes two conditional writes conflict; `writers` what each process promises of its writes;
    `share_links` links that persons gave, `share_files` what one gives by an address of its own;
    `emergencies` sessions of break-glass, `notices` what somebody is owed a message about; `first_accesses` which
    professional has opened which record;
    `erasures` records that were erased, of which nothing else is left;
    `search_parameters` those that an operator has added; `jobs` searches that are answered later.
    """

    def __init__(self, client: MongoClient[Document], name: str, objects: Objects) -> None:
        """Name the collections of database `name`; nothing is read or written. `objects` hold what is large."""
        self.client = client
        self.objects = objects
        self.database = client.get_database(name, codec_options=_CODEC)
        self.resources = self.database["resources"]
        self.history = self.database["history"]
        self.audit = self.database["audit"]
        self.audit_logs = self.database["audit_logs"]
        self.audit_seals = self.database["audit_seals"]
        self.patient_access = self.database["patient_access"]
        self.actors = self.database["actors"]
        self.identities = self.database["identities"]
        self.emergencies = self.database["emergencies"]
        self.notices = self.database["notices"]
        self.share_links = self.database["share_links"]
        self.share_files = self.database["share_files"]
        self.first_accesses = self.database["first_accesses"]
        self.instances = self.database["instances"]
        self.locks = self.database["locks"]
        self.writers = self.database["writers"]
        self.jobs = self.database["jobs"]
        self.erasures = self.database["erasures"]
        self.in_flight = InFlight(self.writers)
        self.search_parameters = SearchParameters(self.database["search_parameters"])
        # The thread of this process that brings rows up to them (`reindex.Reindex`).
        self.reindexing = OneThread("reindex")
        # The thread of this process that removes records that were erased (`erasing.Erasures`).
        self.erasing = OneThread("erase")
        # What this process looked up of actors, kept while the generation stays (`actors.standing`).
        self.generation: Generation | None = None
        # Whether what is said of an organisation is said of its parts (`actors.standing`).
        self.descends = False
        self.standings: dict[tuple[str, str | None], tuple[int, Standing]] = {}
        self._shared: dict[tuple[str, ...], SharedRead] = {}
        # Without one the rows wait, unsealed, for the next process that has one.
        self.sealer: Sealer | None = None

    def collection_of(self, type_: str) -> Collection[Document]:
        """Where current versions of a resource type are: AuditEvents apart, so that they can be append-only."""
        return self.audit if type_ == "AuditEvent" else self.resources

    @property
    def is_empty(self) -> bool:
        """Whether there is no resource, by the collection's own count, which costs nothing."""
        return self.resources.estimated_document_count() == 0

    def get(self, collection: Collection[Document], identity: str, fields: Mapping[str, int]) -> Document | None:
        """The document of that `_id`, or None: a bare command, which costs a third less than a cursor.

        Threads that ask for the same fields at once share the command.
        """
        key = (collection.name, *fields)
        shared = self._shared.get(key)
        if shared is None:
            shared = self._shared.setdefault(key, SharedRead(partial(self._by_id, collection, {**fields})))
        return shared.get(identity)

    def _by_id(
        self, collection: Collection[Document], fields: Mapping[str, int], identities: Sequence[str]
    ) -> Mapping[str, Document]:
        """Those of the documents that exist."""
        if len(identities) > 1:
            found, _ = self.select(collection, {"_id": {"$in": identities}}, fields, len(identities))
        else:
            answer = self.command(
                "find", collection.name, filter={"_id": identities[0]}, projection=fields, limit=1, singleBatch=True
            )
            found = answer["cursor"]["firstBatch"]
        return {document["_id"]: document for document in found}

    def select(
        self, collection: Collection[Document], wanted: Document, fields: Mapping[str, Any], limit: int, **options: Any
    ) -> tuple[list[Document], Timestamp | None]:
        """The documents that match, `limit` at most, and the instant of the snapshot if one was asked for.

        `options` are those of MongoDB's find command. One round trip, unless the answer is over 16 MB.
        """
        with self.client.start_session() as session:
            cursor = self.command(
                "find",
                collection.name,
                filter=wanted,
                projection=fields,
                limit=limit,
                batchSize=limit + 1,  # of exactly as many the database would not know that they are all
                session=session,
                **options,
            )["cursor"]
            found: list[Document] = cursor["firstBatch"]
            at: Timestamp | None = cursor.get("atClusterTime")
            while cursor["id"]:
                cursor = self.command("getMore", cursor["id"], collection=collection.name, session=session)["cursor"]
                found += cursor["nextBatch"]
        return found, at

    def command(self, name: str, value: Any, **options: Any) -> Document:
        """Run a database command with time zones in the answer."""
        answer: Document = self.database.command(name, value, codec_options=_CODEC, **options)
        return answer

    def close(self) -> None:
        """Close the client; the Database is of no use afterwards."""
        self.in_flight.close()
        mongoengine.disconnect(alias=mongoengine.DEFAULT_CONNECTION_NAME)
        self.client.close()


def connect(uri: str, config: Config) -> Database:
    """Connect this process to the replica set at `uri`, for pymongo and for mongoengine's documents alike.

    Raises pymongo.errors.PyMongoError where no member answers in time.
    """
    mongoengine.disconnect(alias=mongoengine.DEFAULT_CONNECTION_NAME)
    client: MongoClient[Document] = mongoengine.connect(
        db=config.database,
        host=uri,
        uuidRepresentation="standard",
        tz_aware=True,
        w="majority",
        journal=True,
        serverSelectionTimeoutMS=20_000,
        maxPoolSize=max(16, config.threads * 2),
    )
    database = Database(client, config.database, Objects(config))
    database.generation = Generation.of(config.data)
    database.descends = config.organization_parts is Switch.ON
    return database


__all__ = ["Database", "Document", "connect"]
