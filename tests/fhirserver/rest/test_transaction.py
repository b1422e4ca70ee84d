"""transaction (https://hl7.org/fhir/R4/http.html#trules)."""

from __future__ import annotations

import json
import uuid

import pytest

from fhirserver.errors import TooCostly
from fhirserver.store.resource_store import ResourceStore
from tests.fhirserver.rest.conftest import issues_of


def entry(method, url, resource=None, full_url=None, **request):
    made = {"request": {"method": method, "url": url, **request}}
    if resource is not None:
        made["resource"] = resource
    if full_url is not None:
        made["fullUrl"] = full_url
    return made


def transaction(*entries):
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}


def urn():
    return f"urn:uuid:{uuid.uuid4()}"


def patient_with(number, **more):
    return {"resourceType": "Patient", "identifier": [{"system": "urn:s", "value": number}], **more}


def study_of(reference, **more):
    return {"resourceType": "ImagingStudy", "status": "available", "subject": {"reference": reference}, **more}


def locations(response):
    assert response.status_code == 200, response.text
    assert response.json["type"] == "transaction-response"
    return [
        one["response"].get("location", "").removeprefix("http://fhir.example/fhir/").partition("/_history")[0]
        for one in response.json["entry"]
    ]


def test_references_between_entries_are_rewritten_wherever_they_stand_whatever_the_order(his):
    patient, study = urn(), urn()
    report = {
        "resourceType": "DiagnosticReport",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": patient},
        "imagingStudy": [{"reference": study}],
        "text": {
            "status": "additional",
            "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{study}">images</a></div>',
        },
        "presentedForm": [{"url": study}],
        "conclusion": study,
    }
    response = his.post(
        "",
        transaction(
            entry("POST", "DiagnosticReport", report),
            entry("POST", "ImagingStudy", study_of(patient), study),
            entry("POST", "Patient", patient_with(uuid.uuid4().hex), patient),
        ),
    )
    report_at, study_at, patient_at = locations(response)
    stored = his.get(report_at).json
    assert stored["subject"]["reference"] == patient_at
    assert stored["imagingStudy"][0]["reference"] == study_at
    assert f'href="{study_at}"' in stored["text"]["div"]
    assert stored["presentedForm"][0]["url"] == study_at
    assert stored["conclusion"] == study, "text that only looks like a reference is left alone"


def test_digits_survive_a_transaction(his):
    patient = urn()
    observation = (
        f'{{"resourceType":"Observation","status":"final","code":{{"text":"x"}},"subject":{{"reference":"{patient}"}},'
        '"valueQuantity":{"value":1.50}}'
    )
    body = (
        '{"resourceType":"Bundle","type":"transaction","entry":['
        f'{{"resource":{observation},"request":{{"method":"POST","url":"Observation"}}}},'
        f'{{"fullUrl":"{patient}","resource":{{"resourceType":"Patient"}},'
        '"request":{"method":"POST","url":"Patient"}}]}'
    )
    at = locations(his.post("", body.encode()))[0]
    assert b'"value":1.50' in his.get(at).data


def test_a_reference_by_the_address_of_a_full_url_is_understood(his):
    response = his.post(
        "",
        transaction(
            entry("POST", "ImagingStudy", study_of("Patient/old"), "http://old.example/fhir/ImagingStudy/1"),
            entry("POST", "Patient", patient_with("1"), "http://old.example/fhir/Patient/old"),
        ),
    )
    study_at, patient_at = locations(response)
    assert his.get(study_at).json["subject"]["reference"] == patient_at


def test_all_or_nothing(his):
    number = uuid.uuid4().hex
    response = his.post(
        "",
        transaction(
            entry("POST", "Patient", patient_with(number)),
            entry("POST", "Patient", {"resourceType": "Patient", "gender": "x", "nosuch": 1}),
        ),
    )
    assert response.status_code == 422
    assert {issue["expression"][0].partition("resource")[0] for issue in issues_of(response)} == {"Bundle.entry[1]."}
    assert his.get(f"Patient?identifier=urn:s|{number}").json["total"] == 0


def test_an_error_names_its_entry_and_its_element(his):
    response = his.post(
        "", transaction(entry("POST", "Patient", {"resourceType": "Patient", "birthDate": "2020-02-31"}))
    )
    assert issues_of(response)[0]["expression"] == ["Bundle.entry[0].resource.birthDate"]


