from __future__ import annotations

import copy
import json
import time
from typing import Any

import pytest

from resources import SUPPORTED
from resources.validation import MAX_ISSUES, Invalid, Issue, _Schemas, check


def issues_of(type_name: str, body: object, **bounds: int) -> list[Issue]:
    """The issues of a body given as text, bytes or a value; none when it is valid."""
    if not isinstance(body, bytes):
        body = (body if isinstance(body, str) else json.dumps(body)).encode()
    try:
        check(type_name, body, **bounds)
    except Invalid as error:
        return error.issues
    return []


def found(type_name: str, body: object, **bounds: int) -> set[tuple[str, str]]:
    return {(issue.code, issue.expression) for issue in issues_of(type_name, body, **bounds)}


def patient(**elements: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", **elements}


# -- what is accepted -------------------------------------------------------------------------------------------------


def test_every_sample_is_valid(samples: dict[str, Any]) -> None:
    assert {name: issues_of(name, sample) for name, sample in samples.items() if issues_of(name, sample)} == {}


def test_a_valid_resource_comes_back_with_its_own_bytes_and_exact_decimals() -> None:
    body = b'{ "resourceType" : "Observation", "status":"final", "code":{"text":"x"}, "valueQuantity":{"value":1.50} }'
    parsed = check("Observation", body)
    assert parsed.body is body
    assert parsed.type == "Observation"
    assert str(parsed.resource["valueQuantity"]["value"]) == "1.50"


def test_french_typography_with_no_break_spaces_is_text_like_any_other() -> None:
    assert found("Patient", patient(name=[{"text": "Zoé\u00a0Lemoine\u202f: sœur"}])) == set()


def test_an_extension_may_stand_for_a_missing_required_primitive() -> None:
    absent = {"extension": [{"url": "http://example.org/absent", "valueCode": "unknown"}]}
    assert found("Observation", {"resourceType": "Observation", "_status": absent, "code": {"text": "x"}}) == set()


def test_null_keeps_the_place_of_a_value_that_has_only_extensions() -> None:
    sibling = {"extension": [{"url": "http://example.org/absent", "valueCode": "unknown"}]}
    assert found("Patient", patient(name=[{"given": ["A", None], "_given": [None, sibling]}])) == set()


# -- JSON -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"Patient"',
        b"{",
        b'{"resourceType":"Patient","active":NaN}',
        b'{"resourceType":"Patient","id":"\\ud800"}',
        b'{"resourceType":"Patient","id":"\xff"}',
        b'{"resourceType":"Patient",}',
        b'{"resourceType":"Observation","valueQuantity":{"value":1e99999999999999999999999}}',
        b"[" * 200_000,
        b'{"resourceType":"Patient","id":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        b"{}",
    ],
)
def test_what_is_not_one_json_object_is_refused_as_structure(body: bytes) -> None:
    assert [(issue.code, issue.expression) for issue in issues_of("Patient", body)] == [("structure", "Patient")]


@pytest.mark.parametrize(
    "body",
    [
        '{"resourceType":"Patient","id":"a","id":"b"}',
        '{"resourceType":"Patient","name":[{"family":"a: b","family" : "c"}]}',
        '{"resourceType":"Patient","gender":"male","name":[{"text":"\\u003a"}],"gender":"female"}',
        '{"resourceType":"Patient","gender":"male","gend\\u0065r":"female"}',
        '{"resourceType":"Patient","resourceType":"Patient"}',
    ],
)
def test_a_member_named_twice_is_refused(body: str) -> None:
    assert [issue.diagnostics for issue in issues_of("Patient", body)] == [
        "An object of the body names the same member twice"
    ]


def test_colons_and_escapes_in_texts_are_no_members() -> None:
    name = [{"text": 'say ": hello", then \\" : bye : \u003a'}]
    assert found("Patient", json.dumps(patient(name=name), indent=2)) == set()
    assert found("Patient", json.dumps(patient(name=name), separators=(" , ", " : "))) == set()


