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
    parent = his.make({"resourceType": "RelatedPerson", "patient": {"reference": declared}})
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
