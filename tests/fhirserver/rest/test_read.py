"""read, vread and the conditional read (https://hl7.org/fhir/R4/http.html#read)."""

from __future__ import annotations

import pytest

from tests.fhirserver.rest.conftest import issues_of


def test_a_resource_comes_back_with_its_version_and_the_instant_of_its_last_change(his, patient):
    response = his.get(patient)
    assert response.status_code == 200
    assert response.content_type == "application/fhir+json; charset=utf-8"
    assert response.headers["ETag"] == 'W/"1"'
    assert response.headers["Last-Modified"].endswith("GMT")
    assert response.json["meta"]["versionId"] == "1"


def test_an_answer_may_not_be_kept_by_caches_nor_guessed_by_browsers(his, patient):
    headers = his.get(patient).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_what_was_sent_comes_back_digit_for_digit(his):
    body = (
        b'{"resourceType":"Observation","status":"final","code":{"text":"x"},'
        b'"valueQuantity":{"value":1.50,"unit":"mg"},"effectiveDateTime":"2020-02"}'
    )
    id_ = his.post("Observation", body).json["id"]
    assert b'"value":1.50' in his.get(f"Observation/{id_}").data


def test_a_declared_doctor_reads_and_a_stranger_finds_nothing(doctor, stranger, declared):
    assert doctor.get(declared).status_code == 200
    refused, absent = stranger.get(declared), stranger.get("Patient/absent")
    assert refused.status_code == absent.status_code == 404
    assert issues_of(refused)[0]["code"] == issues_of(absent)[0]["code"] == "not-found"
    assert refused.text.replace(declared, "Patient/absent") == absent.text


def test_a_refusal_is_audited_with_its_patient(stranger, declared, audit_of):
    stranger.get(declared)
    refusals = [event for event in audit_of() if event["outcome"] == "8"]
    assert any(declared in str(event["entity"]) for event in refusals)


def test_a_token_that_does_not_cover_reading_is_forbidden_and_says_nothing_of_the_data(caller, his, patient):
    writer = caller("Client/only-writes", organization="Organization/e1", scope="system/*.cud")
    for path in (patient, "Patient/absent", f"{patient}/_history", f"{patient}/_history/1", f"{patient}/_history/9"):
        response = writer.get(path)
        assert response.status_code == 403
        assert issues_of(response)[0]["code"] == "forbidden"


def test_a_read_is_audited_before_it_is_answered(doctor, declared, audit_of):
    doctor.get(declared, X_Request_Id="read-1")
    assert any(event["action"] == "R" and "read-1" in str(event) for event in audit_of())


def test_a_deleted_resource_is_gone_and_one_that_never_was_is_not_found(his, patient):
    assert his.delete(patient).status_code == 204
    assert his.get(patient).status_code == 410
    assert issues_of(his.get(patient))[0]["code"] == "deleted"
    assert his.get("Patient/never").status_code == 404


def test_nobody_reads_without_a_token(app):
    response = app.test_client().get("/fhir/Patient/x")
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert issues_of(response)[0]["code"] == "login"


def test_each_version_can_be_read_by_its_number(his, patient):
    changed = his.get(patient).json | {"birthDate": "1981-01-01"}
    assert his.put(patient, changed).headers["ETag"] == 'W/"2"'
    assert his.get(f"{patient}/_history/1").json["birthDate"] == "1980-02-03"
    assert his.get(f"{patient}/_history/2").json["birthDate"] == "1981-01-01"


@pytest.mark.parametrize("version", ["3", "0", "01", "+1", "x", "1e3", "9" * 40, "-1"])
def test_a_version_that_never_was_is_not_found(his, patient, version):
    response = his.get(f"{patient}/_history/{version}")
    assert response.status_code == 404
    assert issues_of(response)[0]["code"] == "not-found"


