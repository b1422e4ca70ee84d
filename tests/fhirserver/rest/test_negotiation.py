"""Content negotiation and preferences, without a server."""

from __future__ import annotations

import pytest

from fhirserver.errors import BadRequest, NotAcceptable, UnsupportedMediaType
from fhirserver.rest.negotiation import check_acceptable, check_resource_content, preferences


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "application/*",
        "application/fhir+json",
        "application/json;q=0.5",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "application/fhir+xml, application/fhir+json;q=0.1",
        "application/fhir+json; fhirVersion=4.0",
        "APPLICATION/FHIR+JSON",
    ],
)
def test_whoever_takes_json_gets_it(accept):
    check_acceptable(accept, None)


@pytest.mark.parametrize(
    "accept",
    [
        "application/fhir+xml",
        "text/turtle",
        "image/*",
        "application/fhir+json;q=0",
        "application/fhir+json; fhirVersion=5.0",
        "application/fhir+json;q=x",
    ],
)
def test_whoever_does_not_is_told_so(accept):
    with pytest.raises(NotAcceptable):
        check_acceptable(accept, None)


def test_an_unescaped_plus_sign_in_the_address_is_understood():
    check_acceptable("", "application/fhir json")


def test_the_charset_may_be_named_and_must_be_utf8():
    check_resource_content('application/fhir+json; charset="utf-8"')
    with pytest.raises(UnsupportedMediaType):
        check_resource_content("application/json; charset=utf-16")


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
