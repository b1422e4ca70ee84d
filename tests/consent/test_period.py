"""Dates as intervals, in Paris where nothing else is said."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from consent.period import ALWAYS, NEVER, OPEN_END, OPEN_START, Window, interval, is_readable, window

PARIS = ZoneInfo("Europe/Paris")


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "start", "until"),
    [
        ("2026", utc(2025, 12, 31, 23), utc(2026, 12, 31, 23)),
        ("2026-12", utc(2026, 11, 30, 23), utc(2026, 12, 31, 23)),
        ("2026-11-24", utc(2026, 11, 23, 23), utc(2026, 11, 24, 23)),
        ("2026-03-29", utc(2026, 3, 28, 23), utc(2026, 3, 29, 22)),
        ("2026-11-24T10:00:00+01:00", utc(2026, 11, 24, 9), utc(2026, 11, 24, 9, 0, 1)),
        ("2026-11-24T09:00:00Z", utc(2026, 11, 24, 9), utc(2026, 11, 24, 9, 0, 1)),
        ("2026-11-24T09:00:00.25Z", utc(2026, 11, 24, 9, 0, 0, 250_000), utc(2026, 11, 24, 9, 0, 0, 251_000)),
        ("2026-07-01T12:00:00", utc(2026, 7, 1, 10), utc(2026, 7, 1, 10, 0, 1)),
    ],
)
def test_a_date_is_the_interval_it_stands_for(text: str, start: datetime, until: datetime):
    assert interval(text, PARIS) == Window(start, until)


@pytest.mark.parametrize(
    ("text", "start", "until"),
    [
        ("0001", OPEN_START, utc(2, 1, 1)),
        ("0000-05-06", OPEN_START, utc(2, 1, 1)),
        ("0001-12-31T23:59:59-12:00", OPEN_START, utc(2, 1, 1)),
        ("9999", utc(9999, 1, 1), OPEN_END),
        ("9999-06", utc(9999, 6, 1), OPEN_END),
        ("9999-06-02", utc(9999, 6, 2), OPEN_END),
        ("9999-12-31", utc(9999, 12, 30), OPEN_END),
        ("9999-12-31T23:59:59+14:00", utc(9999, 12, 30), OPEN_END),
    ],
)
def test_a_date_in_the_first_or_last_year_reaches_to_the_open_end(text: str, start: datetime, until: datetime):
    assert interval(text, PARIS) == Window(start, until)


@pytest.mark.parametrize("text", ["", "soon", "2026-02-30", "2026-13", "26", "2026-11-24T10", "2026-11-24T25:00:00Z"])
def test_what_is_not_a_date_is_refused(text: str):
    with pytest.raises(ValueError, match=r".+"):
        interval(text, PARIS)


def test_absent_bounds_are_open():
    assert window(None, PARIS) == ALWAYS
    assert window({"start": "2026"}, PARIS).until == OPEN_END
    assert window({"end": "2026"}, PARIS).start == OPEN_START


@pytest.mark.parametrize("period", [{"start": "soon"}, {"end": 3}, "2026", {"start": None}])
def test_an_unreadable_period_is_never_in_force(period: object):
    assert window(period, PARIS) == NEVER
    assert window(period, PARIS).is_empty
    assert not is_readable(period, PARIS)


def test_a_window_holds_its_start_and_not_its_end():
    spent = window({"start": "2026-11-24", "end": "2026-11-24"}, PARIS)
    assert spent.contains(utc(2026, 11, 23, 23))
    assert not spent.contains(utc(2026, 11, 24, 23))


@pytest.mark.parametrize("end", ["9999", "9999-12", "9999-12-31", "9999-12-31T23:59:59+01:00"])
def test_the_last_year_of_the_calendar_is_an_open_end(end: str):
    assert window({"start": "2026-01-01", "end": end}, PARIS).until == OPEN_END


def test_the_first_year_of_the_calendar_is_an_open_start():
    assert window({"start": "0001-01-01"}, PARIS).start == OPEN_START