@pytest.mark.parametrize("tag", ['W/"1"', '"1"', "*", 'W/"9", W/"1"'])
def test_a_client_that_has_the_version_is_told_so_without_a_body(his, patient, tag):
    response = his.get(patient, If_None_Match=tag)
    assert response.status_code == 304
    assert response.data == b""
    assert response.headers["ETag"] == 'W/"1"'


def test_a_client_that_has_another_version_gets_the_present_one(his, patient):
    assert his.get(patient, If_None_Match='W/"2"').status_code == 200


def test_permission_comes_before_the_question_whether_anything_changed(stranger, patient):
    assert stranger.get(patient, If_None_Match="*").status_code == 404


def test_a_resource_unchanged_since_a_date_is_not_sent_again(his, patient):
    modified = his.get(patient).headers["Last-Modified"]
    assert his.get(patient, If_Modified_Since=modified).status_code == 304
    assert his.get(patient, If_Modified_Since="Mon, 01 Jan 2001 00:00:00 GMT").status_code == 200
    assert his.get(patient, If_Modified_Since="not a date").status_code == 200


def test_entity_tags_decide_alone_where_both_conditions_are_given(his, patient):
    modified = his.get(patient).headers["Last-Modified"]
    assert his.get(patient, If_None_Match='W/"7"', If_Modified_Since=modified).status_code == 200


def test_a_condition_that_is_no_entity_tag_is_refused(his, patient):
    assert his.get(patient, If_None_Match="1").status_code == 400


def test_head_answers_as_get_without_a_body(his, patient):
    response = his.request("HEAD", patient)
    assert response.status_code == 200
    assert response.headers["ETag"] == 'W/"1"'
    assert response.data == b""


@pytest.mark.parametrize("format_", ["json", "application/json", "application/fhir+json", "text/json"])
def test_json_may_be_asked_for_by_each_of_its_names(his, patient, format_):
    assert his.get(f"{patient}?_format={format_}").status_code == 200
    if format_ != "json":
        assert his.get(patient, Accept=format_).status_code == 200


@pytest.mark.parametrize(
    "format_", ["xhtml", "application/fhir%2Bturtle", "ttl", "html", "json%3B%20fhirVersion%3D5.0"]
)
def test_other_formats_are_not_acceptable(his, patient, format_):
    response = his.get(f"{patient}?_format={format_}")
    assert response.status_code == 406
    assert issues_of(response)[0]["code"] == "not-supported"


def test_format_overrides_accept(his, patient):
    assert his.get(f"{patient}?_format=json", Accept="text/turtle").json["resourceType"] == "Patient"
    assert his.get(f"{patient}?_format=json", Accept="application/fhir+xml").json["resourceType"] == "Patient"
    assert his.get(patient, Accept="text/turtle").status_code == 406


def test_pretty_indents_and_keeps_every_digit(his):
    body = b'{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.50}}'
    id_ = his.post("Observation", body).json["id"]
    text = his.get(f"Observation/{id_}?_pretty=true").text
    assert '\n  "id"' in text
    assert '"value": 1.50' in text


def test_elements_brings_what_was_named_and_says_that_the_rest_is_missing(his, patient):
    part = his.get(f"{patient}?_elements=birthDate").json
    assert part["birthDate"] == "1980-02-03"
    assert "name" not in part
    assert part["meta"]["tag"][0]["code"] == "SUBSETTED"


def test_a_parameter_that_a_read_does_not_have_is_refused_unless_leniency_is_asked_for(his, patient):
    response = his.get(f"{patient}?name=x")
    assert response.status_code == 400
    assert issues_of(response)[0]["expression"] == ["name"]
    assert his.get(f"{patient}?name=x", Prefer="handling=lenient").status_code == 200


def test_the_request_id_of_the_client_comes_back_and_a_hostile_one_is_replaced(his, patient):
    assert his.get(patient, X_Request_Id="abc-1").headers["X-Request-Id"] == "abc-1"
    assert his.get(patient, X_Request_Id="a b<script>").headers["X-Request-Id"] != "a b<script>"
    assert his.get(patient).headers["X-Request-Id"]
