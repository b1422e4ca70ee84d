"""Update a resource, or create it under an id that the client chose (system clients).

https://hl7.org/fhir/R4/http.html#update, https://hl7.org/fhir/R4/http.html#upsert,
https://hl7.org/fhir/R4/http.html#concurrency
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhirserver.errors import BadRequest, FhirError, MethodNotAllowed, NotFound, NotSupported, PreconditionFailed
from fhirserver.interactions.context import Context
from fhirserver.interactions.preconditions import ANY_VERSION, Versions
from fhirserver.store.rows import Written
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

    return context.store.transact(work)


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
    if if_none_match not in {None, ANY_VERSION}:
        raise NotSupported("On an update If-None-Match takes * only.")
    type_ = parsed.resource["resourceType"]
    try:
        written = unit.update(
            parsed,
            id_,
            if_match=context.matching(unit, type_, id_, if_match),
            if_none_match_any=if_none_match == ANY_VERSION,
        )
    except NotFound as error:
        raise _as_if_absent(context, type_, id_, error, is_conditional=if_match is not None) from error
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
