"""The demo region: who sees what, exactly."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from stdnum import luhn
from stdnum.fr import nir

from fhirserver import demo
from fhirserver.demo import resources
from fhirserver.demo.http import Caller, resources_of
from fhirserver.demo.region import ESTABLISHMENTS, PARENTS, PATIENTS, PROFESSIONALS, REGION
from resources.validation import check

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)

# The number of exams that each professional sees, by patient; nobody else's are seen.
SEEN = {
    "durand": {"martin": 2, "roussel": 2, "fournier": 1, "haas": 1, "girard": 2},
    "kieffer": {"martin": 2, "lambert": 1, "hoffmann": 1},
    "weber": {"roussel": 1, "fournier": 1, "haas": 1, "kuntz": 1},
    "muller": {"roussel": 2, "amrani": 1, "girard": 2},
    "schmitt": {"lambert": 1, "hoffmann": 1},
    "klein": {},
    "roth": {"kuntz": 1},
}
OWN = {
    "Patient/martin": {"martin": 2},
    "Patient/benali": {},
    "Patient/lambert": {"lambert": 1},
    "RelatedPerson/claire-hoffmann": {"hoffmann": 1},
    "RelatedPerson/thomas-hoffmann": {"hoffmann": 1},
}


def exams_by_patient(caller: Caller) -> dict[str, int]:
    known = {f"Patient/{person.id}": person.id for person in PATIENTS}
    seen: dict[str, int] = {}
    for study in resources_of(caller.search("ImagingStudy", _count="500")):
        subject = study["subject"]["reference"]
        if subject in known:
            seen[known[subject]] = seen.get(known[subject], 0) + 1
    return seen


@pytest.mark.parametrize("name", SEEN)
def test_a_professional_sees_the_exams_of_the_patients_they_follow_and_no_others(
    professional: Callable[[str], Caller], name: str
) -> None:
    assert exams_by_patient(professional(name)) == SEEN[name]


@pytest.mark.parametrize("name", OWN)
def test_patients_and_parents_see_their_own(server: Any, name: str) -> None:
    assert exams_by_patient(server.demo.person(name)) == OWN[name]


@pytest.mark.parametrize("name", SEEN)
def test_the_dicom_query_shows_the_same_exams(professional: Callable[[str], Caller], name: str) -> None:
    caller = professional(name)
    fhir = {
        identifier["value"].removeprefix("urn:oid:")
        for study in resources_of(caller.search("ImagingStudy", _count="500"))
        for identifier in study["identifier"]
        if identifier.get("system") == "urn:dicom:uid"
    }
    answer = caller.studies(limit="500").expect(200, 204)
    dicom = {item["0020000D"]["Value"][0] for item in answer.json()} if answer.body else set()

    assert dicom == fhir


def test_the_physician_of_an_insurer_is_turned_away(professional: Callable[[str], Caller]) -> None:
    assert professional("petit").search("ImagingStudy").status == 403


def test_a_restricted_report_is_kept_from_a_declared_doctor(professional: Callable[[str], Caller]) -> None:
    assert professional("durand").read("DiagnosticReport/girard-us-report").status == 200
    assert professional("durand").read("DiagnosticReport/girard-mr-report").status == 404


def test_an_establishment_reads_what_it_sent_and_not_what_others_sent(server: Any) -> None:
    vosges = server.demo.establishment("imagerie-vosges")

    assert exams_by_patient(vosges) == {"fournier": 1, "haas": 1, "kuntz": 1}
    assert vosges.read("Patient/martin").status == 404


def test_building_the_region_again_changes_nothing(server: Any) -> None:
    caller = server.demo.establishment("sainte-odile")
    before = {study["id"]: study["meta"]["versionId"] for study in resources_of(caller.search("ImagingStudy"))}

    demo.build(server.base, server.data)

    after = {study["id"]: study["meta"]["versionId"] for study in resources_of(caller.search("ImagingStudy"))}
    assert after == before


def test_every_resource_of_the_region_is_valid_r4() -> None:
    made = [
        *map(resources.organization, ESTABLISHMENTS),
        *map(resources.practitioner, PROFESSIONALS),
        *map(resources.practitioner_role, PROFESSIONALS),
        *(resources.patient(person, REGION.establishments[person.establishment].oid) for person in PATIENTS),
        *map(resources.related_person, PARENTS),
        resources.care_team("t", "Patient/martin", ["Practitioner/durand"], NOW.date(), ["Practitioner/x"], NOW.date()),
        resources.opposition("o", "Patient/martin", NOW),
        resources.block("b", "Patient/martin", "durand", NOW),
        resources.gift("g", "Patient/martin", "muller", "ImagingStudy/a", NOW),
    ]
    for each in made:
        assert check(each["resourceType"], json.dumps(each).encode()).type == each["resourceType"]


def test_the_made_up_numbers_have_valid_keys() -> None:
    assert all(nir.is_valid(person.ins) for person in PATIENTS)
    assert all(luhn.is_valid(professional.rpps) for professional in PROFESSIONALS)
    assert len({person.ins for person in PATIENTS}) == len(PATIENTS) == 12
    assert len({professional.rpps for professional in PROFESSIONALS}) == len(PROFESSIONALS) == 8


def test_every_person_whom_the_demo_prints_is_of_the_region() -> None:
    known = (
        {f"Practitioner/{each.id}" for each in PROFESSIONALS}
        | {f"Patient/{each.id}" for each in PATIENTS}
        | {f"RelatedPerson/{each.id}" for each in PARENTS}
    )
    printed = set(demo.who_may_what().columns[0].cells)

    assert printed <= known
    assert len([name for name in printed if str(name).startswith("Practitioner/")]) == 8
