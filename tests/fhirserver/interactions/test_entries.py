"""The addresses that entries of a Bundle name, and where their errors are said to be."""

from __future__ import annotations

import pytest

from fhirserver.errors import BadRequest, FhirError, Issue, NotFound, Unprocessable
from fhirserver.interactions.entries import Target, at_entry, is_id, parse_target

BASE = "http://fhir.example/fhir"


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("Patient", Target("Patient")),
        ("Patient/1", Target("Patient", "1")),
        ("Patient?name=x&name=y", Target("Patient", query="name=x&name=y")),
        ("Patient/1/_history", Target("Patient", "1", is_history=True)),
        ("Patient/1/_history?_count=2", Target("Patient", "1", is_history=True, query="_count=2")),
        ("Patient/_history?_count=2", Target("Patient", is_history=True, query="_count=2")),
        ("_history", Target("", is_history=True)),
        ("Patient/1/_history/3", Target("Patient", "1", "3")),
        (f"{BASE}/Patient/1", Target("Patient", "1")),
    ],
)
def test_an_address_names_a_type_a_resource_a_version_or_a_search(url, target):
    assert parse_target(url, BASE) == target


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("Nosuch/1", NotFound),
        ("Parameters", NotFound),
        ("/Patient/1", BadRequest),
        ("Patient/", BadRequest),
        ("Patient/1/2/3/4", BadRequest),
        ("http://elsewhere.example/fhir/Patient/1", BadRequest),
    ],
)
def test_any_other_address_is_refused(url, error):
    with pytest.raises(error):
        parse_target(url, BASE)


@pytest.mark.parametrize("text", ["a", "A-1.b", "x" * 64])
def test_an_id_has_letters_digits_hyphens_and_dots(text):
    assert is_id(text)


@pytest.mark.parametrize("text", ["", "a b", "é", "x" * 65, "a\n", "a/b", "$x", "_history"])
def test_nothing_else_is_an_id(text):
    assert not is_id(text)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (None, "Bundle.entry[3]"),
        ("Patient.name[0].given", "Bundle.entry[3].resource.name[0].given"),
        ("Patient", "Bundle.entry[3].resource"),
        ("request.url", "Bundle.entry[3].request.url"),
        ("resource", "Bundle.entry[3].resource"),
        ("Bundle.entry[3].request.method", "Bundle.entry[3].request.method"),
    ],
)
def test_an_error_says_which_entry_it_is_about(said, told):
    with pytest.raises(FhirError) as caught, at_entry(3):
        raise Unprocessable("wrong", issues=(Issue("error", "value", "wrong", said),))
    assert caught.value.issues[0].expression == told


def test_a_search_parameter_is_placed_in_the_address_of_its_entry():
    with pytest.raises(FhirError) as caught, at_entry(0):
        raise BadRequest("unknown", expression="nosuch")
    assert caught.value.issues[0].expression == "Bundle.entry[0].request.url"
