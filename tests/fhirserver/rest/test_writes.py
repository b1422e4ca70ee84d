"""create, update and delete (https://hl7.org/fhir/R4/http.html#create, #update, #delete)."""

from __future__ import annotations

import threading
import uuid

import pytest

from tests.fhirserver.rest.conftest import issues_of

PATIENT = {"resourceType": "Patient", "name": [{"family": "Durand"}]}


def test_a_created_resource_says_where_it_is(his):
    response = his.post("Patient", PATIENT)
    assert response.status_code == 201
    location = response.headers["Location"]
    assert location == f"http://fhir.example/fhir/Patient/{response.json['id']}/_history/1"
    assert response.headers["ETag"] == 'W/"1"'
    assert his.get(location.removeprefix("http://fhir.example/fhir")).status_code == 200


def test_the_id_in_the_body_of_a_create_is_not_taken(his):
    assert his.post("Patient", PATIENT | {"id": "mine"}).json["id"] != "mine"


@pytest.mark.parametrize(
    ("prefer", "type_"),
    [("return=representation", "Patient"), ("return=OperationOutcome", "OperationOutcome"), ("return=minimal", None)],
)
def test_prefer_says_what_comes_back(his, prefer, type_):
    response = his.post("Patient", PATIENT, Prefer=prefer)
    assert response.status_code == 201
    assert (response.json["resourceType"] if response.data else None) == type_


def test_a_professional_writes_nothing(doctor):
    response = doctor.post("Patient", PATIENT)
    assert response.status_code == 403
    assert issues_of(response)[0]["code"] == "forbidden"


def test_a_token_without_the_scope_is_refused_before_anything_is_read(caller, his):
    reader = caller("Client/reader", organization="Organization/e1", scope="system/*.rs")
    assert reader.post("Patient", PATIENT).status_code == 403


def test_what_a_token_does_not_cover_is_refused_before_its_content_is_looked_at(caller, his):
    reader = caller("Client/reader", organization="Organization/e1", scope="system/*.rs")
    wrong = {"resourceType": "Patient", "nosuch": 1}
    assert reader.post("Patient", wrong).status_code == 403
    assert reader.put("Patient/1", wrong | {"id": "1"}).status_code == 403
    assert reader.delete("Patient/1").status_code == 403


def test_a_condition_needs_the_right_to_search(caller, his):
    writer = caller("Client/writer", organization="Organization/e1", scope="system/*.c")
    assert writer.post("Patient", PATIENT).status_code == 201
    assert writer.post("Patient", PATIENT, If_None_Exist="identifier=urn:s|1").status_code == 403


def test_a_condition_that_nothing_meets_creates_and_the_same_again_finds_it(his):
    number = uuid.uuid4().hex
    body = PATIENT | {"identifier": [{"system": "urn:s", "value": number}]}
    first = his.post("Patient", body, If_None_Exist=f"identifier=urn:s|{number}")
    second = his.post("Patient", body, If_None_Exist=f"identifier=urn:s|{number}")
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json["id"] == second.json["id"]
    assert second.headers["Location"] == first.headers["Location"]


def test_a_condition_that_several_meet_fails(his):
    number = uuid.uuid4().hex
    body = PATIENT | {"identifier": [{"system": "urn:s", "value": number}]}
    his.make(body)
    his.make(body)
    response = his.post("Patient", body, If_None_Exist=f"identifier=urn:s|{number}")
    assert response.status_code == 412
    assert issues_of(response)[0]["code"] == "multiple-matches"


@pytest.mark.parametrize("condition", ["", "_count=1", "nosuch=1", "identifier:in=x"])
def test_a_condition_that_says_nothing_or_cannot_be_understood_is_refused(his, condition):
    assert his.post("Patient", PATIENT, If_None_Exist=condition).status_code == 400


def test_parallel_conditional_creates_make_one_resource(his):
    number = uuid.uuid4().hex
    body = PATIENT | {"identifier": [{"system": "urn:s", "value": number}]}
    statuses: list[int] = []

    def create():
        statuses.append(his.post("Patient", body, If_None_Exist=f"identifier=urn:s|{number}").status_code)

    threads = [threading.Thread(target=create) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] * 5 + [201]
    assert his.get(f"Patient?identifier=urn:s|{number}").json["total"] == 1


def test_an_update_makes_the_next_version(his, patient):
    response = his.put(patient, his.get(patient).json | {"birthDate": "1999"})
    assert response.status_code == 200
    assert response.headers["ETag"] == 'W/"2"'
    assert response.headers["Content-Location"].endswith("/_history/2")


