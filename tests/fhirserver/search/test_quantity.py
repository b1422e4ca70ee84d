"""Quantity parameters: a number with, perhaps, a unit."""

from __future__ import annotations

from decimal import Decimal

import pytest

UCUM = "http://unitsofmeasure.org"


def measured(value, **rest):
    quantity = {"value": Decimal(value), "system": UCUM, "code": "mg", "unit": "milligram"} | rest
    return {"resourceType": "Observation", "valueQuantity": {k: v for k, v in quantity.items() if v is not None}}


@pytest.mark.parametrize(
    ("asked", "stored", "expected"),
    [
        (f"5.4|{UCUM}|mg", "5.44", True),
        (f"5.4|{UCUM}|mg", "5.45", False),
        (f"5.40e-3|{UCUM}|mg", "0.005404", True),
        (f"5.40e-3|{UCUM}|mg", "0.005405", False),
        (f"5.4|{UCUM}|g", "5.4", False),
        ("5.4||mg", "5.4", True),
        ("5.4||milligram", "5.4", True),
        ("5.4||MG", "5.4", False),
        ("5.4", "5.4", True),
        ("5.4||", "5.4", True),
        (f"le5.4|{UCUM}|mg", "5.41", False),
        (f"ap5.4|{UCUM}|mg", "5.9", True),
    ],
)
def test_the_examples_of_the_specification_hold(matches, asked, stored, expected):
    assert matches(measured(stored), f"value-quantity={asked}") is expected


def test_the_code_with_a_system_does_not_match_the_human_unit(matches):
    assert not matches(measured("5.4", code=None, system=None, unit="mg"), f"value-quantity=5.4|{UCUM}|mg")


def test_the_number_and_the_unit_must_be_of_one_quantity(matches):
    two = {
        "resourceType": "Observation",
        "component": [
            {"valueQuantity": {"value": 1, "system": UCUM, "code": "mg"}},
            {"valueQuantity": {"value": 2, "system": UCUM, "code": "kg"}},
        ],
    }
    assert matches(two, f"component-value-quantity=1|{UCUM}|mg")
    assert not matches(two, f"component-value-quantity=1|{UCUM}|kg")


def test_a_comparator_leaves_the_quantity_open_to_that_side(matches):
    below_detection = measured("5", comparator="<")
    assert matches(below_detection, "value-quantity=lt1")
    assert not matches(below_detection, "value-quantity=gt5")
    assert matches(measured("5", comparator=">="), "value-quantity=gt1000")


def test_money_is_asked_with_its_currency(matches):
    invoice = {"resourceType": "Invoice", "totalNet": {"value": 20, "currency": "EUR"}}
    assert matches(invoice, "totalnet=20|urn:iso:std:iso:4217|EUR")
    assert matches(invoice, "totalnet=20||EUR")
    assert not matches(invoice, "totalnet=20||USD")


def test_a_quantity_without_a_value_is_missing(matches):
    unmeasured = {"resourceType": "Observation", "valueQuantity": {"unit": "mg"}}
    assert matches(unmeasured, "value-quantity:missing=true")
    assert matches(measured("1"), "value-quantity:missing=false")


@pytest.mark.parametrize("wrong", ["mg", "5|mg", f"5|{UCUM}|", "5|a|b|c", f"|{UCUM}|mg"])
def test_any_other_form_is_refused_by_name(refusal, wrong):
    error = refusal("Observation", f"value-quantity={wrong}")
    assert (error.status, error.code, error.expression) == (400, "invalid", "value-quantity")


def quantity_of(value, code, system=UCUM, **more):
    return {
        "resourceType": "Observation",
        "code": {"coding": [{"system": "s", "code": "c"}]},
        "valueQuantity": {"value": Decimal(value), "system": system, "code": code, **more},
    }


