"""The versions of one resource, newest first.

Each version is disclosed only if its own facts and those of the current one permit it.

https://hl7.org/fhir/R4/http.html#history
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fhirserver import audit
from fhirserver.errors import BadRequest, NotSupported
from fhirserver.interactions.context import Context, Pairs
from fhirserver.interactions.search_type import continued
from fhirserver.search import date
from fhirserver.store.rows import Row


@dataclass(frozen=True, slots=True)
class History:
    """A page of versions; `pairs` is what was asked, `next` the sealed position of the rest, None at the end.

    `is_whole` tells that no version was left out, so that their number is the total.
    """

    type: str
    id: str
    rows: Sequence[Row]
    pairs: Pairs
    next: str | None
    is_whole: bool


@dataclass(frozen=True, slots=True)
class _Asked:
    count: int
    since: datetime | None


def history(context: Context, type_: str, id_: str, pairs: Pairs) -> History:
    """A page of the versions that the caller may see; `pairs` are `_count`, `_since`, or a page link's `_page`.

    Raises Forbidden, NotFound, BadRequest (a parameter that is unknown or cannot be read), or Gone for an expired link.
    """
    context.access.admit("history", type_)
    subject = f"{type_}/{id_}/_history"
    after = continued(context, subject, pairs)
    pairs = pairs if after is None else after.pairs
    asked = _read(context, pairs)
    before = None if after is None else int(after.after[0])
    rows, more = context.store.history(type_, id_, count=asked.count, before=before, since=asked.since)
    _note(context, rows)
    following = None if more is None else context.seal(subject, pairs, count=asked.count, after=(more,))
    return History(type_, id_, rows, pairs, following, is_whole=before is None and more is None)


def _note(context: Context, rows: Sequence[Row]) -> None:
    """One event, and one more for each version that was another patient's."""
    told: set[tuple[str, ...]] = set()
    for row in rows:
        if row.patients not in told:
            told.add(row.patients)
            context.note(audit.read_events(context.access, row, context.decision_on(row), "history"))


def _read(context: Context, pairs: Pairs) -> _Asked:
    count, since = context.config.page_default, None
    for name, value in pairs:
        match name:
            case "_count":
                if not (value.isascii() and value.isdigit() and int(value) > 0):
                    raise BadRequest(f"_count is a number of versions above 0, not: {value}", expression="_count")
                count = min(int(value), context.config.page_max)
            case "_since":
                since = _instant(context, value)
            case "_format" | "_pretty":
                continue
            case _:
                raise NotSupported(f"A history takes _count and _since; it does not take {name}.", expression=name)
    return _Asked(count, since)


def _instant(context: Context, text: str) -> datetime:
    try:
        return date.interval(text.replace(" ", "+"), context.zone)[0]
    except ValueError as error:
        raise BadRequest(f"_since is an instant, not: {text}", expression="_since") from error
