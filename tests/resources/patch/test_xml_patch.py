"""XML Patch (RFC 5261): its selectors, its operations, and what stays as it was."""

from __future__ import annotations

import json
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.exact import members_of
from resources.patch.document import (
    CostlyPatchError,
    InapplicablePatchError,
    MalformedPatchError,
    PatchError,
    patched,
)
from resources.patch.json_patch import JsonPatch
from resources.patch.xml_patch import XmlPatch

DIV = '<div xmlns="http://www.w3.org/1999/xhtml"><p>Eins<br />zwei &#160; drei</p></div>'
PATIENT = json.dumps(
    {
        "active": True,
        "resourceType": "Patient",
        "id": "p",
        "identifier": [{"value": "1", "system": "urn:a"}, {"system": "urn:b", "value": "2"}],
        "name": [{"given": ["Ada", "Eve"], "family": "Martin"}],
        "birthDate": "1980-02",
        "contact": [{"name": {"text": "A"}}],
    }
).encode()


def read(*operations, root="diff"):
    return XmlPatch.read(
        f'<{root} xmlns="http://hl7.org/fhir" xmlns:f="http://hl7.org/fhir" '
        f'xmlns:h="http://www.w3.org/1999/xhtml">{"".join(operations)}</{root}>'.encode()
    )


def done(*operations, body=PATIENT):
    return patched(body, read(*operations), most_bytes=1_000_000)


def after(*operations, body=PATIENT):
    return json.loads(done(*operations, body=body))


@pytest.mark.parametrize(
    ("operation", "name", "expected"),
    [
        ('<replace sel="Patient/birthDate/@value">1981</replace>', "birthDate", "1981"),
        ('<replace sel="/f:Patient/f:active"><active value="false"/></replace>', "active", False),
        ('<replace sel="Patient/name/given[2]/@value">Zoe</replace>', "name",
         [{"family": "Martin", "given": ["Ada", "Zoe"]}]),
        ("<remove sel=\"Patient/name[family/@value='Martin']/given[@value='Ada']\"/>", "name",
         [{"family": "Martin", "given": ["Eve"]}]),
        ('<remove sel="Patient/birthDate" ws="both"/>', "birthDate", None),
        ('<remove sel="*/*[2]"/>', "identifier", [{"system": "urn:b", "value": "2"}]),
        ("<remove sel=\"Patient/identifier[system/@value='urn:a']\"/>", "identifier",
         [{"system": "urn:b", "value": "2"}]),
        ('<add sel="Patient/birthDate" pos="before"><gender value="female"/></add>', "gender", "female"),
        ('<add sel="Patient/name/given[1]" pos="after"><given value="B"/><given value="C"/></add>', "name",
         [{"family": "Martin", "given": ["Ada", "B", "C", "Eve"]}]),
        ('<add sel="Patient/name" pos="prepend"><use value="usual"/></add>', "name",
         [{"use": "usual", "family": "Martin", "given": ["Ada", "Eve"]}]),
        ('<add sel="Patient/name"><suffix value="x"/></add>', "name",
         [{"family": "Martin", "given": ["Ada", "Eve"], "suffix": ["x"]}]),
        ('<add sel="Patient/birthDate" type="@id">b</add>', "_birthDate", {"id": "b"}),
        ('<add sel="Patient/contact"><gender value="male"/></add>', "contact",
         [{"name": {"text": "A"}, "gender": "male"}]),
    ],
)  # fmt: skip
def test_an_operation_changes_the_place_that_its_selector_finds(operation, name, expected):
    assert after(operation).get(name) == expected


def test_operations_are_done_one_after_another():
    made = after(
        '<add sel="Patient/birthDate" pos="before"><gender value="male"/></add>',
        '<replace sel="Patient/gender/@value">female</replace>',
        '<add sel="Patient/gender" type="@id">g</add>',
    )
    assert (made["gender"], made["_gender"]) == ("female", {"id": "g"})


@pytest.mark.parametrize(
    "document",
    [
        '<diff xmlns:fhir="http://hl7.org/fhir"><replace sel="fhir:Patient/fhir:active/@value">false</replace></diff>',
        (
            '<p:patch xmlns="http://hl7.org/fhir" xmlns:p="urn:ietf:rfc:7351">'
            '<p:replace sel="Patient/active/@value">false</p:replace></p:patch>'
        ),
        (
            '<?xml version="1.0"?><!-- x --><diff xmlns="http://hl7.org/fhir">'
            '<replace sel="Patient/active">\n  <active value="false"/>\n</replace></diff>'
        ),
    ],
)
def test_the_documents_of_fhir_and_of_rfc_7351_are_read(document):
    assert json.loads(patched(PATIENT, XmlPatch.read(document.encode()), most_bytes=1))["active"] is False