def test_a_refused_write_fails_the_whole(his, other_his, patient):
    number = uuid.uuid4().hex
    body = transaction(
        entry("POST", "Patient", patient_with(number)),
        entry("PUT", patient, {"resourceType": "Patient", "id": patient.partition("/")[2]}),
    )
    response = other_his.post("", body)
    assert response.status_code == 404
    assert issues_of(response)[0]["expression"] == ["Bundle.entry[1]"]
    assert other_his.get(f"Patient?identifier=urn:s|{number}").json["total"] == 0


def test_deletions_creations_updates_and_reads_happen_in_that_order(his, patient):
    number = uuid.uuid4().hex
    updated = patient_with(number, id="up" + number[:20])
    response = his.post(
        "",
        transaction(
            entry("GET", f"Patient?identifier=urn:s|{number}"),
            entry("GET", f"Patient/{updated['id']}"),
            entry("PUT", f"Patient/{updated['id']}", updated),
            entry("POST", "Patient", patient_with(number)),
            entry("DELETE", patient),
        ),
    )
    assert response.status_code == 200, response.text
    answers = response.json["entry"]
    assert answers[0]["resource"]["total"] == 2
    assert answers[1]["resource"]["id"] == updated["id"]
    assert [one["response"]["status"] for one in answers] == [
        "200 OK",
        "200 OK",
        "201 Created",
        "201 Created",
        "204 No Content",
    ]
    assert his.get(patient).status_code == 410


def test_two_entries_may_not_change_one_resource(his, patient):
    id_ = patient.partition("/")[2]
    response = his.post(
        "", transaction(entry("DELETE", patient), entry("PUT", patient, {"resourceType": "Patient", "id": id_}))
    )
    assert response.status_code == 400
    assert his.get(patient).status_code == 200


def test_two_entries_may_not_have_one_name(his):
    name = urn()
    one = entry("POST", "Patient", patient_with("1"), name)
    assert his.post("", transaction(one, one)).status_code in {400, 422}


def test_a_temporary_reference_without_an_entry_is_refused(his):
    response = his.post("", transaction(entry("POST", "ImagingStudy", study_of(urn()))))
    assert response.status_code == 422
    assert "fullUrl" in issues_of(response)[0]["diagnostics"]


def test_a_conditional_create_that_is_met_stands_for_what_exists(his, patient):
    number = his.get(patient).json["identifier"][0]["value"]
    name = urn()
    response = his.post(
        "",
        transaction(
            entry("POST", "ImagingStudy", study_of(name)),
            entry("POST", "Patient", patient_with("x"), name, ifNoneExist=f"identifier=urn:oid:1.2.3|{number}"),
        ),
    )
    study_at, patient_at = locations(response)
    assert patient_at == patient
    assert response.json["entry"][1]["response"]["status"] == "200 OK"
    assert his.get(study_at).json["subject"]["reference"] == patient


def test_what_a_conditional_create_finds_may_not_be_changed_by_another_entry(his, patient):
    number = his.get(patient).json["identifier"][0]["value"]
    response = his.post(
        "",
        transaction(
            entry("POST", "Patient", patient_with("x"), ifNoneExist=f"identifier=urn:oid:1.2.3|{number}"),
            entry("DELETE", patient),
        ),
    )
    assert response.status_code == 400
    assert issues_of(response)[0]["expression"] == ["Bundle.entry[0]"]
    assert his.get(patient).status_code == 200


def test_a_search_that_cannot_be_answered_fails_alone_since_the_rest_is_written(his, monkeypatch):
    def too_costly(*_, **__):
        raise TooCostly("too much")

    monkeypatch.setattr(ResourceStore, "search", too_costly)
    response = his.post("", transaction(entry("GET", "Patient"), entry("POST", "Patient", patient_with("1"))))
    assert response.status_code == 200
    assert [one["response"]["status"][:3] for one in response.json["entry"]] == ["400", "201"]


def test_two_conditional_creates_of_one_bundle_make_one_resource(his):
    number = uuid.uuid4().hex
    one = entry("POST", "Patient", patient_with(number), ifNoneExist=f"identifier=urn:s|{number}")
    first, second = locations(his.post("", transaction(one, one)))
    assert first == second
    assert his.get(f"Patient?identifier=urn:s|{number}").json["total"] == 1


def test_a_conditional_reference_finds_what_is_stored(his, patient):
    number = his.get(patient).json["identifier"][0]["value"]
    reference = f"Patient?identifier=urn:oid:1.2.3|{number}"
    [at] = locations(his.post("", transaction(entry("POST", "ImagingStudy", study_of(reference)))))
    assert his.get(at).json["subject"]["reference"] == patient


