"""Date parameters (https://hl7.org/fhir/R4/search.html#date).

A partial date is the interval it covers. One without an offset is read in the zone of the context, on both sides. The
resolution is the millisecond, and intervals are closed: a day ends at 23:59:59.999.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any

from fhirserver.errors import BadRequest
from fhirserver.search.escape import unescape
from fhirserver.search.expression import Expression
from fhirserver.search.prefix import Alternatives, Range, alternatives, intervals, split_prefix
from fhirserver.search.stored import END, START, Collector, Context, Extracted
from resources.declaration import SearchParameter

MODIFIERS: frozenset[str] = frozenset()

_DATE = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d\d)(?:-(?P<day>\d\d)"
    r"(?:T(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d+))?)?"
    r"(?P<offset>Z|[+-]\d\d:\d\d)?)?)?)?",
    re.ASCII,
)
_MILLISECOND = timedelta(milliseconds=1)
_APPROXIMATION = timedelta(days=1)


def add(name: str, extracted: Iterable[Extracted], into: Collector) -> None:
    """Add the interval of each date, dateTime, instant, Period and Timing."""
    for value, fhir_type in extracted:
        found = _interval(value, fhir_type, into.context.zone)
        if found is not None:
            into.interval(name, *found)


def expression(parameter: SearchParameter, _modifier: str | None, value: str, context: Context) -> Expression:
    """The comparison of a prefixed, perhaps partial date."""
    return intervals(parameter.name, ways(parameter.name, value, context))


def ways(name: str, value: str, context: Context) -> Alternatives:
    """How one stored interval may match the prefixed date; refuses what is not a date."""
    prefix, text = split_prefix(unescape(value, name))
    try:
        low, high = interval(text, context.zone)
    except ValueError:
        raise BadRequest(_explain(name, text), expression=name) from None
    if prefix == "ap":
        low, high = _approximately(low, high)
    return alternatives(prefix, Range(low, high))


def overlap(name: str, value: str, context: Context) -> Expression:
    """A stored period that has an instant in common with the date, as `po` of a filter asks."""
    try:
        low, high = interval(value, context.zone)
    except ValueError:
        raise BadRequest(_explain(name, value), expression=name) from None
    return intervals(name, alternatives("ap", Range(low, high)))


@lru_cache(maxsize=8192)
def interval(text: str, zone: tzinfo) -> tuple[datetime, datetime]:
    """The first and the last millisecond of a FHIR date, dateTime or instant; ValueError if it is none."""
    match = _DATE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    low = _start(match, zone)
    return _utc(low), _utc(_following(match, low), -_MILLISECOND)


def _start(match: re.Match[str], zone: tzinfo) -> datetime:
    """The first instant, in the zone written or the zone given."""
    fraction = (match["fraction"] or "")[:3].ljust(3, "0")
    second = int(match["second"] or 0)
    leap = second == 60  # FHIR allows a leap second, Python does not; it is the second after :59
    start = datetime(
        int(match["year"]),
        int(match["month"] or 1),
        int(match["day"] or 1),
        int(match["hour"] or 0),
        int(match["minute"] or 0),
        59 if leap else second,
        int(fraction) * 1000,
        tzinfo=_zone(match["offset"], zone),
    )
    return start + timedelta(seconds=1) if leap else start


@lru_cache(maxsize=256)
def _zone(offset: str | None, zone: tzinfo) -> tzinfo:
    if offset is None:
        return zone
    return UTC if offset == "Z" else datetime.strptime(offset, "%z").tzinfo or UTC


def _following(match: re.Match[str], start: datetime) -> datetime:
    """The first instant after the interval. Calendar steps are made on the wall clock, so a day may have 23 hours."""
    try:
        if match["fraction"]:
            return start + timedelta(milliseconds=10 ** max(0, 3 - len(match["fraction"])))
        if match["second"]:
            return start + timedelta(seconds=1)
        if match["hour"]:
            return start + timedelta(minutes=1)
        if match["day"]:
            return start + timedelta(days=1)
        if match["month"]:
            return (start + timedelta(days=31)).replace(day=1)
        return start.replace(year=start.year + 1)
    except (OverflowError, ValueError):  # after the last day of the year 9999 there is no time left
        return END


def _utc(local: datetime, step: timedelta = timedelta(0)) -> datetime:
    """The instant in UTC, moved by a step, held between the ends of time."""
    try:
        return min(max(local.astimezone(UTC) + step, START), END)
    except OverflowError:
        return START if local.year == 1 else END


def _approximately(low: datetime, high: datetime) -> tuple[datetime, datetime]:
    """A range widened by its tenth, at least by a day, on either side.

    The specification recommends a tenth of the distance from now and leaves the choice to the server. An answer that
    does not change with the clock can be paged and tested.
    """
    margin = max((high - low) / 10, _APPROXIMATION)
    margin -= timedelta(microseconds=margin.microseconds % 1000)
    return _moved(low, -margin), _moved(high, margin)


def _moved(instant: datetime, step: timedelta) -> datetime:
    try:
        return instant + step
    except OverflowError:
        return START if step < timedelta(0) else END


def _interval(value: Any, fhir_type: str, zone: tzinfo) -> tuple[datetime, datetime] | None:
    """The interval of an extracted value, None if it has no limit at all or cannot be read."""
    if isinstance(value, str):
        return _readable(value, zone)
    if not isinstance(value, dict):
        return None
    return _timing(value, zone) if fhir_type == "Timing" else _period(value, zone)


def _readable(text: str, zone: tzinfo) -> tuple[datetime, datetime] | None:
    """As `interval`; None for what validation should have refused, which then matches no comparison."""
    try:
        return interval(text, zone)
    except ValueError:
        return None


def _period(period: Mapping[str, Any], zone: tzinfo) -> tuple[datetime, datetime] | None:
    """From the start of `start` to the end of `end`; a missing end is open. A Period with neither says nothing."""
    start, end = (_readable(str(period.get(name)), zone) for name in ("start", "end"))
    if start is None and end is None:
        return None
    return (start[0] if start else START), (end[1] if end else END)


def _timing(timing: Mapping[str, Any], zone: tzinfo) -> tuple[datetime, datetime] | None:
    """The outer limits of the events and of the bounds of repetition."""
    found = [_readable(str(event), zone) for event in timing.get("event") or ()]
    found.append(_period((timing.get("repeat") or {}).get("boundsPeriod") or {}, zone))
    limits = [limit for limit in found if limit is not None]
    if not limits:
        return None
    return min(low for low, _ in limits), max(high for _, high in limits)


def _explain(name: str, text: str) -> str:
    hint = "; in a URL, write the + of an offset as %2B" if " " in text else ""
    return (
        f"{name}: '{text}' is not a date; write YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm[:ss][Z or +hh:mm]{hint}"
    )
