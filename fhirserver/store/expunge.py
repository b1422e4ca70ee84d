"""Removing for good what is deleted or past: rows, and the objects that only they name.

Nothing of it is disclosed: only who is concerned is read, for the audit. AuditEvents are never removed, nor are
versions of a Consent, on which the trail rests. What is removed is gone from histories; page links that were made
before leave it out, since each row that they bring is asked for again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pymongo.client_session import ClientSession

from fhirserver.errors import NotSupported
from fhirserver.store.database import Database, Document
from fhirserver.store.rows import Row, row_of
from resources.validation import parse

KEPT = frozenset({"AuditEvent", "Consent"})
"""Types of which nothing is ever removed."""

MOST = 10_000
"""Versions that one transaction removes at most."""

_FACTS = {"facts.subjects.patient": 1, "facts.labels": 1, "facts.released": 1}
_FIELDS = {"v": 1, "lu": 1, "r": 1, "del": 1, **_FACTS, "content.object": 1}
_STUDIES = "urn:dicom:uid"


@dataclass(frozen=True, slots=True)
class Purge:
    """What to remove: of one resource (`id`), of types, at most `limit` versions.

    `deleted` are resources that were deleted, with all their versions; `previous` are versions that are not the last.
    """

    types: tuple[str, ...]
    id: str = ""
    deleted: bool = False
    previous: bool = False
    limit: int = 1_000


@dataclass(slots=True)
class Condemned:
    """What is to go: rows by collection, and keys of objects; `rows` are the versions, for the audit."""

    rows: list[Row] = field(default_factory=list)
    resources: list[str] = field(default_factory=list)
    history: list[str] = field(default_factory=list)
    instances: list[str] = field(default_factory=list)
    objects: list[str] = field(default_factory=list)

    def take(self, documents: Iterable[Document], into: list[str]) -> None:
        """Add versions that go from a collection."""
        for document in documents:
            into.append(document["_id"])
            self.rows.append(row_of(document))
            if "content" in document:
                self.objects.append(document["content"]["object"])


def require_removable(type_: str, *, deleted: bool) -> None:
    """Raise NotSupported where what is named by its type is never removed; of everything it is passed over."""
    if type_ in KEPT:
        raise NotSupported(f"Nothing of a {type_} is removed: the audit rests on it.")
    if deleted and type_ == "Patient":
        raise NotSupported("A deleted Patient stays, so that nobody else can become that person.")


def condemn(database: Database, session: ClientSession, purge: Purge) -> Condemned:
    """Find what a purge removes, within a transaction."""
    found = Condemned()
    types = [type_ for type_ in purge.types if type_ not in KEPT]
    if purge.deleted:
        # The id of a deleted Patient is never free: what is left of the record still names the person.
        _deleted(database, session, purge, [type_ for type_ in types if type_ != "Patient"], found)
    left = purge.limit - len(found.rows)
    if purge.previous and left > 0:
        wanted: Document = {"$or": [_of_type(type_, purge.id) for type_ in types]}
        past = database.history.find({**wanted, "_id": {"$nin": found.history}}, _FIELDS, session=session)
        found.take(past.sort([("r", 1), ("v", 1)]).limit(left).to_list(), found.history)
    return found


def remove(database: Database, session: ClientSession, condemned: Condemned) -> None:
    """Remove the rows, within the same transaction."""
    for collection, ids in (
        (database.resources, condemned.resources),
        (database.history, condemned.history),
        (database.instances, condemned.instances),
    ):
        if ids:
            collection.delete_many({"_id": {"$in": ids}}, session=session)


def _deleted(database: Database, session: ClientSession, purge: Purge, types: Iterable[str], found: Condemned) -> None:
    """Deleted resources, each after its versions; one that does not fit goes on the next time."""
    wanted: Document = {"t": {"$in": [f"~{type_}" for type_ in types]}}
    if purge.id:
        wanted["_id"] = {"$in": [f"{type_}/{purge.id}" for type_ in types]}
    for last in database.resources.find(wanted, _FIELDS, session=session).limit(purge.limit).to_list():
        left = purge.limit - len(found.rows)
        if left <= 0:
            return
        past = database.history.find({"r": last["_id"]}, {**_FIELDS, "b": 1}, session=session)
        versions = past.sort([("v", 1)]).limit(left).to_list()
        found.take(versions, found.history)
        if len(versions) < left:
            found.take([last], found.resources)
            if last["_id"].startswith("ImagingStudy/"):
                _take_instances(database, session, last["_id"], versions, found)


def _take_instances(
    database: Database, session: ClientSession, reference: str, versions: Iterable[Mapping[str, Any]], found: Condemned
) -> None:
    """The DICOM instances that were stored with a study. Its versions name it by UID."""
    uids = {
        identifier["value"].removeprefix("urn:oid:")
        for version in versions
        if version.get("b")
        for identifier in parse(version["b"]).get("identifier", ())
        if identifier.get("system") == _STUDIES and "value" in identifier
    }
    wanted = {"study": {"$in": sorted(uids)}, "resource": reference}
    for instance in database.instances.find(wanted, {"object": 1}, session=session).to_list():
        found.instances.append(instance["_id"])
        found.objects.append(instance["object"])


def _of_type(type_: str, id_: str) -> Document:
    if id_:
        return {"r": f"{type_}/{id_}"}
    return {"r": {"$gte": f"{type_}/", "$lt": f"{type_}0"}}  # "0" follows "/"
