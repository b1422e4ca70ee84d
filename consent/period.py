"""Instants and half-open windows, read from FHIR dates.

A FHIR date is an interval: "2026" is a year, "2026-11-24" a day, and the end of a Period includes the whole of it
(https://hl7.org/fhir/R4/datatypes.html#Period). Dates without an offset are read in the zone of the policy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

OPEN_START = datetime(1, 1, 1, tzinfo=UTC)
OPEN_END = datetime(9999, 12, 31, tzinfo=UTC)

_DATE = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d\d)(?:-(?P<day>\d\d)"
    r"(?:T(?P<time>\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d+))?(?P<offset>Z|[+-]\d\d:\d\d)?)?)?)?"
)


class Window(NamedTuple):
    """The instants from `start`, included, to `until`, excluded."""

    start: datetime
    until: datetime

    def meet(self, other: Window) -> Window:
        """Return what both windows share; it may be empty."""
        return Window(max(self.start, other.start), min(self.until, other.until))

    @property
    def is_empty(self) -> bool:
        """Say whether no instant lies within."""
        return self.start >= self.until

    def contains(self, instant: datetime) -> bool:
        """Say whether the instant lies within."""
        return self.start <= instant < self.until


ALWAYS = Window(OPEN_START, OPEN_END)
NEVER = Window(OPEN_END, OPEN_START)


def interval(text: str, zone: ZoneInfo) -> Window:
    """Return the interval a FHIR date, dateTime or instant stands for.

    Raises:
        ValueError: the text is not a FHIR date, or names a day that does not exist.

    """
    found = _DATE.fullmatch(text)
    if found is None:
        raise ValueError(f"not a FHIR date: {text!r}")
    if found["year"] in {"0000", "0001", "9999"}:
        return _edge(found)
    if found["time"]:
        return _moment(found, zone)
    year, month, day = int(found["year"]), int(found["month"] or 1), int(found["day"] or 1)
    start = datetime(year, month, day, tzinfo=zone)
    if found["day"]:
        until = start + timedelta(days=1)
    elif found["month"]:
        until = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=zone)
    else:
        until = datetime(year + 1, 1, 1, tzinfo=zone)
    return Window(start.astimezone(UTC), until.astimezone(UTC))


def _edge(found: re.Match[str]) -> Window:
    """Return the interval of a date in the first or last year of the calendar, which systems write for an open end.

    It reaches to the open end as a whole: offsets and the length of the day would lead out of what can be computed
    with.
    """
    year, month, day = int(found["year"]), int(found["month"] or 1), int(found["day"] or 1)
    start = datetime(max(year, 1), month, day, tzinfo=UTC)
    if year == OPEN_END.year:
        return Window(min(start, OPEN_END - timedelta(days=1)), OPEN_END)
    return Window(OPEN_START, datetime(2, 1, 1, tzinfo=UTC))


def _moment(found: re.Match[str], zone: ZoneInfo) -> Window:
    """Return the second, or the millisecond where a fraction is written, that a dateTime with a time names."""
    text = f"{found['year']}-{found['month']}-{found['day']}T{found['time']}"
    offset = found["offset"]
    local = datetime.fromisoformat(text + ("+00:00" if offset == "Z" else offset or ""))
    start = (local if offset else local.replace(tzinfo=zone)).astimezone(UTC)
    if found["fraction"]:
        start += timedelta(milliseconds=int(found["fraction"][:3].ljust(3, "0")))
        return Window(start, start + timedelta(milliseconds=1))
    return Window(start, start + timedelta(seconds=1))


def window(period: object, zone: ZoneInfo) -> Window:
    """Return the window of a FHIR Period: an absent period or bound is open, an unreadable one is never in force.

    That an unreadable period is empty serves permits and relations; whoever reads a deny must ask `is_readable` first.
    """
    if period is None:
        return ALWAYS
    if not isinstance(period, Mapping):
        return NEVER
    try:
        start = interval(period["start"], zone).start if "start" in period else OPEN_START
        until = interval(period["end"], zone).until if "end" in period else OPEN_END
    except (ValueError, TypeError, OverflowError):
        return NEVER
    return Window(start, min(until, OPEN_END))


def is_readable(period: object, zone: ZoneInfo) -> bool:
    """Say whether every bound a FHIR Period states is a date we can read."""
    if period is None:
        return True
    if not isinstance(period, Mapping):
        return False
    try:
        for bound in ("start", "end"):
            if bound in period:
                interval(period[bound], zone)
    except (ValueError, TypeError, OverflowError):
        return False
    return True


def document(spent: Window) -> dict[str, Any]:
    """Return the window as the `from` and `until` of a stored document."""
    return {"from": spent.start, "until": spent.until}
