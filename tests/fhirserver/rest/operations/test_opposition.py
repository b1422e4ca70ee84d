"""`$opposition` and `$withdraw-opposition`: recorded by an establishment, in force everywhere at once."""

from __future__ import annotations

import pytest

from tests.fhirserver.rest.conftest import issues_of


@pytest.fixture
def study(his, declared):
    made = his.make({"resourceType": "ImagingStudy", "status": "available", "subject": {"reference": declared}})
    return f"ImagingStudy/{made['id']}"


@pytest.fixture
def person(caller, declared):
    return caller(declared)


def oppose(caller, patient, **parameters):
    return call(caller, f"{patient}/$opposition", **parameters)


def withdraw(caller, patient):
    return call(caller, f"{patient}/$withdraw-opposition")


def call(caller, address, **parameters):
    sent = [{"name": name, "valueString": value} for name, value in parameters.items()]
    body = {"resourceType": "Parameters", **({"parameter": sent} if sent else {})}
    return caller.post(address, body)


def guardian(patient, code="GUARD"):
    """A guardian under a measure whose end is recorded; with another code a mere contact."""
    return {
        "resourceType": "RelatedPerson",
        "active": True,
        "patient": {"reference": patient},
        "relationship": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": code}]}],
        "period": {"start": "2020-01-01", "end": "2090-01-01"},
    }


def narrow(patient, **provision):
    """An opposition in form that is none of the whole record now."""
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]
        },
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": patient},
        "dateTime": "2026-11-24T09:00:00+01:00",
        "performer": [{"reference": patient}],
        "policy": [{"uri": "urn:fhirserver:policy:opposition"}],
        "provision": {"type": "deny", **provision},
    }


def opposed(response):
    assert response.status_code == 200, response.text
    return next(one["valueBoolean"] for one in response.json["parameter"] if one["name"] == "opposed")


def test_an_opposition_closes_the_record_and_its_withdrawal_opens_it(his, doctor, declared, study):
    assert doctor.get(study).status_code == 200
    recorded = oppose(his, declared)
    assert recorded.status_code == 200, recorded.text
    assert recorded.json["policy"] == [{"uri": "urn:fhirserver:policy:opposition"}]
    assert recorded.json["performer"] == [{"reference": declared}]
    assert recorded.json["organization"] == [{"reference": "Organization/e1"}]
    assert doctor.get(study).status_code == 404
    answer = withdraw(his, declared)
    assert not opposed(answer)
    [consent] = [one["valueReference"] for one in answer.json["parameter"] if one["name"] == "consent"]
    assert consent == {"reference": f"Consent/{recorded.json['id']}/_history/2"}
    assert doctor.get(study).status_code == 200


def test_an_opposition_that_stands_is_not_recorded_twice(his, declared):
    first = oppose(his, declared).json
    assert oppose(his, declared).json == first
    assert his.get(f"Consent?patient={declared}").json["total"] == 1


def test_who_represents_the_person_may_have_given_it(his, declared):
    parent = his.make(guardian(declared))
    assert oppose(his, declared, performer=f"RelatedPerson/{parent['id']}").json["performer"] == [
        {"reference": f"RelatedPerson/{parent['id']}"}
    ]


@pytest.mark.parametrize("performer", ["Practitioner/d", "RelatedPerson/", "RelatedPerson/x", "Patient/o", "nobody"])
def test_nobody_else_may_have_given_it(his, declared, performer):
    response = oppose(his, declared, performer=performer)
    assert response.status_code == 400
    assert issues_of(response)[0]["expression"] == ["performer"]


def test_a_withdrawal_without_an_opposition_changes_nothing(his, declared):
    answer = withdraw(his, declared)
    assert answer.json["parameter"] == [{"name": "opposed", "valueBoolean": False}]


@pytest.mark.parametrize("name", ["opposition", "withdraw-opposition"])
def test_an_establishment_that_does_not_know_the_person_learns_nothing(his, other_his, declared, name):
    oppose(his, declared)
    here, nowhere = (call(other_his, f"{one}/${name}") for one in (declared, "Patient/nobody"))
    assert (here.status_code, nowhere.status_code) == (404, 404)
    assert his.get(f"Consent?patient={declared}").json["total"] == 1


@pytest.mark.parametrize("name", ["opposition", "withdraw-opposition"])
def test_a_professional_and_the_person_do_not_record_it(doctor, person, declared, name):
    assert call(doctor, f"{declared}/${name}").status_code == 403
    if name == "opposition":
        assert call(person, f"{declared}/${name}").status_code == 403


def test_the_person_finds_it_in_their_trail(his, person, declared):
    recorded = oppose(his, declared).json
    found = person.get(f"AuditEvent?entity=Consent/{recorded['id']}&action=C").json
    assert len(found["entry"]) == 1


def test_it_is_not_called_by_get(his, declared):
    assert his.get(f"{declared}/$opposition").status_code == 405


def test_a_neighbour_does_not_give_it(his, declared):
    neighbour = his.make(guardian(declared, "NBOR"))
    assert oppose(his, declared, performer=f"RelatedPerson/{neighbour['id']}").status_code == 400


@pytest.mark.parametrize("provision", [{"period": {"end": "2020-01-01"}}, {"period": {"start": "2099-01-01"}}])
def test_one_that_is_not_in_force_does_not_stand_for_a_new_one(his, doctor, declared, study, provision):
    his.make(narrow(declared, **provision))
    assert not opposed(withdraw(his, declared))
    his.make(narrow(declared, **provision))
    assert doctor.get(study).status_code == 200
    assert oppose(his, declared).json["provision"] == {"type": "deny"}
    assert doctor.get(study).status_code == 404


def test_to_be_told_that_nothing_is_withdrawn_is_in_the_trail(his, person, declared):
    withdraw(his, declared)
    asked = [
        entity.get("description", "")
        for one in person.get("AuditEvent?_count=200").json["entry"]
        for entity in one["resource"].get("entity", ())
    ]
    assert any("$withdraw-opposition" in one for one in asked)


def test_a_token_that_does_not_cover_reading_consents_is_refused(caller, his, declared):
    narrow_token = caller("Client/his-e1", organization="Organization/e1", scope="system/Consent.cu system/Patient.r")
    for name in ("opposition", "withdraw-opposition"):
        assert call(narrow_token, f"{declared}/${name}").status_code == 403
