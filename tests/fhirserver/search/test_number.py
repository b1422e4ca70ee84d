"""Number parameters: the digits searched imply a range, the number stored is exact."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st


def risk(*probabilities):
    return {
        "resourceType": "RiskAssessment",
        "id": "r",
        "prediction": [{"probabilityDecimal": Decimal(text)} for text in probabilities],
    }


# https://hl7.org/fhir/R4/search.html#number
SPECIFIED = [
    ("100", "99.5", True),
    ("100", "100.5", False),
    ("100", "99.49", False),
    ("100.00", "99.995", True),
    ("100.00", "100.005", False),
    ("1e2", "95", True),
    ("1e2", "105", False),
    ("1e2", "94.9", False),
    ("1.00e2", "100.4", True),
    ("1.00e2", "100.5", False),
    ("lt100", "99.999", True),
    ("lt100", "100", False),
    ("le100", "100", True),
    ("le100", "100.001", False),
    ("gt100", "100.001", True),
    ("gt100", "100", False),
    ("ge100", "100", True),
    ("ge100", "99.999", False),
    ("ne100", "99.5", False),
    ("ne100", "100.5", True),
    ("sa100", "100.1", True),
    ("eb100", "99.9", True),
    ("ap100", "90", True),
    ("ap100", "110", True),
    ("ap100", "89.9", False),
    ("-5", "-5.4", True),
    ("-5", "5", False),
    ("+5", "5", True),
]


@pytest.mark.parametrize(("asked", "stored", "expected"), SPECIFIED)
def test_the_examples_of_the_specification_hold(matches, asked, stored, expected):
    assert matches(risk(stored), f"probability={asked}") is expected


def test_an_integer_is_matched_exactly(matches):
    molecule = {"resourceType": "MolecularSequence", "variant": [{"start": 10, "end": 11}]}
    assert matches(molecule, "variant-start=10")
    assert not matches(molecule, "variant-start=10.5")


def test_a_range_is_compared_by_its_ends(matches):
    ranged = {
        "resourceType": "RiskAssessment",
        "prediction": [{"probabilityRange": {"low": {"value": Decimal("0.2")}, "high": {"value": Decimal("0.4")}}}],
    }
    assert matches(ranged, "probability=gt0.3")
    assert matches(ranged, "probability=lt0.3")
    assert not matches(ranged, "probability=sa0.3")


def test_one_of_several_values_is_enough(matches):
    assert matches(risk("0.1", "0.9"), "probability=gt0.8")
    assert not matches(risk("0.1", "0.2"), "probability=gt0.8")


def test_two_parameters_may_be_met_by_two_values(matches):
    assert matches(risk("0.1", "0.9"), "probability=lt0.2&probability=gt0.8")


def test_a_number_beyond_every_double_is_stored_as_infinite(matches):
    assert matches(risk("1e400"), "probability=gt1e300")


@pytest.mark.parametrize("wrong", ["a", "1,5.", "NaN", "Infinity", "1e", "0x10", "--1", "1e9999", "1" * 65, "٣"])
def test_what_is_no_number_is_refused_by_name(refusal, wrong):
    error = refusal("RiskAssessment", f"probability={wrong}")
    assert (error.status, error.code, error.expression) == (400, "invalid", "probability")


def implied(text):
    """The range of the digits, [low, high), by counting digits after the point."""
    places = len(text.partition(".")[2])
    half = Fraction(1, 2 * 10**places)
    return Fraction(text) - half, Fraction(text) + half


DECIMALS = st.decimals(min_value=-5, max_value=5, places=2).map(str) | st.integers(-5, 5).map(str)


@given(
    prefix=st.sampled_from(["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb"]),
    searched=DECIMALS,
    stored=st.lists(DECIMALS, max_size=3),
)
def test_every_prefix_compares_numbers_as_the_specification_says(matches, prefix, searched, stored):
    low, high = implied(searched)
    exact = Fraction(searched)
    holds = {
        "eq": lambda value: low <= value < high,
        "ne": lambda value: not low <= value < high,
        "gt": lambda value: value > exact,
        "lt": lambda value: value < exact,
        "ge": lambda value: value >= exact,
        "le": lambda value: value <= exact,
        "sa": lambda value: value > exact,
        "eb": lambda value: value < exact,
    }[prefix]
    expected = any(holds(Fraction(text)) for text in stored)
    assert matches(risk(*stored), f"probability={prefix}{searched}") is expected
