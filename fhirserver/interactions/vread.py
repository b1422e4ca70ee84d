"""One version of one resource, by its version id.

A past version is disclosed only if its own facts and those of the current one permit it.

https://hl7.org/fhir/R4/http.html#vread
"""

from __future__ import annotations

from fhirserver.errors import NotFound
from fhirserver.interactions.context import Context
from fhirserver.store.rows import Row, version_of


def vread(context: Context, type_: str, id_: str, version_id: str) -> Row:
    """The version, its disclosure noted for the audit. Raises Forbidden, NotFound, or Gone for a deletion."""
    context.access.admit("vread", type_)
    version = version_of(version_id)
    if version is None:
        raise NotFound(f"{type_}/{id_} has no version {version_id}.")
    row = context.store.vread(type_, id_, version)
    context.note_read(row, "vread")
    return row
