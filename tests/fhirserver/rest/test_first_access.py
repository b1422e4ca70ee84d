"""The first time a professional opens a record is told: once, marked in the trail, never of what is hidden."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fhirserver.store.audit_verify import verify
from fhirserver.store.database import Database
from fhirserver.store.first_access import FirstAccesses
from tests.fhirserver.rest.conftest import Caller

LABELS = "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument"

Events = Callable[[], list[dict[str, Any]]]


def observation(patient: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": patient},
        **more,
    }


def hidden(patient: str, how: str) -> dict[str, Any]:
    if how == "label":
        return observation(patient, meta={"security": [{"system": LABELS, "code": "INVISIBLE_PATIENT"}]})
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="seconds")
    return observation(patient, extension=[{"url": "urn:fhirserver:extension:release", "valueInstant": later}])


def notices(database: Database, patient: str) -> list[dict[str, Any]]:
    return database.notices.find({"patient": patient}).sort([("to", 1)]).to_list()


def marked(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if '"first-access"' in json.dumps(event)]


def test_a_first_access_is_told_once_and_marked(
    doctor: Caller, declared: str, database: Database, audit_of: Events
) -> None:
    for _ in range(2):
        assert doctor.get(declared).status_code == 200

    first, second = (event for event in audit_of() if event["subtype"][0]["code"] == "read")
    assert (len(marked([first])), len(marked([second]))) == (1, 0)
    patient, representatives = notices(database, declared)
    assert (patient["to"], representatives["to"]) == ("patient", "representatives")
    assert patient["event"] == f"AuditEvent/{first['id']}"
    assert (patient["kind"], patient["subject"], patient["organization"], patient["sent"]) == (
        "first-access",
        "Practitioner/d",
        "Organization/e1",
        None,
    )


@pytest.mark.parametrize(
    "path", ["Observation?patient={patient}", "{patient}/$everything", "Observation/{id}/_history"]
)
def test_whatever_gives_something_of_the_record_is_an_access(
    doctor: Caller, his: Caller, declared: str, database: Database, audit_of: Events, path: str
) -> None:
    made = his.make(observation(declared))
    assert doctor.get(path.format(patient=declared, id=made["id"])).status_code == 200

    assert len(marked(audit_of())) == 1
    assert len(notices(database, declared)) == 2


def test_two_first_reads_at_once_give_one_notice(
    app, doctor: Caller, declared: str, database: Database, audit_of: Events
) -> None:
    callers = [Caller(app.test_client(), doctor.token) for _ in range(8)]
    with ThreadPoolExecutor(len(callers)) as pool:
        answers = list(pool.map(lambda one: one.get(declared).status_code, callers))

    assert answers == [200] * len(callers)
    events = [event for event in audit_of() if event["subtype"][0]["code"] == "read"]
    assert (len(events), len(marked(events))) == (len(callers), 1)
    assert len(notices(database, declared)) == 2


def test_of_two_processes_one_is_the_first(declared: str, database: Database) -> None:
    one, other = FirstAccesses(database), FirstAccesses(database)
    who, now = ("Practitioner/x", None), datetime.now(UTC)
    assert one.missing("Practitioner/x", [declared]) == other.missing("Practitioner/x", [declared]) == [declared]

    assert one.write(who, {declared: "AuditEvent/1"}, [], now)
    assert not other.write(who, {declared: "AuditEvent/2"}, [], now)
    assert other.missing("Practitioner/x", [declared]) == []
    assert {notice["event"] for notice in notices(database, declared)} == {"AuditEvent/1"}


def test_a_search_that_finds_nothing_and_a_refusal_are_no_access(
    doctor: Caller, stranger: Caller, declared: str, database: Database
) -> None:
    assert doctor.get(f"Observation?patient={declared}").json["total"] == 0
    assert stranger.get(declared).status_code == 404

    assert notices(database, declared) == []


def test_neither_the_person_nor_an_establishment_nor_an_auditor_is_told_of(
    caller: Callable[..., Caller], his: Caller, declared: str, database: Database
) -> None:
    caller(declared).get(declared)
    his.get(declared)
    caller("Client/auditor", category="auditor").get(f"AuditEvent?patient={declared}")

    assert notices(database, declared) == []


@pytest.mark.parametrize("how", ["label", "release"])
def test_an_access_to_what_is_hidden_gives_no_notice_and_the_next_one_does(
    doctor: Caller, his: Caller, declared: str, database: Database, audit_of: Events, how: str
) -> None:
    made = his.make(hidden(declared, how))
    assert doctor.get(f"Observation/{made['id']}").status_code == 200
    assert doctor.get(f"Observation?patient={declared}").json["total"] == 1
    assert (notices(database, declared), marked(audit_of())) == ([], [])

    assert doctor.get(declared).status_code == 200

    assert len(notices(database, declared)) == 2
    assert len(marked(audit_of())) == 1


def test_a_page_of_many_patients_is_one_transaction_and_each_is_told(
    doctor: Caller, his: Caller, database: Database, audit_of: Events
) -> None:
    tag = {"system": "urn:test", "code": "many"}
    patients = []
    for _ in range(3):
        made = his.make({"resourceType": "Patient", "meta": {"tag": [tag]}, "name": [{"family": "Many"}]})
        patients.append(f"Patient/{made['id']}")
        participant = [{"member": {"reference": "Practitioner/d"}, "period": {"start": "2020-01-01"}}]
        team = {"resourceType": "CareTeam", "status": "active", "participant": participant}
        his.make({**team, "subject": {"reference": patients[-1]}})

    assert doctor.get("Patient?_tag=urn:test|many").json["total"] == 3

    assert [len(notices(database, patient)) for patient in patients] == [2, 2, 2]
    assert len(marked(audit_of())) == 3


def test_where_the_access_cannot_be_written_nothing_is_disclosed(
    doctor: Caller, declared: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ConnectionError

    monkeypatch.setattr("fhirserver.store.first_access.Writes.send", fail)
    monkeypatch.setattr(doctor.http.application, "testing", False)

    response = doctor.get(declared)

    assert response.status_code >= 500
    assert "Martin" not in response.text
    assert notices(database, declared) == []


def test_the_chain_holds_with_the_events_of_first_accesses(doctor: Caller, declared: str, database: Database) -> None:
    doctor.get(declared)
    doctor.get(declared)

    assert verify(database).is_intact


def test_the_report_says_which_access_was_the_first(
    caller: Callable[..., Caller], doctor: Caller, declared: str
) -> None:
    doctor.get(declared)
    answer = caller(declared).get(f"{declared}/$access-report?form=lines&own=false&language=en")

    lines = [one["part"] for one in answer.json["parameter"] if one["name"] == "line"]
    said = [part["valueBoolean"] for line in lines for part in line if part["name"] == "first-access"]
    assert said.count(True) == 1
    [text] = [
        part["valueString"]
        for line in lines
        if {"name": "first-access", "valueBoolean": True} in line
        for part in line
        if part["name"] == "text"
    ]
    assert "first access" in text


def test_an_access_that_is_not_the_first_costs_no_round_trip(
    doctor: Caller, declared: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    doctor.get(declared)
    firsts = FirstAccesses(database)
    assert firsts.missing("Practitioner/d", [declared]) == []  # as another process finds out once

    monkeypatch.delattr("pymongo.collection.Collection.find")

    assert firsts.missing("Practitioner/d", [declared]) == []


def test_what_a_process_keeps_is_bounded_and_what_it_forgot_is_asked_again(
    declared: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fhirserver.store.first_access._MOST_KEPT", 1)
    firsts, now = FirstAccesses(database), datetime.now(UTC)
    for number in range(4):
        who = (f"Practitioner/{number}", None)
        assert firsts.write(who, {declared: f"AuditEvent/{number}"}, [], now)

    assert len(firsts._young) + len(firsts._old) == 2
    assert firsts.missing("Practitioner/0", [declared]) == []