def test_a_body_over_the_bound_is_too_long() -> None:
    assert found("Patient", patient(), max_bytes=10) == {("too-long", "Patient")}


def test_nesting_over_the_bound_is_refused() -> None:
    extension: dict[str, Any] = {"url": "http://example.org/x", "valueString": "x"}
    for _ in range(20):
        extension = {"url": "http://example.org/x", "extension": [extension]}
    assert found("Patient", patient(extension=[extension])) == set()
    assert [issue.diagnostics for issue in issues_of("Patient", patient(extension=[extension]), max_depth=10)] == [
        "The JSON is nested too deeply"
    ]
    for _ in range(300):
        extension = {"url": "http://example.org/x", "extension": [extension]}
    assert [issue.diagnostics for issue in issues_of("Patient", patient(extension=[extension]))] == [
        "The JSON is nested too deeply"
    ]


@pytest.mark.parametrize("depth", [60, 250, 300, 900, 5000, 100_000])
def test_depth_is_refused_wherever_it_stands(depth: int) -> None:
    deep = "[" * depth + "]" * depth
    for body in (
        '{"resourceType":"Patient","foo":@}',
        '{"resourceType":"Patient","contained":[{"resourceType":"Organization","id":"o","foo":@}]}',
        '{"resourceType":"Patient","contained":[{"resourceType":"Organization","id":"o","id":"o","foo":@}]}',
        '{"resourceType":"Patient","name":[{"text":"\\u0041","extension":@}]}',
    ):
        assert {issue.code for issue in issues_of("Patient", body.replace("@", deep))} <= {"structure", "invariant"}


@pytest.mark.parametrize("stated", ["Observation", "Foo", "Resource", "", 1, ["Patient"], {}])
def test_the_resource_type_must_be_the_one_asked_for(stated: object) -> None:
    assert found("Patient", {"resourceType": stated}) == {("invalid", "Patient")}


# -- structure --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("elements", "code", "expression"),
    [
        ({"namex": 1}, "structure", "Patient.namex"),
        ({"name": [{"famly": "x"}]}, "structure", "Patient.name[0].famly"),
        ({"fhir_comments": ["x"]}, "structure", "Patient.fhir_comments"),
        ({"_id": {"id": "x"}}, "structure", "Patient._id"),
        ({"name": {"family": "x"}}, "structure", "Patient.name"),
        ({"name": []}, "structure", "Patient.name"),
        ({"name": [{}]}, "structure", "Patient.name[0]"),
        ({"name": None}, "structure", "Patient.name"),
        ({"active": "true"}, "structure", "Patient.active"),
        ({"active": 1}, "structure", "Patient.active"),
        ({"multipleBirthInteger": 2.0}, "structure", "Patient.multipleBirth.ofType(integer)"),
        ({"multipleBirthInteger": 3_000_000_000}, "value", "Patient.multipleBirth.ofType(integer)"),
        ({"gender": "xyz"}, "code-invalid", "Patient.gender"),
        ({"gender": None}, "code-invalid", "Patient.gender"),
        ({"id": "a b"}, "value", "Patient.id"),
        ({"id": "x" * 65}, "value", "Patient.id"),
        ({"id": ""}, "value", "Patient.id"),
        ({"implicitRules": "a b"}, "value", "Patient.implicitRules"),
        ({"implicitRules": ""}, "value", "Patient.implicitRules"),
        ({"name": [{"family": ""}]}, "value", "Patient.name[0].family"),
        ({"name": [{"family": "a\u0000b"}]}, "value", "Patient.name[0].family"),
        ({"name": [{"given": ["a", 1]}]}, "structure", "Patient.name[0].given[1]"),
        ({"photo": [{"contentType": "image/png", "data": "!!!!"}]}, "value", "Patient.photo[0].data"),
        ({"birthDate": "1970-13-01"}, "value", "Patient.birthDate"),
        ({"birthDate": 1970}, "structure", "Patient.birthDate"),
        ({"birthDate": "1970-02-30"}, "value", "Patient.birthDate"),
        ({"birthDate": "2023-02-29"}, "value", "Patient.birthDate"),
        ({"deceasedDateTime": "2026-04-31T10:00:00Z"}, "value", "Patient.deceased.ofType(dateTime)"),
        ({"deceasedDateTime": "2026-04-30T10:00:00"}, "value", "Patient.deceased.ofType(dateTime)"),
        ({"link": [{"type": "seealso"}]}, "required", "Patient.link[0]"),
        ({"contained": [{"id": "x"}]}, "structure", "Patient.contained[0]"),
        ({"contained": [{"resourceType": "Foo", "id": "x"}]}, "structure", "Patient.contained[0]"),
        ({"contained": ["x"]}, "structure", "Patient.contained[0]"),
    ],
)
def test_a_wrong_element_is_refused_with_its_path(elements: dict[str, Any], code: str, expression: str) -> None:
    assert (code, expression) in found("Patient", patient(**elements))


