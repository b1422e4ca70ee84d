"""Every request that concerns a patient is in the patient's trail, allowed or refused, by its request id."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from fhirserver.demo import images
from fhirserver.demo.http import Caller, resources_of

PATIENT = "Patient/martin"


@pytest.fixture(scope="module")
def patient(server: Any) -> Iterator[Caller]:
    return server.demo.person(PATIENT)


@pytest.fixture(scope="module")
def study(patient: Caller) -> str:
    uid = images.study_instance_uid("martin-ct")
    (found,) = resources_of(patient.search("ImagingStudy", identifier=f"urn:dicom:uid|urn:oid:{uid}"))
    return str(found["id"])


def events_of(patient: Caller, request_id: str) -> list[dict[str, Any]]:
    """The events of one request in the patient's trail."""
    found = resources_of(patient.search("AuditEvent", patient=PATIENT, _sort="-date", _count="100"))
    return [event for event in found if request_id in json.dumps(event)]


REQUESTS = {
    "a read": ("durand", "/fhir/ImagingStudy/{study}", 200, "read", "0"),
    "a read of a version": ("durand", "/fhir/ImagingStudy/{study}/_history/1", 200, "vread", "0"),
    "a history": ("durand", "/fhir/ImagingStudy/{study}/_history", 200, "history-instance", "0"),
    "a search": ("durand", "/fhir/ImagingStudy?patient=Patient/martin", 200, "search-type", "0"),
    "a search for reports": ("durand", "/fhir/DiagnosticReport?patient=Patient/martin", 200, "search-type", "0"),
    "a search by a stranger": ("muller", "/fhir/ImagingStudy?patient=Patient/martin", 200, "search-type", "0"),
    "a refused read": ("muller", "/fhir/ImagingStudy/{study}", 404, "AuthZ-Role", "8"),
    "a refused read of the person": ("muller", "/fhir/Patient/martin", 404, "AuthZ-Role", "8"),
    "a DICOM study": ("durand", "/dicomweb/studies/{uid}", 200, "110104", "0"),
    "DICOM metadata": ("durand", "/dicomweb/studies/{uid}/metadata", 200, "110103", "0"),
    "a DICOM query": ("durand", "/dicomweb/studies?StudyInstanceUID={uid}", 200, "110112", "0"),
    "a refused DICOM study": ("muller", "/dicomweb/studies/{uid}", 404, "AuthZ-Role", "8"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_in_the_trail(professional: Any, patient: Caller, study: str, name: str) -> None:
    who, path, status, code, outcome = REQUESTS[name]
    request_id = f"trail-{secrets.token_hex(8)}"
    path = path.format(study=study, uid=images.study_instance_uid("martin-ct"))
    accept = "*/*" if path.startswith("/dicomweb") else None

    answer = professional(who).ask("GET", path, accept=accept, headers={"X-Request-Id": request_id})

    assert answer.status == status
    assert answer.headers["X-Request-Id"] == request_id
    (event,) = events_of(patient, request_id)
    codes = {event["type"]["code"], *(subtype["code"] for subtype in event.get("subtype", ()))}
    assert code in codes
    assert event["outcome"] == outcome
    (user,) = (agent for agent in event["agent"] if agent["requestor"])
    assert user["who"]["reference"] == f"Practitioner/{who}"
    assert user["purposeOfUse"][0]["coding"][0]["code"] == "TREAT"


def test_a_not_modified_answer_is_in_the_trail_as_a_read(professional: Any, patient: Caller, study: str) -> None:
    doctor, path = professional("durand"), f"/fhir/ImagingStudy/{study}"
    etag = doctor.ask("GET", path).headers["ETag"]
    request_id = f"trail-{secrets.token_hex(8)}"

    answer = doctor.ask("GET", path, headers={"If-None-Match": etag, "X-Request-Id": request_id})

    assert answer.status == 304
    assert len(events_of(patient, request_id)) == 1


def test_the_trail_cannot_be_written_changed_or_removed(server: Any, patient: Caller) -> None:
    hospital = server.demo.establishment("sainte-odile")
    event = resources_of(patient.search("AuditEvent", patient=PATIENT, _count="1"))[0]

    for caller in (patient, hospital):
        assert caller.put(event).status in {403, 404, 405}
        assert caller.ask("DELETE", f"/fhir/AuditEvent/{event['id']}").status in {403, 404, 405}
        assert caller.post({key: value for key, value in event.items() if key != "id"}).status in {403, 404, 405}
    assert patient.read(f"AuditEvent/{event['id']}").json() == event


def test_nobody_else_reads_the_trail_of_a_patient(server: Any, professional: Any, patient: Caller) -> None:
    event = resources_of(patient.search("AuditEvent", patient=PATIENT, _count="1"))[0]
    others = [professional("durand"), server.demo.person("Patient/benali")]

    for caller in others:
        assert caller.read(f"AuditEvent/{event['id']}").status in {403, 404}
        answer = caller.search("AuditEvent", patient=PATIENT)
        assert answer.status == 403 or resources_of(answer) == []
