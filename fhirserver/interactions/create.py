"""Create a resource under an id that the server chooses; with If-None-Exist, only where no match exists yet.

The search and the write are one transaction that conflicts with its twin, so two clients that race with the same
condition end with one resource.

https://hl7.org/fhir/R4/http.html#create, https://hl7.org/fhir/R4/http.html#ccreate
"""

from __future__ import annotations

from fhirserver.interactions.condition import only_match
from fhirserver.interactions.context import Context
from fhirserver.store.rows import Written
from fhirserver.store.unit import Unit


def create(context: Context, type_: str, body: bytes, *, if_none_exist: str | None = None) -> Written:
    """The new resource, or the one that already meets `if_none_exist` (a search string), untouched.

    Raises Forbidden, BadRequest, Unprocessable, or PreconditionFailed where several meet the condition.
    """
    context.access.admit("create", type_)
    criteria = None if if_none_exist is None else context.criteria(type_, if_none_exist)
    parsed = context.check(type_, body)

    def work(unit: Unit) -> Written:
        existing = None if criteria is None else only_match(context, unit, criteria)
        if existing is not None:
            return Written(existing, created=False)
        row = unit.create(parsed)
        context.record_write(unit, "create", row)
        return Written(row, created=True)

    written = context.transact(work)
    if not written.created:
        context.note_read(written.row)
    return written