def test_two_values_of_a_choice_are_refused_in_words() -> None:
    issues = issues_of("Patient", patient(deceasedBoolean=True, deceasedDateTime="2020"))
    assert [(i.code, i.expression, i.diagnostics) for i in issues] == [
        (
            "structure",
            "Patient",
            "deceased[x] may have one type only; both deceasedBoolean and deceasedDateTime are given",
        )
    ]


def test_a_required_choice_is_required() -> None:
    body = {"resourceType": "Media", "status": "completed", "content": {"url": "http://example.org"}}
    assert found("Media", body) == set()
    item = {"resourceType": "Group", "type": "person", "actual": False}
    characteristic = {"code": {"text": "x"}, "exclude": False}
    assert found("Group", {**item, "characteristic": [characteristic]}) == {("required", "Group.characteristic[0]")}


@pytest.mark.parametrize(
    "name",
    [
        {"given": ["a", None]},
        {"given": [None]},
        {"given": ["a", "b"], "_given": [None]},
        {"given": ["a", None], "_given": [{"id": "x"}, None]},
        {"_given": [None]},
    ],
)
def test_null_that_stands_for_nothing_is_refused(name: dict[str, Any]) -> None:
    assert {code for code, _ in found("Patient", patient(name=[name]))} == {"structure"}


def test_an_id_alone_is_an_element_only_beside_a_value() -> None:
    assert found("Patient", patient(birthDate="1970", _birthDate={"id": "x"})) == set()
    assert found("Patient", patient(name=[{"given": ["a"], "_given": [{"id": "x"}]}])) == set()
    assert found("Patient", patient(_birthDate={"id": "x"})) == {("invariant", "Patient.birthDate")}
    assert found("Patient", patient(name=[{"id": "x"}])) == {("invariant", "Patient.name[0]")}
    assert found("Patient", patient(name=[{"_given": [{"id": "x"}]}])) == {("invariant", "Patient.name[0].given[0]")}


@pytest.mark.parametrize("literal", ["1e309", "1e-400", "1E+999999999", "-1e4000"])
def test_numbers_that_nobody_could_read_are_refused(literal: str) -> None:
    body = (
        f'{{"resourceType":"Observation","status":"final","code":{{"text":"x"}},"valueQuantity":{{"value":{literal}}}}}'
    )
    assert found("Observation", body) == {("value", "Observation.value.ofType(Quantity).value")}


def test_long_exact_decimals_are_accepted() -> None:
    body = '{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":0.%s1}}' % (
        "0" * 40
    )
    assert found("Observation", body) == set()


def test_what_is_wrong_inside_a_bundle_entry_has_its_path_there() -> None:
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": patient(gender="x", foo=1)}]}
    assert found("Bundle", bundle) == {
        ("code-invalid", "Bundle.entry[0].resource.gender"),
        ("structure", "Bundle.entry[0].resource.foo"),
    }


