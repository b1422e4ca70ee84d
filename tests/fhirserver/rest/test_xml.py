"""XML wherever JSON is: requests, answers, Bundles and errors (https://hl7.org/fhir/R4/xml.html)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from resources.xml import to_json, to_xml

FHIR_XML = "application/fhir+xml"
SENT = f"{FHIR_XML}; charset=utf-8"
OBSERVATION = (
    b'{"resourceType":"Observation","status":"final","code":{"text":"x"},"effectiveDateTime":"2020-02",'
    b'"_issued":{"extension":[{"url":"http://x.example/u","valueCode":"unknown"}]},"valueQuantity":{"value":1.50}}'
)


def xml(resource: Any) -> bytes:
    return to_xml(resource if isinstance(resource, bytes) else json.dumps(resource).encode())


def read(response: Any, status: int = 200) -> Any:
    """What an answer in XML says."""
    assert response.status_code == status, response.text
    assert response.content_type == SENT, response.text
    return json.loads(to_json(response.data))


def test_what_is_written_in_xml_is_read_in_json_with_every_digit(his):
    written = his.request("POST", "/Observation", xml(OBSERVATION), Content_Type=FHIR_XML)
    assert written.status_code == 201, written.text
    body = his.get(f"Observation/{written.json['id']}").data
    assert b'"value":1.50' in body
    sent = json.loads(OBSERVATION)
    assert {name: value for name, value in json.loads(body).items() if name in sent} == sent


def test_what_is_written_in_json_is_read_in_xml(his):
    id_ = his.post("Observation", OBSERVATION).json["id"]
    for asked in ({"Accept": FHIR_XML}, {"Accept": "application/xml"}, {"Accept": "text/xml"}):
        answer = his.get(f"Observation/{id_}", **asked)
        assert read(answer) == his.get(f"Observation/{id_}").json
        assert b'<value value="1.50"/>' in answer.data
        assert answer.headers["ETag"] == 'W/"1"'
    for format_ in ("xml", "application/fhir%2Bxml", "application/fhir+xml", "application/xml", "text/xml"):
        assert read(his.get(f"Observation/{id_}?_format={format_}"))["id"] == id_


def test_an_update_in_xml_that_changes_nothing_makes_no_new_version(his):
    made = his.post("Observation", OBSERVATION).json
    body = xml(his.get(f"Observation/{made['id']}").data)
    again = his.request("PUT", f"/Observation/{made['id']}", body, Content_Type="text/xml", Accept=FHIR_XML)
    assert read(again)["meta"]["versionId"] == "1"


def test_a_page_its_links_and_its_rest_are_in_xml(his, patient):
    his.post("Observation", {**json.loads(OBSERVATION), "subject": {"reference": patient}})
    his.post("Observation", {**json.loads(OBSERVATION), "subject": {"reference": patient}})
    bundle = read(his.get(f"Observation?subject={patient}&_count=1&_format=xml"))
    assert (bundle["type"], len(bundle["entry"])) == ("searchset", 1)
    following = next(link["url"] for link in bundle["link"] if link["relation"] == "next")
    rest = read(his.get(following.removeprefix("http://fhir.example/fhir"), Accept=FHIR_XML))
    assert len(rest["entry"]) == 1


def test_history_is_in_xml(his, patient):
    bundle = read(his.get(f"{patient}/_history", Accept=FHIR_XML))
    assert (bundle["type"], bundle["entry"][0]["request"]["method"]) == ("history", "POST")


def test_a_transaction_in_xml_is_answered_in_xml(his):
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [{"resource": json.loads(OBSERVATION), "request": {"method": "POST", "url": "Observation"}}],
    }
    answer = his.request(
        "POST", "", xml(bundle), Content_Type=FHIR_XML, Accept=FHIR_XML, Prefer="return=representation"
    )
    found = read(answer)
    assert (found["type"], found["entry"][0]["response"]["status"]) == ("transaction-response", "201 Created")
    assert found["entry"][0]["resource"]["valueQuantity"]["value"] == 1.5


def test_a_form_may_name_the_format(his, patient):
    answer = his.request(
        "POST",
        "/Patient/_search",
        f"_id={patient.partition('/')[2]}&_format=xml&_pretty=true".encode(),
        Content_Type="application/x-www-form-urlencoded",
    )
    assert len(read(answer)["entry"]) == 1
    assert b"\n  <entry>" in answer.data


def test_an_error_of_a_form_is_told_in_the_format_that_the_form_names(his):
    form = b"colour=blue&_format=xml"
    answer = his.request("POST", "/Patient/_search", form, Content_Type="application/x-www-form-urlencoded")
    assert read(answer, 400)["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    ("path", "status"),
    [("Patient/absent", 404), ("Patient?colour=blue", 400), ("NoSuchType/1", 404), ("Patient/$x", 400)],
)
def test_errors_are_told_in_the_format_asked_for(his, path, status):
    asked_by_header = read(his.get(path, Accept=FHIR_XML), status)
    assert asked_by_header["resourceType"] == "OperationOutcome"
    query = f"{path}{'&' if '?' in path else '?'}_format=xml"
    assert read(his.get(query), status)["issue"][0]["severity"] == "error"


def test_who_has_no_token_is_told_so_in_xml(app):
    answer = app.test_client().get("/fhir/Patient/x", headers={"Accept": FHIR_XML})
    assert read(answer, 401)["issue"][0]["code"] == "login"


def test_an_error_is_told_in_json_where_nothing_asked_for_is_offered(his):
    assert his.get("Patient/absent", Accept="text/turtle").json["resourceType"] == "OperationOutcome"
    assert his.get("Patient/absent?_format=ttl").json["issue"][0]["expression"] == ["_format"]


def test_what_the_gate_refuses_in_json_it_refuses_in_xml(his):
    wrong = {"resourceType": "Patient", "birthDate": "2020-02-31", "gender": "blue"}
    refused = his.request("POST", "/Patient", xml(wrong), Content_Type=FHIR_XML, Accept=FHIR_XML)
    expressions = {issue["expression"][0] for issue in read(refused, 422)["issue"]}
    assert expressions == {"Patient.birthDate", "Patient.gender"}


@pytest.mark.parametrize("body", [b"", b"{}", b"<Patient/>", b"<!DOCTYPE x><Patient/>", b"<a><b></a>"])
def test_what_is_no_fhir_xml_is_a_bad_request(his, body):
    response = his.request("POST", "/Patient", body, Content_Type=FHIR_XML)
    assert response.status_code in {400, 422}
    assert response.json["issue"][0]["code"] == "structure"


def test_a_body_in_xml_keeps_to_the_limit(his, config):
    body = xml({"resourceType": "Patient", "language": "x" * config.max_body})
    assert his.request("POST", "/Patient", body, Content_Type=FHIR_XML).status_code == 413


def test_a_summary_is_in_xml_as_well(his, patient):
    assert read(his.get(f"{patient}?_summary=true&_format=xml"))["meta"]["tag"][0]["code"] == "SUBSETTED"


def test_a_binary_in_xml_is_a_resource_and_other_xml_is_content(his):
    binary = {"resourceType": "Binary", "contentType": "text/plain", "data": "AAAA"}
    for type_ in (FHIR_XML, "application/xml"):
        made = his.request("POST", "/Binary", xml(binary), Content_Type=type_)
        assert (made.json["contentType"], made.json["data"]) == ("text/plain", "AAAA")
        assert read(his.get(f"Binary/{made.json['id']}", Accept=FHIR_XML))["data"] == "AAAA"
    document = b'<?xml version="1.0"?><!DOCTYPE x><ClinicalDocument xmlns="urn:hl7-org:v3"/>'
    made = his.request("POST", "/Binary", document, Content_Type="text/xml")
    assert made.json["contentType"] == "text/xml"
    content = his.get(f"Binary/{made.json['id']}")
    assert (content.data, content.content_type) == (document, "text/xml")
    assert his.request("POST", "/Binary", b"<broken", Content_Type=FHIR_XML).status_code == 400


def test_a_stranger_finds_refused_and_absent_alike_in_xml(stranger, patient):
    refused, absent = (stranger.get(path, Accept=FHIR_XML) for path in (patient, "Patient/absent"))
    assert refused.status_code == absent.status_code == 404
    assert refused.text.replace(patient, "Patient/absent") == absent.text


def test_what_xml_could_not_say_is_not_stored(his):
    for text in ("a\ufffeb", "\uffff"):
        refused = his.post("Observation", {"resourceType": "Observation", "status": "final", "code": {"text": text}})
        assert refused.status_code == 422
        assert refused.json["issue"][0]["expression"] == ["Observation.code.text"]


def test_an_error_that_quotes_what_xml_cannot_say_is_told_in_json(his):
    response = his.get("Patient/%EF%BF%BE", Accept=FHIR_XML)
    assert (response.status_code, response.json["resourceType"]) == (400, "OperationOutcome")
