"""`$share` and `$revoke`: one exam opened to one recipient for a time, and closed again."""

from __future__ import annotations

import pytest

from tests.fhirserver.rest.conftest import issues_of

HIDDEN = {
    "system": "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument",
    "code": "INVISIBLE_PATIENT",
}
RECIPIENT = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]}


@pytest.fixture
def person(caller, patient, stranger):
    """The patient, in whose region Practitioner/s is."""
    return caller(patient)


@pytest.fixture
def study(his, patient):
    return make_study(his, patient)


def make_study(his, patient, **more):
    made = his.make({"resourceType": "ImagingStudy", "status": "available", "subject": {"reference": patient}, **more})
    return f"ImagingStudy/{made['id']}"


def share(caller, resource, recipient="Practitioner/s", **more):
    values = [{"name": name, "valueString": value} for name, value in {"recipient": recipient, **more}.items()]
    return caller.post(f"{resource}/$share", {"resourceType": "Parameters", "parameter": values})


def revoke(caller, consent, **headers):
    return caller.post(f"Consent/{consent['id']}/$revoke", {"resourceType": "Parameters"}, **headers)


def test_an_exam_is_opened_to_one_doctor_and_closed_again(person, his, patient, stranger, study):
    other = make_study(his, patient)
    shared = share(person, study)
    assert shared.status_code == 200, shared.text
    assert shared.json["provision"]["data"] == [{"meaning": "instance", "reference": {"reference": study}}]
    assert (stranger.get(study).status_code, stranger.get(other).status_code) == (200, 404)
    revoked = revoke(person, shared.json)
    assert revoked.json["status"] == "inactive"
    assert stranger.get(study).status_code == 404


def test_the_report_of_the_exam_goes_with_it(person, his, patient, stranger, study):
    report = his.make(
        {
            "resourceType": "DiagnosticReport",
            "status": "final",
            "code": {"text": "CT"},
            "subject": {"reference": patient},
            "imagingStudy": [{"reference": study}],
        }
    )
    share(person, study)
    assert stranger.get(f"DiagnosticReport/{report['id']}").status_code == 200


def test_it_ends_when_the_person_says_or_after_thirty_days(person, study):
    assert share(person, study, until="2030-05-06").json["provision"]["period"]["end"] == "2030-05-06"
    period = share(person, study).json["provision"]["period"]
    assert period["end"] > period["start"]


@pytest.mark.parametrize("until", ["2020-01-01", "tomorrow", "2030-02-31"])
def test_an_end_that_has_passed_or_is_none_is_refused(person, study, until):
    response = share(person, study, until=until)
    assert response.status_code == 400
    assert issues_of(response)[0]["expression"] == ["until"]


@pytest.mark.parametrize(
    "recipient", ["Practitioner/nobody", "Patient/other", "Practitioner", "Practitioner/s/_history/1"]
)
def test_a_recipient_who_is_not_in_the_directory_is_refused(person, study, recipient):
    response = share(person, study, recipient)
    assert response.status_code == 400
    assert issues_of(response)[0]["expression"] == ["recipient"]


def test_an_insurer_is_refused(person, operator, study):
    kind = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/organization-type", "code": "ins"}]}
    operator.put("Organization/insurer", {"resourceType": "Organization", "id": "insurer", "name": "i", "type": [kind]})
    response = share(person, study, "Organization/insurer")
    assert response.status_code == 422
    assert issues_of(response)[0]["code"] == "business-rule"


def test_what_the_person_may_not_see_cannot_be_shared_and_looks_absent(person, his, patient):
    hidden = make_study(his, patient, meta={"security": [HIDDEN]})
    here, nowhere = share(person, hidden), share(person, "ImagingStudy/nothing")
    assert (here.status_code, nowhere.status_code) == (404, 404)


def test_a_share_with_somebody_blocked_is_a_conflict(person, patient, study, stranger):
    block = {
        "resourceType": "Consent",
        "status": "active",
        "scope": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]
        },
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": patient},
        "dateTime": "2026-11-24T09:00:00+01:00",
        "performer": [{"reference": patient}],
        "policy": [{"uri": "urn:fhirserver:policy:restriction"}],
        "provision": {
            "type": "deny",
            "actor": [{"role": RECIPIENT, "reference": {"reference": "Practitioner/s"}}],
        },
    }
    made = person.make(block)
    assert share(person, study).status_code == 409
    assert revoke(person, made).status_code == 200
    assert share(person, study).status_code == 200


def test_nobody_else_shares_or_revokes(person, doctor, his, other_his, stranger, study, patient):
    shared = share(person, study).json
    for one in (doctor, his, stranger):
        assert share(one, study).status_code == 403
    assert revoke(stranger, shared).status_code in {403, 404}
    assert revoke(other_his, shared).status_code == 404
    assert stranger.get(study).status_code == 200


def test_a_revocation_may_be_bound_to_a_version_and_done_twice(person, study):
    shared = share(person, study).json
    assert revoke(person, shared, If_Match='W/"7"').status_code == 412
    assert revoke(person, shared, If_Match='W/"1"').json["meta"]["versionId"] == "2"
    assert revoke(person, shared).json["meta"]["versionId"] == "2"


def test_the_recipient_is_in_the_list_of_who_can_access(person, study, stranger):
    share(person, study)
    listed = person.get(f"{study}/$who-can-access").text
    assert "Practitioner/s" in listed
    assert "permit-grant" in listed


def test_it_is_taken_back_also_when_the_recipient_is_gone(person, his, operator, study):
    operator.put("Practitioner/leaves", {"resourceType": "Practitioner", "id": "leaves", "active": True})
    role = his.make(
        {
            "resourceType": "PractitionerRole",
            "practitioner": {"reference": "Practitioner/leaves"},
            "organization": {"reference": "Organization/e1"},
        }
    )
    shared = share(person, study, f"PractitionerRole/{role['id']}")
    assert shared.status_code == 200, shared.text
    his.delete(f"PractitionerRole/{role['id']}")
    assert revoke(person, shared.json).json["status"] == "inactive"


def test_to_be_given_a_consent_that_is_inactive_already_is_in_the_trail(person, study):
    shared = share(person, study).json
    revoke(person, shared)
    before = person.get(f"AuditEvent?entity=Consent/{shared['id']}&_total=accurate").json["total"]
    revoke(person, shared)
    assert person.get(f"AuditEvent?entity=Consent/{shared['id']}&_total=accurate").json["total"] > before


def test_what_was_a_mistake_is_not_made_inactive(person, his, study):
    shared = share(person, study).json
    mistaken = person.put(f"Consent/{shared['id']}", {**shared, "status": "rejected"})
    assert mistaken.status_code == 200, mistaken.text
    assert revoke(person, shared).status_code == 409


@pytest.mark.parametrize("purpose", ["HPAYMT", "HRESCH", "x"])
def test_a_purpose_that_is_no_care_is_refused(person, study, purpose):
    response = share(person, study, purpose=purpose)
    assert response.status_code == 400
    assert issues_of(response)[0]["expression"] == ["purpose"]