def test_a_conditional_reference_finds_what_the_bundle_itself_creates(his):
    number = uuid.uuid4().hex
    body = transaction(
        entry("POST", "ImagingStudy", study_of(f"Patient?identifier=urn:s|{number}")),
        entry("POST", "Patient", patient_with(number)),
    )
    study_at, patient_at = locations(his.post("", body))
    assert his.get(study_at).json["subject"]["reference"] == patient_at


def test_a_conditional_reference_does_not_find_what_the_bundle_itself_deletes_or_changes(his, patient):
    number = his.get(patient).json["identifier"][0]["value"]
    study = entry("POST", "ImagingStudy", study_of(f"Patient?identifier=urn:oid:1.2.3|{number}"))
    assert his.post("", transaction(entry("DELETE", patient), study)).status_code == 412
    changed = entry("PUT", patient, patient_with("other", id=patient.partition("/")[2]))
    assert his.post("", transaction(changed, study)).status_code == 412
    assert his.get(patient).headers["ETag"] == 'W/"1"'


@pytest.mark.parametrize("copies", [0, 2])
def test_a_conditional_reference_that_none_or_several_meet_fails_the_whole(his, copies):
    number = uuid.uuid4().hex
    for _ in range(copies):
        his.make(patient_with(number))
    response = his.post(
        "",
        transaction(
            entry("POST", "Patient", patient_with(number + "x")),
            entry("POST", "ImagingStudy", study_of(f"Patient?identifier=urn:s|{number}")),
        ),
    )
    assert response.status_code == 412
    assert issues_of(response)[0]["expression"] == ["Bundle.entry[1]"]
    assert his.get(f"Patient?identifier=urn:s|{number}x").json["total"] == 0


def test_a_conditional_reference_does_not_find_what_the_caller_may_not_see(other_his, his, patient):
    number = his.get(patient).json["identifier"][0]["value"]
    body = transaction(entry("POST", "ImagingStudy", study_of(f"Patient?identifier=urn:oid:1.2.3|{number}")))
    assert other_his.post("", body).status_code == 412


def test_conditions_of_entries_hold(his, patient):
    id_ = patient.partition("/")[2]
    changed = {"resourceType": "Patient", "id": id_, "gender": "male"}
    assert his.post("", transaction(entry("PUT", patient, changed, ifMatch='W/"7"'))).status_code == 412
    assert his.post("", transaction(entry("PUT", patient, changed, ifNoneMatch="*"))).status_code == 412
    assert his.post("", transaction(entry("DELETE", patient, ifMatch='W/"7"'))).status_code == 412
    assert his.get(patient).headers["ETag"] == 'W/"1"'
    read = his.post("", transaction(entry("GET", patient, ifNoneMatch='W/"1"')))
    assert read.json["entry"][0]["response"]["status"] == "304 Not Modified"
    assert "resource" not in read.json["entry"][0]
    assert his.post("", transaction(entry("PUT", patient, changed, ifMatch='W/"1"'))).status_code == 200


def test_prefer_brings_the_resources_along(his):
    body = transaction(entry("POST", "Patient", patient_with("1")))
    assert "resource" not in his.post("", body).json["entry"][0]
    assert his.post("", body, Prefer="return=representation").json["entry"][0]["resource"]["id"]
    outcome = his.post("", body, Prefer="return=OperationOutcome").json["entry"][0]["response"]["outcome"]
    assert outcome["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("PATCH", "Patient/1"),
        ("PUT", "Patient"),
        ("DELETE", "Patient"),
        ("DELETE", "Patient?identifier=1&_count=2"),
        ("POST", "Patient/$everything"),
        ("GET", "Patient/1/_history"),
        ("GET", "Patient/_history"),
        ("GET", "metadata"),
        ("GET", "http://elsewhere.example/fhir/Patient/1"),
        ("GET", "Patient/a b"),
        ("GET", "../Patient/1"),
        ("POST", "Parameters"),
        ("GET", "Patient?nosuch=1"),
    ],
)
def test_what_is_not_offered_fails_the_whole_and_says_where(his, method, url):
    number = uuid.uuid4().hex
    response = his.post(
        "",
        transaction(entry("POST", "Patient", patient_with(number)), entry(method, url, {"resourceType": "Patient"})),
    )
    assert 400 <= response.status_code < 500
    assert issues_of(response)[0]["expression"][0].startswith("Bundle.entry[1]")
    assert his.get(f"Patient?identifier=urn:s|{number}").json["total"] == 0