@pytest.mark.parametrize(
    ("value", "code", "asked"),
    [
        ("1000", "mg", "1|U|g"),
        ("1", "g", "1000|U|mg"),
        ("98.6", "[degF]", "37.0|U|Cel"),
        ("37", "Cel", "gt98|U|[degF]"),
        ("5", "mmol/L", "5|U|mol/m3"),
        ("23", "mm/h", "0.023|U|m/h"),
        ("1500", "mg", "gt1|U|g"),
        ("1000", "mg", "ge1|U|g"),
        ("1000", "mg", "le1|U|g"),
        ("999", "mg", "lt1|U|g"),
        ("0.1", "g", "100|U|mg"),
        ("1100", "mg", "ap1|U|g"),
        ("2", "g", "ne1000|U|mg"),
        ("1", "k[iU]/L", "1000|U|[iU]/L"),
    ],
)
def test_a_quantity_is_found_in_any_unit_of_ucum_that_measures_the_same(matches, value, code, asked):
    assert matches(quantity_of(value, code), f"value-quantity={asked.replace('U', UCUM, 1)}")


@pytest.mark.parametrize(
    ("value", "code", "asked"),
    [
        ("1000", "mg", "1|U|kg"),
        ("1000", "mg", "gt1|U|g"),
        ("1000", "mg", "lt1|U|g"),
        ("1000", "mg", "ne1|U|g"),
        ("1000", "mg", "1000|U|mL"),
        ("1000", "mg", "1||g"),
        ("1000", "mg", "1|urn:other|g"),
        ("7", "[pH]", "7|U|1"),
    ],
)
def test_another_amount_or_another_kind_of_unit_does_not_match(matches, value, code, asked):
    assert not matches(quantity_of(value, code), f"value-quantity={asked.replace('U', UCUM, 1)}")


def test_a_unit_that_cannot_be_converted_is_compared_as_it_is_written(matches):
    assert matches(quantity_of("7.4", "[pH]"), f"value-quantity=7.4|{UCUM}|[pH]")
    assert matches(quantity_of("7.4", "{sic"), f"value-quantity=7.4|{UCUM}|%7Bsic")
    assert matches(quantity_of("7.4", "mg", system="urn:own"), "value-quantity=7.4|urn:own|mg")
    assert not matches(quantity_of("7.4", "mg", system="urn:own"), f"value-quantity=7.4|{UCUM}|mg")


def test_a_comparator_is_open_in_the_canonical_unit_too(matches):
    below = quantity_of("5", "mg", comparator="<")
    assert matches(below, f"value-quantity=lt0.001|{UCUM}|g")
    assert not matches(below, f"value-quantity=gt0.005|{UCUM}|g")


def test_the_components_of_a_composite_convert(matches):
    assert matches(quantity_of("1000", "mg"), f"code-value-quantity=s|c$1|{UCUM}|g")
    assert matches(quantity_of("1000", "mg"), "code-value-quantity=s|c$1000||mg")
    assert not matches(quantity_of("1000", "mg"), f"code-value-quantity=s|c$2|{UCUM}|g")
    assert not matches(quantity_of("1000", "mg"), f"code-value-quantity=s|d$1|{UCUM}|g")


def test_a_range_converts_end_by_end(matches):
    risk = {
        "resourceType": "Condition",
        "onsetRange": {
            "low": {"value": 12, "system": UCUM, "code": "mo"},
            "high": {"value": 2, "system": UCUM, "code": "a"},
        },
    }
    assert matches(risk, f"onset-age=ap1.5|{UCUM}|a")
    assert not matches(risk, f"onset-age=gt3|{UCUM}|a")


@pytest.mark.parametrize("value", ["1e999999999", "-1e999999999", "1e-999999999"])
def test_a_number_beyond_all_measure_is_kept_as_written(written, value):
    kept = written(quantity_of(value, "mg"))
    assert [item["n"] for item in kept.rg if item["n"].startswith("value-quantity")] == ["value-quantity"]


def test_a_number_that_overflows_in_the_canonical_unit_is_refused(refusal):
    assert refusal("Observation", f"value-quantity=1e300|{UCUM}|Ym9").expression == "value-quantity"


def test_quantities_sort_by_what_they_measure(written):
    one, other = written(quantity_of("1", "g")), written(quantity_of("500", "mg"))
    assert one.so["value-quantity"] > other.so["value-quantity"]
