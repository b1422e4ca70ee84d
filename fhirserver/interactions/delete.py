"""Delete a resource: a version that says so, and a history that remains.

Deleting again succeeds. What never was is answered as what may not be deleted, so that nobody learns which it is.

A conditional delete finds one or, up to a limit, several by criteria; all of them go, each decided and audited for
itself, or none. Where none is found there is nothing to delete, and that succeeds.

https://hl7.org/fhir/R4/http.html#delete, https://hl7.org/fhir/R4/http.html#3.1.0.7.1
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from fhirserver.errors import BadRequest, Conflict, Forbidden, Gone, NotFound, TooCostly
from fhirserver.interactions.condition import matches
from fhirserver.interactions.context import Context, Pairs
from fhirserver.interactions.preconditions import ANY_VERSION, Versions
from fhirserver.search.query import Query
from fhirserver.store.rows import Row
from fhirserver.store.unit import Unit

_LONGEST = 10  # digits of a count


def delete(context: Context, type_: str, id_: str, *, if_match: Versions | None = None) -> Row | None:
    """The version that marks the deletion; None where it was deleted before.

    Raises Forbidden, NotFound (absent or refused), or PreconditionFailed where the version is none of `if_match`.
    """
    context.access.admit("delete", type_)

    def work(unit: Unit) -> Row | None:
        return delete_in(context, unit, type_, id_, if_match=if_match)

    return context.transact(work)


def delete_in(context: Context, unit: Unit, type_: str, id_: str, *, if_match: Versions | None) -> Row | None:
    """The same within a transaction that somebody else began."""
    with context.telling_of_refusals():
        row = unit.delete(type_, id_, if_match=context.matching(unit, type_, id_, if_match))
    if row is None:
        _require_deleted(context, type_, id_)
    else:
        context.record_write(unit, "delete", row)
    return row


def conditional_delete(context: Context, type_: str, pairs: Pairs, *, if_match: Versions | None = None) -> list[Row]:
    """The versions that mark the deletions; none where nothing that the caller may see meets the criteria.

    `pairs` are the parameters of a search; `_count` among them says how many may go, within the server's own limit.
    Raises PreconditionFailed where more meet them, Forbidden where one of them may not be deleted.
    """
    context.access.admit("delete", type_)
    criteria, most = delete_condition(context, type_, pairs)

    def work(unit: Unit) -> list[Row]:
        rows = matches(context, unit, criteria, most=most)
        return delete_matches_in(context, unit, rows, if_match=if_match)

    return context.transact(work)


def delete_condition(context: Context, type_: str, pairs: Pairs) -> tuple[Query, int]:
    """The criteria of a conditional delete, and how many resources it may delete.

    Raises BadRequest, TooCostly where `_count` is more than this server deletes at once.
    """
    limit = context.config.delete_max
    counts = [value for name, value in pairs if name == "_count"]
    criteria = context.condition(type_, [pair for pair in pairs if pair[0] != "_count"])
    if not counts:
        return criteria, limit
    if len(counts) > 1 or not (counts[0].isascii() and counts[0].isdigit() and 0 < len(counts[0]) < _LONGEST):
        raise BadRequest("_count is one whole number.", expression="_count")
    most = int(counts[0])
    if not 1 <= most <= limit:
        raise TooCostly(f"A conditional delete removes from 1 to {limit} resources.", expression="_count")
    return criteria, most


def delete_matches_in(context: Context, unit: Unit, rows: Sequence[Row], *, if_match: Versions | None) -> list[Row]:
    """Delete what met the criteria, within a transaction that somebody else began."""
    return [_delete_match(context, unit, row, if_match) for row in rows]


def _delete_match(context: Context, unit: Unit, row: Row, if_match: Versions | None) -> Row:
    try:
        with context.telling_of_refusals():
            deleted = unit.delete(row.type, row.id, if_match=None if if_match == ANY_VERSION else if_match)
    except NotFound as error:  # it was found, so it may be seen
        raise Forbidden(f"This {row.type} may not be deleted by this client.") from error
    if deleted is None:
        raise Conflict(f"{row.reference} is deleted already.")
    context.record_write(unit, "delete", deleted)
    return deleted


def _require_deleted(context: Context, type_: str, id_: str) -> None:
    """Raise NotFound unless the resource is a deleted one that the caller could have read."""
    with suppress(Gone):
        context.store.read(type_, id_)
