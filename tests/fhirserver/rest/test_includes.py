"""Includes over HTTP: what is left over is announced and linked, for its caller only, and audited."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fhirserver.app import create_app
from tests.fhirserver.rest.conftest import Caller, issues_of
from tests.fhirserver.rest.test_search_type import follow, link, matches


@pytest.fixture
def five(his, declared):
    """A declared patient with five studies."""
    for day in range(1, 6):
        his.make({"resourceType": "ImagingStudy", "status": "available", "subject": {"reference": declared},
                  "started": f"2024-01-0{day}"})  # fmt: skip
    return declared


@pytest.fixture
def narrow(config, database, doctor, stranger):
    """The doctor and the stranger at a server that includes two resources a page."""
    http = create_app(replace(config, include_max=2), database).test_client()
    return Caller(http, doctor.token), Caller(http, stranger.token)


def entries(response, mode):
    assert response.status_code == 200, response.text
    return [entry["resource"] for entry in response.json.get("entry", ()) if entry["search"]["mode"] == mode]


def test_the_rest_of_a_large_include_is_announced_and_linked(narrow, five):
    doctor, stranger = narrow
    page = doctor.get(f"Patient?_id={five.removeprefix('Patient/')}&_revinclude=ImagingStudy:patient")
    (outcome,) = entries(page, "outcome")
    assert [issue["code"] for issue in outcome["issue"]] == ["incomplete"]
    assert (page.json["total"], len(matches(page)), len(entries(page, "include"))) == (1, 1, 2)

    rest = follow(doctor, link(page, "related"))
    last = follow(doctor, link(rest, "next"))
    included = [one["id"] for part in (page, rest, last) for one in entries(part, "include")]
    assert len(set(included)) == len(included) == 5
    assert (matches(rest), "total" in rest.json, link(last, "next"), link(rest, "related")) == ([], False, None, None)
    assert follow(stranger, link(page, "related")).status_code == 400


def test_what_the_rest_discloses_is_audited(narrow, five, audit_of):
    doctor, _ = narrow
    page = doctor.get(f"Patient?_id={five.removeprefix('Patient/')}&_revinclude=ImagingStudy:patient")
    follow(doctor, link(page, "related"))
    told = [[one.get("what", {}).get("reference") for one in event["entity"]] for event in audit_of()]
    assert [five in references for references in told].count(True) == 2  # the others have the whole query, for nobody


def test_nothing_is_announced_where_nothing_is_left(doctor, five):
    page = doctor.get(f"Patient?_id={five.removeprefix('Patient/')}&_revinclude=ImagingStudy:patient")
    assert len(entries(page, "include")) == 5
    assert (entries(page, "outcome"), link(page, "related")) == ([], None)


def test_a_stranger_gets_nothing_and_no_link_for_the_rest(narrow, five):
    _, stranger = narrow
    page = stranger.get(f"Patient?_id={five.removeprefix('Patient/')}&_revinclude=*")
    assert ("entry" in page.json, page.json["total"], link(page, "related")) == (False, 0, None)


@pytest.fixture
def twice(his, declared):
    """A study of two versions, and an observation that names the first: study, patient, observation."""
    study = his.make({"resourceType": "ImagingStudy", "status": "registered", "subject": {"reference": declared}})
    his.put(f"ImagingStudy/{study['id']}", {**study, "status": "available"})
    reference = {"reference": f"ImagingStudy/{study['id']}/_history/1"}
    seen = his.make({"resourceType": "Observation", "status": "final", "code": {"text": "x"},
                     "subject": {"reference": declared}, "derivedFrom": [reference]})  # fmt: skip
    return study, declared, seen


def test_a_version_that_is_referred_to_has_the_address_of_its_resource(doctor, twice):
    study, _, seen = twice
    page = doctor.get(f"Observation?_id={seen['id']}&_include=Observation:derived-from")
    ((url, given),) = [
        (entry["fullUrl"], entry["resource"]) for entry in page.json["entry"] if entry["search"]["mode"] == "include"
    ]
    assert url.endswith(f"/fhir/ImagingStudy/{study['id']}")
    assert (given["id"], given["meta"]["versionId"], given["status"]) == (study["id"], "1", "registered")
    assert given == doctor.get(f"ImagingStudy/{study['id']}/_history/1").json
    whole = doctor.get(f"Observation?_id={seen['id']}&_include=*&_summary=true")
    assert [one["meta"]["versionId"] for one in entries(whole, "include") if one["id"] == study["id"]] == ["1"]


def test_a_version_that_is_disclosed_is_told_to_its_patient(doctor, twice, audit_of):
    _, patient, seen = twice
    doctor.get(f"Observation?_id={seen['id']}&_include=Observation:derived-from")
    told = [
        entity
        for event in audit_of()
        for entity in event["entity"]
        if entity.get("what", {}).get("reference") == patient
    ]
    assert len(told) == 1
    assert told[0]["detail"] == [
        {"type": "disclosed", "valueString": "2"},
        {"type": "first-access", "valueString": "true"},
    ]  # resources of theirs: the observation, and the version of the study


def test_a_version_that_is_refused_leaves_no_sign(doctor, his, declared, twice):
    study, _, seen = twice
    hidden = {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}]}
    his.put(f"ImagingStudy/{study['id']}", {**study, "status": "available", "meta": hidden})
    his.put(f"ImagingStudy/{study['id']}", {**study, "status": "available"})
    for version in (3, 9):  # refused, and absent
        reference = {"reference": f"ImagingStudy/{study['id']}/_history/{version}"}
        his.put(f"Observation/{seen['id']}", {**seen, "derivedFrom": [reference]})
        page = doctor.get(f"Observation?_id={seen['id']}&_include=Observation:derived-from")
        assert (len(matches(page)), page.json["total"], entries(page, "include"), entries(page, "outcome")) == (
            1, 1, [], [],
        )  # fmt: skip
        assert doctor.get(f"ImagingStudy/{study['id']}/_history/{version}").status_code == 404
        assert link(page, "related") is None


def test_several_types_together_may_include(doctor, five):
    page = doctor.get(f"?_type=ImagingStudy,Observation&patient={five}&_include=ImagingStudy:patient&_count=2")
    assert [one["resourceType"] for one in entries(page, "include")] == ["Patient"]
    compartment = doctor.get(f"{five}/ImagingStudy?_include=*")
    assert [one["resourceType"] for one in entries(compartment, "include")] == ["Patient"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("_revinclude=AuditEvent:entity", "not-supported"),
        ("_include=Observation:subject", "invalid"),
        ("_include=Nosuch:*", "invalid"),
        ("_include:iterate=Patient:nosuch", "invalid"),
        ("_include:other=ImagingStudy:patient", "not-supported"),
        ("_include=ImagingStudy:*:Patient", "invalid"),
        ("_sort:iterate=started", "not-supported"),
    ],
)
def test_an_include_that_cannot_be_is_refused(doctor, query, code):
    response = doctor.get(f"ImagingStudy?{query}")
    assert (response.status_code, issues_of(response)[0]["code"]) == (400, code)
