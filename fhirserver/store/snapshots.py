"""Reads of one state of the data, which every page of a search shares.

A first read lets MongoDB choose the state and learns its cluster time; those that follow name it
(docs/adr/0008-pages-of-one-snapshot.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from bson import Timestamp
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from fhirserver.errors import Gone, Unavailable
from fhirserver.store.database import Database, Document

Snapshot: TypeAlias = tuple[int, int]
"""A cluster time: seconds and increment."""

# Server answers for a snapshot that has been let go: SnapshotTooOld, SnapshotUnavailable.
_SNAPSHOT_GONE = {239, 246}


def read_concern(snapshot: Snapshot | None) -> Document:
    """Read this state; None lets MongoDB choose the present one."""
    return {"level": "snapshot", **({} if snapshot is None else {"atClusterTime": Timestamp(*snapshot)})}


def select_at(
    database: Database,
    collection: Collection[Document],
    wanted: Document,
    fields: Mapping[str, Any],
    limit: int,
    snapshot: Snapshot | None,
    **options: Any,
) -> tuple[list[Document], Snapshot]:
    """The documents of a collection that match, `limit` at most, and the state that they are of.

    Raises Gone where the database has let that state go.
    """
    try:
        found, at = database.select(collection, wanted, fields, limit, readConcern=read_concern(snapshot), **options)
    except OperationFailure as error:
        if error.code in _SNAPSHOT_GONE and snapshot is not None:
            raise Gone(
                "This page link has outlived the state of the data that it refers to.", code="expired"
            ) from error
        raise
    if at is None:
        raise Unavailable("The database did not say which state of the data this is.")
    return found, (at.time, at.inc)