def test_all_that_is_wrong_is_listed_up_to_a_bound() -> None:
    assert found("Patient", patient(gender="x", birthDate="x", foo=1)) == {
        ("code-invalid", "Patient.gender"),
        ("value", "Patient.birthDate"),
        ("structure", "Patient.foo"),
    }
    many = issues_of("Patient", patient(name=[{"family": 1, "given": []}] * 500))
    assert len(many) == MAX_ISSUES


def test_a_large_body_made_of_errors_is_refused_in_a_moment() -> None:
    body = json.dumps(patient(name=[{"family": 1, "given": []}] * 100_000)).encode()
    started = time.process_time()
    assert len(issues_of("Patient", body)) == MAX_ISSUES
    # A tenth of a second on a quiet core, where listing all errors would take six.
    assert time.process_time() - started < 3


def test_a_body_of_all_types_costs_no_more_than_their_schemas() -> None:
    inner = [{"resourceType": name, "id": f"x{number}"} for number, name in enumerate(sorted(SUPPORTED) * 14)]
    body = json.dumps({"resourceType": "List", "status": "current", "mode": "working", "contained": inner}).encode()
    issues_of("List", body)
    started = time.process_time()
    issues_of("List", body)
    # A hundredth of a second, where compiling a schema for each would take fourteen.
    assert time.process_time() - started < 3


def test_the_schema_of_a_type_says_what_that_of_all_types_says() -> None:
    few, many = _Schemas(), _Schemas()
    for name in sorted(SUPPORTED):
        many.of(name)
    for value in ({}, {"resourceType": "Patient", "gender": "x"}, {"resourceType": "Patient", "foo": 1}, {"id": "p"}):
        assert few.of("Patient").is_valid({"Patient": value}) == many.of("Patient").is_valid({"Patient": value})


def test_an_error_behind_a_long_valid_beginning_is_found() -> None:
    names: list[dict[str, Any]] = [{"family": "x"}] * 5_000
    assert found("Patient", patient(name=[*names, {"family": 1}, {"family": 2}])) == {
        ("structure", "Patient.name[5000].family")
    }


# -- references and contained resources -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "Organization/e1",
        "Organization/e1/_history/3",
        "https://other.example.org/fhir/Organization/e1",
        "https://other.example.org/anything",
        "urn:uuid:3fdc72f4-a11d-4a9d-9260-a9f745779e1d",
        "urn:oid:1.2.3",
        "Organization?identifier=http://example.org|1",
    ],
)
def test_each_form_of_reference_is_accepted(address: str) -> None:
    assert found("Patient", patient(managingOrganization={"reference": address})) == set()


@pytest.mark.parametrize(
    "address", ["::::", "Organization", "Organisation/e1", "Organization/", "e1", "/Organization/e1"]
)
def test_what_is_no_reference_is_refused(address: str) -> None:
    expected = {("value", "Patient.managingOrganization")}
    assert found("Patient", patient(managingOrganization={"reference": address})) == expected


@pytest.mark.parametrize(
    "reference",
    [
        {"reference": "Patient/p2"},
        {"reference": "https://other.example.org/fhir/Patient/p2"},
        {"type": "Patient", "identifier": {"value": "1"}},
        {"reference": "Organization/e1", "type": "Practitioner"},
    ],
)
def test_a_reference_to_a_type_that_may_not_stand_there_is_refused(reference: dict[str, Any]) -> None:
    assert found("Patient", patient(managingOrganization=reference)) == {("value", "Patient.managingOrganization")}


def test_a_local_reference_needs_its_contained_resource() -> None:
    inside = {"resourceType": "Organization", "id": "o", "name": "x"}
    reference = {"reference": "#o"}
    assert found("Patient", patient(contained=[inside], managingOrganization=reference)) == set()
    assert found("Patient", patient(managingOrganization=reference)) == {("invariant", "Patient.managingOrganization")}