def test_a_system_may_choose_an_id(his):
    id_ = uuid.uuid4().hex
    assert his.put(f"Patient/{id_}", PATIENT | {"id": id_}).status_code == 201
    assert his.put(f"Patient/{id_}", PATIENT | {"id": id_, "gender": "female"}).status_code == 200


@pytest.mark.parametrize("body", [PATIENT, PATIENT | {"id": "another"}])
def test_an_update_whose_body_has_not_the_id_of_its_address_is_refused(his, patient, body):
    response = his.put(patient, body)
    assert response.status_code == 400
    assert issues_of(response)[0]["expression"] == ["Patient.id"]


def test_another_establishment_can_neither_see_nor_change_the_record(other_his, his, patient):
    assert other_his.put(patient, his.get(patient).json | {"birthDate": "1999"}).status_code == 404
    assert other_his.delete(patient).status_code == 404
    assert his.get(patient).json["birthDate"] == "1980-02-03"


@pytest.mark.parametrize("tag", ['W/"1"', "*", 'W/"8", W/"1"', '"1"'])
def test_an_update_bound_to_the_present_version_succeeds(his, patient, tag):
    assert his.put(patient, his.get(patient).json | {"birthDate": "1999"}, If_Match=tag).status_code == 200


@pytest.mark.parametrize("tag", ['W/"2"', 'W/"x"', 'W/"8", W/"9"'])
def test_an_update_bound_to_another_version_fails(his, patient, tag):
    response = his.put(patient, his.get(patient).json | {"birthDate": "1999"}, If_Match=tag)
    assert response.status_code == 412
    assert issues_of(response)[0]["code"] == "conflict"
    assert his.get(patient).headers["ETag"] == 'W/"1"'


def test_an_update_of_what_must_exist_fails_where_nothing_does(his):
    assert his.put("Patient/none", PATIENT | {"id": "none"}, If_Match="*").status_code == 412


def test_an_update_that_must_create_fails_where_something_exists(his, patient):
    assert his.put(patient, his.get(patient).json | {"birthDate": "1999"}, If_None_Match="*").status_code == 412
    id_ = uuid.uuid4().hex
    assert his.put(f"Patient/{id_}", PATIENT | {"id": id_}, If_None_Match="*").status_code == 201


def test_a_delete_leaves_a_version_that_says_so(his, patient):
    response = his.delete(patient)
    assert response.status_code == 204
    assert response.headers["ETag"] == 'W/"2"'
    assert his.get(patient).status_code == 410
    assert his.get(f"{patient}/_history/1").status_code == 200
    assert his.get(f"{patient}/_history/2").status_code == 410


def test_a_delete_may_be_done_again(his, patient):
    his.delete(patient)
    assert his.delete(patient).status_code == 204


def told(response, reference):
    """What a caller can see of an answer about a resource."""
    return response.status_code, response.headers.get("Allow"), response.text.replace(reference, "")


@pytest.mark.parametrize("tag", [None, 'W/"1"', 'W/"2"', "*"])
def test_a_delete_of_what_may_not_be_seen_looks_like_one_of_what_never_was(other_his, his, patient, tag):
    condition = {} if tag is None else {"If_Match": tag}
    refused, absent = other_his.delete(patient, **condition), other_his.delete("Patient/never", **condition)
    assert told(refused, patient) == told(absent, "Patient/never")
    assert refused.status_code == (412 if tag == "*" else 404)
    his.delete(patient)
    assert told(other_his.delete(patient, **condition), patient) == told(absent, "Patient/never")


@pytest.mark.parametrize("tag", ['W/"1"', 'W/"2"', "*"])
def test_a_bound_update_of_what_may_not_be_seen_looks_like_one_of_what_never_was(other_his, patient, tag):
    answers = [
        told(other_his.put(reference, PATIENT | {"id": reference.partition("/")[2]}, If_Match=tag), reference)
        for reference in (patient, "Patient/never")
    ]
    assert answers[0] == answers[1]
    assert answers[0][0] == 412


