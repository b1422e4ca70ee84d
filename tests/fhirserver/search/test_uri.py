"""Uri parameters: exact, and by path with `:below` and `:above`."""

from __future__ import annotations

import pytest


def value_set(url):
    return {"resourceType": "ValueSet", "url": url}


ACME = "http://acme.org/fhir/ValueSet/123"


@pytest.mark.parametrize(
    ("asked", "stored", "expected"),
    [
        (f"url={ACME}", ACME, True),
        (f"url={ACME}", ACME + "4", False),
        (f"url={ACME.upper()}", ACME, False),
        ("url=urn:oid:1.2.3", "urn:oid:1.2.3", True),
        ("url:below=http://acme.org/fhir/", ACME, True),
        ("url:below=http://acme.org/fhir", ACME, True),
        ("url:below=http://acme.org/fh", ACME, False),
        (f"url:below={ACME}", ACME, True),
        (f"url:above={ACME}/_history/5", ACME, True),
        (f"url:above={ACME}/_history/5", "http://acme.org/fhir/", True),
        (f"url:above={ACME}", ACME, True),
        (f"url:above={ACME}", ACME + "/_history/5", False),
        (f"url:above={ACME}", "http://acme.org/fhir/ValueSet/12", False),
    ],
)
def test_a_uri_matches_whole_or_by_path(matches, asked, stored, expected):
    assert matches(value_set(stored), asked) is expected


def test_a_url_of_unreasonable_depth_is_refused(refusal):
    assert refusal("ValueSet", f"url:above=http://a{'/b' * 100}").code == "too-costly"


@pytest.mark.parametrize("modifier", ["above", "below"])
def test_a_urn_has_no_path_and_is_refused(refusal, modifier):
    error = refusal("ValueSet", f"url:{modifier}=urn:oid:1.2.3")
    assert (error.status, error.code, error.expression) == (400, "invalid", "url")
