"""Search of several types together (https://hl7.org/fhir/R4/http.html#search)."""

from __future__ import annotations

import uuid

import pytest

from tests.fhirserver.rest.conftest import issues_of
from tests.fhirserver.rest.test_search_type import follow, link, matches


@pytest.fixture
def tag(his, declared):
    """A tag that is on two studies and two observations of a declared patient, and on one of somebody else."""
    tag = uuid.uuid4().hex
    meta = {"tag": [{"system": "urn:t", "code": tag}]}
    other = his.make({"resourceType": "Patient", "meta": meta})
    for patient in (declared, declared, f"Patient/{other['id']}"):
        subject = {"reference": patient}
        his.make({"resourceType": "ImagingStudy", "status": "available", "subject": subject, "meta": meta})
        his.make(
            {"resourceType": "Observation", "status": "final", "code": {"text": "a"}, "subject": subject, "meta": meta}
        )
    return tag


def kinds(response):
    return [one["resourceType"] for one in matches(response)]


def test_several_types_are_one_page_with_one_total(his, doctor, stranger, tag):
    asked = f"?_type=ImagingStudy,Observation&_tag={tag}&_total=accurate"
    assert sorted(kinds(his.get(asked))) == ["ImagingStudy"] * 3 + ["Observation"] * 3
    mine = doctor.get(asked)
    assert (mine.json["total"], len(matches(mine))) == (4, 4)
    assert stranger.get(asked).json["total"] == 0
    assert link(mine, "self") == f"http://fhir.example/fhir?_type=ImagingStudy,Observation&_tag={tag}&_total=accurate"


def test_pages_are_sorted_across_types_and_neither_lose_nor_repeat(doctor, tag):
    response, found = doctor.get(f"?_type=ImagingStudy,Observation&_tag={tag}&_sort=_lastUpdated&_count=3"), []
    found += matches(response)
    assert link(response, "next").startswith("http://fhir.example/fhir?_page=")
    found += matches(follow(doctor, link(response, "next")))
    stamps = [one["meta"]["lastUpdated"] for one in found]
    assert len({one["id"] for one in found}) == 4
    assert stamps == sorted(stamps)


def test_without_type_all_that_the_token_covers_are_searched(caller, doctor, tag):
    assert len(matches(doctor.get(f"?_tag={tag}"))) == 4
    narrow = caller("Practitioner/d", organization="Organization/e1", scope="user/Observation.rs")
    assert kinds(narrow.get(f"?_tag={tag}")) == ["Observation"] * 2
    assert narrow.get(f"?_type=ImagingStudy,Observation&_tag={tag}").status_code == 403
    writer = caller("Client/writes", organization="Organization/e1", scope="system/*.c")
    assert writer.get(f"?_tag={tag}").status_code == 403


def test_it_is_asked_by_form_and_in_a_batch_too(doctor, tag):
    form = doctor.request(
        "POST", "_search", f"_type=Observation&_tag={tag}".encode(), Content_Type="application/x-www-form-urlencoded"
    )
    assert kinds(form) == ["Observation"] * 2
    assert len(matches(doctor.get(f"/?_type=Observation&_tag={tag}"))) == 2
    entry = {"request": {"method": "GET", "url": f"?_type=Observation,ImagingStudy&_tag={tag}&_summary=count"}}
    answered = doctor.post("", {"resourceType": "Bundle", "type": "batch", "entry": [entry]})
    assert answered.json["entry"][0]["resource"]["total"] == 4


def test_a_parameter_that_all_types_have_is_asked_of_each(doctor, declared, tag):
    found = doctor.get(f"?_type=ImagingStudy,Observation&patient={declared}&_tag={tag}")
    assert len(matches(found)) == 4


def test_a_chain_is_followed_from_each_type(doctor, his, declared, tag):
    identifier = his.get(declared).json["identifier"][0]["value"]
    found = doctor.get(f"?_type=ImagingStudy,Observation&patient.identifier={identifier}&_tag={tag}")
    assert len(matches(found)) == 4


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("_type=ImagingStudy,Observation&started=2024", "invalid"),
        ("_type=Nosuch", "invalid"),
        ("_type=Patient,AuditEvent", "not-supported"),
        ("_type=Binary", "not-supported"),
        ("_type=Patient&_type=Observation", "invalid"),
        ("patient=x", "invalid"),
        ("_sort=started", "invalid"),
    ],
)
def test_what_not_all_types_have_is_refused(doctor, query, code):
    response = doctor.get(f"?{query}")
    assert response.status_code == 400
    assert issues_of(response)[0]["code"] == code


def test_leniency_passes_over_for_all_what_one_type_does_not_have(doctor, tag):
    found = doctor.get(f"?_type=ImagingStudy,Observation&_tag={tag}&started=1999", Prefer="handling=lenient")
    assert len(matches(found)) == 4
    assert "started" not in link(found, "self")


def test_a_link_of_the_system_is_none_of_a_type(doctor, tag):
    page = link(doctor.get(f"?_type=Observation&_tag={tag}&_count=1"), "next").partition("?")[2]
    assert doctor.get(f"Observation?{page}").status_code == 400


def test_a_search_of_several_types_is_audited_with_each_patient(doctor, declared, tag, audit_of):
    doctor.get(f"?_type=Observation,ImagingStudy&_tag={tag}")
    (event,) = audit_of()
    assert event["subtype"][0]["code"] == "search-system"
    assert declared in [entity.get("what", {}).get("reference") for entity in event["entity"]]
