"""Chaining and _has over HTTP: what the token must cover, what the audit tells, and where else they may stand."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.fhirserver.rest.conftest import Caller, issues_of
from tests.fhirserver.rest.test_search_type import follow, link, matches

HIDDEN = {
    "security": [
        {
            "system": "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/"
            "TRE-A07-StatutVisibiliteDocument",
            "code": "INVISIBLE_PATIENT",
        }
    ]
}


@pytest.fixture
def code(his: Caller, declared: str) -> str:
    """A code that one observation of the declared patient has, who has three studies."""
    code = uuid.uuid4().hex
    his.make(observation(declared, code))
    for day in (1, 2, 3):
        his.make({**study(declared), "started": f"2024-01-0{day}"})
    return code


def observation(patient: str, code: str, **more: Any) -> dict[str, Any]:
    coding = [{"system": "urn:c", "code": code}]
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": coding},
        "subject": {"reference": patient},
        **more,
    }


def study(patient: str) -> dict[str, Any]:
    return {"resourceType": "ImagingStudy", "status": "available", "subject": {"reference": patient}}


def identifier_of(his: Caller, patient: str) -> str:
    identifier = his.get(patient).json["identifier"][0]
    return f"{identifier['system']}|{identifier['value']}"


def test_studies_are_found_by_the_identifier_of_their_patient(doctor, his, stranger, declared, code):
    asked = f"ImagingStudy?patient.identifier={identifier_of(his, declared)}&_sort=started&_count=2"
    first = doctor.get(asked)
    rest = follow(doctor, link(first, "next"))

    assert [one["started"] for one in (*matches(first), *matches(rest))] == ["2024-01-01", "2024-01-02", "2024-01-03"]
    assert "patient.identifier" in link(first, "self")
    assert stranger.get(asked).json["total"] == 0


def test_patients_are_found_by_what_refers_to_them_also_by_post_and_in_a_batch(doctor, stranger, declared, code):
    asked = f"_has:Observation:patient:code={code}"
    posted = doctor.request("POST", "Patient/_search", asked.encode(), Content_Type="application/x-www-form-urlencoded")
    entry = {"request": {"method": "GET", "url": f"Patient?{asked}"}}
    batched = doctor.post("", {"resourceType": "Bundle", "type": "batch", "entry": [entry]})

    for response in (doctor.get(f"Patient?{asked}"), posted):
        assert [f"Patient/{one['id']}" for one in matches(response)] == [declared]
    assert batched.json["entry"][0]["resource"]["total"] == 1
    assert stranger.get(f"Patient?{asked}").json["total"] == 0


def test_a_type_on_the_way_that_the_token_does_not_cover_is_refused(caller, his, doctor, declared, audit_of):
    narrow = caller("Practitioner/d", organization="Organization/e1", scope="user/ImagingStudy.rs")
    asked = f"ImagingStudy?patient.identifier={identifier_of(his, declared)}"

    assert narrow.get(asked).status_code == 403
    assert narrow.get("ImagingStudy?_has:DocumentReference:related:status=current").status_code == 403
    assert narrow.get("ImagingStudy?subject.identifier=a").status_code == 403
    assert any(event["outcome"] != "0" for event in audit_of())


def test_of_several_types_on_the_way_those_that_the_token_covers_are_followed(caller, doctor, his, declared, code):
    narrow = caller("Practitioner/d", organization="Organization/e1", scope="user/ImagingStudy.rs user/Patient.rs")
    assert narrow.get(f"ImagingStudy?subject.identifier={identifier_of(his, declared)}").json["total"] == 3


def test_a_patient_who_is_named_in_a_chain_reads_that_somebody_looked(doctor, patient, audit_of):
    asked = (
        f"ImagingStudy?patient._id={patient.removeprefix('Patient/')}",
        f"Patient?_has:Observation:patient:subject={patient}",
        f"DiagnosticReport?result.patient={patient}",
    )
    for query in asked:
        assert doctor.get(query).json["total"] == 0
    told = [event for event in audit_of() if any(one.get("what", {}).get("reference") == patient
            for one in event["entity"])]  # fmt: skip
    assert len(told) == len(asked)


def test_a_patient_whom_a_chain_names_by_an_identifier_is_told_also_where_nothing_of_theirs_was_found(
    his, doctor, other_his, declared, audit_of
):
    named = identifier_of(his, declared)
    asked = (
        f"DiagnosticReport?patient.identifier={named}",
        f"DiagnosticReport?result.patient.identifier={named},urn:no|1",
        f"Practitioner?_has:DiagnosticReport:performer:patient.identifier={named}",
        f"DiagnosticReport?patient.identifier={named}&patient.gender:missing=true",
    )
    before = len(audit_of())
    for query in asked:
        assert doctor.get(query).json["total"] == 0
    later = doctor.get(asked[0], Prefer="respond-async")
    assert later.status_code == 202
    told = told_to(declared, audit_of()[before:])
    assert len(told) == len(asked)
    before = len(audit_of())
    assert other_his.get(asked[0]).json["total"] == 0
    assert doctor.get("DiagnosticReport?patient.name=Martin&_id=never-was").json["total"] == 0
    assert told_to(declared, audit_of()[before:]) == []


def told_to(patient: str, events: list[Any]) -> list[Any]:
    """The events that are about a patient."""
    return [one for one in events if any(part.get("what", {}).get("reference") == patient for part in one["entity"])]


def test_a_patient_is_not_told_by_the_trail_what_a_hidden_resource_let_somebody_find(
    caller, his, doctor, declared, audit_of
):
    code = uuid.uuid4().hex
    his.make(observation(declared, code, meta=HIDDEN))
    assert doctor.get(f"Patient?_has:Observation:patient:code={code}").json["total"] == 1
    audit_of()
    own = caller(declared)

    seen = own.get(f"AuditEvent?patient={declared}&_count=100")
    assert matches(seen)
    assert "_has" not in seen.text
    assert own.get(f"Patient?_has:Observation:patient:code={code}").json["total"] == 0


def test_a_reference_to_a_version_is_followed_to_the_present_one(his, doctor, declared):
    before, after = uuid.uuid4().hex, uuid.uuid4().hex
    seen = his.make(observation(declared, before))
    report = {"resourceType": "DiagnosticReport", "status": "final", "code": {"text": "a"}}
    result = [{"reference": f"Observation/{seen['id']}/_history/1"}]
    his.make({**report, "subject": {"reference": declared}, "result": result})
    his.put(f"Observation/{seen['id']}", {**observation(declared, after), "id": seen["id"]})
    assert doctor.get(f"DiagnosticReport?result.code={after}").json["total"] == 1
    assert doctor.get(f"DiagnosticReport?result.code={before}").json["total"] == 0
    asked = f"Observation?_id={seen['id']}&_has:DiagnosticReport:result:status=final"
    assert doctor.get(asked).json["total"] == 1


def test_a_conditional_create_may_follow_references(his, declared, code):
    criteria = f"patient.identifier={identifier_of(his, declared)}&_has:Observation:subject:code={code}"
    assert issues_of(his.post("Patient", {"resourceType": "Patient"}, If_None_Exist=criteria))
    report = {
        "resourceType": "DiagnosticReport",
        "status": "final",
        "code": {"text": "a"},
        "subject": {"reference": declared},
    }
    once = his.post("DiagnosticReport", report, If_None_Exist=f"patient._has:Observation:patient:code={code}")
    again = his.post("DiagnosticReport", report, If_None_Exist=f"patient._has:Observation:patient:code={code}")
    assert (once.status_code, again.status_code) == (201, 200)
    assert once.json["id"] == again.json["id"]


def test_a_conditional_reference_may_follow_references(his, declared, code):
    entry = {
        "fullUrl": f"urn:uuid:{uuid.uuid4()}",
        "resource": {
            **study(declared),
            "subject": {"reference": f"Patient?_has:Observation:patient:code={code}"},
        },
        "request": {"method": "POST", "url": "ImagingStudy"},
    }
    response = his.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    assert response.status_code == 200, response.text
    assert his.get(f"ImagingStudy?patient={declared}").json["total"] == 4


@pytest.mark.parametrize("query", ["patient.nosuch=a", "_has:Nosuch:patient:code=a", "subject:Nosuch.name=a"])
def test_what_leads_nowhere_is_refused_and_says_where(doctor, query):
    response = doctor.get(f"ImagingStudy?{query}")
    assert response.status_code == 400
    assert issues_of(response)[0]["expression"]
