"""What one transaction will write, gathered by collection and sent as bare commands.

A bulk write of the driver costs several times what it adds here: at most one insert and one update command for each
collection.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pymongo.client_session import ClientSession
from pymongo.errors import DocumentTooLarge, DuplicateKeyError, OperationFailure

from fhirserver.errors import ContentTooLarge
from fhirserver.store.database import Database, Document

_DUPLICATE_KEY = 11000
_TOO_LARGE = frozenset({10334, 17419, 17420})  # BSONObjectTooLarge, and what an update would make so

_TOO_LARGE_TEXT = "A resource, with all that it is searched by, is larger than can be stored (16 MB)."

# Operations of one command: well within MongoDB's limits of 100,000 operations and 48 MB for a message.
_MOST_AT_ONCE = 500


class Writes:
    """Inserts and updates, in the order in which they were added."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._inserts: dict[str, list[Document]] = {}
        self._updates: dict[str, list[Document]] = {}

    def insert(self, collection: str, documents: Iterable[Document]) -> None:
        """Add new documents."""
        self._inserts.setdefault(collection, []).extend(documents)

    def update(self, collection: str, operations: Iterable[Document]) -> None:
        """Add updates, as `update_of` makes them."""
        self._updates.setdefault(collection, []).extend(operations)

    def send(self, database: Database, session: ClientSession) -> None:
        """Write all of it.

        Raises DuplicateKeyError where a document exists already, ContentTooLarge where MongoDB cannot hold one (16 MB,
        with the values it is searched by), OperationFailure otherwise.
        """
        for collection, documents in self._inserts.items():
            _send(database, session, "insert", collection, "documents", documents)
        for collection, operations in self._updates.items():
            _send(database, session, "update", collection, "updates", operations)


def update_of(wanted: Document, change: Document, *, upsert: bool = False) -> Document:
    """One update of an update command: a change of one document, or its replacement."""
    return {"q": wanted, "u": change, "upsert": upsert}


def _send(
    database: Database, session: ClientSession, command: str, collection: str, field: str, operations: list[Document]
) -> None:
    for start in range(0, len(operations), _MOST_AT_ONCE):
        batch = operations[start : start + _MOST_AT_ONCE]
        try:
            answer: dict[str, Any] = database.command(
                command, collection, ordered=True, session=session, **{field: batch}
            )
        except DocumentTooLarge as error:
            raise ContentTooLarge(_TOO_LARGE_TEXT) from error
        if errors := answer.get("writeErrors"):
            first = errors[0]
            if first["code"] in _TOO_LARGE:
                raise ContentTooLarge(_TOO_LARGE_TEXT)
            kind = DuplicateKeyError if first["code"] == _DUPLICATE_KEY else OperationFailure
            raise kind(first.get("errmsg", ""), first["code"], first)
