"""`$document` of a Composition (https://hl7.org/fhir/R4/composition-operation-document.html)."""

from __future__ import annotations

import json

import pytest

from resources import validation
from tests.fhirserver.rest.conftest import issues_of

MASKED = {
    "system": "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument",
    "code": "MASQUE_PS",
}


def reference(made):
    return f"{made['resourceType']}/{made['id']}"


@pytest.fixture
def observation(his, declared):
    made = his.make(
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "x"},
            "subject": {"reference": declared},
            "performer": [{"reference": "Practitioner/d"}],
            "device": {"display": "none"},
        }
    )
    return reference(made)


def masked(his, observation):
    """The same observation, but by nobody and for nobody's eyes but the establishment's."""
    plain = {name: value for name, value in his.get(observation).json.items() if name != "performer"}
    return reference(his.make(plain | {"meta": {"security": [MASKED]}}))


def composition(his, patient, *entries, author="Organization/e1"):
    return reference(
        his.make(
            {
                "resourceType": "Composition",
                "status": "final",
                "type": {"text": "report"},
                "subject": {"reference": patient},
                "date": "2024-05-06",
                "title": "Report",
                "author": [{"reference": author}],
                "section": [{"title": "Found", "entry": [{"reference": each} for each in entries]}],
            }
        )
    )


def test_a_document_begins_with_its_composition_and_has_all_it_refers_to(his, doctor, declared, observation):
    made = composition(
        his, declared, f"http://fhir.example/fhir/{observation}", "http://elsewhere.example/Observation/1"
    )
    for caller in (his, doctor):
        for path in (f"{made}/$document", f"Composition/$document?id={made}", f"{made}/$document?persist=false"):
            response = caller.get(path)
            assert response.status_code == 200, response.text
            validation.check("Bundle", response.data)
            entries = [reference(one["resource"]) for one in response.json["entry"]]
            assert entries[0] == made
            assert sorted(entries[1:]) == sorted([declared, "Organization/e1", observation, "Practitioner/d"])
            assert response.json["entry"][0]["fullUrl"] == f"http://fhir.example/fhir/{made}"
            assert (response.json["type"], bool(response.json["identifier"])) == ("document", True)


def test_there_is_no_document_with_a_hole_in_it(his, doctor, declared, observation):
    absent = composition(his, declared, "Observation/never-was")
    response = doctor.get(f"{absent}/$document")
    assert response.status_code == 404
    assert issues_of(response)[0]["diagnostics"] == "Observation/never-was is not known."
    hidden = masked(his, observation)
    made = composition(his, declared, hidden)
    assert his.get(f"{made}/$document").status_code == 200
    response = doctor.get(f"{made}/$document")
    assert response.status_code == 404
    assert issues_of(response)[0]["diagnostics"] == f"{hidden} is not known."


def test_what_was_deleted_is_said_to_be_gone_to_who_could_read_it(his, stranger, declared, observation):
    made = composition(his, declared, observation)
    his.delete(observation)
    assert his.get(f"{made}/$document").status_code == 410
    assert stranger.get(f"{made}/$document").status_code == 404


def test_a_document_is_not_kept(his, declared, observation):
    made = composition(his, declared, observation)
    response = his.get(f"{made}/$document?persist=true")
    assert response.status_code == 400
    assert issues_of(response)[0]["code"] == "not-supported"


@pytest.mark.parametrize("query", ["", "?id=", "?graph=x&id=Composition/1", "?persist=maybe&id=Composition/1"])
def test_what_names_no_document_is_refused(his, query):
    assert his.get(f"Composition/$document{query}").status_code == 400


def test_a_stranger_is_told_what_is_told_of_nobody(his, stranger, declared, observation):
    for address in (composition(his, declared, observation), "Composition/never-was"):
        response = stranger.get(f"{address}/$document")
        assert response.status_code == 404
        assert issues_of(response)[0]["diagnostics"] == f"{address} is not known."


def test_a_document_is_in_the_audit_of_its_patient(his, declared, observation, audit_of):
    made = composition(his, declared, observation)
    his.get(f"{made}/$document", X_Request_Id="document-1")
    [event] = [event for event in audit_of() if "document-1" in json.dumps(event)]
    assert declared in json.dumps(event)


def test_a_refusal_is_in_the_audit_as_that_of_a_read(his, doctor, declared, observation, audit_of):
    hidden = masked(his, observation)
    made = composition(his, declared, hidden)
    doctor.get(f"{made}/$document", X_Request_Id="document-2")
    assert [event for event in audit_of() if "document-2" in json.dumps(event) and hidden in json.dumps(event)]
