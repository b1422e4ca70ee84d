"""JSON to XML and back loses nothing; what is no FHIR XML is refused (https://hl7.org/fhir/R4/xml.html)."""

from __future__ import annotations

import json
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from resources.exact import encode, verbatim
from resources.issues import Invalid
from resources.structure import PRIMITIVES, resource_types, structures
from resources.validation import check
from resources.xml import MAX_DEPTH, NotXmlError, root_of, to_json, to_xml

HERE = Path(__file__).parent
DIV = '<div xmlns="http://www.w3.org/1999/xhtml">'

OBSERVATION = f"""{{"resourceType":"Observation","id":"o","status":"final",
"text":{{"status":"generated",
"div":"{DIV.replace('"', chr(39))}<p>a &lt; b<br />\\u00e9&#160;</p><!-- kept --></div>"}},
"contained":[{{"resourceType":"Patient","id":"p","birthDate":"1970-03"}}],
"code":{{"text":"x"}},"effectiveDateTime":"2020","valueQuantity":{{"value":1.50,"unit":"\\u00b5g"}},
"referenceRange":[{{"low":{{"value":-0}},"high":{{"value":1E+3}}}}],
"subject":{{"reference":"#p"}}}}""".encode()

PATIENT = rb"""{"resourceType":"Patient","id":"p","active":true,"birthDate":"1980",
"_birthDate":{"id":"b","extension":[{"url":"http://x.example/t","valueDateTime":"1980-01-01T00:00:00.715Z"}]},
"name":[{"given":["A",null,"B"],"_given":[null,{"extension":[{"url":"http://x.example/g","valueInteger":0}]},null],
"text":"tab\tline\nreturn\r\"quote\" 'n <tag> & \ud83d\ude00 "}],
"_gender":{"extension":[{"url":"http://x.example/n","valueString":"none"}]},
"contact":[{"id":"c","name":{"family":"Z"}}]}"""


def literals(value: Any) -> Any:
    """A value that compares by digits: 1.50 is not 1.5, and 1 is not true."""
    if isinstance(value, msgspec.Raw):
        return ("literal", bytes(value))
    if isinstance(value, dict):
        return {name: literals(one) for name, one in value.items()}
    if isinstance(value, list):
        return [literals(one) for one in value]
    return (type(value), value)


def there_and_back(body: bytes) -> bytes:
    return to_json(to_xml(body))


@pytest.mark.parametrize("body", [OBSERVATION, PATIENT], ids=["observation", "patient"])
def test_every_value_comes_back_with_its_digits_dates_ids_and_extensions(body: bytes) -> None:
    assert literals(verbatim(there_and_back(body))) == literals(verbatim(body))


def test_every_sample_makes_the_round_trip(samples: dict[str, Any]) -> None:
    for sample in samples.values():
        body = json.dumps(sample).encode()
        assert literals(verbatim(there_and_back(body))) == literals(verbatim(body))


def test_the_official_examples_make_the_round_trip(official_examples: list[Path]) -> None:
    read = 0
    for path in official_examples:
        body = path.read_bytes()
        value = verbatim(body)
        if isinstance(value, dict) and value.get("resourceType") in resource_types():
            read += 1
            assert literals(verbatim(there_and_back(body))) == literals(value), path.name
    print(f"{read} official examples from JSON to XML and back, nothing lost")


@pytest.mark.parametrize("is_pretty", [False, True])
def test_the_xml_is_that_of_the_standard(is_pretty: bool) -> None:
    root = etree.fromstring(to_xml(PATIENT, is_pretty=is_pretty))
    fhir = "{http://hl7.org/fhir}"
    assert root.tag == f"{fhir}Patient"
    order = [child.tag.removeprefix(fhir) for child in root]
    assert order == ["id", "active", "name", "gender", "birthDate", "contact"]
    assert [given.get("value") for given in root.iterfind(f"{fhir}name/{fhir}given")] == ["A", None, "B"]
    birth_date = root.find(f"{fhir}birthDate")
    assert (birth_date.get("value"), birth_date.get("id")) == ("1980", "b")
    assert birth_date.find(f"{fhir}extension").get("url") == "http://x.example/t"
    assert root.find(f"{fhir}contact").get("id") == "c"


def test_pretty_changes_no_value() -> None:
    assert to_json(to_xml(OBSERVATION, is_pretty=True)) == to_json(to_xml(OBSERVATION))


def test_a_narrative_is_passed_on_as_it_was_written() -> None:
    div = json.loads(OBSERVATION)["text"]["div"]
    assert div.encode() in to_xml(OBSERVATION)
    assert json.loads(there_and_back(OBSERVATION))["text"]["div"] == div


