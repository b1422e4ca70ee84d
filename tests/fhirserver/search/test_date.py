"""Date parameters: partial dates are intervals, zones are honoured, prefixes compare ranges."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.search.date import interval
from fhirserver.search.stored import END, START

PARIS = ZoneInfo("Europe/Paris")


def observation(**effective):
    return {"resourceType": "Observation", "id": "o", "status": "final", **effective}


def at(date):
    return observation(effectiveDateTime=date)


def during(start=None, end=None):
    period = {name: value for name, value in (("start", start), ("end", end)) if value}
    return observation(effectivePeriod=period)


# The examples of https://hl7.org/fhir/R4/search.html#date, in its own order.
SPECIFIED = [
    ("eq2013-01-14", at("2013-01-14T00:00:00+01:00"), True),
    ("eq2013-01-14", at("2013-01-14T10:00:00+01:00"), True),
    ("eq2013-01-14", at("2013-01-15T00:00:00+01:00"), False),
    ("ne2013-01-14", at("2013-01-15T00:00:00+01:00"), True),
    ("ne2013-01-14", at("2013-01-14T00:00:00+01:00"), False),
    ("ne2013-01-14", at("2013-01-14T10:00:00+01:00"), False),
    ("lt2013-01-14T10:00", at("2013-01-14"), True),
    ("gt2013-01-14T10:00", at("2013-01-14"), True),
    ("ge2013-03-14", during("2013-01-21"), True),
    ("le2013-03-14", during("2013-01-21"), True),
    ("sa2013-03-14", during("2013-03-15"), True),
    ("sa2013-03-14", during("2013-01-21"), False),
    ("sa2013-03-14", during(end="2013-01-21"), False),
    ("eb2013-03-14", during("2013-03-15"), False),
    ("eb2013-03-14", during("2013-01-21"), False),
    ("eb2013-03-14", during(end="2013-01-21"), True),
    ("ap2013-03-14", at("2013-03-14"), True),
    ("ap2013-03-14", at("2013-01-21"), False),
    ("ap2013-03-14", at("2015-06-15"), False),
]


@pytest.mark.parametrize(("asked", "resource", "expected"), SPECIFIED)
def test_the_examples_of_the_specification_hold(matches, asked, resource, expected):
    assert matches(resource, f"date={asked}") is expected


def test_a_bare_date_is_a_day_in_the_zone_of_the_server(matches):
    half_past_midnight_in_paris = at("2024-06-30T22:30:00Z")
    assert matches(half_past_midnight_in_paris, "date=2024-07-01")
    assert not matches(half_past_midnight_in_paris, "date=2024-06-30")


def test_an_offset_in_the_search_is_honoured(matches):
    assert matches(at("2024-01-01T09:00:00Z"), "date=2024-01-01T10:00:00+01:00")
    assert not matches(at("2024-01-01T10:00:00Z"), "date=2024-01-01T10:00:00+01:00")


def test_a_minute_holds_all_its_seconds(matches):
    assert matches(at("2024-01-01T10:00:59+01:00"), "date=2024-01-01T10:00")
    assert not matches(at("2024-01-01T10:01:00+01:00"), "date=2024-01-01T10:00")


def test_a_year_stored_is_not_equal_to_a_day_within_it(matches):
    assert not matches(at("2024"), "date=2024-05-01")
    assert matches(at("2024-05-01"), "date=2024")


def test_the_two_ends_of_a_window_may_be_given_as_two_parameters(matches):
    window = "date=ge2024-01-01&date=lt2024-02-01"
    assert matches(at("2024-01-31T23:59:59.999+01:00"), window)
    assert not matches(at("2024-02-01T00:00:00+01:00"), window)


def test_a_day_of_the_clock_change_has_twenty_three_or_twenty_five_hours():
    spring = interval("2024-03-31", PARIS)
    autumn = interval("2024-10-27", PARIS)
    assert spring == (datetime(2024, 3, 30, 23, tzinfo=UTC), datetime(2024, 3, 31, 21, 59, 59, 999_000, tzinfo=UTC))
    assert autumn == (datetime(2024, 10, 26, 22, tzinfo=UTC), datetime(2024, 10, 27, 22, 59, 59, 999_000, tzinfo=UTC))


def test_a_period_that_begins_on_the_day_is_found_up_to_and_from_that_day(matches):
    stay = during("2024-03-14", "2024-03-20")
    assert matches(stay, "date=le2024-03-14")
    assert matches(stay, "date=ge2024-03-20")
    assert not matches(stay, "date=lt2024-03-14")
    assert not matches(stay, "date=gt2024-03-20")


def test_a_leap_second_is_the_second_after():
    assert interval("2016-12-31T23:59:60Z", PARIS)[0] == datetime(2017, 1, 1, tzinfo=UTC)


def test_a_fraction_is_as_wide_as_its_digits_and_no_finer_than_a_millisecond():
    start = datetime(2024, 1, 1, 0, 0, 0, 100_000, tzinfo=UTC)
    assert interval("2024-01-01T00:00:00.1Z", UTC) == (start, start + timedelta(milliseconds=99))
    assert interval("2024-01-01T00:00:00.100123456Z", UTC) == (start, start)


@pytest.mark.parametrize("extreme", ["0001", "0001-01-01", "9999", "9999-12", "9999-12-31", "9999-12-31T23:59:59Z"])
def test_the_ends_of_the_calendar_are_dates_like_any_other(extreme):
    low, high = interval(extreme, PARIS)
    assert START <= low <= high <= END


def test_a_timing_is_searched_by_its_outer_limits(matches):
    timing = observation(
        effectiveTiming={
            "event": ["2013-02-01"],
            "repeat": {"boundsPeriod": {"start": "2013-01-31", "end": "2013-03-24"}},
        }
    )
    assert matches(timing, "date=ge2013-03-24&date=le2013-01-31")
    assert not matches(timing, "date=sa2013-01-31")


def test_a_period_without_start_and_end_has_no_value(matches):
    nothing = observation(effectivePeriod={"extension": []})
    assert not matches(nothing, "date=ge1900")
    assert matches(nothing, "date:missing=true")


def test_ne_asks_for_a_value_that_is_not_equal(matches):
    assert not matches(observation(), "date=ne2024")


def test_last_updated_is_a_date_to_the_millisecond(matches):
    resource = {"resourceType": "Patient", "id": "p", "meta": {"lastUpdated": "2024-01-01T00:00:00.123Z"}}
    assert matches(resource, "_lastUpdated=gt2024-01-01T00:00:00.122Z&_lastUpdated=le2024-01-01T00:00:00.123Z")
    assert not matches(resource, "_lastUpdated=gt2024-01-01T00:00:00.123Z")


@pytest.mark.parametrize(
    "wrong",
    ["yesterday", "2024-13", "2024-02-30", "2024-1-1", "24", "2024-01-01T10", "2024-01-01T24:00", "xx2024", "２０２４"],
)
def test_what_is_no_date_is_refused_by_name(refusal, wrong):
    error = refusal("Observation", f"date={wrong}")
    assert (error.status, error.code, error.expression) == (400, "invalid", "date")
    assert error.diagnostics.startswith("date: '")


def test_a_plus_lost_in_the_url_is_explained(refusal):
    error = refusal("Observation", "date=2024-01-01T10:00:00%2001:00")
    assert "%2B" in error.diagnostics


# -- against an independent reading of the specification ------------------------------------------------------

DAYS = st.integers(0, 4 * 86_400).map(lambda seconds: datetime(2023, 12, 30, tzinfo=UTC) + timedelta(seconds=seconds))
FORMS = ["%Y", "%Y-%m", "%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]


@st.composite
def partial_dates(draw, least=0):
    """A date of some precision with the half-open range [start, end) that it covers, in seconds."""
    moment = draw(DAYS)
    form = draw(st.sampled_from(FORMS[least:]))
    hours = draw(st.sampled_from([None, 0, 1, -5])) if "T" in form else None
    text = moment.strftime(form)
    start = datetime.strptime(text, form).replace(tzinfo=UTC)
    end = {
        "%Y": start.replace(year=start.year + 1),
        "%Y-%m": datetime(start.year + start.month // 12, start.month % 12 + 1, 1, tzinfo=UTC),
        "%Y-%m-%d": start + timedelta(days=1),
        "%Y-%m-%dT%H:%M": start + timedelta(minutes=1),
        "%Y-%m-%dT%H:%M:%S": start + timedelta(seconds=1),
    }[form]
    suffix = "" if hours is None else f"{'-' if hours < 0 else '+'}{abs(hours):02}:00"
    zone = PARIS if hours is None else timezone(timedelta(hours=hours))
    return text + suffix, start.replace(tzinfo=zone).timestamp(), end.replace(tzinfo=zone).timestamp()


def specified(prefix, searched, stored):
    """The table of https://hl7.org/fhir/R4/search.html#prefix over half-open ranges."""
    contains = searched[0] <= stored[0] and stored[1] <= searched[1]
    value_and_up_intersects = stored[1] > searched[0]
    up_to_value_intersects = stored[0] < searched[1]
    above_intersects = stored[1] > searched[1]
    below_intersects = stored[0] < searched[0]
    return {
        "eq": contains,
        "ne": not contains,
        "gt": above_intersects,
        "lt": below_intersects,
        "ge": value_and_up_intersects,
        "le": up_to_value_intersects,
        "sa": stored[0] >= searched[1],
        "eb": stored[1] <= searched[0],
    }[prefix]


@given(
    prefix=st.sampled_from(["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb"]),
    searched=partial_dates(),
    stored=partial_dates(),
)
def test_every_prefix_compares_partial_dates_as_the_specification_says(matches, prefix, searched, stored):
    expected = specified(prefix, searched[1:], stored[1:])
    assert matches(at(stored[0]), f"date={prefix}{searched[0]}") is expected


@given(
    prefix=st.sampled_from(["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb"]),
    searched=partial_dates(),
    ends=st.tuples(partial_dates(), partial_dates()),
    open_ends=st.sampled_from([(False, False), (True, False), (False, True)]),
)
def test_every_prefix_compares_periods_as_the_specification_says(matches, prefix, searched, ends, open_ends):
    first, last = sorted(ends, key=lambda end: (end[1], end[2]))
    start = None if open_ends[0] else first
    end = None if open_ends[1] else last
    stored = (start[1] if start else float("-inf"), end[2] if end else float("inf"))
    resource = during(start and start[0], end and end[0])
    assert matches(resource, f"date={prefix}{searched[0]}") is specified(prefix, searched[1:], stored)
