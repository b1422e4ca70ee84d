"""What a criterion asks of the stored resources while it is read: value sets, code systems, hierarchies.

Everything is asked of the guarded store of whoever searches, so that a criterion finds nothing that its caller could
not have searched; what is hidden is not there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fhirserver.errors import TooCostly
from fhirserver.search.expression import Equals, Expression, any_of
from fhirserver.search.reference import MOST_RELATED
from fhirserver.search.stored import SEPARATOR
from fhirserver.store.resource_store import ResourceStore
from fhirserver.store.rows import Row
from fhirserver.store.snapshots import Snapshot
from resources import SUPPORTED
from resources.declaration import local_address
from resources.exact import parse

_MOST_VERSIONS = 100
_ADDRESS = re.compile(r"ValueSet/([A-Za-z0-9\-.]{1,64})", re.ASCII)
_STATUSES = ("active", "draft", "unknown", "retired")


class StoredDefinitions:
    """The definitions and hierarchies of one request; each definition is read once."""

    def __init__(self, store: ResourceStore, base: str, *, snapshot: Snapshot | None = None) -> None:
        """Take the caller's store, and the base under which an address is one of this server.

        A later page of a search asks at the `snapshot` of its first, so that all pages ask the same.
        """
        self._store = store
        self._snapshot = snapshot
        self._base = base
        self.answers: dict[tuple[str, ...], Any] = {}
        self._found: dict[tuple[str, str], Mapping[str, Any] | None] = {}

    def value_set(self, canonical: str) -> Mapping[str, Any] | None:
        """The ValueSet of a canonical URL or an address here."""
        if (match := _ADDRESS.fullmatch(canonical.removeprefix(f"{self._base}/"))) is not None:
            rows = self._find("ValueSet", Equals(f"_id{SEPARATOR}|{match[1]}"), limit=1)
            if rows:
                return _resource(rows[0])
        return self._definition("ValueSet", canonical)

    def code_system(self, canonical: str) -> Mapping[str, Any] | None:
        """The CodeSystem of a canonical URL."""
        return self._definition("CodeSystem", canonical)

    def _find(self, type_: str, wanted: Expression, limit: int) -> list[Row]:
        return self._store.find(type_, wanted, limit=limit, snapshot=self._snapshot)

    def _definition(self, type_: str, canonical: str) -> Mapping[str, Any] | None:
        key = (type_, canonical)
        if key not in self._found:
            self._found[key] = self._newest(type_, canonical)
        return self._found[key]

    def _newest(self, type_: str, canonical: str) -> Mapping[str, Any] | None:
        """Of several versions the one that is active, then the highest, then the one written last."""
        url, _, version = canonical.partition("|")
        rows = self._find(type_, Equals(f"url{SEPARATOR}{url}"), limit=_MOST_VERSIONS)
        found = [(_resource(row), row.last_updated) for row in rows]
        wanted = [one for one in found if not version or one[0].get("version") == version]
        if not wanted:
            return None
        return max(wanted, key=lambda one: (*_precedence(one[0]), one[1]))[0]

    def referring(self, type_: str, parameter: str, references: Sequence[str]) -> Sequence[str]:
        """The references of the resources of that type that refer to any of these by that parameter."""
        wanted = any_of(Equals(f"{parameter}{SEPARATOR}{reference}") for reference in references)
        rows = self._find(type_, wanted, limit=MOST_RELATED + 1)
        if len(rows) > MOST_RELATED:
            raise TooCostly(f"More than {MOST_RELATED} resources refer to one by {parameter}")
        return [row.reference for row in rows]

    def referred(self, type_: str, parameter: str, references: Sequence[str]) -> Sequence[str]:
        """The references to which these resources of that type refer by that parameter."""
        wanted = any_of(Equals(f"_id{SEPARATOR}|{reference.partition('/')[2]}") for reference in references)
        extract = SUPPORTED[type_].parameters[parameter].extract
        rows = self._find(type_, wanted, limit=len(references))
        values = (value for row in rows for value, _ in extract(_resource(row)))
        found = (local_address(str(value.get("reference", "")), self._base) for value in values)
        return [reference for reference in found if reference is not None]


def _resource(row: Row) -> Mapping[str, Any]:
    resource: Mapping[str, Any] = parse(row.body)
    return resource


def _precedence(resource: Mapping[str, Any]) -> tuple[int, list[tuple[int, int | str]]]:
    """Active before draft; 1.10 after 1.9."""
    status = resource.get("status")
    rank = -_STATUSES.index(status) if status in _STATUSES else -len(_STATUSES)
    parts = re.findall(r"\d+|[^\d.]+", str(resource.get("version", "")))
    return rank, [(1, int(part)) if part.isdigit() else (0, part) for part in parts]