def test_what_is_not_touched_keeps_its_bytes_its_order_and_its_digits():
    body = (
        b'{"valueQuantity" : {"unit":"g", "value": 1.50}, "resourceType":"Observation","status":"final","id":"o",'
        b'"component":[{"valueQuantity":{"value":1e2},"code":{"text":"c"}}],"code":{"text":"x"}}'
    )
    made = done('<replace sel="Observation/status/@value">amended</replace>', body=body)
    assert list(json.loads(made)) == list(json.loads(body))
    for name, text in members_of(body).items():
        if name != "status":
            assert bytes(members_of(made)[name]) == bytes(text)
    touched = done('<add sel="Observation/component/valueQuantity"><unit value="g"/></add>', body=body)
    assert b'"value":1e2' in touched
    precise = done('<replace sel="Observation/valueQuantity/value/@value">0.10</replace>', body=body)
    assert b'"value":0.10' in precise


def test_a_patch_that_changes_nothing_gives_back_the_same_bytes():
    for same in (done(), done('<replace sel="Patient/birthDate/@value">1980-02</replace>')):
        assert [bytes(one) for one in members_of(same).values()] == [bytes(one) for one in members_of(PATIENT).values()]


def test_a_narrative_that_is_not_touched_keeps_every_character():
    section = [{"title": title, "text": {"status": "additional", "div": DIV}} for title in ("a", "b")]
    body = json.dumps({"resourceType": "Composition", "id": "c", "section": section}).encode()
    made = after('<replace sel="Composition/section[1]/title/@value">x</replace>', body=body)
    assert made["section"] == [{**section[0], "title": "x"}, section[1]]


def test_a_narrative_is_patched_like_any_element():
    body = json.dumps({"resourceType": "Patient", "id": "p", "text": {"status": "additional", "div": DIV}}).encode()
    made = after('<replace sel="Patient/text/h:div/h:p/text()[1]">Neu</replace>', body=body)
    assert ">Neu<br" in made["text"]["div"]
    made = after('<add sel="Patient/text/h:div/h:p" pos="after"><h:p>mehr</h:p></add>', body=body)
    assert "mehr" in made["text"]["div"]
    removed = after('<remove sel="Patient/text/h:div/h:p/h:br"/>', body=body)
    assert "Einszwei" in removed["text"]["div"]
    with pytest.raises(InapplicablePatchError):
        done('<replace sel="Patient/text/h:div/h:p/text()">Neu</replace>', body=body)
    with pytest.raises(InapplicablePatchError):
        done('<replace sel="Patient/text/h:div/h:p/text()[3]">Neu</replace>', body=body)


@pytest.mark.parametrize(
    "operation",
    [
        '<replace sel="Patient/gender/@value">male</replace>',
        '<replace sel="Patient/identifier/value/@value">3</replace>',
        '<remove sel="Patient/name[2]"/>',
        '<remove sel="Patient/name/@id"/>',
        '<remove sel="Patient"/>',
        '<replace sel="Patient"><Observation/></replace>',
        '<add sel="Patient" pos="after"><Patient/></add>',
        '<add sel="Patient/birthDate" type="@value">1990</add>',
        '<add sel="Patient"><nosuch value="1"/></add>',
        '<add sel="Patient"><gender value="male"/></add>',
        '<add sel="Patient/name"><f:given/></add>',
        '<replace sel="Patient/id/@value">other</replace>',
    ],
)
def test_a_patch_that_does_not_fit_is_refused(operation):
    with pytest.raises(InapplicablePatchError) as refused:
        done(operation)
    assert "Martin" not in str(refused.value)