@pytest.mark.parametrize("tag", [None, 'W/"1"', "*"])
def test_somebody_who_may_not_choose_ids_cannot_tell_which_are_taken(caller, his, patient, tag):
    def consent(id_, who):
        return {
            "resourceType": "Consent",
            "id": id_,
            "status": "active",
            "scope": {
                "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]
            },
            "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
            "patient": {"reference": who},
            "dateTime": "2026-11-24T09:00:00+01:00",
            "performer": [{"reference": who}],
            "policy": [{"uri": "urn:fhirserver:policy:opposition"}],
            "provision": {"type": "deny"},
        }

    taken = f"taken-{uuid.uuid4().hex[:12]}"
    assert his.put(f"Consent/{taken}", consent(taken, patient)).status_code == 201
    somebody = f"Patient/{his.make(PATIENT)['id']}"
    person = caller(somebody)
    condition = {} if tag is None else {"If_Match": tag}
    answers = [
        told(person.put(f"Consent/{id_}", consent(id_, somebody), **condition), f"Consent/{id_}")
        for id_ in (taken, "never")
    ]
    assert answers[0] == answers[1]
    assert answers[0][0] in {405, 412}


def test_a_delete_bound_to_another_version_fails(his, patient):
    assert his.delete(patient, If_Match='W/"5"').status_code == 412
    assert his.get(patient).status_code == 200
    assert his.delete(patient, If_Match='W/"1"').status_code == 204


def test_a_delete_may_answer_with_an_outcome(his, patient):
    response = his.delete(patient, Prefer="return=OperationOutcome")
    assert response.status_code == 200
    assert issues_of(response)[0]["severity"] == "information"


def test_every_write_is_audited(his, audit_of):
    made = his.make(PATIENT)
    path = f"Patient/{made['id']}"
    his.put(path, made | {"gender": "male"})
    his.delete(path)
    actions = [event["action"] for event in audit_of() if path in str(event["entity"])]
    assert actions == ["C", "U", "D"]


@pytest.mark.parametrize("tag", ['W/"7"', 'W/"x"'])
def test_a_write_that_came_too_late_is_audited_as_a_read_for_it_told_what_is_there(his, declared, audit_of, tag):
    made = his.make({"resourceType": "Basic", "code": {"text": "x"}, "subject": {"reference": declared}})
    path, change, before = f"Basic/{made['id']}", made | {"code": {"text": "y"}}, len(audit_of())
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [{"resource": change, "request": {"method": "PUT", "url": path, "ifMatch": tag}}],
    }
    for late in (
        his.put(path, change, If_Match=tag),
        his.put(path, change, If_None_Match="*"),
        his.put(f"Basic?_id={made['id']}", change, If_Match=tag),
        his.delete(path, If_Match=tag),
        his.delete(f"Basic?_id={made['id']}", If_Match=tag),
        his.post("", bundle),
    ):
        assert late.status_code == 412, late.text
    told = audit_of()[before:]
    assert [(event["action"], event["subtype"][0]["code"]) for event in told] == [("R", "read")] * 6
    assert all(path in str(event["entity"]) and declared in str(event["entity"]) for event in told)


def test_a_bound_write_of_what_may_not_be_seen_is_audited_as_refused(his, other_his, declared, audit_of):
    made = his.make({"resourceType": "Basic", "code": {"text": "x"}, "subject": {"reference": declared}})
    before = len(audit_of())
    for tag in ('W/"1"', 'W/"7"'):
        assert other_his.put(f"Basic/{made['id']}", made, If_Match=tag).status_code == 412
    assert {event["outcome"] for event in audit_of()[before:]} == {"8"}


def test_a_conditional_reference_outside_a_transaction_is_refused(his):
    study = {
        "resourceType": "ImagingStudy",
        "status": "available",
        "subject": {"reference": "Patient?identifier=urn:s|1"},
    }
    response = his.post("ImagingStudy", study)
    assert response.status_code == 422
    assert "transaction" in issues_of(response)[0]["diagnostics"]


def test_what_is_too_large_with_its_search_values_is_refused_and_nothing_is_stored(his, declared):
    def basic(count):
        identifier = [{"system": "urn:x", "value": f"{n:06}" + "v" * 90} for n in range(count)]
        return {
            "resourceType": "Basic",
            "code": {"text": "x"},
            "subject": {"reference": declared},
            "identifier": identifier,
        }

    response = his.post("Basic", basic(60_000))
    [issue] = issues_of(response)
    assert (response.status_code, issue["code"]) == (413, "too-long")
    made = his.make(basic(1))
    assert his.put(f"Basic/{made['id']}", basic(60_000) | {"id": made["id"]}).status_code == 413
    assert his.get(f"Basic/{made['id']}").json["meta"]["versionId"] == "1"
    assert his.get(f"Basic?subject={declared}&_summary=count").json["total"] == 1
