"""`__schema` and `__type` of `$graphql`, read by graphql-core's own client (https://spec.graphql.org/)."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from graphql import build_client_schema, get_introspection_query, parse, validate, validate_schema
from graphql.type import GraphQLInterfaceType, GraphQLObjectType, get_named_type, is_required_argument

from fhirserver.operations.graphql import introspection
from fhirserver.operations.graphql.document import read_query
from fhirserver.operations.graphql.execute import check_root
from fhirserver.operations.graphql.members import check, kinds_of
from fhirserver.operations.operation import Target
from fhirserver.store.reindex import Reindex
from resources import SUPPORTED

USUAL = get_introspection_query(specified_by_url=True, directive_is_repeatable=True, schema_description=True)


def ask(caller, query, at="", **headers):
    return caller.request("POST", f"{at}/$graphql", {"query": query}, Content_Type="application/json", **headers)


def data(response):
    assert response.status_code == 200, response.text
    return response.json["data"]


def refusal(response):
    assert response.status_code == 400, response.text
    [told] = response.json["errors"]
    issue = told["extensions"]["resource"]["issue"][0]
    assert response.json["data"] is None
    assert issue["expression"]
    return issue["code"]


@pytest.fixture(scope="module")
def schemas(his):
    """The schema at each level, as a client that asked for it has it."""
    return {at: build_client_schema(data(ask(his, USUAL, at))) for at in ("", "Patient", "Patient/p")}


def test_the_schema_at_each_level_is_one_by_the_rules_of_graphql(schemas):
    for schema in schemas.values():
        assert validate_schema(schema) == []
        assert schema.mutation_type is None
        assert schema.subscription_type is None
    assert schemas[""].query_type.name == "Query"
    assert set(schemas["Patient"].query_type.fields) == {"Patient", "PatientList", "PatientConnection"}
    assert schemas["Patient/p"].query_type.name == "Patient"
    assert {one.name for one in schemas[""].directives} >= {"skip", "include", "flatten", "first", "singleton", "slice"}


@pytest.mark.parametrize(
    ("at", "query"),
    [
        ("", '{ Patient(id: "p") { name(use: "official", _count: 1) { family given } _birthDate { id } } }'),
        ("", '{ ObservationList(patient: "p", code: ["a", "b"], _sort: "-date") { valueQuantity { value } } }'),
        ("", '{ PatientConnection(_cursor: "x") { count next edges { mode resource { id resourceType } } } }'),
        ("", '{ Patient(id: "p") { contact { __typename ... on Patient_contact { gender } } } }'),
        (
            "",
            '{ EncounterList { subject { resource(optional: true, type: "Patient") { ... on Patient { active } } } } }',
        ),
        ("Patient", '{ PatientList(_text: "a", general_practitioner: "x") { id } }'),
        ("Patient/p", '{ id name @flatten { given @first } ImagingStudyList(_reference: "patient") { started } }'),
    ],
)
def test_a_query_of_the_schema_is_valid_to_a_client_and_understood_here(schemas, at, query):
    assert validate(schemas[at], parse(query)) == []
    fields = read_query(query, None, None)
    type_, _, id_ = at.partition("/")
    if id_:
        check(fields, kinds_of((type_,)))
    else:
        for one in fields:
            check_root(one, Target(type_))


@pytest.mark.parametrize("query", ["{ nosuch }", "{ PatientList(nosuch: 1) { id } }", "{ Patient { id } }"])
def test_what_is_not_in_the_schema_is_invalid_to_a_client(schemas, query):
    assert validate(schemas[""], parse(query))


def selection(field):
    args = [f'{name}: "x"' for name, one in field.args.items() if is_required_argument(one)]
    below = get_named_type(field.type)
    is_object = isinstance(below, GraphQLObjectType | GraphQLInterfaceType)
    return (f"({', '.join(args)})" if args else "") + (" { __typename }" if is_object else "")


@pytest.mark.parametrize("type_", ["Patient", "Observation", "Reference", "Bundle_entry", "Element", "Timing_repeat"])
def test_every_field_and_argument_of_a_type_in_the_schema_is_understood(schemas, type_):
    kind = kinds_of((type_,)) or (type(kinds_of(())[0])(type_.replace("_", ".")),)
    fields = schemas[""].type_map[type_].fields
    assert len(fields) > 1
    for name, field in fields.items():
        check(read_query(f"{{ {name}{selection(field)} }}", None, None), kind)
        for arg in field.args:
            if name != "resource":
                check(read_query(f'{{ {name}({arg}: "x") {{ __typename }} }}', None, None), kind)


def test_every_query_and_argument_in_the_schema_is_understood(his, schemas):
    for name, field in schemas[""].query_type.fields.items():
        [query] = read_query(f"{{ {name}{selection(field)} }}", None, None)
        check_root(query, Target())
    assert set(schemas[""].query_type.fields) >= {*SUPPORTED, "PatientList", "StructureMapConnection"}
    assert "BinaryList" not in schemas[""].query_type.fields
    for arg in schemas[""].query_type.fields["ObservationList"].args:
        asked = ask(his, f'{{ ObservationList({arg}: "_id") {{ id }} }}')
        assert "no search parameter" not in asked.text, arg


def test_one_type_is_asked_for_by_its_name(his):
    query = """query($name: String!) { __type(name: $name) {
        __typename kind name ofType { name } interfaces { name } possibleTypes { name } inputFields { name }
        fields(includeDeprecated: true) { name args { name defaultValue } type { kind name ofType { name } } }
        enumValues { name } } }"""

    def told(name):
        body = {"query": query, "variables": {"name": name}}
        return data(his.request("POST", "$graphql", body, Content_Type="application/json"))["__type"]

    contact = told("Patient_contact")
    assert (contact["kind"], contact["__typename"], contact["interfaces"]) == ("OBJECT", "__Type", [])
    telecom = next(one for one in contact["fields"] if one["name"] == "telecom")
    assert telecom["type"] == {"kind": "LIST", "name": None, "ofType": {"name": "ContactPoint"}}
    assert {"_count", "_offset", "system", "value"} <= {one["name"] for one in telecom["args"]}
    assert [one["name"] for one in told("Patient")["interfaces"]] == ["Resource"]
    assert len(told("Resource")["possibleTypes"]) == len(SUPPORTED)
    assert told("Resource")["kind"] == "INTERFACE"
    assert told("decimal")["kind"] == "SCALAR"
    assert {"name": "LIST"} in told("__TypeKind")["enumValues"]
    assert told("Nosuch") is None
    assert told("Patient.contact") is None


def test_what_is_asked_of_the_schema_is_checked_like_any_query(his):
    for query in (
        "{ __schema }",
        "{ __schema { nosuch } }",
        "{ __schema(x: 1) { types { name } } }",
        "{ __type { name } }",
        "{ __type(name: 1) { name } }",
        '{ __type(name: "Patient") { fields(nosuch: 1) { name } } }',
        '{ __type(name: "Patient") { fields } }',
        '{ __type(name: "Patient") { name { x } } }',
        '{ __type(name: "Patient") @flatten { name } }',
        '{ __type(name: "Patient") { name @first } }',
        '{ a: __type(name: "Patient") { name } a: __type(name: "Observation") { name } }',
        '{ a: __type(name: "Patient") { name } a: Patient(id: "p") { id } }',
    ):
        assert refusal(ask(his, query)) == "invalid", query


def test_types_within_types_are_refused_before_they_are_written(his):
    query = "{ __schema { types { " + "fields { name args { type { fields { name } } } type { " * 6 + "name"
    assert refusal(ask(his, query + " }" * 15)) == "too-costly"


def test_few_answers_are_kept_and_compressed(his):
    for name in ("Patient", "Observation", "Condition", "Device", "Endpoint", "Group"):
        query = f'{{ __type(name: "{name}") {{ name }} }}'
        assert data(ask(his, query)) == data(ask(his, query)) == {"__type": {"name": name}}
    ask(his, USUAL)
    assert len(introspection._kept) <= 4
    assert sum(map(len, introspection._kept.values())) < 2_000_000


def test_the_schema_tells_of_no_record_and_reads_none(his, stranger, declared, audit_of):
    answers = {
        ask(one, USUAL, at, X_Request_Id="i-1").data
        for one in (his, stranger)
        for at in (declared, "Patient/never-was")
    }
    assert len(answers) == 1
    assert not [event for event in audit_of() if "i-1" in json.dumps(event)]


def test_what_is_asked_beside_the_schema_is_decided_and_in_the_audit(his, stranger, declared, audit_of):
    query = '{ id __type(name: "Patient") { name } }'
    refused = ask(stranger, query, declared, X_Request_Id="i-2")
    assert (refused.status_code, refused.json["data"]) == (404, None)
    assert [event["outcome"] for event in audit_of() if "i-2" in json.dumps(event)] == ["8"]
    found = data(ask(his, query, declared, X_Request_Id="i-3"))
    assert found == {"id": declared.partition("/")[2], "__type": {"name": "Patient"}}
    assert [event["outcome"] for event in audit_of() if "i-3" in json.dumps(event)] == ["0"]


def test_no_schema_is_told_without_a_token(app):
    sent = {"data": json.dumps({"query": USUAL}), "content_type": "application/json"}
    assert app.test_client().post("/fhir/$graphql", **sent).status_code == 401


def test_a_type_is_named_in_data_as_it_is_in_the_schema(his):
    made = his.make(
        {"resourceType": "Patient", "active": True, "contact": [{"gender": "female", "name": {"text": "A"}}]}
    )
    query = "{ contact { __typename ... on Patient_contact { gender } } }"
    found = data(ask(his, query, f"Patient/{made['id']}"))
    assert found == {"contact": [{"__typename": "Patient_contact", "gender": "female"}]}


def test_a_search_parameter_that_was_added_is_in_the_schema_while_it_may_be_used(his, operator, database, config):
    database.search_parameters.age = 0.0
    database.in_flight.margin = timedelta(0)

    def named():
        query = '{ __type(name: "Query") { fields { name args { name } } } }'
        fields = data(ask(his, query))["__type"]["fields"]
        return {arg["name"] for one in fields if one["name"] == "GoalList" for arg in one["args"]}

    before = named()
    added = {
        "resourceType": "SearchParameter",
        "id": "own-goal",
        "url": "http://example.org/fhir/SearchParameter/own-goal",
        "name": "X",
        "status": "active",
        "description": "x",
        "code": "own-goal",
        "base": ["Goal"],
        "type": "string",
        "expression": "Goal.note.text",
    }
    try:
        assert operator.put("SearchParameter/own-goal", added).status_code in {200, 201}
        assert named() == before
        assert operator.post("$reindex", b"").status_code == 202
        assert Reindex(database, config).run().status == "done"
        assert named() == before | {"own_goal"}
    finally:
        operator.delete("SearchParameter/own-goal")
        database.database["search_parameters"].delete_many({"_id": {"$ne": "generation"}})
