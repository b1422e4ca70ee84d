"""What meets the criteria of a conditional interaction, found in the transaction that writes.

The search sees what the caller may see and nothing else, so what is hidden is as if it were not there. It takes the
lock of its criteria: of two requests that race with the same ones, the second begins anew and sees what the first did.

https://hl7.org/fhir/R4/http.html#ccreate, https://hl7.org/fhir/R4/http.html#cond-update
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

from fhirserver import audit
from fhirserver.errors import NotFound, PreconditionFailed
from fhirserver.interactions.context import Context
from fhirserver.search.query import Query
from fhirserver.store.rows import Row
from fhirserver.store.unit import Unit


def only_match(context: Context, unit: Unit, criteria: Query) -> Row | None:
    """The one visible resource that meets the criteria, or None; a twin of this transaction will conflict with it.

    Raises Forbidden where the caller may not search the type, PreconditionFailed where several match.
    """
    rows = matches(context, unit, criteria, most=1)
    return rows[0] if rows else None


def the_match(context: Context, unit: Unit, criteria: Query) -> Row:
    """The one visible resource that meets the criteria. Raises NotFound where none does, and as `only_match` does."""
    row = only_match(context, unit, criteria)
    if row is None:
        _note(context, criteria, [])
        raise NotFound(f"No {criteria.type} meets the condition.")
    return row


def matches(context: Context, unit: Unit, criteria: Query, *, most: int) -> list[Row]:
    """The visible resources that meet the criteria.

    Raises Forbidden where the caller may not search the type, PreconditionFailed where more than `most` match.
    """
    context.access.admit("search", criteria.type)
    rows = unit.match(criteria, most + 1)
    if len(rows) > most:
        _note(context, criteria, rows)
        many = "Several" if most == 1 else f"More than {most}"
        raise PreconditionFailed(f"{many} {criteria.type} resources meet the condition.", code="multiple-matches")
    return rows


def _note(context: Context, criteria: Query, rows: Sequence[Row]) -> None:
    """Tell the audit what was asked where nothing is written that would tell it."""
    context.note(audit.search_events(context.access, criteria.type, urlencode(criteria.self_pairs), rows))
