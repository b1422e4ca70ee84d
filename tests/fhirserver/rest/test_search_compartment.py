"""Search of a compartment (https://hl7.org/fhir/R4/http.html#search)."""

from __future__ import annotations

import pytest

from fhirserver.search.compartment import members
from tests.fhirserver.rest.conftest import issues_of
from tests.fhirserver.rest.operations.test_everything import MASKED
from tests.fhirserver.rest.test_search_type import follow, link, matches


@pytest.fixture
def record(his, declared):
    """Three studies, an observation and its encounter of a declared patient, and as much of somebody else."""
    other = his.make({"resourceType": "Patient", "name": [{"family": "Other"}]})
    for patient in (declared, f"Patient/{other['id']}"):
        subject = {"reference": patient}
        visit = his.make(
            {"resourceType": "Encounter", "status": "planned", "class": {"code": "AMB"}, "subject": subject}
        )
        for day in (1, 2, 3):
            his.make({"resourceType": "ImagingStudy", "status": "available", "subject": subject,
                      "started": f"2024-01-0{day}"})  # fmt: skip
        his.make(
            {"resourceType": "Observation", "status": "final", "code": {"text": "a"}, "subject": subject,
             "encounter": {"reference": f"Encounter/{visit['id']}"}}
        )  # fmt: skip
    return declared


def test_what_belongs_to_a_patient_is_found_and_nothing_from_outside(his, record):
    found = his.get(f"{record}/ImagingStudy?status=available&_sort=started&_total=accurate")
    assert [one["started"] for one in matches(found)] == ["2024-01-01", "2024-01-02", "2024-01-03"]
    assert found.json["total"] == 3
    assert link(found, "self").startswith(f"http://fhir.example/fhir/{record}/ImagingStudy?")
    assert his.get(f"{record}/ImagingStudy?status=registered").json["total"] == 0


def test_everything_of_a_patient_is_sorted_across_types_and_paged(doctor, record):
    whole = doctor.get(f"{record}/*?_count=100&_sort=_lastUpdated&_total=accurate")
    everything = [f"{one['resourceType']}/{one['id']}" for one in matches(whole)]
    kinds = {one.partition("/")[0] for one in everything}
    assert kinds == {"Patient", "CareTeam", "Encounter", "ImagingStudy", "Observation"}
    assert whole.json["total"] == len(everything) == 7

    response, paged = doctor.get(f"{record}/*?_count=2&_sort=_lastUpdated"), []
    while True:
        paged += [f"{one['resourceType']}/{one['id']}" for one in matches(response)]
        if (following := link(response, "next")) is None:
            break
        assert following.startswith(f"http://fhir.example/fhir/{record}/*?_page=")
        response = follow(doctor, following)
    assert paged == everything


def test_types_may_be_named_and_searched_by_form(doctor, record):
    named = doctor.get(f"{record}/*?_type=ImagingStudy,Encounter")
    assert {one["resourceType"] for one in matches(named)} == {"ImagingStudy", "Encounter"}
    form = doctor.request(
        "POST", f"{record}/ImagingStudy/_search?_count=1", b"_sort=-started",
        Content_Type="application/x-www-form-urlencoded",
    )  # fmt: skip
    assert [one["started"] for one in matches(form)] == ["2024-01-03"]


def test_a_compartment_in_a_batch_and_in_a_transaction(doctor, his, record):
    entry = {"request": {"method": "GET", "url": f"{record}/ImagingStudy?_summary=count"}}
    for caller, type_ in ((doctor, "batch"), (his, "transaction")):
        answered = caller.post("", {"resourceType": "Bundle", "type": type_, "entry": [entry]})
        assert answered.json["entry"][0]["resource"]["total"] == 3


def test_the_compartment_of_an_encounter_holds_what_happened_there(his, record):
    (observation,) = matches(his.get(f"{record}/Observation"))
    encounter = observation["encounter"]["reference"]
    assert [one["id"] for one in matches(his.get(f"{encounter}/Observation"))] == [observation["id"]]
    assert matches(his.get(f"{encounter}/Encounter"))[0]["id"] == encounter.removeprefix("Encounter/")
    assert issues_of(his.get(f"{encounter}/ImagingStudy"))[0]["code"] == "not-supported"


