"""One version of one resource, by its version id.

A past version is disclosed only if its own facts and those of the current one permit it.

https://hl7.org/fhir/R4/http.html#vread
"""

from __future__ import annotations

from fhirserver import audit
from fhirserver.errors import NotFound
from fhirserver.interactions.context import Context
from fhirserver.store.rows import Row

# The largest version id that the store can hold, in digits.
_LONGEST = 18


def vread(context: Context, type_: str, id_: str, version_id: str) -> Row:
    """The version, its disclosure noted for the audit. Raises Forbidden, NotFound, or Gone for a deletion."""
    context.access.admit("vread", type_)
    if not (version_id.isascii() and version_id.isdigit() and len(version_id) <= _LONGEST):
        raise NotFound(f"{type_}/{id_} has no version {version_id}.")
    row = context.store.vread(type_, id_, int(version_id))
    context.note(audit.read_events(context.access, row, context.decision_on(row), "vread"))
    return row
