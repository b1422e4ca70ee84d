"""`$expunge`: an operator removes for good, and nobody else does."""

from __future__ import annotations

import base64
import json
import os

import pytest

from fhirserver.store import audit_verify
from tests.fhirserver.rest.conftest import issues_of

DELETED = "expungeDeletedResources=true"
PREVIOUS = "expungePreviousVersions=true"


def count(response):
    assert response.status_code == 200, response.text
    [parameter] = response.json["parameter"]
    assert parameter["name"] == "count"
    return parameter["valueInteger"]


def rows_of(database, reference):
    return database.resources.count_documents({"_id": reference}) + database.history.count_documents({"r": reference})


def reference(made):
    return f"{made['resourceType']}/{made['id']}"


@pytest.fixture
def changed(his, declared):
    """An observation of three versions."""
    made = his.make(
        {"resourceType": "Observation", "status": "final", "code": {"text": "1"}, "subject": {"reference": declared}}
    )
    for text in ("2", "3"):
        his.put(reference(made), {**made, "code": {"text": text}})
    return reference(made)


def objects_in(config):
    return [path for path in (config.data / "objects" / "binary").rglob("*") if path.is_file()]


def test_past_versions_are_removed_and_the_present_one_stays(operator, his, database, changed):
    assert count(operator.post(f"{changed}/$expunge?{PREVIOUS}", b"")) == 2
    assert rows_of(database, changed) == 1
    assert his.get(changed).json["code"]["text"] == "3"
    assert his.get(f"{changed}/_history").json["total"] == 1
    assert his.get(f"{changed}/_history/1").status_code == 404
    assert his.put(changed, his.get(changed).json | {"status": "amended"}).headers["ETag"] == 'W/"4"'


def test_a_deleted_resource_is_removed_with_its_versions(operator, his, database, changed):
    assert count(operator.post(f"{changed}/$expunge?{DELETED}", b"")) == 0
    his.delete(changed)
    assert his.get(changed).status_code == 410
    assert count(operator.post(f"{changed}/$expunge?{DELETED}", b"")) == 4
    assert rows_of(database, changed) == 0
    assert his.get(changed).status_code == 404
    assert count(operator.post(f"{changed}/$expunge?{DELETED}", b"")) == 0


def test_a_type_is_cleared_in_steps(operator, his, database, patient):
    made = [
        reference(his.make({"resourceType": "Basic", "code": {"text": "x"}, "subject": {"reference": patient}}))
        for _ in range(3)
    ]
    for one in made:
        his.delete(one)
    kept = reference(his.make({"resourceType": "Basic", "code": {"text": "x"}, "subject": {"reference": patient}}))
    assert count(operator.post(f"Basic/$expunge?{DELETED}&limit=3", b"")) == 3
    assert count(operator.post(f"Basic/$expunge?{DELETED}", b"")) == 3
    assert [rows_of(database, one) for one in (*made, kept)] == [0, 0, 0, 1]


def test_the_whole_system_is_cleared_but_consents_and_the_trail(operator, his, database, changed, declared):
    consent = {
        "resourceType": "Consent",
        "status": "active",
        "scope": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]
        },
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": declared},
        "dateTime": "2024-01-01",
        "performer": [{"reference": declared}],
        "policy": [{"uri": "urn:fhirserver:policy:base"}],
        "provision": {"type": "permit"},
    }
    made = his.make(consent)
    assert his.put(reference(made), {**made, "dateTime": "2024-01-02"}).status_code == 200
    events = database.audit.count_documents({})
    assert count(operator.post(f"$expunge?{DELETED}&{PREVIOUS}", b"")) >= 2
    assert rows_of(database, changed) == 1
    assert rows_of(database, reference(made)) == 2
    assert database.audit.count_documents({}) > events


def test_the_content_of_a_removed_binary_is_freed(operator, his, patient, config):
    data = base64.b64encode(os.urandom(40_000)).decode()
    made = his.make(
        {
            "resourceType": "Binary",
            "contentType": "application/pdf",
            "data": data,
            "securityContext": {"reference": patient},
        }
    )
    assert len(objects_in(config)) == 1
    his.put(reference(made), {**made, "data": base64.b64encode(os.urandom(40_000)).decode()})
    assert len(objects_in(config)) == 2
    assert count(operator.post(f"{reference(made)}/$expunge?{PREVIOUS}", b"")) == 1
    assert len(objects_in(config)) == 1
    assert his.get(reference(made), Accept="application/fhir+json").status_code == 200
    his.delete(reference(made))
    operator.post(f"Binary/$expunge?{DELETED}", b"")
    assert objects_in(config) == []
    assert list((config.data / "objects" / "uploads").iterdir()) == []


def test_nobody_else_removes_anything(his, doctor, caller, stranger, database, declared, changed):
    narrow = caller("Client/narrow", category="operator", scope="system/Patient.cruds")
    for who in (his, doctor, stranger, caller(declared), narrow):
        for path in (changed, "Observation/never-was", "Observation"):
            response = who.post(f"{path}/$expunge?{PREVIOUS}", b"")
            assert response.status_code == 403, path
            assert issues_of(response)[0]["diagnostics"] == "The access token does not cover this request."
        assert who.post(f"$expunge?{PREVIOUS}", b"").status_code == 403
    assert rows_of(database, changed) == 3


def test_the_operator_still_reads_nothing_clinical(operator, changed):
    assert operator.get(changed).status_code == 404
    assert "code" not in json.dumps(operator.post(f"{changed}/$expunge?{PREVIOUS}", b"").json)


@pytest.mark.parametrize(
    "path",
    ["Observation/$expunge", "Consent/$expunge?" + DELETED, "AuditEvent/$expunge?" + DELETED,
     f"$expunge?{DELETED}&limit=10001", f"$expunge?{DELETED}&limit=0", f"$expunge?{DELETED}&expungeEverything=true"],
)  # fmt: skip
def test_what_cannot_be_removed_is_refused(operator, path):
    response = operator.post(path, b"")
    assert response.status_code == 400
    assert issues_of(response)


def test_it_is_not_called_by_get(operator):
    assert operator.get(f"$expunge?{DELETED}").status_code == 405


def test_the_patient_is_told_and_the_chain_stays_whole(operator, database, declared, changed, audit_of):
    operator.post(f"{changed}/$expunge?{PREVIOUS}", b"", X_Request_Id="expunge-1")
    events = [event for event in audit_of() if "expunge-1" in json.dumps(event)]
    assert [declared in json.dumps(event) for event in events] == [True]
    assert audit_verify.verify(database).is_intact


def test_a_deleted_patient_stays_so_that_nobody_becomes_that_person(operator, his, database):
    made = reference(his.make({"resourceType": "Patient", "active": True}))
    his.delete(made)
    response = operator.post(f"Patient/$expunge?{DELETED}", b"")
    assert (response.status_code, response.json["issue"][0]["code"]) == (400, "not-supported")
    assert operator.post(f"{made}/$expunge?{DELETED}", b"").status_code == 400
    operator.post(f"$expunge?{DELETED}", b"")
    assert rows_of(database, made) == 2
