"""Binary: sent and given as content in its own media type, or as a resource (https://hl7.org/fhir/R4/binary.html)."""

from __future__ import annotations

import base64
import json
import os

import pytest

from fhirserver.rest.binary import content_limit, resource_of
from tests.fhirserver.rest.conftest import FHIR_JSON, issues_of

PDF = b"%PDF-1.4\n" + os.urandom(40_000)


@pytest.fixture
def report(his, declared):
    """A DocumentReference of a patient who has declared the doctor."""
    made = his.make(
        {
            "resourceType": "DocumentReference",
            "status": "current",
            "subject": {"reference": declared},
            "content": [{"attachment": {"title": "CR"}}],
        }
    )
    return f"DocumentReference/{made['id']}"


@pytest.fixture
def scan(his, report):
    """A PDF that hangs on the report."""
    made = his.post("Binary", PDF, Content_Type="application/pdf", X_Security_Context=report)
    assert made.status_code == 201, made.text
    return f"Binary/{made.json['id']}"


def test_content_comes_back_as_it_was_sent_with_what_guards_it(doctor, scan, report):
    response = doctor.get(scan, Accept="application/pdf")
    assert response.status_code == 200
    assert response.data == PDF
    assert response.content_type == "application/pdf"
    assert response.headers["X-Security-Context"] == report
    assert response.headers["ETag"] == 'W/"1"'


def test_content_is_kept_and_not_shown_by_a_browser(doctor, scan):
    headers = doctor.get(scan).headers
    assert headers["Content-Disposition"] == "attachment"
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Vary"] == "Accept"


def test_content_is_given_unless_fhir_is_asked_for(doctor, scan):
    for accept in ("", "*/*", "application/*", "text/html, application/pdf;q=0.5"):
        assert doctor.get(scan, Accept=accept).data == PDF, accept
    for accept in (FHIR_JSON, f"application/pdf, {FHIR_JSON};q=0.5", "application/json"):
        resource = doctor.get(scan, Accept=accept).json
        assert resource["resourceType"] == "Binary"
        assert base64.b64decode(resource["data"]) == PDF
    for parameters in ("_format=json", "_pretty=true"):
        assert doctor.get(f"{scan}?{parameters}").json["contentType"] == "application/pdf"


def test_a_caller_who_takes_neither_the_content_nor_fhir_is_told_so(doctor, scan):
    for accept in ("image/png", "application/fhir+turtle", "application/pdf;q=0"):
        response = doctor.get(scan, Accept=accept)
        assert response.status_code == 406
        assert issues_of(response)[0]["code"] == "not-supported"


def test_a_stranger_finds_content_as_absent_as_what_never_was(stranger, scan):
    for accept in ("application/pdf", "image/png", FHIR_JSON):
        refused, absent = stranger.get(scan, Accept=accept), stranger.get("Binary/absent", Accept=accept)
        assert refused.status_code == absent.status_code == 404
        assert refused.text.replace(scan, "Binary/absent") == absent.text


def test_a_client_that_has_the_content_is_told_so(doctor, scan):
    assert doctor.get(scan, If_None_Match='W/"1"').status_code == 304


def test_head_says_how_long_the_content_is(doctor, scan):
    response = doctor.request("HEAD", scan)
    assert (response.status_code, response.data) == (200, b"")
    assert response.headers["Content-Length"] == str(len(PDF))


def test_each_version_keeps_its_content(his, doctor, scan, report):
    changed = his.put(scan, b"plain words", Content_Type="text/plain; charset=utf-8", X_Security_Context=report)
    assert changed.status_code == 200, changed.text
    assert (doctor.get(scan).data, doctor.get(scan).content_type) == (b"plain words", "text/plain; charset=utf-8")
    assert doctor.get(f"{scan}/_history/1").data == PDF
    history = doctor.get(f"{scan}/_history", Accept=FHIR_JSON).json
    assert [base64.b64decode(entry["resource"]["data"]) for entry in history["entry"]] == [b"plain words", PDF]


def test_the_same_content_again_makes_no_new_version(his, scan, report):
    again = his.put(scan, PDF, Content_Type="application/pdf", X_Security_Context=report)
    assert again.headers["ETag"] == 'W/"1"'


