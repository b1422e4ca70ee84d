"""Whatever is sent, the answer is a success or an OperationOutcome with a 4xx, never a failure of the server."""

from __future__ import annotations

import json
from contextlib import suppress
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fhirserver.errors import NotAcceptable
from fhirserver.rest.negotiation import negotiated
from resources.xml import to_json
from tests.fhirserver.rest.conftest import FHIR_JSON, issues_of

FHIR_XML = "application/fhir+xml"

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
        ["If-Match", "If-None-Match", "If-Modified-Since", "If-None-Exist", "Prefer", "Accept", "X-Request-Id",
         "Content-Encoding", "Accept-Encoding", "Content-Type", "Origin", "Access-Control-Request-Method", "Forwarded",
         "X-Forwarded-For", "X-Security-Context", "Range", "Expect", "Cookie"]
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
        if response.mimetype == FHIR_XML:
            assert json.loads(to_json(response.data))["resourceType"] == "OperationOutcome"
        else:
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
@given(body=st.binary(max_size=200), type_=st.sampled_from([FHIR_JSON, FHIR_XML]), coding=st.sampled_from(["", "gzip"]))
def test_any_bytes_are_refused(his, body, type_, coding):
    check(his.request("POST", "/Patient", body, Content_Type=type_, Content_Encoding=coding))


elements = st.recursive(
    st.sampled_from(['<id value="a"/>', '<active value="1"/>', "<name>", "</name>", "x", "<!-- -->", "<?x?>", "&amp;"])
    | st.text(max_size=5),
    lambda inner: (
        st.tuples(
            st.sampled_from(["name", "contained", "Patient", "text", "extension", "entry", "resource", "div", "x:y"]),
            inner,
        ).map(lambda pair: f'<{pair[0]} url="x">{pair[1]}</{pair[0]}>')
        | st.lists(inner, max_size=3).map("".join)
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(content=elements, root=st.sampled_from(["Patient", "Bundle", "Parameters", "Binary"]))
def test_any_xml_is_stored_or_refused(his, content, root):
    body = f'<{root} xmlns="http://hl7.org/fhir" xmlns:x="urn:x">{content}</{root}>'.encode(errors="replace")
    check(his.request("POST", "/Patient", body, Content_Type=FHIR_XML, Accept=FHIR_XML))
    check(his.request("POST", "", body, Content_Type=FHIR_XML, Accept=FHIR_XML))


@pytest.fixture(scope="module")
def link(his):
    """The sealed position of a page link."""
    for _ in range(2):
        his.make({"resourceType": "Patient", "active": True})
    links = his.get("Patient?active=true&_count=1").json["link"]
    return next(one["url"] for one in links if one["relation"] == "next").partition("_page=")[2]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_page_link_that_was_changed_is_answered_or_refused(his, link, data):
    at = data.draw(st.integers(0, len(link) - 1))
    put = data.draw(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=3))
    changed = link[:at] + put + link[at + data.draw(st.integers(0, 5)) :]
    others = data.draw(st.sampled_from(["", "&_format=json", "&_count=2", "&_page=x", "&_pretty=maybe"]))
    response = his.get(f"Patient?_page={quote(changed, safe='')}{others}")
    check(response)
    # A character that base64 does not have is passed over: what is sealed is the same then.
    assert response.status_code in {200, 400, 410}


@settings(max_examples=300, deadline=None)
@given(
    accept=st.lists(
        st.sampled_from(["application/json", "application/xml", "*/*", "text/*", ";", "q=", "q=0.5", "fhirVersion=4.0"])
        | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8),
        max_size=5,
    ).map(lambda parts: ", ".join(parts).replace(", ;, ", ";")),
    format_=st.none() | st.text(max_size=8) | st.sampled_from(["json", "xml", "application/fhir+xml;fhirVersion=9"]),
)  # fmt: skip
def test_any_accept_is_a_format_or_not_acceptable(accept, format_):
    with suppress(NotAcceptable):
        assert negotiated(accept, format_) in {"json", "xml"}


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