def test_what_another_hand_wrote_is_read() -> None:
    body = b"""\xef\xbb\xbf<?xml version='1.0' encoding='utf-8'?>
    <?xml-stylesheet href='x'?><!-- a comment -->
    <f:Patient xmlns:f='http://hl7.org/fhir' xmlns:h='http://www.w3.org/1999/xhtml'
      xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' xsi:schemaLocation='http://hl7.org/fhir ../fhir.xsd'>
      <f:id value='p'></f:id>
      <f:text><f:status value='generated'/><h:div><h:p class='a&quot;b' xml:lang='fr'>x &lt; &#233;<h:br/></h:p></h:div>
      </f:text>
      <f:active value='true'/>
    </f:Patient>"""
    read = json.loads(to_json(body))
    assert (read["id"], read["active"]) == ("p", True)
    assert read["text"]["div"] == f'{DIV}<p class="a&quot;b" xml:lang="fr">x &lt; \u00e9<br></br></p></div>'
    check("Patient", to_json(body))


def test_resources_within_resources_keep_their_place() -> None:
    bundle = b"""{"resourceType":"Bundle","type":"batch-response","entry":[
    {"resource":{"resourceType":"Parameters","parameter":[{"name":"a","part":[{"name":"b","valueDecimal":2.0}]},
    {"name":"c","resource":{"resourceType":"Binary","contentType":"x/y"}}]},"response":{"status":"200 OK",
    "outcome":{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"x"}]}}}]}"""
    assert literals(verbatim(there_and_back(bundle))) == literals(verbatim(bundle))


def test_an_element_that_is_called_resource_type_is_one() -> None:
    scenario = b"""{"resourceType":"ExampleScenario","status":"draft",
    "instance":[{"resourceId":"i","resourceType":"Patient"}]}"""
    assert literals(verbatim(there_and_back(scenario))) == literals(verbatim(scenario))


def fhir(content: str, name: str = "Patient") -> bytes:
    return f'<{name} xmlns="http://hl7.org/fhir">{content}</{name}>'.encode()


REFUSED = {
    "nothing": (b"", "not well-formed"),
    "text": (b"x", "not well-formed"),
    "JSON": (b"{}", "not well-formed"),
    "an open element": (b'<Patient xmlns="http://hl7.org/fhir">', "not well-formed"),
    "two roots": (fhir("") + fhir(""), "not well-formed"),
    "a document type": (b"<!DOCTYPE Patient>" + fhir(""), "document type"),
    "entities": (b'<!DOCTYPE x [<!ENTITY e "boom">]><Patient xmlns="http://hl7.org/fhir"/>', "document type"),
    "an entity": (fhir('<id value="&e;"/>'), "not well-formed"),
    "an html entity": (fhir(f'<text><status value="empty"/>{DIV}&nbsp;</div></text>'), "not well-formed"),
    "latin-1": (b'<?xml version="1.0" encoding="ISO-8859-1"?>' + fhir(""), "UTF-8"),
    "no utf-8": (fhir("").replace(b"></", b">\xe9</"), "not well-formed"),
    "a null character": (fhir('<id value="&#0;"/>'), "not well-formed"),
    "no namespace": (b"<Patient/>", "not in the namespace"),
    "another namespace": (b'<Patient xmlns="urn:x"/>', "not in the namespace"),
    "no resource type": (fhir("", "Patent"), "not a resource type"),
    "an abstract type": (fhir("", "DomainResource"), "not a resource type"),
    "an unknown element": (fhir("<colour/>"), "no element colour"),
    "an element with the name of a sibling": (fhir("<_birthDate/>"), "no element _birthDate"),
    "an unknown attribute": (fhir('<id colour="x"/>'), "no attribute colour"),
    "an id on a resource": (b'<Patient xmlns="http://hl7.org/fhir" id="x"/>', "no attribute id"),
    "a url that is an element": (fhir('<extension><url value="x"/></extension>'), "no element url"),
    "text within": (fhir("hello"), "values in attributes"),
    "an empty primitive": (fhir("<birthDate/>"), "neither a value nor an extension"),
    "wrong order": (fhir('<birthDate value="1980"/><active value="true"/>'), "must precede"),
    "an element of another namespace": (fhir('<x xmlns="urn:x"/>'), "no element x"),
    "a known name in another namespace": (fhir('<id xmlns="urn:x" value="x"/>'), "not in the namespace"),
    "twice": (fhir('<active value="true"/><active value="true"/>'), "more than once"),
    "two contained in one": (fhir(f"<contained>{'<Patient/>' * 2}</contained>"), "more than one"),
    "none contained": (fhir("<contained/>"), "holds no resource"),
    "a narrative in no namespace": (fhir('<text><status value="empty"/><div/></text>'), "not in the namespace"),
    "svg": (fhir(f'<text><status value="empty"/>{DIV}<svg xmlns="http://www.w3.org/2000/svg"/></div></text>'), "XHTML"),
    "nesting": (
        fhir('<extension url="x">' * MAX_DEPTH + "</extension>" * MAX_DEPTH),
        "nested too deeply",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_fhir_xml_is_refused_in_words(name: str) -> None:
    body, text = REFUSED[name]
    with pytest.raises(Invalid, match=text):
        to_json(body)


def test_the_place_of_a_fault_is_told() -> None:
    body = fhir('<name><given value="a"/><given value="b" colour="c"/></name>')
    with pytest.raises(Invalid) as refused:
        to_json(body)
    assert refused.value.issues[0].expression == "Patient.name[0].given[1]"


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ('<active value="yes"/>', {"active": "yes"}),
        ('<multipleBirthInteger value="01"/>', {"multipleBirthInteger": "01"}),
        ('<birthDate value=""/>', {"birthDate": ""}),
    ],
)
def test_a_value_that_json_could_not_say_is_left_for_the_gate_to_refuse(content: str, value: dict[str, Any]) -> None:
    read = to_json(fhir(content))
    assert json.loads(read) == {"resourceType": "Patient", **value}
    with pytest.raises(Invalid):
        check("Patient", read)


