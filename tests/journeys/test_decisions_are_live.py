"""What a patient says holds from the next request on, whatever tokens, pages and ETags are still about."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from fhirserver.demo import resources
from fhirserver.demo.build import send_exam
from fhirserver.demo.http import Caller, resources_of
from fhirserver.demo.region import CHEST_CT, REGION, ULTRASOUND, Exam, Person

NOW = datetime.now(UTC)


@pytest.fixture
def person(server: Any) -> Person:
    """A patient of this test's own with two exams, followed by Dr Durand and by a mother."""
    run = secrets.token_hex(4)
    exams = (
        Exam(f"{run}-ct", CHEST_CT, "Scanner", 1, "kieffer", "Normal."),
        Exam(f"{run}-us", ULTRASOUND, "Échographie", 2, "kieffer", "Normal."),
    )
    made = Person(
        f"live-{run}", "Ana", "Live", "female", "2015-06-01", f"{int(run, 16):015d}", f"L-{run}", "sainte-odile"
    )
    made = Person(**{name: getattr(made, name) for name in made.__dataclass_fields__ if name != "exams"}, exams=exams)
    establishment = REGION.establishments["sainte-odile"]
    subject = f"Patient/{made.id}"
    mother = {
        "resourceType": "RelatedPerson",
        "id": f"mother-{run}",
        "active": True,
        "patient": {"reference": subject},
        "relationship": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "MTH"}]}],
    }
    team = resources.care_team(f"{made.id}-team", subject, ["Practitioner/durand"], NOW.date())
    hospital = server.demo.establishment("sainte-odile")
    hospital.post(resources.transaction([resources.patient(made, establishment.oid), mother, team])).expect(200)
    for exam in exams:
        send_exam(hospital, establishment, made, exam, NOW)
    return made


@pytest.fixture(scope="module")
def doctor(server: Any) -> Iterator[Caller]:
    return server.demo.professional("durand")


@pytest.fixture(scope="module")
def hospital(server: Any) -> Iterator[Caller]:
    return server.demo.establishment("sainte-odile")


def block(server: Any, person: Person) -> None:
    subject = f"Patient/{person.id}"
    said = resources.block("", subject, "durand", datetime.now(UTC))
    del said["id"]
    server.demo.person(subject).post(said).expect(201)


def studies(caller: Caller, person: Person) -> list[dict[str, Any]]:
    return resources_of(caller.search("ImagingStudy", patient=f"Patient/{person.id}"))


def test_the_next_page_of_an_older_search_is_decided_afresh(server: Any, doctor: Caller, person: Person) -> None:
    first = doctor.search("ImagingStudy", patient=f"Patient/{person.id}", _count="1").expect(200).json()
    (following,) = (link["url"] for link in first["link"] if link["relation"] == "next")

    block(server, person)

    page = doctor.ask("GET", following.removeprefix(server.base)).expect(200).json()
    assert page.get("entry", []) == []


def test_a_cached_etag_does_not_tell_a_blocked_doctor_that_the_exam_is_still_there(
    server: Any, doctor: Caller, person: Person
) -> None:
    (study, _) = studies(doctor, person)
    path = f"/fhir/ImagingStudy/{study['id']}"
    etag = doctor.ask("GET", path).expect(200).headers["ETag"]
    assert doctor.ask("GET", path, headers={"If-None-Match": etag}).status == 304

    block(server, person)

    assert doctor.ask("GET", path, headers={"If-None-Match": etag}).status == 404


def test_history_and_earlier_versions_are_refused_as_the_present_one(
    server: Any, doctor: Caller, person: Person
) -> None:
    (study, _) = studies(doctor, person)
    reference = f"ImagingStudy/{study['id']}"
    assert doctor.read(f"{reference}/_history/1").status == 200

    block(server, person)

    assert doctor.read(f"{reference}/_history/1").status == 404
    assert doctor.read(f"{reference}/_history").status == 404


def test_who_is_no_longer_in_the_team_sees_nothing(
    server: Any, doctor: Caller, hospital: Caller, person: Person
) -> None:
    assert len(studies(doctor, person)) == 2
    team = hospital.read(f"CareTeam/{person.id}-team").expect(200).json()

    hospital.put({**team, "status": "inactive"}).expect(200)

    assert studies(doctor, person) == []


def test_an_opposition_hides_the_exams_from_everybody(
    server: Any, doctor: Caller, hospital: Caller, person: Person
) -> None:
    subject = f"Patient/{person.id}"
    assert len(studies(doctor, person)) == 2

    hospital.put(resources.opposition(f"{person.id}-no", subject, datetime.now(UTC))).expect(201)

    for caller in (doctor, server.demo.professional("kieffer"), server.demo.person(subject)):
        assert studies(caller, person) == []


def test_a_mother_whose_authority_was_ended_sees_neither_the_exams_nor_the_trail(
    server: Any, hospital: Caller, person: Person
) -> None:
    id_ = person.id.replace("live", "mother")
    mother = server.demo.person(f"RelatedPerson/{id_}")
    subject = f"Patient/{person.id}"
    assert len(studies(mother, person)) == 2
    related = hospital.read(f"RelatedPerson/{id_}").expect(200).json()

    hospital.put({**related, "active": False}).expect(200)

    assert studies(mother, person) == []
    assert resources_of(mother.search("AuditEvent", patient=subject)) == []


def test_a_patient_cannot_change_what_the_establishment_said(server: Any, hospital: Caller, person: Person) -> None:
    subject = f"Patient/{person.id}"
    opposition = resources.opposition(f"{person.id}-no", subject, datetime.now(UTC))
    written = hospital.put(opposition).expect(201).json()

    answer = server.demo.person(subject).put({**json.loads(json.dumps(written)), "status": "inactive"})

    assert answer.status == 405  # as for an id that is not there: a patient's app chooses none
