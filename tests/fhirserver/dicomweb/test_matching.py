"""QIDO-RS parameters as filters, and what a filter holds for."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.dicomweb.attributes import Level, tag
from fhirserver.dicomweb.carry import date_key, name_key, time_key
from fhirserver.dicomweb.matching import DEFAULT_LIMIT, MATCHED, MAX_LIMIT, _wild, below, holds, parse, returned
from fhirserver.errors import BadRequest


def filters(name: str, value: str) -> list[tuple[str, str, Any]]:
    query = parse([(name, value)], Level.INSTANCE)
    return [*query.study, *query.series, *query.instance]


@pytest.mark.parametrize("keyword", sorted(MATCHED))
def test_every_attribute_is_named_by_keyword_or_tag_and_an_empty_value_matches_all(keyword: str):
    assert filters(keyword, "") == filters(tag(keyword), "") == []
    value = "20260101" if keyword.endswith("Date") else "10"
    assert filters(keyword, value) == filters(tag(keyword), value) != []


@pytest.mark.parametrize("level", Level)
def test_an_attribute_of_a_repeating_group_is_included_by_its_tag(level: Level):
    query = parse([("includefield", "60020010,10008030,0040a124")], level)
    assert query.included == {"60020010", "10008030", "0040A124"}


def test_the_request_attributes_may_be_named_through_their_sequence():
    plain = filters("RequestedProcedureID", "P1")
    assert filters("RequestAttributesSequence.RequestedProcedureID", "P1") == plain
    assert filters("00400275.00401001", "P1") == plain == [("RequestedProcedureID", "eq", "P1")]


@pytest.mark.parametrize(
    ("value", "times", "others"),
    [
        ("0915", ["091500.000000", "091559.999999"], ["091459.999999", "091600.000000"]),
        ("09", ["090000.000000", "095959.000000"], ["100000.000000"]),
        ("091500-10", ["091500.000000", "105959.999999"], ["091459.000000", "110000.000000"]),
        ("-0915", ["000000.000000", "091559.000000"], ["091600.000000", ""]),
        ("0915-", ["091500.000000", "235959.000000"], ["091459.000000"]),
        ("091500.5", ["091500.500000"], ["091500.000000"]),
    ],
)
def test_times_match_by_what_they_leave_unsaid(value: str, times: list[str], others: list[str]):
    found = filters("StudyTime", value)
    assert all(holds(found, {"StudyTime": time}) for time in times)
    assert not any(holds(found, {"StudyTime": time}) for time in others)


def test_a_study_without_date_is_in_no_range():
    for value in ("-20260101", "20260101-", "20260101"):
        assert not holds(filters("StudyDate", value), {"StudyDate": ""})
        assert not holds(filters("StudyDate", value), {})


def test_wild_cards_are_the_only_special_characters():
    found = filters("StudyDescription", "a.c*(1)?")
    assert holds(found, {"StudyDescription": "a.c anything (1)x"})
    assert not holds(found, {"StudyDescription": "abc anything (1)x"})
    assert not holds(found, {"StudyDescription": "xa.c(1)x"})


def test_a_list_meets_a_filter_if_one_of_it_does():
    assert holds([("ModalitiesInStudy", "in", ["US", "MR"])], {"ModalitiesInStudy": ["CT", "MR"]})
    assert not holds([("ModalitiesInStudy", "eq", "US")], {"ModalitiesInStudy": ["CT", "MR"]})


def test_paths_move_below_a_prefix():
    assert below("dicom.series", [("Modality", "eq", "CT")]) == [("dicom.series.Modality", "eq", "CT")]


def test_limits_have_a_default_and_a_maximum():
    assert parse([], Level.STUDY).limit == DEFAULT_LIMIT
    assert parse([("limit", "999999")], Level.STUDY).limit == MAX_LIMIT


def test_an_attribute_of_a_level_below_is_refused():
    with pytest.raises(BadRequest):
        parse([("Modality", "CT")], Level.STUDY)
    assert parse([("Modality", "CT")], Level.SERIES).series == (("Modality", "eq", "CT"),)


@pytest.mark.parametrize("name", ["", "x", "PatientAddress", "00080018.00080018", "7FE00010", "12345678"])
def test_what_cannot_be_matched_is_refused(name: str):
    with pytest.raises(BadRequest):
        parse([(name, "1")], Level.INSTANCE)


def test_asking_for_everything_returns_what_is_offered():
    plain, everything = parse([], Level.SERIES), parse([("includefield", "all")], Level.SERIES)
    assert tag("StationName") not in returned(Level.SERIES, plain)
    assert tag("StationName") in returned(Level.SERIES, everything)


def test_names_are_compared_without_case_accents_and_empty_components():
    assert name_key("RÉFÉRENT^Zoé^^") == name_key("referent^zoe") == "referent^zoe"


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_parameter_either_parses_or_is_refused(name: str, value: str):
    for one in (name, "StudyDate", "StudyTime", "PatientName", "limit", "includefield"):
        try:
            query = parse([(one, value)], Level.INSTANCE)
        except BadRequest:
            continue
        holds([*query.study, *query.series], {"StudyDate": "20260101", "StudyTime": "", "PatientName": "x"})


@given(st.dates(min_value=dt.date(1000, 1, 1)), st.times())
def test_keys_of_dates_and_times_sort_like_what_they_mean(date: Any, time: Any):
    assert date_key(date.strftime("%Y%m%d")) == f"{date.year:04d}{date.month:02d}{date.day:02d}"
    assert time_key(time.strftime("%H%M%S.%f")) == time.strftime("%H%M%S.%f")
    assert time_key(time.strftime("%H%M")) <= time_key(time.strftime("%H%M%S.%f"))


@given(value=st.text("ab.", max_size=8), pattern=st.text("ab.*?", max_size=8))
def test_wildcards_match_as_a_naive_reading_of_them(value: str, pattern: str) -> None:
    def matches(text: str, wanted: str) -> bool:
        if not wanted:
            return not text
        if wanted[0] == "*":
            return any(matches(text[start:], wanted[1:]) for start in range(len(text) + 1))
        return bool(text) and wanted[0] in {"?", text[0]} and matches(text[1:], wanted[1:])

    path, operation, compiled = _wild("SeriesDescription", pattern)
    expected = matches(value, pattern)
    assert holds([(path, operation, compiled)], {"SeriesDescription": value}) == expected


def test_a_wildcard_costs_no_more_than_its_length() -> None:
    # With backtracking this one would not end in the lifetime of the machine.
    assert not holds([_wild("SeriesDescription", "*a" * 32 + "*b")], {"SeriesDescription": "a" * 64})