def test_what_xml_cannot_say_is_not_said_otherwise() -> None:
    with pytest.raises(NotXmlError, match=r"U\+FFFE"):
        to_xml('{"resourceType":"Patient","language":"\ufffe"}'.encode())


def test_an_extension_of_a_narrative_has_no_place_in_xml() -> None:
    with pytest.raises(NotXmlError, match="XHTML"):
        to_xml(b'{"resourceType":"Patient","text":{"status":"empty","_div":{"id":"x"}}}')


def test_the_root_tells_fhir_from_other_xml() -> None:
    assert root_of(fhir("", "Binary")) == "Binary"
    assert root_of(b"<ClinicalDocument xmlns='urn:hl7-org:v3'><unread") is None
    assert root_of(b"<!DOCTYPE html><html/>") is None
    assert root_of(b"") is None


def resources() -> st.SearchStrategy[dict[str, Any]]:
    """Resources with the names, kinds and repetitions of the structures, and values of any content."""
    return st.sampled_from(["Patient", "Observation", "Questionnaire", "Bundle", "Parameters", "ImagingStudy"]).flatmap(
        lambda name: st.fixed_dictionaries({"resourceType": st.just(name)}).flatmap(
            lambda head: content_of(name, 3).map(lambda content: {**head, **content})
        )
    )


@st.composite
def content_of(draw: st.DrawFn, structure_name: str, depth: int) -> dict[str, Any]:
    structure = structures()[structure_name]
    found: dict[str, Any] = {}
    for element_name in draw(st.lists(st.sampled_from(sorted(structure.elements)), unique=True, max_size=4)):
        element = structure.elements[element_name]
        name, type_name = draw(st.sampled_from(element.json_names(element_name)))
        is_attribute = element.plain and structure.kind != "resource"
        if type_name in PRIMITIVES:
            values = primitive(type_name)
            siblings = st.none()
            if not (element.plain or type_name == "xhtml" or depth == 0):
                siblings = content_of("Element", depth - 1)
            pairs = st.tuples(values, st.none()) | st.tuples(st.none() | values, siblings)
            drawn = draw(st.lists(pairs, min_size=1, max_size=3) if element.many else pairs.map(lambda pair: [pair]))
            drawn = [pair for pair in drawn if pair[0] is not None or pair[1]]
            if any(value is not None for value, _ in drawn):
                given = [value for value, _ in drawn]
                found[name] = given if element.many else given[0]
            if any(sibling for _, sibling in drawn) and not is_attribute:
                given = [sibling or None for _, sibling in drawn]
                found[f"_{name}"] = given if element.many else given[0]
        elif depth > 0:
            inner = resources() if type_name == "Resource" else content_of(type_name, depth - 1)
            found[name] = draw(st.lists(inner, min_size=1, max_size=2) if element.many else inner)
    return found


def primitive(type_name: str) -> st.SearchStrategy[Any]:
    if type_name == "boolean":
        return st.booleans()
    if type_name in {"integer", "positiveInt", "unsignedInt"}:
        return st.integers(-(2**31), 2**31)
    if type_name == "decimal":
        return st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True).map(
            lambda text: msgspec.Raw(text.encode())
        )
    if type_name == "xhtml":
        return st.text(XML_CHARACTERS, max_size=9).map(lambda text: f"{DIV}{escape(text)}<br />&#160;</div>")
    return st.text(XML_CHARACTERS, min_size=1, max_size=9)


XML_CHARACTERS = st.characters(
    exclude_categories=["Cs"], exclude_characters=[*map(chr, (*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF))]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[*HealthCheck])
@given(resource=resources(), is_pretty=st.booleans())
def test_any_resource_makes_the_round_trip(resource: dict[str, Any], is_pretty: bool) -> None:
    body = encode(resource)
    assert literals(verbatim(to_json(to_xml(body, is_pretty=is_pretty)))) == literals(verbatim(body))


@settings(max_examples=300, deadline=None)
@given(body=st.binary(max_size=80) | st.text("<>/&;!-?[] ='\"PatientxmlnsDOCTYPE", max_size=80).map(str.encode))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with suppress(Invalid):
        to_json(body)
    root_of(body)
