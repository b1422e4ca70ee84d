"""gzip, asked for and sent."""

from __future__ import annotations

import gzip
import json

import pytest

from fhirserver.errors import BadRequest, ContentTooLarge
from fhirserver.rest.compression import decompressed
from tests.fhirserver.rest.conftest import FHIR_JSON, issues_of

LONG = {"resourceType": "Patient", "name": [{"family": "x" * 5_000}]}


def test_an_answer_is_compressed_for_who_asks(his):
    id_ = his.make(LONG)["id"]
    plain = his.get(f"Patient/{id_}")
    packed = his.get(f"Patient/{id_}", Accept_Encoding="br, gzip;q=0.5")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Content-Length"] == str(len(packed.data))
    assert "Accept-Encoding" in packed.headers["Vary"]
    assert gzip.decompress(packed.data) == plain.data
    assert packed.headers["ETag"] == plain.headers["ETag"]
    in_xml = his.get(f"Patient/{id_}", Accept_Encoding="gzip", Accept="application/fhir+xml")
    assert b"<Patient" in gzip.decompress(in_xml.data)


@pytest.mark.parametrize("coding", ["", "identity", "br", "gzip;q=0", "deflate"])
def test_nobody_else_gets_gzip(his, coding):
    id_ = his.make(LONG)["id"]
    response = his.get(f"Patient/{id_}", Accept_Encoding=coding)
    assert "Content-Encoding" not in response.headers
    assert response.json["id"] == id_


def test_short_answers_and_content_that_is_no_text_stay_as_they_are(his, patient):
    assert "Content-Encoding" not in his.get(patient, Accept_Encoding="gzip").headers
    made = his.request("POST", "/Binary", bytes(5_000), Content_Type="application/pdf")
    content = his.get(f"Binary/{made.json['id']}", Accept="application/pdf", Accept_Encoding="gzip")
    assert (content.data, "Content-Encoding" in content.headers) == (bytes(5_000), False)


def test_head_has_the_headers_of_the_compressed_answer(his):
    id_ = his.make(LONG)["id"]
    get = his.get(f"Patient/{id_}", Accept_Encoding="gzip")
    head = his.request("HEAD", f"Patient/{id_}", Accept_Encoding="gzip")
    assert head.data == b""
    assert head.headers["Content-Length"] == get.headers["Content-Length"]


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "GZIP"])
def test_a_body_may_be_sent_in_gzip(his, coding):
    sent = gzip.compress(json.dumps(LONG).encode())
    assert his.request("POST", "/Patient", sent, Content_Encoding=coding).json["name"] == LONG["name"]


def test_a_form_may_be_sent_in_gzip(his, patient):
    form = gzip.compress(f"_id={patient[8:]}".encode())
    response = his.request(
        "POST",
        "/Patient/_search",
        form,
        Content_Encoding="gzip",
        Content_Type="application/x-www-form-urlencoded",
    )
    assert len(response.json["entry"]) == 1


def test_a_body_that_unpacks_over_the_limit_is_too_large(his, config):
    bomb = gzip.compress(b" " * (config.max_body + 1), 9)
    assert len(bomb) < 20_000
    response = his.request("POST", "/Patient", bomb, Content_Encoding="gzip")
    assert response.status_code == 413
    assert issues_of(response)[0]["code"] == "too-long"


@pytest.mark.parametrize("coding", ["br", "deflate", "gzip, gzip", "zstd", "x"])
def test_a_coding_that_is_not_offered_is_refused_and_told_what_is(his, coding):
    response = his.request("POST", "/Patient", b"{}", Content_Encoding=coding)
    assert response.status_code == 415
    assert response.headers["Accept-Encoding"] == "gzip, identity"


@pytest.mark.parametrize(
    "body",
    [b"{}", b"\x1f\x8b", gzip.compress(b"{}", mtime=0)[:-4], gzip.compress(b"{}", mtime=0) + b"{}"],
    ids=["plain", "begun", "cut", "followed"],
)
def test_what_is_no_gzip_is_a_bad_request(his, body):
    response = his.request("POST", "/Patient", body, Content_Encoding="gzip", Content_Type=FHIR_JSON)
    assert response.status_code == 400
    assert issues_of(response)[0]["code"] == "invalid"


def test_unpacking_stops_at_the_limit():
    assert decompressed(gzip.compress(b"abc") + gzip.compress(b"de"), 5) == b"abcde"
    assert decompressed(b"", 5) == b""
    with pytest.raises(ContentTooLarge):
        decompressed(gzip.compress(b"abc") + gzip.compress(b"def"), 5)
    with pytest.raises(BadRequest):
        decompressed(gzip.compress(b"abc")[:-1], 5)


def test_a_body_of_a_few_members_is_whole_and_one_of_very_many_is_refused():
    assert decompressed(gzip.compress(b"one ") + gzip.compress(b"") + gzip.compress(b"two"), 100) == b"one two"
    with pytest.raises(ContentTooLarge):
        decompressed(gzip.compress(b"") * 10_001, 100)