@pytest.mark.parametrize(
    "operation",
    [
        '<replace sel="//birthDate/@value">1</replace>',
        '<replace sel="Patient//birthDate">1</replace>',
        '<remove sel="Patient/.."/>',
        '<remove sel="Patient/birthDate/.."/>',
        '<remove sel="Patient/descendant::given"/>',
        "<remove sel=\"id('x')\"/>",
        "<remove sel=\"document('file:///etc/passwd')/x\"/>",
        '<remove sel="Patient/name[last()]"/>',
        '<remove sel="Patient/name[count(given)=2]"/>',
        "<remove sel=\"Patient/name[given='a' or given='b']\"/>",
        '<remove sel="Patient/name[$v0=1]"/>',
        '<remove sel="Patient/name | Patient/active"/>',
        '<remove sel="Patient/comment()"/>',
        '<remove sel="Patient/namespace::x"/>',
        '<remove sel="Patient/nope:name"/>',
        '<remove sel="Patient/name[0]"/>',
        '<remove sel="@value"/>',
        '<remove sel=""/>',
        "<remove/>",
        '<remove sel="Patient/name">x</remove>',
        '<remove sel="Patient/name" pos="before"/>',
        '<remove sel="Patient/name" ws="x"/>',
        '<add sel="Patient/name" pos="inside"><use value="usual"/></add>',
        '<add sel="Patient/name" pos="before" type="@id">x</add>',
        '<add sel="Patient/name" type="namespace::x">x</add>',
        '<add sel="Patient/name/@id">x</add>',
        '<add sel="Patient/name">text</add>',
        '<add sel="Patient/name"/>',
        '<replace sel="Patient/active"><active value="true"/><active value="false"/></replace>',
        '<replace sel="Patient/active/@value"><x/></replace>',
        '<move sel="Patient/active"/>',
        '<x:add xmlns:x="urn:x" sel="Patient/active"/>',
        f'<remove sel="{"*/" * 40}x"/>',
        f'<remove sel="{"x" * 1001}"/>',
    ],
)
def test_what_is_no_operation_of_rfc_5261_is_refused_before_anything_is_read(operation):
    with pytest.raises(MalformedPatchError):
        read(operation)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<diff",
        b"<nothing/>",
        b"{}",
        b'<!DOCTYPE diff [<!ENTITY x SYSTEM "file:///etc/passwd">]><diff>&x;</diff>',
        b'<!DOCTYPE diff [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><diff>&b;</diff>',
        "<?xml version='1.0' encoding='utf-16'?><diff/>".encode("utf-16"),
        b"<diff>\xff</diff>",
        b"<diff>&undefined;</diff>",
        b"<a>" * 300 + b"</a>" * 300,
    ],
)
def test_what_is_no_patch_document_is_refused_and_nothing_outside_is_read(document):
    with pytest.raises(MalformedPatchError):
        XmlPatch.read(document)


def test_a_patch_of_too_many_operations_is_refused():
    with pytest.raises(CostlyPatchError):
        read('<remove sel="Patient/active"/>' * 1001)


def test_the_selectors_of_a_patch_cost_within_bounds():
    names = [{"given": [f"g{number}" for number in range(100)]} for _ in range(300)]
    large = json.dumps({"resourceType": "Patient", "id": "p", "name": names, "birthDate": "1980"}).encode()
    looking = "<replace sel=\"*/*[*='x'][*/@value='nosuch'][.='']/*[.='']\"><given value='x'/></replace>"
    begun = time.process_time()
    with pytest.raises(InapplicablePatchError):
        done(looking, body=large)
    single = time.process_time() - begun
    begun = time.process_time()
    with pytest.raises(CostlyPatchError):
        done('<replace sel="Patient/birthDate/@value">1980</replace>' * 1000, body=large)
    assert time.process_time() - begun < 10
    assert single < 5


@given(st.text(alphabet="Patientme/[]@='\"123*.:f()$ |", max_size=40))
def test_any_text_is_a_selector_or_refused(text):
    escaped = text.replace('"', "&quot;")
    with suppress(PatchError):
        done(f'<remove sel="{escaped}"/>')


VALUES = st.text(alphabet="aé<&\"' \n", min_size=1, max_size=6).filter(lambda text: text.strip() == text)


@given(st.lists(VALUES, min_size=2, max_size=4), st.data(), st.sampled_from(["replace", "remove", "add"]), VALUES)
def test_an_xml_patch_does_what_a_json_patch_of_the_same_meaning_does(given_names, data, kind, value):
    body = json.dumps({"resourceType": "Patient", "id": "p", "name": [{"given": given_names}]}).encode()
    index = data.draw(st.integers(0, len(given_names) - 1))
    text = value.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;").replace("\n", "&#10;")
    place, pointer = f"Patient/name/given[{index + 1}]", f"/name/0/given/{index}"
    xml, operation = {
        "replace": (f'<replace sel="{place}/@value">{text}</replace>', {"value": value}),
        "remove": (f'<remove sel="{place}"/>', {}),
        "add": (f'<add sel="{place}" pos="before"><given value="{text}"/></add>', {"value": value}),
    }[kind]
    by_json = JsonPatch([{"op": kind, "path": pointer, **operation}])
    assert after(xml, body=body) == json.loads(patched(body, by_json, most_bytes=1000))
