"""/metadata says what is offered, and only that (https://hl7.org/fhir/R4/http.html#capabilities)."""

from __future__ import annotations

import json

import pytest

from fhirserver.app import create_app
from fhirserver.rest.capability_statement import SYSTEM_INTERACTIONS, TYPE_INTERACTIONS, capability_statement
from fhirserver.rest.routes import ROUTED
from fhirserver.search import reference, string, token, uri
from fhirserver.search.prefix import PREFIXES
from fhirserver.store.resource_store import WITHOUT_TYPE_HISTORY
from resources import SUPPORTED, validation
from resources.xml import to_json


@pytest.fixture(scope="module")
def statement(app):
    response = app.test_client().get("/fhir/metadata")
    assert response.status_code == 200
    return response.json


def test_anybody_may_ask_without_a_token_and_the_answer_is_a_valid_resource(app):
    validation.check("CapabilityStatement", app.test_client().get("/fhir/metadata").data)


def test_an_unchanged_statement_is_not_sent_again(app):
    http = app.test_client()
    tag = http.get("/fhir/metadata").headers["ETag"]
    assert http.get("/fhir/metadata", headers={"If-None-Match": tag}).status_code == 304
    assert http.get("/fhir/metadata", headers={"If-None-Match": 'W/"other"'}).status_code == 200


def test_two_processes_make_the_same_statement(app, config, database):
    tags = {made.test_client().get("/fhir/metadata").headers["ETag"] for made in (app, create_app(config, database))}
    assert len(tags) == 1


def test_it_names_every_type_and_only_those(statement):
    assert [resource["type"] for resource in statement["rest"][0]["resource"]] == list(SUPPORTED)


def test_it_lists_exactly_the_interactions_that_are_routed(statement):
    routed = {code for _, _, _, codes in ROUTED for code in codes}
    of_system = {one["code"] for one in statement["rest"][0]["interaction"]}
    for resource in statement["rest"][0]["resource"]:
        of_type = {one["code"] for one in resource["interaction"]}
        without = {"history-type"} if resource["type"] in WITHOUT_TYPE_HISTORY else set()
        without |= {"patch", "search-type"} if resource["type"] == "Binary" else set()
        assert of_type | of_system | {"capabilities"} == routed - without
        assert of_type <= set(TYPE_INTERACTIONS)
    assert of_system <= set(SYSTEM_INTERACTIONS)


def test_a_new_route_is_in_it_without_a_word_elsewhere():
    routed = [*ROUTED, ("GET", "/x", "x", ("search-system",)), ("PUT", "/<type>", "y", ("update",))]
    made = capability_statement("http://x/fhir", "http://x", routed)["rest"][0]
    assert "search-system" in {one["code"] for one in made["interaction"]}
    assert made["resource"][0]["conditionalUpdate"] is True


@pytest.mark.parametrize("type_", ["Patient", "Basic", "AuditEvent", "Binary"])
def test_it_names_the_history_of_a_type_where_it_is_answered(statement, his, type_):
    [resource] = [one for one in statement["rest"][0]["resource"] if one["type"] == type_]
    is_named = "history-type" in [one["code"] for one in resource["interaction"]]
    assert (his.get(f"{type_}/_history").status_code == 200) is is_named


def test_it_says_how_many_a_conditional_delete_removes():
    said = [
        capability_statement("http://x/fhir", "http://x", ROUTED, delete_max=most)["rest"][0]["resource"][0]
        for most in (1, 2)
    ]
    assert [resource["conditionalDelete"] for resource in said] == ["single", "multiple"]


def test_a_binary_is_offered_by_no_criteria(statement):
    [binary] = [one for one in statement["rest"][0]["resource"] if one["type"] == "Binary"]
    said = (binary["conditionalCreate"], binary["conditionalUpdate"], binary["conditionalDelete"])
    assert said == (False, False, "not-supported")


def test_it_names_the_forms_of_patches(statement):
    assert statement["patchFormat"] == [
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/xml-patch+xml",
        "application/fhir+json",
        "application/fhir+xml",
    ]


@pytest.mark.parametrize(
    "type_", ["Patient", "ImagingStudy", "DiagnosticReport", "Location", "Observation", "AuditEvent"]
)
def test_each_parameter_that_it_names_is_answered(statement, his, type_):
    [resource] = [one for one in statement["rest"][0]["resource"] if one["type"] == type_]
    values = {"date": "2020", "number": "1", "quantity": "1", "reference": "Patient/x", "composite": None}
    special = {"near": "48.8|2.3", "_filter": "_id eq x"}
    for parameter in resource["searchParam"]:
        value = special.get(parameter["name"]) or values.get(parameter["type"], "x")
        if value is not None:
            response = his.get(f"{type_}?{parameter['name']}={value}&_count=0")
            assert response.status_code == 200, (parameter, response.text)


def test_the_modifiers_and_prefixes_that_are_offered_are_named(statement):
    said = statement["rest"][0]["documentation"]
    for modifier in {"missing"}.union(*(one.MODIFIERS for one in (reference, string, token, uri))):
        assert f":{modifier}" in said
    assert all(f" {prefix}" in said for prefix in PREFIXES)


def test_each_include_that_it_names_is_answered(statement, his):
    [resource] = [one for one in statement["rest"][0]["resource"] if one["type"] == "ImagingStudy"]
    for name in ("Include", "RevInclude"):
        for value in resource[f"search{name}"]:
            response = his.get(f"ImagingStudy?_count=1&_{name.lower()}={value}")
            assert response.status_code == 200, response.text


def test_it_says_how_a_token_is_obtained(statement):
    security = statement["rest"][0]["security"]
    assert "http://fhir.example/oauth/token" in json.dumps(security)
    assert {service["coding"][0]["code"] for service in security["service"]} == {"OAuth", "SMART-on-FHIR"}


def test_formats_are_negotiated_as_everywhere(app):
    http = app.test_client()
    assert http.get("/fhir/metadata?_format=ttl").status_code == 406
    assert http.get("/fhir/metadata", headers={"Accept": "text/turtle"}).status_code == 406
    in_xml = http.get("/fhir/metadata", headers={"Accept": "application/fhir+xml"})
    assert json.loads(to_json(in_xml.data)) == http.get("/fhir/metadata").json
    assert "\n" in http.get("/fhir/metadata?_pretty=true").text