@pytest.mark.parametrize(
    "body",
    [
        {"resourceType": "Patient"},
        {"resourceType": "Bundle"},
        {"resourceType": "Bundle", "type": "searchset"},
        {"resourceType": "Bundle", "type": "transaction", "entry": []},
        {"resourceType": "Bundle", "type": "transaction", "entry": {}},
        {"resourceType": "Bundle", "type": "transaction", "entry": [1]},
        {"resourceType": "Bundle", "type": "transaction", "entry": [{}]},
        {"resourceType": "Bundle", "type": "transaction", "entry": [{"request": {"method": "POST", "url": "Patient"}}]},
        {
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [{"request": {"method": "STEAL", "url": "Patient"}}],
        },
        {"resourceType": "Bundle", "type": "transaction", "entry": [{"request": {"method": 1, "url": 2}}]},
        {"resourceType": "Bundle", "type": "transaction", "nosuch": 1},
        [],
        None,
        "Bundle",
    ],
)
def test_a_bundle_that_is_none_is_refused(his, body):
    response = his.post("", json.dumps(body).encode())
    assert response.status_code in {400, 422}
    assert issues_of(response)


def test_a_member_named_twice_is_refused(his):
    body = b'{"resourceType":"Bundle","type":"transaction","type":"batch"}'
    assert his.post("", body).status_code == 400


def test_the_base_may_end_with_a_slash(his):
    assert his.post("/", transaction(entry("POST", "Patient", patient_with("1")))).status_code == 200


def test_an_empty_transaction_is_answered_with_an_empty_bundle(his):
    response = his.post("", {"resourceType": "Bundle", "type": "transaction"})
    assert response.status_code == 200
    assert "entry" not in response.json


def test_too_many_entries_are_refused(his):
    body = transaction(*[entry("GET", "Patient/x")] * 1001)
    response = his.post("", body)
    assert response.status_code == 400
    assert issues_of(response)[0]["code"] == "too-costly"


def test_a_patient_a_care_team_and_a_study_in_one_bundle_are_visible_to_the_doctor_at_once(his, doctor):
    name = urn()
    team = {
        "resourceType": "CareTeam",
        "status": "active",
        "subject": {"reference": name},
        "participant": [{"member": {"reference": "Practitioner/d"}}],
    }
    response = his.post(
        "",
        transaction(
            entry("POST", "CareTeam", team),
            entry("POST", "ImagingStudy", study_of(name)),
            entry("POST", "Patient", patient_with("1"), name),
        ),
    )
    _, study_at, patient_at = locations(response)
    assert doctor.get(study_at).status_code == 200
    assert doctor.get(f"ImagingStudy?patient={patient_at}").json["total"] == 1


def test_every_entry_is_audited(his, audit_of):
    number = uuid.uuid4().hex
    his.post(
        "",
        transaction(
            entry("POST", "Patient", patient_with(number)),
            entry("POST", "Patient", patient_with(number + "x")),
            entry("GET", f"Patient?identifier=urn:s|{number}"),
        ),
        X_Request_Id="transaction-1",
    )
    actions = sorted(event["action"] for event in audit_of() if "transaction-1" in str(event))
    assert actions == ["C", "C", "E"]


def test_the_token_is_asked_about_every_entry_before_its_content_is_looked_at(caller, his):
    searcher = caller("Client/searcher", organization="Organization/e1", scope="system/*.rs")
    wrong = entry("POST", "Patient", {"resourceType": "Patient", "nosuch": 1})
    response = searcher.post("", transaction(entry("GET", "Patient"), wrong))
    assert response.status_code == 403
    assert issues_of(response)[0]["expression"] == ["Bundle.entry[1]"]


def test_a_conditional_reference_needs_the_right_to_search(caller, his, patient):
    number = his.get(patient).json["identifier"][0]["value"]
    writer = caller("Client/creates-only", organization="Organization/e1", scope="system/*.c")
    assert writer.post("", transaction(entry("POST", "ImagingStudy", study_of(patient)))).status_code == 200
    by_search = study_of(f"Patient?identifier=urn:oid:1.2.3|{number}")
    assert writer.post("", transaction(entry("POST", "ImagingStudy", by_search))).status_code == 403


def test_a_professional_may_read_but_not_write_in_a_transaction(doctor, declared):
    assert doctor.post("", transaction(entry("GET", declared))).status_code == 200
    assert doctor.post("", transaction(entry("POST", "Patient", patient_with("1")))).status_code == 403
