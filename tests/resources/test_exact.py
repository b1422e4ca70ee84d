from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.exact import (
    MalformedError,
    encode,
    has_duplicate_names,
    members_of,
    parse,
    parse_literally,
    rewrite_references,
    splice,
    verbatim,
)

STAMP = "2026-11-24T08:00:00.123Z"

texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
decimals = st.decimals(allow_nan=False, allow_infinity=False, places=6).map(str)
literals = st.one_of(
    st.integers(-(10**25), 10**25).map(str),
    decimals,
    st.sampled_from(["-0", "-0.0", "1.50", "1E+3", "0.000000000000000000001", "true", "false", "null"]),
    texts.map(json.dumps),
    texts.map(lambda text: json.dumps(text, ensure_ascii=False)),
)
spaces = st.sampled_from(["", " ", "\n\t", "\r\n  "])


def objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """JSON objects as text, written in as many ways as JSON allows."""

    @st.composite
    def build(draw: st.DrawFn) -> str:
        names = draw(st.lists(texts, unique=True, max_size=4))
        members = [f"{draw(spaces)}{json.dumps(name)}{draw(spaces)}:{draw(spaces)}{draw(values)}" for name in names]
        return "{" + ",".join(members) + draw(spaces) + "}"

    return build()


values = st.recursive(
    literals,
    lambda inner: st.one_of(objects(inner), st.lists(inner, max_size=3).map(lambda v: f"[{','.join(v)}]")),
    max_leaves=8,
)


@given(objects(values))
def test_splice_keeps_every_other_value_byte_for_byte(text: str) -> None:
    body = text.encode()
    before = {name: bytes(value) for name, value in members_of(body).items() if name not in ("id", "meta")}
    spliced = splice(body, "x1", 3, STAMP) if b'"meta"' not in body else None
    if spliced is None:
        return
    after = members_of(spliced)
    assert {name: bytes(value) for name, value in after.items() if name not in ("id", "meta")} == before
    assert json.loads(spliced)["id"] == "x1"
    assert json.loads(spliced)["meta"] == {"versionId": "3", "lastUpdated": STAMP}


@given(objects(values))
def test_splice_keeps_every_other_member_of_meta(meta: str) -> None:
    spliced = splice(f'{{"resourceType":"Patient","meta":{meta}}}'.encode(), "x1", 3, STAMP)
    stamped = members_of(bytes(members_of(spliced)["meta"]))
    kept = {name: bytes(v) for name, v in members_of(meta.encode()).items() if name not in ("versionId", "lastUpdated")}
    assert {name: bytes(v) for name, v in stamped.items() if name not in ("versionId", "lastUpdated")} == kept
    assert bytes(stamped["versionId"]) == b'"3"'


def test_splice_replaces_what_the_client_claimed() -> None:
    body = (
        b'{"meta":{"versionId":"9","profile":["http://p"],"lastUpdated":"1999"},"id":"theirs","resourceType":"Patient"}'
    )
    assert splice(body, "ours", 1, STAMP) == (
        b'{"resourceType":"Patient","id":"ours","meta":{"versionId":"1","profile":["http://p"],"lastUpdated":"'
        + STAMP.encode()
        + b'"}}'
    )


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"meta":[]}', b'{"meta":null}', b"{", b'{"a":01}', b"\xff"])
def test_splice_refuses_what_is_no_resource(body: bytes) -> None:
    with pytest.raises(MalformedError):
        splice(body, "x", 1, STAMP)


@given(objects(values))
def test_a_body_without_repeated_names_is_never_taken_for_one(text: str) -> None:
    assert has_duplicate_names(text.encode(), parse(text.encode())) is False


@given(objects(values), texts, values, values, st.booleans())
def test_a_repeated_name_is_always_found(inner: str, name: str, first: str, second: str, escaped: bool) -> None:
    again = "".join(f"\\u{ord(c):04x}" if ord(c) < 0x10000 else c for c in name) if escaped else json.dumps(name)[1:-1]
    body = f'{{"a":{inner},"b":{{{json.dumps(name)}:{first},"{again}" : {second}}}}}'.encode()
    assert has_duplicate_names(body, parse(body)) is True


@given(values)
def test_numbers_keep_their_digits_when_read_and_written(text: str) -> None:
    assert parse(encode(parse(text.encode()))) == parse(text.encode())


