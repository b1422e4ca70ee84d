"""Delete one resource: a version that says so, and a history that remains.

Deleting again succeeds. What never was is answered as what may not be deleted, so that nobody learns which it is.

https://hl7.org/fhir/R4/http.html#delete
"""

from __future__ import annotations

from contextlib import suppress

from fhirserver.errors import Gone
from fhirserver.interactions.context import Context
from fhirserver.interactions.preconditions import Versions
from fhirserver.store.rows import Row
from fhirserver.store.unit import Unit


def delete(context: Context, type_: str, id_: str, *, if_match: Versions | None = None) -> Row | None:
    """The version that marks the deletion; None where it was deleted before.

    Raises Forbidden, NotFound (absent or refused), or PreconditionFailed where the version is none of `if_match`.
    """
    context.access.admit("delete", type_)

    def work(unit: Unit) -> Row | None:
        return delete_in(context, unit, type_, id_, if_match=if_match)

    return context.store.transact(work)


def delete_in(context: Context, unit: Unit, type_: str, id_: str, *, if_match: Versions | None) -> Row | None:
    """The same within a transaction that somebody else began."""
    row = unit.delete(type_, id_, if_match=context.matching(unit, type_, id_, if_match))
    if row is None:
        _require_deleted(context, type_, id_)
    else:
        context.record_write(unit, "delete", row)
    return row


def _require_deleted(context: Context, type_: str, id_: str) -> None:
    """Raise NotFound unless the resource is a deleted one that the caller could have read."""
    with suppress(Gone):
        context.store.read(type_, id_)
