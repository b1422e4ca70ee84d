"""Accept headers: what is asked for, quoted or not, and what is refused."""

from __future__ import annotations

import pytest

from fhirserver.dicomweb.media_types import accepted, choose, json_accepted, matches, parse
from fhirserver.errors import NotAcceptable


def test_the_type_parameter_is_read_with_and_without_quotes():
    for text in ('multipart/related; type="application/dicom"', "multipart/related;type=application/dicom"):
        assert parse(text).content == "application/dicom"


def test_a_comma_inside_quotes_does_not_end_a_media_type():
    first, second = accepted('a/b; x="1,2;3", c/d')
    assert (first.name, first.parameters) == ("a/b", {"x": "1,2;3"})
    assert second.name == "c/d"


def test_the_heaviest_type_comes_first_and_weight_zero_is_a_refusal():
    assert [item.name for item in accepted("a/a;q=0.1, b/b;q=0, c/c")] == ["c/c", "a/a"]


def test_no_accept_header_accepts_everything():
    assert choose(None, ["application/dicom"]) is not None
    assert choose("", ["application/dicom"]) is not None


@pytest.mark.parametrize(
    ("header", "answer"),
    [
        (None, "application/dicom+json"),
        ("application/json", "application/json"),
        ("text/html, application/*;q=0.5", "application/dicom+json"),
        ("application/dicom+xml, application/dicom+json", "application/dicom+json"),
    ],
)
def test_dicom_json_is_answered_in_the_spelling_asked_for(header: str | None, answer: str):
    assert json_accepted(header) == answer


@pytest.mark.parametrize(
    "header", ['multipart/related; type="application/dicom+xml"', "text/html", "application/json;q=0"]
)
def test_dicom_xml_and_others_are_not_acceptable(header: str):
    with pytest.raises(NotAcceptable):
        json_accepted(header)


def test_a_multipart_without_type_asks_for_any_content():
    media = choose("multipart/related", ["image/jpeg"])
    assert media is not None
    assert media.is_multipart


def test_ranges_cover_their_types_and_no_others():
    assert matches("image/*", "image/jls")
    assert not matches("image/*", "application/octet-stream")
    assert not matches("image/jpeg", "image/jls")


def test_nonsense_names_a_type_that_nobody_offers():
    assert choose(';;;"', ["application/dicom"]) is None
    assert parse("a/b; q=nonsense").quality == 0