def test_decimals_are_exact() -> None:
    assert parse(b"[1.50]") == [Decimal("1.50")]
    assert encode(parse(b"[1.50,1E-30,123456789012345678901234567890.10]")) == (
        b"[1.50,1E-30,123456789012345678901234567890.10]"
    )


def test_an_escaped_colon_does_not_hide_a_repeated_name() -> None:
    body = rb'{"a":1,"a":2,"b":"\u003a"}'
    assert has_duplicate_names(body, parse(body)) is True


# -- references -------------------------------------------------------------------------------------------------------

URN = "urn:uuid:3fdc72f4-a11d-4a9d-9260-a9f745779e1d"
MAPPING = {URN: "Patient/p1"}


def rewritten(resource: dict[str, Any]) -> Any:
    return json.loads(rewrite_references(json.dumps(resource).encode(), MAPPING))


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "Observation", "subject": {"reference": "@"}},
        {"resourceType": "Observation", "performer": [{"reference": "Practitioner/x"}, {"reference": "@"}]},
        {"resourceType": "DocumentReference", "content": [{"attachment": {"url": "@"}}]},
        {"resourceType": "Patient", "extension": [{"url": "http://x", "valueReference": {"reference": "@"}}]},
        {"resourceType": "Patient", "extension": [{"url": "http://x", "valueUri": "@"}]},
        {"resourceType": "Patient", "extension": [{"url": "http://x", "valueUuid": "@"}]},
        {"resourceType": "Patient", "_birthDate": {"extension": [{"url": "http://x", "valueCanonical": "@"}]}},
        {"resourceType": "Patient", "name": [{"_given": [None, {"extension": [{"url": "x", "valueUrl": "@"}]}]}]},
        {"resourceType": "CarePlan", "instantiatesUri": ["http://other", "@"]},
        {"resourceType": "Patient", "contained": [{"resourceType": "Observation", "subject": {"reference": "@"}}]},
        {
            "resourceType": "Bundle",
            "entry": [{"resource": {"resourceType": "Observation", "focus": [{"reference": "@"}]}}],
        },
        {"resourceType": "Patient", "text": {"div": "<div><a href=\"@\">x</a><img src='@'/></div>"}},
    ],
)
def test_an_address_is_rewritten_wherever_one_may_stand(resource: dict[str, Any]) -> None:
    text = json.dumps(resource)
    assert rewritten(json.loads(text.replace("@", URN))) == json.loads(text.replace("@", "Patient/p1"))


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "Patient", "identifier": [{"value": URN}]},
        {"resourceType": "Patient", "name": [{"text": URN}]},
        {"resourceType": "Observation", "note": [{"text": f"see {URN}"}], "valueString": URN},
        {"resourceType": "Patient", "text": {"div": f"<div>{URN} <p title='{URN}'/></div>"}},
        {"resourceType": "Observation", "subject": {"reference": f"{URN}0"}, "subject2": {"reference": URN}},
    ],
)
def test_a_text_that_only_looks_like_one_is_left_alone(resource: dict[str, Any]) -> None:
    assert rewritten(resource) == resource


@pytest.mark.parametrize(
    "literal", ["1.50", "-0", "-0.0", "1E+3", "0.10000000000000000000000001", "12345678901234567890123"]
)
def test_rewriting_keeps_the_literals_of_numbers(literal: str) -> None:
    quantity = f'"valueQuantity":{{"value":{literal}}}'
    body = f'{{"resourceType":"Observation","subject":{{"reference":"{URN}"}},{quantity}}}'.encode()
    assert quantity.encode() in rewrite_references(body, MAPPING)


def test_a_body_that_mentions_no_temporary_address_is_the_same_object() -> None:
    body = b'{ "resourceType" : "Patient" }'
    assert rewrite_references(body, MAPPING) is body
    assert rewrite_references(body, {}) is body


def test_rewriting_passes_over_shapes_that_are_no_resource() -> None:
    for value in ([URN], {"resourceType": ["x"], "a": URN}, {"resourceType": "Patient", "managingOrganization": URN}):
        assert msgspec.json.decode(rewrite_references(json.dumps(value).encode(), MAPPING)) == value


@pytest.mark.parametrize("text", ["-0 x", "[-0,NaN]", '[-0,"\\ud800"]', "{-0", "[-0," + "9" * 5000 + "]"])
@pytest.mark.parametrize("read", [parse, verbatim, parse_literally])
def test_what_is_no_json_is_refused_also_beside_a_negative_zero(read: Any, text: str) -> None:
    with pytest.raises(MalformedError):
        read(text.encode())
