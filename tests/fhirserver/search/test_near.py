"""`Location?near`: within a distance by the great circle."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.search.expression import EARTH, Near


def location(latitude, longitude):
    return {"resourceType": "Location", "position": {"latitude": latitude, "longitude": longitude}}


PARIS = location(48.8566, 2.3522)  # 344 km from London


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("51.5074|-0.1278|345|km", True),
        ("51.5074|-0.1278|343|km", False),
        ("51.5074|-0.1278|345", True),
        ("51.5074|-0.1278|345000|m", True),
        ("51.5074|-0.1278|214|[mi_us]", True),
        ("51.5074|-0.1278|213|mi_us", False),
        ("51.5074|-0.1278|214|[mi_i]", True),
        ("48.86|2.35", True),
        ("49.5|2.35", False),
        ("48.8566|2.3522|0|km", True),
        ("51.5|-0.1|343|km,48.8|2.3|10|km", True),
        ("-48.8566|-177.6478|20038|km", True),
    ],
)
def test_a_place_is_near_within_the_distance(matches, asked, expected):
    assert matches(PARIS, f"near={asked}") is expected


def test_the_date_line_and_the_poles_are_no_edges(matches):
    assert matches(location(0, 179.9), "near=0|-179.9|30|km")
    assert matches(location(89.9, 0), "near=89.9|180|30|km")


@pytest.mark.parametrize(
    "position", [None, {"latitude": 91, "longitude": 0}, {"latitude": 0}, {"latitude": "a", "longitude": 1}]
)
def test_what_is_nowhere_on_earth_is_near_nothing(matches, position):
    nowhere = {"resourceType": "Location"} | ({} if position is None else {"position": position})
    assert not matches(nowhere, "near=0|0|30000|km")
    assert matches(nowhere, "near:missing=true")
    assert matches(PARIS, "near:missing=false")


@pytest.mark.parametrize(
    "asked",
    [
        "48.8",
        "48.8|2.3|1|km|x",
        "a|b",
        "91|0",
        "0|181",
        "0|0|-1|km",
        "0|0|1|kg",
        "0|0|1|parsnip",
        "0|0|1e9",
        "|0",
        "0|0|x",
    ],
)
def test_what_is_no_place_or_no_length_is_refused(refusal, asked):
    error = refusal("Location", f"near={asked}", handling="lenient")
    assert (error.status, error.code, error.expression) == (400, "invalid", "near")


def test_a_place_has_no_other_modifier_and_no_order(refusal):
    assert refusal("Location", "near:exact=0|0").code == "not-supported"
    assert refusal("Location", "_sort=near").code == "not-supported"


@given(st.floats(0, 1e9))
def test_a_distance_is_an_angle_of_at_most_half_a_turn(metres):
    assert 0 <= Near(0, 0, metres).radians <= math.pi
    assert math.isclose(Near(0, 0, 1000).radians * EARTH, 1000)
