"""Whatever is sent, the answer is a success or an OperationOutcome with a 4xx, never a failure of the server."""

from __future__ import annotations

import json
from urllib.parse import quote

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.fhirserver.rest.conftest import issues_of

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
NAMES = [
    "resourceType", "id", "meta", "name", "birthDate", "identifier", "contained", "text", "type", "entry", "request",
    "method", "url", "resource", "fullUrl", "reference", "subject", "ifNoneExist", "ifMatch", "extension",
]  # fmt: skip
VALUES = [
    "Patient", "Bundle", "transaction", "batch", "POST", "GET", "PUT", "Patient/1", "Patient?name=x", "urn:uuid:1",
    "#a", "2020-02-30", 'W/"1"', "1e400", "\ud800", "\x00", "Patient?", "?",
]  # fmt: skip
values = st.recursive(
    scalars | st.sampled_from(VALUES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=12,
)
paths = st.lists(
    st.sampled_from(["Patient", "Bundle", "_history", "_search", "metadata", "1", "$x", "..", "%00", "%ff", "é", "*"])
    | st.text(max_size=5),
    max_size=5,
)
headers = st.dictionaries(
    st.sampled_from(
        ["If-Match", "If-None-Match", "If-Modified-Since", "If-None-Exist", "Prefer", "Accept", "X-Request-Id"]
    ),
    st.sampled_from(["*", "return=", ";,", *(value for value in VALUES if value.isascii() and value.isprintable())])
    | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
)  # fmt: skip
names = st.sampled_from(
    ["name", "birthdate", "identifier", "_id", "_sort", "_count", "_include", "_elements", "_summary", "_page",
     "_format", "_pretty", "_lastUpdated", "name:exact", "general-practitioner", "link:Patient", "_total", "_since"]
)  # fmt: skip


def check(response):
    assert response.status_code < 500, response.text
    if response.status_code >= 400 and response.data:
        assert issues_of(response)


@settings(max_examples=150, deadline=None)
@given(body=values, where=st.sampled_from(["", "Patient", "Observation", "Patient/1"]))
def test_any_json_is_stored_or_refused(his, body, where):
    check(his.request("PUT" if "/" in where else "POST", f"/{where}", json.dumps(body).encode()))


@settings(max_examples=100, deadline=None)
@given(entries=st.lists(values, max_size=3), type_=st.sampled_from(["batch", "transaction"]))
@example(
    entries=[{"resource": {"resourceType": "Patient"}, "request": {"method": "POST", "url": "Patient"}}], type_="batch"
)
def test_any_bundle_is_answered_or_refused(his, entries, type_):
    check(his.post("", json.dumps({"resourceType": "Bundle", "type": type_, "entry": entries}).encode()))


@settings(max_examples=100, deadline=None)
@given(body=st.binary(max_size=200))
def test_any_bytes_are_refused(his, body):
    check(his.request("POST", "/Patient", body))


@settings(max_examples=200, deadline=None)
@given(
    pairs=st.lists(st.tuples(names | st.text(max_size=8), st.sampled_from(VALUES) | st.text(max_size=20)), max_size=4)
)
def test_any_search_is_answered_or_refused(his, pairs):
    query = "&".join(f"{quote(name, errors='replace')}={quote(value, errors='replace')}" for name, value in pairs)
    check(his.get(f"Patient?{query}"))
    check(his.get(f"Patient/1/_history?{query}"))


@settings(max_examples=150, deadline=None)
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]), segments=paths, sent=headers
)
def test_any_address_and_any_header_is_answered_or_refused(his, method, segments, sent):
    path = "/" + "/".join(segment if segment.startswith("%") else quote(segment) for segment in segments)
    body = b'{"resourceType":"Patient"}' if method in {"POST", "PUT", "PATCH"} else None
    check(his.request(method, path, body, **{name.replace("-", "_"): value for name, value in sent.items()}))
