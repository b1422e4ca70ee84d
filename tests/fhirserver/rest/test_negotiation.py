"""Content negotiation and preferences, without a server."""

from __future__ import annotations

import pytest

from fhirserver.errors import BadRequest, NotAcceptable, UnsupportedMediaType
from fhirserver.rest.negotiation import negotiated, preferences, resource_format


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "application/*",
        "application/fhir+json",
        "application/json;q=0.5",
        "application/fhir+xml, application/fhir+json",
        "application/fhir+xml;q=0.1, application/json;q=0.2",
        "application/xml;q=0, */*",
        "application/fhir+xml; fhirVersion=5.0, application/fhir+json;q=0.1",
        "application/fhir+json; charset=UTF-8",
        "text/html, */*;q=0.01",
        "application/fhir+json; fhirVersion=4.0",
        "APPLICATION/FHIR+JSON",
    ],
)
def test_whoever_takes_json_as_gladly_gets_it(accept):
    assert negotiated(accept, None) == "json"


@pytest.mark.parametrize(
    "accept",
    [
        "application/fhir+xml",
        "text/xml",
        "application/fhir+xml, application/fhir+json;q=0.1",
        "application/json;q=0, */*;q=0.1",
        "application/xml, */*",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "application/json;q=0.5, text/*",
        'application/fhir+xml; fhirVersion="4.0.1"',
    ],
)
def test_whoever_likes_xml_better_gets_that(accept):
    assert negotiated(accept, None) == "xml"


@pytest.mark.parametrize(
    "accept",
    [
        "text/turtle",
        "*/*;q=0",
        "application/fhir+json;q=2",
        "application/fhir+json;q=nan",
        "application/fhir+json; charset=latin-1",
        "application/fhir+json;q=0, application/fhir+xml;q=0.000",
        "image/*",
        "application/fhir+json;q=0",
        "application/fhir+json; fhirVersion=5.0",
        "application/fhir+json;q=x",
    ],
)
def test_whoever_does_not_is_told_so(accept):
    with pytest.raises(NotAcceptable):
        negotiated(accept, None)


def test_an_unescaped_plus_sign_in_the_address_is_understood():
    assert negotiated("", "application/fhir json") == "json"
    assert negotiated("", "application/fhir xml") == "xml"


def test_the_charset_may_be_named_and_must_be_utf8():
    assert resource_format('application/fhir+json; charset="utf-8"') == "json"
    assert resource_format("text/xml;charset=UTF-8") == "xml"
    for format_ in ("json", "xml"):
        with pytest.raises(UnsupportedMediaType):
            resource_format(f"application/{format_}; charset=utf-16")


def test_without_preferences_handling_is_strict():
    assert preferences("").handling == "strict"
    assert preferences("").returns is None


@pytest.mark.parametrize("header", ["return=minimal, handling=lenient", 'handling=lenient; return="minimal"'])
def test_preferences_may_be_combined(header):
    found = preferences(header)
    assert (found.returns, found.handling) == ("minimal", "lenient")


def test_a_value_that_fhir_does_not_define_is_refused():
    with pytest.raises(BadRequest, match="return"):
        preferences("return=all")
