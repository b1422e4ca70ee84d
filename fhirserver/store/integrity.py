"""Referential integrity, where the region wants it: what a resource refers to is here, and stays while it does.

A reference is checked as a read would be: what the writer may not see is told as what is not here. Rows then carry
`refs`, whatever they refer to, and an index of it answers whether anything refers to a resource. A writer who refers to
a resource and one who deletes it meet in `locks`: each resource has so many locks that writers seldom meet one
another, and a deletion takes them all.

https://hl7.org/fhir/R4/http.html#integrity
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pymongo.client_session import ClientSession

from fhirserver.errors import Conflict, Issue
from fhirserver.store.database import Database, Document
from fhirserver.store.facts import relative
from fhirserver.store.indexes import BY_REFERENCE, REFERENCES
from fhirserver.store.rows import version_of
from fhirserver.store.writes import Writes, update_of
from resources import SUPPORTED
from resources.declaration import local_reference
from resources.validation import parse

LOCKS = 64
"""Locks of one resource: two writers who refer to it at one moment meet once in so many times."""

_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Named:
    """A literal reference to this server: where it stands, what it names, and which version of it."""

    expression: str
    target: str
    version: str | None = None


def named_by(resource: Mapping[str, Any]) -> Iterator[Named]:
    """The literal references of a resource to this server, which must be relative.

    Those inside a Bundle are the Bundle's own matter, as are those of a resource to what it contains.
    """
    if resource["resourceType"] != "Bundle":
        yield from _walk(resource, str(resource["resourceType"]))


def _walk(node: Mapping[str, Any], path: str) -> Iterator[Named]:
    target = local_reference(node)
    if target is not None and target.partition("/")[0] in SUPPORTED:
        version = str(node["reference"]).removeprefix(target).removeprefix("/_history/")
        yield Named(path, target, version or None)
    for name, value in node.items():
        if isinstance(value, dict):
            yield from _walk(value, f"{path}.{name}")
        elif isinstance(value, list):
            for index, element in enumerate(value):
                if isinstance(element, dict):
                    yield from _walk(element, f"{path}.{name}[{index}]")


class Integrity:
    """The references of one unit of work."""

    def __init__(
        self,
        database: Database,
        session: ClientSession,
        token: str,
        now: datetime,
        pending: Mapping[str, Any],
        is_visible: Callable[[str, Document | None], bool],
    ) -> None:
        """`pending` are the versions that will be written; `is_visible` decides on what is stored under a reference."""
        self._database = database
        self._session = session
        self._token = token
        self._now = now
        self._pending = pending
        self._is_visible = is_visible
        self._named: dict[str, list[Named]] = {}
        self._stored: dict[str, Document | None] = {}
        self._done: set[str] = set()
        self._locked: set[str] = set()

    def note(self, reference: str, resource: Mapping[str, Any]) -> list[str]:
        """Keep what a resource refers to until it is checked; gives it as it will be stored."""
        self._named[reference] = list(named_by(resource))
        return sorted({named.target for named in self._named[reference]} - {reference})

    def require(self, reference: str) -> None:
        """Raise Conflict where what will be written under the reference breaks integrity. Checked once."""
        if reference in self._done or reference not in self._pending:
            return
        self._prepare()
        self._done.add(reference)
        if self._pending[reference].after is None:
            self._require_unnamed(reference)
            return
        missing = [named for named in self._named.get(reference, ()) if not self._is_here(named)]
        if missing:
            issues = [Issue("error", "conflict", _unknown(named), named.expression) for named in missing]
            raise Conflict(issues[0].diagnostics, issues=tuple(issues))

    def _is_here(self, named: Named) -> bool:
        pending = self._pending.get(named.target)
        document = self._stored.get(named.target) if pending is None else pending.document
        is_live = document is not None and not document.get("del")
        if pending is None:
            is_live = self._is_visible(named.target, document) and is_live
        return is_live and (named.version is None or _has_version(document, named.version))

    def _require_unnamed(self, reference: str) -> None:
        """Whoever may delete is told that something refers to it, whether or not they may see what.

        It is not said what, how many or whose: see docs/api/delete.md.
        """
        wanted: Document = {"refs": reference, "_id": {"$nin": list(self._pending)}}
        found = self._database.resources.find(wanted, {"_id": 1}, session=self._session).hint(BY_REFERENCE).limit(1)
        if found.to_list():
            raise Conflict(f"{reference} is still referred to.")

    def _prepare(self) -> None:
        """Take the locks of what is referred to or deleted, and read what is referred to; at once for all."""
        self._read({named.target for every in self._named.values() for named in every})
        deleted = {one for one, pending in self._pending.items() if pending.after is None} - self._locked
        self._locked |= deleted
        self._lock([_lock(one, number) for one in sorted(deleted) for number in range(LOCKS)])

    def _read(self, targets: set[str]) -> None:
        unknown = sorted(targets - self._stored.keys() - self._pending.keys())
        if not unknown:
            return
        number = int(self._token, 16) % LOCKS
        self._lock([_lock(target, number) for target in unknown])
        self._stored.update(dict.fromkeys(unknown))
        fields = {"facts": 1, "v": 1, "del": 1}
        for collection in {self._database.collection_of(target.partition("/")[0]).name for target in unknown}:
            found = self._database.database[collection].find({"_id": {"$in": unknown}}, fields, session=self._session)
            self._stored.update({document["_id"]: document for document in found.to_list()})

    def _lock(self, names: Sequence[str]) -> None:
        change = {"$set": {"taken": self._token, "at": self._now}}
        writes = Writes()
        writes.update("locks", (update_of({"_id": name}, change, upsert=True) for name in names))
        writes.send(self._database, self._session)


def _lock(reference: str, number: int) -> str:
    return f"refers to {reference} {number}"


def _unknown(named: Named) -> str:
    reference = named.target if named.version is None else f"{named.target}/_history/{named.version}"
    return f"{reference} is not known."


def _has_version(document: Document | None, version: str) -> bool:
    number = version_of(version)
    return document is not None and number is not None and number <= document["v"]


def establish(database: Database, base: str, *, is_wanted: bool) -> int:
    """Make the index of what rows refer to, or drop it; before it is made, rows without `refs` get theirs.

    So the index is there exactly if each row has its references. Called at start-up, while nobody writes. Returns the
    number of rows that were completed.
    """
    is_there = BY_REFERENCE in database.resources.index_information()
    if not is_wanted:
        if is_there:
            database.resources.drop_index(BY_REFERENCE)
        return 0
    if is_there:
        return 0
    completed = 0
    operations: list[Document] = []
    for document in database.resources.find({"refs": {"$exists": False}, "del": {"$exists": False}}, {"b": 1}):
        resource = relative(parse(document["b"]), base)
        references = sorted({named.target for named in named_by(resource)} - {document["_id"]})
        operations.append(update_of({"_id": document["_id"]}, {"$set": {"refs": references}}))
        if len(operations) == _AT_ONCE:
            completed += _complete(database, operations)
    completed += _complete(database, operations)
    database.resources.create_indexes([REFERENCES])
    return completed


def _complete(database: Database, operations: list[Document]) -> int:
    if operations:
        database.command("update", "resources", updates=operations, ordered=False)
    count = len(operations)
    operations.clear()
    return count