def test_local_references_do_not_reach_into_another_entry() -> None:
    inside = {"resourceType": "Organization", "id": "o", "name": "x"}
    reference = {"reference": "#o"}
    entries = [
        {"resource": patient(contained=[inside], managingOrganization=reference)},
        {"resource": patient(managingOrganization=reference)},
    ]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    assert found("Bundle", bundle) == {("invariant", "Bundle.entry[1].resource.managingOrganization")}


def test_local_references_of_an_entry_end_with_it() -> None:
    inside = {"resourceType": "Organization", "id": "o", "name": "x"}
    reference = {"reference": "#o"}
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": patient(contained=[inside], managingOrganization=reference)}],
        "signature": {"type": [{"code": "x"}], "when": "2026-01-01T00:00:00Z", "who": reference},
    }
    assert found("Bundle", bundle) == {("invariant", "Bundle.signature.who")}


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("dom-2", {"contained": [{"resourceType": "Organization", "id": "i", "name": "x"}]}),
        ("dom-4", {"meta": {"versionId": "1"}}),
        ("dom-4", {"meta": {"lastUpdated": "2026-01-01T00:00:00Z"}}),
        ("dom-5", {"meta": {"security": [{"code": "R"}]}}),
    ],
)
def test_a_contained_resource_has_no_life_of_its_own(key: str, change: dict[str, Any]) -> None:
    inside = {"resourceType": "Organization", "id": "o", "name": "x", **change}
    issues = issues_of("Patient", patient(contained=[inside], managingOrganization={"reference": "#o"}))
    assert [i.diagnostics.endswith(f"({key})") for i in issues if i.expression == "Patient.contained[0]"] == [True]


def test_a_contained_resource_that_nothing_names_is_refused() -> None:
    issues = issues_of("Patient", patient(contained=[{"resourceType": "Organization", "id": "o", "name": "x"}]))
    assert [(i.expression, i.diagnostics[-7:]) for i in issues] == [("Patient.contained[0]", "(dom-3)")]


# -- nothing breaks the gate ------------------------------------------------------------------------------------------


ODD = [
    None,
    True,
    0,
    1.5,
    "",
    "x",
    "#x",
    [],
    [[]],
    [None],
    {},
    {"id": "x"},
    {"resourceType": "Patient"},
    {"reference": 1},
]


def test_odd_shapes_anywhere_are_refused_or_accepted_but_never_an_error(samples: dict[str, Any]) -> None:
    for name, sample in samples.items():
        for path in list(paths_in(sample)):
            for odd in ODD:
                changed = copy.deepcopy(sample)
                put(changed, path, odd)
                issues = issues_of(name, changed)
                assert all(issue.expression.startswith(name) and issue.diagnostics for issue in issues)


def paths_in(node: object) -> Any:
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in pairs:
        yield (key,)
        yield from ((key, *rest) for rest in paths_in(value))


def put(node: Any, path: tuple[Any, ...], value: object) -> None:
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value


def test_every_supported_type_has_a_plan_and_names_what_it_requires() -> None:
    for name in SUPPORTED:
        for code, expression in found(name, {"resourceType": name}):
            assert code in {"required", "invariant"}
            assert expression == name


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (rb'{"resourceType":"Patient","language":"\ufffe"}', "Patient.language"),
        ('{"resourceType":"Patient","name":[{"given":["a","\uffff"]}]}'.encode(), "Patient.name[0].given[1]"),
        (rb'{"resourceType":"Patient","implicitRules":"urn:x\u0001"}', "Patient.implicitRules"),
    ],
)
def test_no_text_holds_a_character_that_xml_cannot_carry(body: bytes, path: str) -> None:
    with pytest.raises(Invalid) as refused:
        check("Patient", body)
    assert refused.value.issues[0].expression == path
    assert "XML cannot carry" in refused.value.issues[0].diagnostics


def test_tabs_and_line_breaks_are_characters_like_others() -> None:
    check("Patient", rb'{"resourceType":"Patient","name":[{"text":"a\u0009b\u000ac"}]}')