def test_who_may_not_read_the_patient_is_answered_as_for_an_absent_one(stranger, record):
    for type_ in ("ImagingStudy", "*", "Patient"):
        refused = stranger.get(f"{record}/{type_}")
        absent = stranger.get(f"Patient/nobody/{type_}")
        assert (refused.status_code, absent.status_code) == (404, 404)
        assert refused.text.replace(record, "Patient/nobody") == absent.text


def test_a_refused_compartment_is_audited_and_a_found_one_names_its_patient(stranger, doctor, record, audit_of):
    stranger.get(f"{record}/ImagingStudy")
    assert any(event["outcome"] != "0" for event in audit_of())
    doctor.get(f"{record}/ImagingStudy?status=registered")
    told = audit_of()[-1]
    assert record in [entity.get("what", {}).get("reference") for entity in told["entity"]]


def test_the_patient_is_told_whose_encounter_was_asked_and_held_nothing(his, record, audit_of):
    (observation,) = matches(his.get(f"{record}/Observation"))
    before = len(audit_of())
    assert matches(his.get(f"{observation['encounter']['reference']}/Observation?status=registered")) == []
    (told,) = audit_of()[before:]
    assert record in [entity.get("what", {}).get("reference") for entity in told["entity"]]


def test_a_hidden_encounter_hides_from_the_patient_what_was_found_by_it(caller, his, record):
    patient = {"reference": record}
    hidden = his.make(
        {"resourceType": "Encounter", "status": "planned", "class": {"code": "AMB"}, "subject": patient,
         "meta": {"security": [{**MASKED, "code": "INVISIBLE_PATIENT"}]}}
    )  # fmt: skip
    encounter = f"Encounter/{hidden['id']}"
    his.make(
        {"resourceType": "Observation", "status": "final", "code": {"text": "a"}, "subject": patient,
         "encounter": {"reference": encounter}}
    )  # fmt: skip
    assert len(matches(his.get(f"{encounter}/Observation"))) == 1
    assert his.get(f"{encounter}/$everything").json["entry"]
    assert encounter not in caller(record, organization=None).get("AuditEvent?_count=100").text


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("Patient/x/Organization", 400, "not-supported"),
        ("Patient/x/Binary", 400, "not-supported"),
        ("Organization/x/ImagingStudy", 400, "not-supported"),
        ("Patient/x/Nosuch", 404, "not-found"),
        ("Patient/x y/ImagingStudy", 400, "value"),
        ("Patient/x/*?_type=Organization", 400, "invalid"),
        ("Patient/x/*?_type=AuditEvent", 400, "not-supported"),
        ("Patient/x/*?started=2024", 400, "invalid"),
        ("Patient/x/ImagingStudy?_type=ImagingStudy", 400, "not-supported"),
    ],
)
def test_what_has_no_place_in_a_compartment_is_refused(doctor, path, status, code):
    response = doctor.get(path)
    assert response.status_code == status
    assert issues_of(response)[0]["code"] == code


def test_other_methods_are_not_answered_there(doctor):
    assert doctor.put("Patient/x/ImagingStudy", {}).status_code == 405
    assert doctor.get("Patient/x/ImagingStudy/_search").status_code == 405


def test_the_token_covers_both_the_patient_and_what_is_searched(caller, doctor, record):
    narrow = caller("Practitioner/d", organization="Organization/e1", scope="user/ImagingStudy.rs")
    assert narrow.get(f"{record}/ImagingStudy").status_code == 403
    patient = caller("Practitioner/d", organization="Organization/e1", scope="user/Patient.rs")
    assert patient.get(f"{record}/ImagingStudy").status_code == 403
    assert {one["resourceType"] for one in matches(patient.get(f"{record}/*"))} == {"Patient"}


def test_all_compartments_are_in_the_capability_statement(doctor):
    (rest,) = doctor.get("metadata").json["rest"]
    assert "http://hl7.org/fhir/CompartmentDefinition/patient" in rest["compartment"]
    assert "http://hl7.org/fhir/CompartmentDefinition/relatedPerson" in rest["compartment"]
    assert "ImagingStudy" in members("Patient")
