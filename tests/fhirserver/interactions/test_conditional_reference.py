"""Conditional and temporary references are found in the text of a resource, and nothing else is taken for one."""

from __future__ import annotations

import json

import pytest

from fhirserver.interactions.conditional_reference import conditional_references, temporary_references


def body(reference, **more):
    return json.dumps({"subject": {"reference": reference}, **more}).encode()


def test_a_search_that_stands_as_a_reference_is_found():
    assert conditional_references(body("Patient?identifier=a|b&active=true")) == ["Patient?identifier=a|b&active=true"]
    assert conditional_references(body('Patient?name="é"')) == ['Patient?name="é"']


def test_each_is_told_once_in_the_order_of_the_text():
    text = json.dumps([{"reference": name} for name in ("Patient?x=2", "Patient?x=1", "Patient?x=2")]).encode()
    assert conditional_references(text) == ["Patient?x=2", "Patient?x=1"]


@pytest.mark.parametrize("reference", ["Patient/1", "urn:uuid:1", "#a", "http://a.example/Patient?x=1", "?x=1"])
def test_other_references_are_none(reference):
    assert conditional_references(body(reference)) == []


def test_a_text_that_quotes_a_reference_is_none():
    assert conditional_references(body("Patient/1", note='"reference": "Patient?x=1"')) == []
    assert temporary_references(body("Patient/1", note='"reference": "urn:uuid:1"')) == []


def test_a_temporary_reference_is_found():
    assert temporary_references(body("urn:uuid:1", other={"reference": "urn:oid:1.2"})) == ["urn:uuid:1", "urn:oid:1.2"]
    assert temporary_references(body("Patient/1", identifier="urn:uuid:1")) == []
