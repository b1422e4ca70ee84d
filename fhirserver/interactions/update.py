"""Update a resource, or create it under an id that the client chose (system clients).

A conditional update finds the resource by criteria instead of by its id, in the transaction that writes.

https://hl7.org/fhir/R4/http.html#update, https://hl7.org/fhir/R4/http.html#upsert,
https://hl7.org/fhir/R4/http.html#concurrency, https://hl7.org/fhir/R4/http.html#cond-update
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhirserver.errors import (
    BadRequest,
    Conflict,
    FhirError,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    NotSupported,
    PreconditionFailed,
)
from fhirserver.interactions.condition import only_match
from fhirserver.interactions.context import Context, Pairs
from fhirserver.interactions.preconditions import ANY_VERSION, Versions
from fhirserver.store.rows import Row, Written
from fhirserver.store.unit import Unit
from resources.validation import Parsed


def update(
    context: Context,
    type_: str,
    id_: str,
    body: bytes,
    *,
    if_match: Versions | None = None,
    if_none_match: Versions | None = None,
) -> Written:
    """The row as it now stands, and whether it is new.

    Raises Forbidden, BadRequest (the body's id is not `id_`), Unprocessable, NotFound (refused) or PreconditionFailed.
    """
    context.access.admit("update", type_)
    parsed = context.check(type_, body)
    check_id(parsed.resource, id_)

    def work(unit: Unit) -> Written:
        return update_in(context, unit, parsed, id_, if_match=if_match, if_none_match=if_none_match)

    return context.transact(work)


def update_in(
    context: Context,
    unit: Unit,
    parsed: Parsed,
    id_: str,
    *,
    if_match: Versions | None,
    if_none_match: Versions | None,
) -> Written:
    """The same within a transaction that somebody else began."""
    type_ = parsed.resource["resourceType"]
    try:
        return _write(context, unit, parsed, id_, if_match=if_match, if_none_match=if_none_match)
    except NotFound as error:
        raise _as_if_absent(context, type_, id_, error, is_conditional=if_match is not None) from error


def conditional_update(
    context: Context,
    type_: str,
    pairs: Pairs,
    body: bytes,
    *,
    if_match: Versions | None = None,
    if_none_match: Versions | None = None,
) -> Written:
    """The row as it now stands, and whether it is new; `pairs` are the criteria, as the parameters of a search.

    The one resource that meets them is updated; where none that the caller may see does, one is created.
    Raises PreconditionFailed where several do, BadRequest where the body has the id of another, and as `update` does.
    """
    context.access.admit("update", type_)
    criteria = context.condition(type_, pairs)
    parsed = context.check(type_, body)

    def work(unit: Unit) -> Written:
        row = only_match(context, unit, criteria)
        return update_match_in(context, unit, parsed, row, if_match=if_match, if_none_match=if_none_match)

    return context.transact(work)


def update_match_in(
    context: Context,
    unit: Unit,
    parsed: Parsed,
    row: Row | None,
    *,
    if_match: Versions | None,
    if_none_match: Versions | None,
    fresh_id: str | None = None,
) -> Written:
    """Update what met the criteria, or create where nothing did, under the body's id or else under `fresh_id`."""
    type_, given = parsed.resource["resourceType"], parsed.resource.get("id")
    if row is None and if_match is not None:
        raise PreconditionFailed(f"No {type_} meets the condition, so none has the version that If-Match names.")
    if row is None:
        return _create(context, unit, parsed, given, fresh_id)
    if given not in {None, row.id}:
        raise BadRequest(
            f"The resource has id {given}, and the one that meets the condition another.", expression=f"{type_}.id"
        )
    try:
        return _write(context, unit, parsed, row.id, if_match=if_match, if_none_match=if_none_match)
    except NotFound as error:  # it was found, so it may be seen
        raise Forbidden(f"This {type_} may not be written by this client.") from error


def _create(context: Context, unit: Unit, parsed: Parsed, given: str | None, fresh_id: str | None) -> Written:
    """Create what the criteria did not find; an id in the body is taken as in an update."""
    if given is None:
        row = unit.create(parsed, id_=fresh_id, is_fresh=fresh_id is not None)
        context.record_write(unit, "create", row)
        return Written(row, created=True)
    try:
        return update_in(context, unit, parsed, given, if_match=None, if_none_match=ANY_VERSION)
    except PreconditionFailed as error:
        type_ = parsed.resource["resourceType"]
        raise Conflict(f"{type_}/{given} exists and does not meet the condition.") from error


def _write(
    context: Context,
    unit: Unit,
    parsed: Parsed,
    id_: str,
    *,
    if_match: Versions | None,
    if_none_match: Versions | None,
) -> Written:
    if if_none_match not in {None, ANY_VERSION}:
        raise NotSupported("On an update If-None-Match takes * only.")
    with context.telling_of_refusals():
        written = unit.update(
            parsed,
            id_,
            if_match=context.matching(unit, parsed.resource["resourceType"], id_, if_match),
            if_none_match_any=if_none_match == ANY_VERSION,
        )
    context.record_write(unit, "create" if written.created else "update", written.row)
    return written


def _as_if_absent(context: Context, type_: str, id_: str, refused: NotFound, *, is_conditional: bool) -> FhirError:
    """The refusal that an id gets under which nothing is, so that who is refused learns of no resource.

    Only for who may choose ids is there no such refusal: there the id is taken, and `refused` says no more.
    """
    if is_conditional:
        return PreconditionFailed(f"{type_}/{id_} has no version that If-Match names.")
    if context.access.actor.kind not in {"system", "operator"}:
        return MethodNotAllowed("This client may not choose the id of a resource.")
    return refused


def check_id(resource: Mapping[str, Any], id_: str) -> None:
    """Raise BadRequest unless the body carries the id that the address names."""
    given = resource.get("id")
    if given != id_:
        said = "has no id" if given is None else f"has id {given}"
        raise BadRequest(
            f"The resource {said}; an update needs the id of its address, {id_}.",
            expression=f"{resource['resourceType']}.id",
        )
