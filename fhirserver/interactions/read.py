"""The current version of one resource.

Absent and refused are the same answer (404); a deleted resource is 410 to those who could have read it.

https://hl7.org/fhir/R4/http.html#read
"""

from __future__ import annotations

from fhirserver.interactions.context import Context
from fhirserver.store.rows import Row


def read(context: Context, type_: str, id_: str) -> Row:
    """The row, its disclosure noted for the audit. Raises Forbidden, NotFound or Gone."""
    context.access.admit("read", type_)
    row = context.store.read(type_, id_)
    context.note_read(row)
    return row
