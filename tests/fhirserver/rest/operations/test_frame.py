"""How any operation is called (https://hl7.org/fhir/R4/operations.html), seen on `$meta` and `$meta-add`."""

from __future__ import annotations

import pytest

from fhirserver.operations import OFFERED
from fhirserver.operations.operation import Target
from fhirserver.rest.routes import operation_routes
from resources import SUPPORTED, validation
from tests.fhirserver.rest.conftest import issues_of

TAG = {"system": "urn:frame", "code": "seen"}


def given(**meta):
    return {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": meta}]}


def test_an_operation_that_changes_nothing_is_called_by_get_and_by_post(his, patient):
    assert his.get(f"{patient}/$meta").status_code == 200
    assert his.request("HEAD", f"{patient}/$meta").status_code == 200
    assert his.request("POST", f"{patient}/$meta").status_code == 200
    assert his.post(f"{patient}/$meta", {"resourceType": "Parameters"}).status_code == 200


def test_one_that_changes_something_is_called_by_post_only(his, patient):
    response = his.get(f"{patient}/$meta-add")
    assert response.status_code == 405
    assert "POST" in response.headers["Allow"]
    assert "POST" in issues_of(response)[0]["diagnostics"]


@pytest.mark.parametrize(
    "path", ["$nosuch", "Patient/$nosuch", "Patient/1/$nosuch", "Patient/$meta-add", "$", "1/2/$meta"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_is_not_offered_there_is_refused(his, method, path):
    response = his.request(method, path)
    assert response.status_code in {400, 404}
    assert issues_of(response)[0]["code"] == "not-supported"


@pytest.mark.parametrize(
    ("path", "status"), [("Nosuch/1/$meta", 404), ("Nosuch/$meta", 404), ("Patient/a b/$meta", 400)]
)
def test_the_address_is_checked_as_that_of_a_read_is(his, path, status):
    response = his.get(path)
    assert response.status_code == status
    assert issues_of(response)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_are_refused(his, patient, method):
    assert his.request(method, f"{patient}/$meta", b"{}").status_code == 405


def test_a_parameter_that_is_not_declared_is_refused(his, patient):
    for response in (
        his.get(f"{patient}/$meta?nosuch=1"),
        his.post(
            f"{patient}/$meta",
            {"resourceType": "Parameters", "parameter": [{"name": "nosuch", "valueString": "x"}]},
        ),
    ):
        assert response.status_code == 400
        assert issues_of(response)[0] == {
            "severity": "error",
            "code": "not-supported",
            "diagnostics": "$meta takes no parameter nosuch.",
            "expression": ["nosuch"],
        }


def test_a_parameter_that_is_missing_doubled_or_of_another_type_is_refused(his, patient):
    meta = {"name": "meta", "valueMeta": {"tag": [TAG]}}
    for parameter, code in (
        ([], "required"),
        ([meta, meta], "invalid"),
        ([{"name": "meta", "valueString": "x"}], "invalid"),
    ):
        response = his.post(
            f"{patient}/$meta-add",
            {"resourceType": "Parameters", "parameter": parameter} if parameter else {"resourceType": "Parameters"},
        )
        assert response.status_code == 400, response.text
        assert issues_of(response)[0]["code"] == code
    assert his.request("POST", f"{patient}/$meta-add?meta=x").status_code == 400


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b'{"resourceType":"Patient"}', 422), (b'{"resourceType":"Parameters","x":1}', 422),
     (b'{"resourceType":"Parameters","parameter":[{"name":"meta","part":[{"name":"x","valueCode":"y"}]}]}', 422)],
)  # fmt: skip
def test_a_body_that_is_no_valid_parameters_resource_is_refused(his, patient, body, status):
    response = his.request("POST", f"{patient}/$meta-add", body)
    assert response.status_code == status
    assert issues_of(response)


def test_a_body_in_another_content_type_is_refused(his, patient):
    assert his.request("POST", f"{patient}/$meta", b"x=1", Content_Type="text/plain").status_code == 415


def test_how_the_answer_is_written_may_be_said_as_everywhere(his, patient):
    assert "\n" in his.get(f"{patient}/$meta?_pretty=true").text
    assert his.get(f"{patient}/$meta?_format=json").status_code == 200
    assert his.get(f"{patient}/$meta?_format=turtle").status_code == 406


def test_without_a_token_there_is_no_operation(app):
    assert app.test_client().get("/fhir/Patient/1/$meta").status_code == 401


def test_an_operation_is_called_within_a_batch(his, patient):
    added = {"request": {"method": "POST", "url": f"{patient}/$meta-add"}, "resource": given(tag=[TAG])}
    asked = [
        {"request": {"method": "GET", "url": f"{patient}/{path}"}}
        for path in ("$meta", "$meta-add", "$nosuch", "$meta?x=1")
    ]
    response = his.post("", {"resourceType": "Bundle", "type": "batch", "entry": [added, *asked]})
    assert response.status_code == 200, response.text
    entries = response.json["entry"]
    assert [entry["response"]["status"][:3] for entry in entries] == ["200", "200", "405", "400", "400"]
    assert entries[1]["resource"]["parameter"][0]["valueMeta"]["tag"] == [TAG]
    assert entries[3]["response"]["outcome"]["issue"][0]["expression"][0].startswith("Bundle.entry[3]")


def test_an_operation_within_a_transaction_fails_it(his, patient):
    entry = {"request": {"method": "GET", "url": f"{patient}/$meta"}}
    response = his.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    assert response.status_code == 400
    assert issues_of(response)[0]["code"] == "not-supported"


def test_the_capability_statement_names_each_operation_where_it_is_routed(app):
    statement = app.test_client().get("/fhir/metadata").json["rest"][0]
    assert [one["name"] for one in statement["operation"]] == [one.name for one in OFFERED if one.is_at(Target())]
    for resource in statement["resource"]:
        expected = [
            one.name
            for one in OFFERED
            if one.is_at(Target(resource["type"])) or one.is_at(Target(resource["type"], "x"))
        ]
        assert [one["name"] for one in resource.get("operation", ())] == expected
    routed = {(method, f"/fhir{rule}") for method, rule, *_ in operation_routes()}
    rules = {
        (method, rule.rule) for rule in app.url_map.iter_rules() for method in rule.methods or () if "$" in rule.rule
    }
    assert routed == {one for one in rules if one[0] not in {"HEAD", "OPTIONS"}}


def test_an_operation_of_this_servers_own_is_defined_by_it(app):
    for operation in OFFERED:
        canonical = operation.canonical("http://fhir.example/fhir")
        if canonical.startswith("http://fhir.example"):
            response = app.test_client().get(canonical.removeprefix("http://fhir.example"))
            assert response.json["url"] == canonical
            validation.check("OperationDefinition", response.data)
    assert SUPPORTED["OperationDefinition"]


def test_an_operation_is_called_and_answered_in_xml(his, patient):
    xml = (
        b'<Parameters xmlns="http://hl7.org/fhir"><parameter><name value="meta"/><valueMeta><tag>'
        b'<system value="urn:frame"/><code value="xml"/></tag></valueMeta></parameter></Parameters>'
    )
    response = his.request(
        "POST", f"{patient}/$meta-add", xml, Content_Type="application/fhir+xml", Accept="application/fhir+xml"
    )
    assert response.status_code == 200, response.text
    assert response.content_type.startswith("application/fhir+xml")
    assert '<code value="xml"' in response.text.replace("'", '"')
    assert his.get(f"{patient}/$everything", Accept="application/fhir+xml").text.count("<Patient") == 1
