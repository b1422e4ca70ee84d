"""Break-glass over HTTP: who may begin, what is read in a session, what it leaves behind, and that it tells nothing."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from fhirserver.config import Config
from fhirserver.oauth.access_token import Claims, issue
from fhirserver.oauth.bearer import COMMAND_LINE
from fhirserver.oauth.keys import SigningKeys
from fhirserver.store.database import Database
from tests.fhirserver.rest.conftest import Caller, issues_of

ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
PROFESSIONS = "urn:oid:1.2.250.1.71.1.2.7"
TRE_A07 = "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument"


@pytest.fixture(scope="module")
def person_token(app: Flask, config: Config, his: Caller) -> Callable[..., Caller]:
    """A caller who acts for Organization/e1, for a purpose."""

    def make(reference: str, purpose: str = "TREAT") -> Caller:
        claims = Claims(reference, COMMAND_LINE, "user/*.rs", purpose, "Organization/e1", person=reference)
        token, _ = issue(SigningKeys.load(), config, claims, datetime.now(UTC))
        return Caller(app.test_client(), token)

    return make


@pytest.fixture(scope="module")
def physicians(operator: Caller, his: Caller) -> None:
    """Practitioner/u and v are physicians, w is a nurse; all act for Organization/e1."""
    for id_, code in (("u", "10"), ("v", "10"), ("w", "60")):
        operator.put(f"Practitioner/{id_}", {"resourceType": "Practitioner", "id": id_, "active": True})
        role = {
            "resourceType": "PractitionerRole",
            "id": f"role-{id_}",
            "active": True,
            "practitioner": {"reference": f"Practitioner/{id_}"},
            "organization": {"reference": "Organization/e1"},
            "code": [{"coding": [{"system": PROFESSIONS, "code": code}]}],
        }
        his.put(f"PractitionerRole/role-{id_}", role)


@pytest.fixture
def exam(his: Caller, patient: str) -> str:
    made = his.make(observation(patient))
    return f"Observation/{made['id']}"


def observation(patient: str, *labels: dict[str, str]) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "meta": {"security": list(labels)} if labels else {"tag": [{"code": "x"}]},
        "status": "final",
        "code": {"text": "emergency"},
        "subject": {"reference": patient},
    }


def request(**changed: Any) -> dict[str, Any]:
    said: dict[str, Any] = {
        "mode": ("valueCode", "bris_de_glace"),
        "reasonCode": ("valueCoding", {"system": ACT_REASON, "code": "ETREAT"}),
        "reason": ("valueString", "Unconscious after an accident"),
        "cannotConsent": ("valueBoolean", True),
        **changed,
    }
    parts = [{"name": name, given[0]: given[1]} for name, given in said.items() if given is not None]
    return {"resourceType": "Parameters", "parameter": parts}


def begin(caller: Caller, patient: str, **changed: Any) -> TestResponse:
    return caller.post(f"{patient}/$break-glass", request(**changed))


def value(response: TestResponse, name: str) -> Any:
    assert response.status_code == 200, response.text
    (part,) = [one for one in response.json["parameter"] if one["name"] == name]
    return next(given for key, given in part.items() if key.startswith("value"))


def consent(patient: str, **provision: Any) -> dict[str, Any]:
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]
        },
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": patient},
        "dateTime": "2026-11-24T09:00:00+01:00",
        "performer": [{"reference": patient}],
        "policy": [{"uri": "urn:fhirserver:policy:restriction"}],
        "provision": {"type": "deny", **provision},
    }


def to(reference: str) -> list[dict[str, Any]]:
    role = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]}
    return [{"role": role, "reference": {"reference": reference}}]


def found(caller: Caller, query: str) -> list[str]:
    entries = caller.get(query).json.get("entry", [])
    return [one["resource"]["id"] for one in entries if one["search"]["mode"] == "match"]


pytestmark = pytest.mark.usefixtures("physicians")


def test_a_physician_reads_in_a_session_what_was_not_there_before(person_token, patient: str, exam: str):
    usual, emergency = person_token("Practitioner/u"), person_token("Practitioner/u", "BTG")
    assert usual.get(exam).status_code == emergency.get(exam).status_code == 404

    response = begin(usual, patient)

    assert (value(response, "purpose"), value(response, "mode")) == ("BTG", "bris_de_glace")
    until = datetime.fromisoformat(value(response, "until"))
    assert timedelta(minutes=59) < until - datetime.now(UTC) <= timedelta(minutes=60)
    assert emergency.get(exam).status_code == 200
    assert emergency.get(patient).status_code == 200
    assert found(emergency, f"Observation?patient={patient}") == [exam.partition("/")[2]]
    assert usual.get(exam).status_code == 404  # the purpose of each request says that it is one


def test_a_session_is_of_one_physician_in_one_activity_for_one_patient(
    person_token, his: Caller, patient: str, exam: str
):
    begin(person_token("Practitioner/u"), patient)
    other = his.make({"resourceType": "Patient", "name": [{"family": "Other"}]})
    unrelated = his.make(observation(f"Patient/{other['id']}"))

    assert person_token("Practitioner/v", "BTG").get(exam).status_code == 404
    assert person_token("Practitioner/u", "BTG").get(f"Observation/{unrelated['id']}").status_code == 404


def test_a_session_ends_by_itself_and_when_it_is_ended(person_token, database: Database, patient: str, exam: str):
    usual, emergency = person_token("Practitioner/u"), person_token("Practitioner/u", "BTG")
    session = value(begin(usual, patient), "session")
    hour_ago = datetime.now(UTC) - timedelta(minutes=61)
    database.emergencies.update_one(
        {"_id": session}, {"$set": {"from": hour_ago, "until": hour_ago + timedelta(minutes=60)}}
    )
    assert emergency.get(exam).status_code == 404
    assert usual.post(f"{patient}/$break-glass-end", {"resourceType": "Parameters"}).status_code == 404

    again = value(begin(usual, patient), "session")
    assert emergency.get(exam).status_code == 200
    colleague = person_token("Practitioner/v")
    assert colleague.post(f"{patient}/$break-glass-end", {"resourceType": "Parameters"}).status_code == 404
    ended = usual.post(f"{patient}/$break-glass-end", {"resourceType": "Parameters"})
    assert value(ended, "session") == again
    assert emergency.get(exam).status_code == 404


def test_masks_labels_and_consents_are_not_lifted(person_token, his: Caller, patient: str):
    masked = his.make(observation(patient, {"system": TRE_A07, "code": "MASQUE_PS"}))
    confidentiality = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
    restricted = his.make(observation(patient, {"system": confidentiality, "code": "R"}))
    signed = his.make(consent(patient, actor=to("Practitioner/v"), purpose=[{"system": ACT_REASON, "code": "TREAT"}]))
    begin(person_token("Practitioner/u"), patient)
    emergency = person_token("Practitioner/u", "BTG")

    assert found(emergency, f"Observation?patient={patient}") == []
    for type_, id_ in (("Observation", masked["id"]), ("Observation", restricted["id"]), ("Consent", signed["id"])):
        assert emergency.get(f"{type_}/{id_}").status_code == 404


def test_who_objected_is_not_opened_and_the_physician_is_told_why(person_token, his: Caller, patient: str, audit_of):
    his.make(consent(patient, purpose=[{"system": ACT_REASON, "code": code} for code in ("ETREAT", "BTG")]))
    response = begin(person_token("Practitioner/u"), patient)

    assert response.status_code == 403
    assert "objected" in issues_of(response)[0]["diagnostics"]
    refused = [one for one in audit_of() if one.get("outcomeDesc") == "btg-objection"]
    assert [entity["what"]["reference"] for entity in refused[0]["entity"] if "reference" in entity["what"]] == [
        patient,
        patient,
    ]


def test_an_objection_that_comes_during_a_session_counts_at_once(person_token, his: Caller, patient: str, exam: str):
    begin(person_token("Practitioner/u"), patient)
    emergency = person_token("Practitioner/u", "BTG")
    assert emergency.get(exam).status_code == 200
    his.make(consent(patient, purpose=[{"system": ACT_REASON, "code": "ETREAT"}]))
    assert emergency.get(exam).status_code == 404


def test_a_patient_who_blocked_the_physician_is_as_one_who_is_not_there(person_token, his: Caller, patient: str):
    his.make(consent(patient, actor=to("Practitioner/u")))
    caller, nobody = person_token("Practitioner/u"), f"Patient/{uuid.uuid4().hex}"
    blocked, absent = begin(caller, patient), begin(caller, nobody)

    assert blocked.status_code == absent.status_code == 404
    assert blocked.text.replace(patient, "") == absent.text.replace(nobody, "")


@pytest.mark.parametrize("who", ["Practitioner/w", "Practitioner/s"])
def test_who_is_no_physician_is_refused_whatever_is_stored(person_token, patient: str, who: str):
    caller = person_token(who)
    present, absent = begin(caller, patient), begin(caller, "Patient/none")
    assert present.status_code == absent.status_code == 403
    assert present.json == absent.json


def test_a_patient_or_a_system_cannot_break_the_glass(caller: Callable[..., Caller], his: Caller, patient: str):
    assert begin(his, patient).status_code == 403
    assert begin(caller(patient), patient).status_code == 403


@pytest.mark.parametrize(
    ("changed", "expression"),
    [
        ({"mode": ("valueCode", "normal")}, "mode"),
        ({"mode": None}, "mode"),
        ({"reason": ("valueString", "short")}, "reason"),
        ({"reason": ("valueString", "x" * 1001)}, "reason"),
        ({"reason": ("valueString", " " * 40 + "x")}, "reason"),
        ({"reasonCode": ("valueCoding", {"code": "ETREAT"})}, "reasonCode"),
        ({"reasonCode": None}, "reasonCode"),
        ({"cannotConsent": None}, "cannotConsent"),
        ({"cannotConsent": ("valueBoolean", False)}, "cannotConsent"),
    ],
)
def test_what_is_missing_is_asked_for_before_anything_is_looked_up(person_token, patient: str, changed, expression):
    response = begin(person_token("Practitioner/u"), patient, **changed)
    assert response.status_code == 400
    assert issues_of(response)[0]["expression"] == [expression]


def test_regulation_of_calls_states_no_impossibility_and_honours_an_objection(
    person_token, his: Caller, patient: str, exam: str
):
    regulator = {"mode": ("valueCode", "centre_15"), "cannotConsent": None}
    assert value(begin(person_token("Practitioner/u"), patient, **regulator), "mode") == "centre_15"
    assert person_token("Practitioner/u", "BTG").get(exam).status_code == 200
    his.make(consent(patient))
    assert begin(person_token("Practitioner/v"), patient, **regulator).status_code == 403


def test_it_is_called_by_post_only(person_token, patient: str):
    assert person_token("Practitioner/u").get(f"{patient}/$break-glass").status_code == 405


def test_a_session_is_told_to_the_patient_reviewed_and_traced_in_every_access(
    person_token, caller: Callable[..., Caller], database: Database, patient: str, exam: str, audit_of
):
    usual, emergency = person_token("Practitioner/u"), person_token("Practitioner/u", "BTG")
    session = value(begin(usual, patient), "session")
    emergency.get(exam)
    emergency.get(f"Observation?patient={patient}")
    usual.post(f"{patient}/$break-glass-end", {"resourceType": "Parameters"})

    told = [one for one in audit_of() if any(_names(entity) == session for entity in one["entity"])]
    codes = [[coding["code"] for coding in one["subtype"]] for one in told]
    assert codes == [["110127"], ["read"], ["search-type"], ["110138"]]
    assert told[0]["type"]["code"] == "110113"
    assert told[1]["purposeOfEvent"][0]["coding"][0]["code"] == "BTG" if "purposeOfEvent" in told[1] else True
    person = caller(patient)
    assert len(found(person, f"AuditEvent?entity:identifier=urn:fhirserver:break-glass|{session}")) == 4

    notices = database.notices.find({"session": session}).to_list()
    assert sorted(one["to"] for one in notices) == ["data-protection", "patient", "representatives"]
    assert all(one["sent"] is None and one["patient"] == patient for one in notices)
    stored = database.emergencies.find_one({"_id": session})
    assert stored is not None
    task = person.get(stored["task"]).json
    assert (task["status"], task["for"]["reference"]) == ("requested", patient)
    assert task["restriction"]["period"]["end"] > task["authoredOn"]
    assert emergency.get(stored["task"]).status_code == 404


def _names(entity: dict[str, Any]) -> str | None:
    return entity["what"].get("identifier", {}).get("value") if "what" in entity else None


def test_a_refused_start_leaves_neither_session_nor_notice(person_token, his: Caller, database: Database, patient: str):
    his.make(consent(patient))
    begin(person_token("Practitioner/u"), patient)
    assert database.emergencies.count_documents({"patient": patient}) == 0
    assert database.notices.count_documents({"patient": patient}) == 0


def _hints(response: TestResponse) -> list[Any]:
    assert response.status_code == 200, response.text
    return [one for one in response.json.get("entry", []) if one["search"]["mode"] == "outcome"]


def test_a_physician_who_sees_nothing_of_a_patient_is_told_of_emergencies_whether_or_not_there_is_anything(
    person_token, his: Caller, patient: str, exam: str
):
    caller = person_token("Practitioner/v")
    hint = {
        "severity": "information",
        "code": "suppressed",
        "details": {"coding": [{"system": ACT_REASON, "code": "ETREAT"}]},
    }
    for query in ("Observation?patient={}", "ImagingStudy?subject={}", "Patient?_id={}"):
        answers = [caller.get(query.format(one)) for one in (patient, f"Patient/{uuid.uuid4().hex}")]
        if "_id" in query:
            answers = [caller.get(query.format(one)) for one in (patient.partition("/")[2], uuid.uuid4().hex)]
        shown = [_hints(answer) for answer in answers]
        assert shown[0] == shown[1]
        assert len(shown[0]) == 1
        issue = shown[0][0]["resource"]["issue"][0]
        assert {name: issue[name] for name in hint} == hint
        assert all(answer.json.get("total", 0) == 0 for answer in answers)
    his.make(consent(patient, actor=to("Practitioner/v")))
    assert _hints(caller.get(f"Observation?patient={patient}")) == shown[0]


def test_nobody_else_is_told_of_emergencies(
    person_token, caller: Callable[..., Caller], his: Caller, patient: str, exam: str
):
    query = f"ImagingStudy?patient={patient}"
    assert _hints(person_token("Practitioner/w").get(query)) == []
    assert _hints(caller(patient).get(query)) == []
    assert _hints(his.get(query)) == []
    physician = person_token("Practitioner/v")
    assert _hints(physician.get("ImagingStudy?status=available")) == []
    assert _hints(physician.get(f"ImagingStudy?patient={patient},Patient/other")) == []
    his.make(
        {
            "resourceType": "CareTeam",
            "status": "active",
            "subject": {"reference": patient},
            "participant": [{"member": {"reference": "Practitioner/v"}, "period": {"start": "2020-01-01"}}],
        }
    )
    assert _hints(physician.get(query)) == []


def review(caller: Caller, task: str, outcome: str = "justified", text: str = "A life was saved.", **headers: str):
    said = [{"name": "outcome", "valueCode": outcome}, {"name": "text", "valueString": text}]
    return caller.post(f"{task}/$break-glass-review", {"resourceType": "Parameters", "parameter": said}, **headers)


@pytest.fixture
def task(person_token, database: Database, patient: str) -> str:
    session = value(begin(person_token("Practitioner/u"), patient), "session")
    stored = database.emergencies.find_one({"_id": session})
    assert stored is not None
    found: str = stored["task"]
    return found


@pytest.fixture
def auditor(caller: Callable[..., Caller]) -> Caller:
    return caller("Client/reviewer", category="auditor")


def test_an_auditor_closes_the_review_and_the_person_reads_what_was_found(
    auditor: Caller, caller: Callable[..., Caller], patient: str, task: str, audit_of
):
    assert f"Task/{found(auditor, 'Task?status=requested&_sort=-_lastUpdated')[0]}" == task
    answer = review(auditor, task, "unjustified", "There was no emergency.")
    assert answer.status_code == 200, answer.text
    read = caller(patient).get(task).json
    assert (read["status"], read["businessStatus"]["coding"][0]["code"]) == ("completed", "unjustified")
    assert (read["note"][0]["text"], read["note"][0]["authorString"]) == ("There was no emergency.", "reviewer")
    assert read["for"] == {"reference": patient}
    written = [one for one in audit_of() if one["action"] == "U"]
    assert [entity["what"]["reference"] for entity in written[-1]["entity"] if "Task" in str(entity)] == [
        f"{task}/_history/2"
    ]
    assert auditor.get(task).json["status"] == "completed"


def test_a_review_that_is_closed_stays_so(auditor: Caller, task: str):
    assert review(auditor, task, If_Match='W/"7"').status_code == 412
    assert review(auditor, task, If_Match='W/"1"').status_code == 200
    assert review(auditor, task, "unjustified").status_code == 409


def test_nobody_else_closes_a_review_and_an_auditor_changes_a_task_in_no_other_way(
    auditor: Caller, operator: Caller, his: Caller, caller: Callable[..., Caller], person_token, patient: str, task: str
):
    for who in (operator, his, caller(patient), person_token("Practitioner/u", "BTG")):
        assert review(who, task).status_code in {403, 404}
        assert review(who, task).status_code == review(who, "Task/never-was").status_code
    present = auditor.get(task).json
    assert auditor.put(task, {**present, "status": "completed"}).status_code == 403
    merge = b'{"status": "completed"}'
    assert auditor.request("PATCH", task, merge, Content_Type="application/merge-patch+json").status_code == 403
    assert auditor.delete(task).status_code == 403
    assert auditor.get(task).json == present


@pytest.mark.parametrize(("outcome", "text", "at"), [("perhaps", "x" * 20, "outcome"), ("justified", "short", "text")])
def test_a_review_says_what_was_found_and_why(auditor: Caller, task: str, outcome: str, text: str, at: str):
    response = review(auditor, task, outcome, text)
    assert response.status_code == 400
    assert issues_of(response)[0]["expression"] == [at]


def test_a_task_of_care_is_no_review(auditor: Caller, his: Caller, patient: str):
    made = his.make({"resourceType": "Task", "status": "requested", "intent": "order", "for": {"reference": patient}})
    assert review(auditor, f"Task/{made['id']}").status_code == 404