def test_a_resource_in_json_is_taken_as_a_resource_and_other_json_as_content(his):
    binary = {"resourceType": "Binary", "contentType": "text/plain", "data": "AAAA"}
    for type_ in (FHIR_JSON, "application/json"):
        made = his.post("Binary", binary, Content_Type=type_).json
        assert (made["contentType"], made["data"]) == ("text/plain", "AAAA")
        other = b'{"resourceType": "Patient"}'
        made = his.post("Binary", other, Content_Type=type_).json
        assert (made["contentType"], base64.b64decode(made["data"])) == (type_, other)
        refused = his.post("Binary", b'{"resourceType": "Binary", "data"', Content_Type=type_)
        assert refused.status_code == 400


def test_a_large_resource_comes_back_as_it_was_answered_when_it_was_sent(his):
    data = base64.b64encode(PDF).decode()
    body = f'{{"resourceType":"Binary","contentType":"application/pdf","data":"{data}","language":"fr"}}'.encode()
    made = his.post("Binary", body)
    read = his.get(f"Binary/{made.json['id']}", Accept=FHIR_JSON)
    assert read.data == made.data
    assert read.data.endswith(body.removeprefix(b'{"resourceType":"Binary",'))


def test_content_needs_a_type_and_stays_within_the_limit(his, config):
    assert his.post("Binary", PDF, Content_Type="").status_code == 415
    most = content_limit(config.max_body)
    largest = his.post("Binary", b"\0" * most, Content_Type="application/octet-stream", Prefer="return=minimal")
    assert largest.status_code == 201, largest.text
    assert his.post("Binary", b"\0" * (most + 1), Content_Type="application/octet-stream").status_code == 413
    text = b'"' + b"x" * most + b'"'
    assert his.post("Binary", text, Content_Type="application/json").status_code == 413
    assert len(resource_of("x" * 200, b"\0" * most, "y" * 200, "z" * 64)) <= config.max_body


def test_white_space_of_a_content_type_is_as_one_space(his):
    made = his.post("Binary", b"x", Content_Type="text/plain;  charset=utf-8")
    assert made.json["contentType"] == "text/plain; charset=utf-8"


def test_content_whose_guard_is_not_known_is_refused(his):
    for reference in ("DocumentReference/absent", "no reference"):
        refused = his.post("Binary", b"x", Content_Type="text/plain", X_Security_Context=reference)
        assert refused.status_code == 422
        assert "securityContext" in json.dumps(issues_of(refused))


@pytest.mark.parametrize("type_", ["text/html\nX-Evil: 1", "nonsense", "text/plain; é=1"])
def test_a_content_type_that_no_header_may_carry_is_given_as_octets(his, type_):
    made = his.post("Binary", {"resourceType": "Binary", "contentType": type_, "data": "AAAA"})
    if made.status_code == 201:
        response = his.get(f"Binary/{made.json['id']}")
        assert (response.content_type, response.data) == ("application/octet-stream", b"\0\0\0")
    else:
        assert made.status_code == 422


@pytest.mark.parametrize("data", ["A===", "====", "QQ==QQ=="])
def test_data_that_no_content_can_be_made_of_is_refused_or_given_as_a_resource_only(his, data):
    made = his.post("Binary", {"resourceType": "Binary", "contentType": "text/plain", "data": data})
    if made.status_code == 201:
        path = f"Binary/{made.json['id']}"
        assert his.get(path, Accept=FHIR_JSON).json["data"] == data
        assert his.get(path).status_code == 406
    else:
        assert made.status_code == 422


def test_data_in_lines_is_content_without_them(his):
    made = his.post("Binary", {"resourceType": "Binary", "contentType": "text/plain", "data": "QUJD\nREVG"})
    assert his.get(f"Binary/{made.json['id']}").data == b"ABCDEF"


@pytest.mark.parametrize(
    "body", [b"[" * 100_000 + b"]" * 100_000, b'{"resourceType": "Binary", "x": "\xff"}', b"", b"{", b"\xef\xbb\xbf{}"]
)
def test_a_body_that_calls_itself_json_and_is_none_is_refused(his, body):
    assert his.post("Binary", body, Content_Type="application/json").status_code in {400, 422}


def test_an_empty_binary_is_empty_content(his):
    made = his.post("Binary", {"resourceType": "Binary", "contentType": "text/plain"})
    response = his.get(f"Binary/{made.json['id']}")
    assert (response.status_code, response.data) == (200, b"")
