"""The versions of one resource, of a type, or of all types: newest first, and a feed for whoever follows them.

Each version is disclosed only if its own facts and those of the current one permit it. A page says up to which instant
it is complete: whoever goes on from there misses nothing, whatever was being written when they read.

https://hl7.org/fhir/R4/http.html#history
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import urlencode

from fhirserver import audit
from fhirserver.errors import BadRequest, NotSupported
from fhirserver.interactions.context import Context, Pairs
from fhirserver.interactions.search_type import continued
from fhirserver.search import date
from fhirserver.store.resource_store import WITHOUT_TYPE_HISTORY
from fhirserver.store.rows import Row
from fhirserver.store.versions import Span, Versions
from resources import SUPPORTED

_ALL_TYPES = tuple(type_ for type_ in SUPPORTED if type_ not in WITHOUT_TYPE_HISTORY)

_SORTS = {"-_lastUpdated": False, "_lastUpdated": True}


@dataclass(frozen=True, slots=True)
class History:
    """A page of versions; `pairs` is what was asked, `next` the sealed position of the rest, None at the end.

    `path` is the address below the FHIR base. `is_whole` tells that no version was left out, so that their number is
    the total. Every version of an instant before `complete_until` was there to be read. `of` is the one resource whose
    versions they are.
    """

    path: str
    rows: Sequence[Row]
    pairs: Pairs
    next: str | None
    is_whole: bool
    complete_until: datetime
    of: Row | None = None


def history(context: Context, type_: str, id_: str, pairs: Pairs) -> History:
    """A page of the versions of one resource that the caller may see.

    `pairs` are `_count`, `_since`, `_before`, `_at` and `_sort`, or a page link's `_page`.
    Raises Forbidden, NotFound, BadRequest (a parameter that is unknown or cannot be read), or Gone for an expired link.
    """
    context.access.admit("history", type_)
    found = _page(context, f"{type_}/{id_}/_history", pairs, lambda span: context.store.history(type_, id_, span))
    _note(context, found.rows or ([] if found.of is None else [found.of]))
    return found


def history_type(context: Context, type_: str, pairs: Pairs) -> History:
    """A page of the versions of all resources of a type; parameters and errors as for `history`.

    Raises NotSupported for AuditEvent and Binary.
    """
    context.access.admit("history", type_)
    return _feed(context, f"{type_}/_history", (type_,), pairs)


def history_system(context: Context, pairs: Pairs) -> History:
    """A page of the versions of all resources whose types the token admits, without AuditEvent and Binary.

    Parameters and errors as for `history`. Raises Forbidden where the token admits no type.
    """
    context.access.admit_any("history", _ALL_TYPES)
    return _feed(context, "_history", _ALL_TYPES, pairs)


def _feed(context: Context, path: str, types: Sequence[str], pairs: Pairs) -> History:
    found = _page(context, path, pairs, lambda span: context.store.history_of(types, span))
    context.note(audit.history_events(context.access, path, urlencode(found.pairs), found.rows))
    return found


def _page(context: Context, path: str, pairs: Pairs, read: Callable[[Span], Versions]) -> History:
    link = continued(context, path, pairs)
    if link is None:
        asked = tuple(pairs)
        span = _span(context, asked)
        complete_until = context.store.complete_until()
    else:
        asked = link.pairs
        instant, reference, complete_until = link.after
        span = replace(_span(context, asked), after=(instant, reference))
    found = read(span)
    following = None
    if found.next is not None:
        following = context.seal(path, asked, count=span.count, after=(*found.next, complete_until))
    is_whole = link is None and found.next is None
    return History(path, found.rows, asked, following, is_whole, complete_until, found.of)


def _note(context: Context, rows: Sequence[Row]) -> None:
    """One event, and one more for each version that was another patient's. That there is none tells of it too."""
    told: set[tuple[str, ...]] = set()
    for row in rows:
        if row.patients not in told:
            told.add(row.patients)
            context.note_read(row, "history")


def _span(context: Context, pairs: Pairs) -> Span:
    """What was asked. Raises BadRequest for a parameter that is unknown, comes twice or cannot be read."""
    asked: dict[str, str] = {}
    for name, value in pairs:
        if name in {"_format", "_pretty"}:
            continue
        if name not in {"_count", "_since", "_before", "_at", "_sort"}:
            raise NotSupported(
                f"A history takes _count, _since, _before, _at and _sort; it does not take {name}.", expression=name
            )
        if name in asked:
            raise BadRequest(f"{name} may be given once.", expression=name)
        asked[name] = value
    since, before, at = (
        None if name not in asked else _interval(context, name, asked[name]) for name in ("_since", "_before", "_at")
    )
    sort = asked.get("_sort", "-_lastUpdated")
    if sort not in _SORTS:
        raise BadRequest(f"A history is sorted by -_lastUpdated or _lastUpdated, not by {sort}.", expression="_sort")
    return Span(
        _count(context, asked.get("_count")),
        since=None if since is None else since[0],
        before=None if before is None else before[0],
        current_in=at,
        oldest_first=_SORTS[sort],
    )


def _count(context: Context, value: str | None) -> int:
    if value is None:
        return context.config.page_default
    if not (value.isascii() and value.isdigit() and int(value) > 0):
        raise BadRequest(f"_count is a number of versions above 0, not: {value}", expression="_count")
    return min(int(value), context.config.page_max)


def _interval(context: Context, name: str, text: str) -> tuple[datetime, datetime]:
    try:
        return date.interval(text.replace(" ", "+"), context.zone)
    except ValueError as error:
        raise BadRequest(f"{name} is an instant or a date, not: {text}", expression=name) from error
