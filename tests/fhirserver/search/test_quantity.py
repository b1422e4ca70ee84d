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
