"""The trail as the national repository of traces takes it: lines of JSON in the profile of the ANS (`audit.tde`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final

import msgspec

from fhirserver.audit.tde import named, national, projected
from fhirserver.store.resource_store import ResourceStore
from fhirserver.store.rows import Row

_BATCH: Final = 500
"""Events whose agents are looked up together."""


def traces(store: ResourceStore, base: str, since: datetime, until: datetime) -> Iterator[bytes]:
    """The events that were written between two instants, as the access of `store` may see them, in their order.

    Professionals and establishments are named by their national identifiers as well, one query for each batch with
    somebody new; memory does not grow with the trail.
    """
    identifiers: dict[str, Mapping[str, Any]] = {}
    known: set[str] = set()
    for rows in _batches(store.trail(since, until)):
        new = {reference for row in rows for reference in named(row.body)} - known
        if new:
            found = store.readable(sorted(new))
            for reference, row in found.items():
                if identifier := national(msgspec.json.decode(row.body).get("identifier", ())):
                    identifiers[reference] = identifier
            known |= new
        for row in rows:
            yield msgspec.json.encode(projected(row.body, base, identifiers))


def _batches(rows: Iterator[Row]) -> Iterator[Sequence[Row]]:
    while batch := list(islice(rows, _BATCH)):
        yield batch
