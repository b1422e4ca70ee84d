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
