"""Composite parameters: the components hold of one element together."""

from __future__ import annotations

import pytest

LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"


def component(code, value, unit="mm[Hg]"):
    return {
        "code": {"coding": [{"system": LOINC, "code": code}]},
        "valueQuantity": {"value": value, "system": UCUM, "code": unit},
    }


BLOOD_PRESSURE = {
    "resourceType": "Observation",
    "code": {"coding": [{"system": LOINC, "code": "85354-9"}]},
    "component": [component("8480-6", 120), component("8462-4", 80)],
}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("8480-6$120", True),
        (f"{LOINC}|8480-6$120", True),
        (f"{LOINC}|8480-6$gt100|{UCUM}|mm[Hg]", True),
        (f"{LOINC}|8480-6$gt100|{UCUM}|kPa", False),
        ("8480-6$80", False),
        ("8462-4$ge120", False),
        ("|8480-6$120", False),
        ("8462-4$ge120,8480-6$ge120", True),
    ],
)
def test_code_and_value_must_be_of_the_same_component(matches, asked, expected):
    assert matches(BLOOD_PRESSURE, f"component-code-value-quantity={asked}") is expected


def test_two_tokens_are_found_together(matches):
    resource = {
        "resourceType": "Group",
        "characteristic": [
            {"code": {"coding": [{"code": "gender"}]}, "valueCodeableConcept": {"coding": [{"code": "mixed"}]}},
            {"code": {"coding": [{"code": "owner"}]}, "valueCodeableConcept": {"coding": [{"code": "john"}]}},
        ],
    }
    assert matches(resource, "characteristic-value=gender$mixed")
    assert not matches(resource, "characteristic-value=gender$john")


def test_a_code_with_a_string_matches_from_its_start(matches):
    resource = {
        "resourceType": "Observation",
        "code": {"coding": [{"system": LOINC, "code": "1"}]},
        "valueString": "Négatif ce jour",
    }
    assert matches(resource, "code-value-string=1$negatif")
    assert not matches(resource, "code-value-string=1$jour")


def test_a_code_with_a_date_is_compared_by_prefix(matches):
    resource = {
        "resourceType": "Observation",
        "code": {"coding": [{"system": LOINC, "code": "1"}]},
        "valueDateTime": "2024-05-01",
    }
    assert matches(resource, "code-value-date=1$ge2024")
    assert not matches(resource, "code-value-date=1$lt2024-05")


def test_a_relation_with_a_reference_is_found_together(matches):
    resource = {
        "resourceType": "DocumentReference",
        "relatesTo": [{"code": "replaces", "target": {"reference": "DocumentReference/a"}}],
    }
    assert matches(resource, "relationship=DocumentReference/a$replaces")
    assert matches(resource, "relationship=a$replaces")
    assert not matches(resource, "relationship=DocumentReference/b$replaces")


def test_a_chromosome_with_a_start_and_an_end(matches):
    resource = {
        "resourceType": "MolecularSequence",
        "referenceSeq": {
            "chromosome": {"coding": [{"code": "1"}]},
            "windowStart": 100,
            "windowEnd": 200,
        },
    }
    assert matches(resource, "chromosome-window-coordinate=1$lt150$gt150")
    assert matches(resource, "chromosome-window-coordinate=1$100$200")
    assert not matches(resource, "chromosome-window-coordinate=1$lt100$gt150")
    assert not matches(resource, "chromosome-window-coordinate=2$lt150$gt150")


def test_a_chromosome_is_taken_from_the_whole_sequence(matches):
    resource = {
        "resourceType": "MolecularSequence",
        "referenceSeq": {"chromosome": {"coding": [{"code": "1"}]}},
        "variant": [{"start": 100, "end": 101}],
    }
    assert matches(resource, "chromosome-variant-coordinate=1$100$101")
    assert not matches(resource, "chromosome-variant-coordinate=2$100$101")


@pytest.mark.parametrize("wrong", ["8480-6", "8480-6$", "a$b$c", f"{LOINC}|$120", "8480-6$high"])
def test_any_other_form_is_refused_by_name(refusal, wrong):
    error = refusal("Observation", f"component-code-value-quantity={wrong}")
    assert (error.status, error.code, error.expression) == (400, "invalid", "component-code-value-quantity")


def test_a_composite_has_no_modifiers(refusal):
    assert refusal("Observation", "code-value-quantity:missing=true").code == "not-supported"
    assert refusal("Observation", "code-value-quantity:exact=a$1").code == "not-supported"
