"""/openapi.json describes what is routed, and only that."""

from __future__ import annotations

import pytest

from fhirserver.rest.routes import ROUTED, operation_routes
from resources import SUPPORTED

METHODS = {"get", "post", "put", "patch", "delete", "options"}


@pytest.fixture(scope="module")
def document(app):
    return app.test_client().get("/openapi.json").json


def described(document):
    return {(method, path) for path, item in document["paths"].items() for method in item if method in METHODS}


def test_every_route_below_the_fhir_base_is_described_and_every_description_is_routed(app, document):
    routed = {
        (method.lower(), rule.rule.replace("<", "{").replace(">", "}"))
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if rule.endpoint.startswith("fhir.") and method != "HEAD"
    }
    assert described(document) == routed
    listed = [(method, rule) for method, rule, _, _ in ROUTED]
    listed += [(method, rule) for method, rule, _, _, _ in operation_routes()]
    for method, rule in listed:
        assert (method.lower(), f"/fhir{rule}".replace("<", "{").replace(">", "}")) in routed


def test_each_description_says_what_it_takes_and_what_it_gives(document):
    for method, path in described(document):
        operation = document["paths"][path][method]
        named = [parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"]
        assert named == [part.strip("{}") for part in path.split("/") if part.startswith("{")]
        assert operation["summary"]
        assert operation["responses"]["default"]
        assert ("requestBody" in operation) == (method in {"post", "put", "patch"})


def test_an_operation_is_described_with_its_parameters(document):
    path = "/fhir/{type}/{id}/$everything"
    taken = {one["name"]: one for one in document["paths"][path]["get"]["parameters"] if one["in"] == "query"}
    assert {"start", "end", "_since", "_type", "_count", "_format", "_pretty"} == set(taken)
    assert taken["_type"]["schema"] == {"type": "array", "items": {"type": "string"}}
    assert taken["_count"]["schema"] == {"type": "integer", "minimum": 1}

    body = document["paths"][path]["post"]["requestBody"]
    sent = body["content"]["application/fhir+json"]["schema"]
    assert sent["properties"]["resourceType"] == {"type": "string", "enum": ["Parameters"]}
    assert not body["required"]


def test_graphql_is_described_as_it_is_sent(document):
    body = document["paths"]["/fhir/$graphql"]["post"]["requestBody"]
    assert set(body["content"]) == {"application/json", "application/graphql"}
    [query] = [one for one in document["paths"]["/fhir/$graphql"]["get"]["parameters"] if one["name"] == "query"]
    assert query["required"]


def test_operation_ids_are_unique(document):
    ids = [document["paths"][path][method]["operationId"] for method, path in described(document)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("type_", ["ImagingStudy", "Patient", "Binary"])
def test_one_type_is_described_as_the_capability_statement_does(app, type_):
    http = app.test_client()
    document = http.get(f"/openapi.json?type={type_}").json
    [resource] = [one for one in http.get("/fhir/metadata").json["rest"][0]["resource"] if one["type"] == type_]
    query = document["paths"][f"/fhir/{type_}"]["get"]["parameters"]
    names = {one["name"] for one in query if one["in"] == "query"}
    assert {one["name"] for one in resource["searchParam"]} <= names
    for name, key in (("_include", "searchInclude"), ("_revinclude", "searchRevInclude")):
        [schema] = [one["schema"] for one in query if one["name"] == name]
        assert schema["items"].get("enum", []) == resource.get(key, [])
    operations = {path.rpartition("$")[2] for path in document["paths"] if "$" in path}
    assert operations == {one["name"].lstrip("$") for one in resource.get("operation", ())}
    assert not [path for path in document["paths"] if "{type}" in path or type_ not in path]


def test_every_type_may_be_asked_for_and_no_other_name(app):
    http = app.test_client()
    assert all(http.get(f"/openapi.json?type={type_}").status_code == 200 for type_ in list(SUPPORTED)[::20])
    assert http.get("/openapi.json?type=Patent").status_code == 404


def test_an_unchanged_description_is_not_sent_again(app):
    http = app.test_client()
    tag = http.get("/openapi.json").headers["ETag"]
    assert http.get("/openapi.json", headers={"If-None-Match": tag}).status_code == 304
    assert http.get("/openapi.json?type=Patient", headers={"If-None-Match": tag}).status_code == 200
