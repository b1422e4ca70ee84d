"""What a write asks of MongoDB: docs/performance.md says why each command is there, and none is sent twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from fhirserver.app import create_app
from fhirserver.config import Config
from fhirserver.store.database import Database
from fhirserver.store.embedded import EmbeddedMongo
from fhirserver.store.generation import Generation
from fhirserver.store.objects import Objects
from tests.fhirserver.rest.conftest import Caller

PATIENT = {"resourceType": "Patient", "active": True}
NATIONAL = {"system": "urn:oid:1.2.250.1.213.1.4.10", "value": "280000000000097"}


class Commands(CommandListener):
    """The commands that a client sent, each with its collection.

    Those of a connection that is opened, and of the promises that a thread renews, belong to no request.
    """

    def __init__(self) -> None:
        self.sent: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        if event.database_name != "admin" or event.command_name == "commitTransaction":
            collection = event.command.get(event.command_name)
            if collection != "writers":
                of = f" {collection}" if isinstance(collection, str) else ""
                self.sent.append(f"{event.command_name}{of}")

    def succeeded(self, event: CommandSucceededEvent) -> None:
        pass

    def failed(self, event: CommandFailedEvent) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Hospital:
    """A hospital's system, and what its requests send to the database."""

    caller: Caller
    commands: Commands

    def sent(self, path: str, body: Any, status: int) -> list[str]:
        """The commands of one POST."""
        self.commands.sent.clear()
        response = self.caller.post(path, body)
        assert response.status_code == status, response.text
        return list(self.commands.sent)


@pytest.fixture
def hospital(
    config: Config, database: Database, mongo: EmbeddedMongo, token_of: Callable[..., str]
) -> Iterator[Hospital]:
    """A process that has served its first request, which keeps its token, its search parameters and its standing."""
    commands = Commands()
    Generation.begin_anew(config.data)
    with MongoClient[Any](mongo.uri, event_listeners=[commands], tz_aware=True) as client:
        watched = Database(client, config.database, Objects(config))
        watched.generation = Generation.of(config.data)
        app = create_app(config, watched)
        caller = Caller(app.test_client(), token_of("Client/his", organization="Organization/e1"))
        caller.make(PATIENT)
        yield Hospital(caller, commands)
        watched.in_flight.close()
    Generation.end(config.data)


def test_a_patient_is_created_with_one_command_for_each_collection(hospital: Hospital) -> None:
    written = ["insert audit", "insert resources", "update patient_access", "commitTransaction"]
    assert hospital.sent("Patient", PATIENT, 201) == written


def test_a_national_identifier_is_looked_up_and_taken_with_one_command_each(hospital: Hospital) -> None:
    sent = hospital.sent("Patient", {**PATIENT, "identifier": [NATIONAL]}, 201)
    assert sent[:2] == ["find identities", "findAndModify identities"]
    assert sent[2:] == ["insert audit", "insert resources", "update patient_access", "commitTransaction"]


def test_a_study_is_created_with_one_look_at_its_patient(hospital: Hospital) -> None:
    patient = hospital.caller.make(PATIENT)
    sent = hospital.sent("ImagingStudy", _study(f"Patient/{patient['id']}"), 201)
    assert sent == ["findAndModify patient_access", "insert audit", "insert resources", "commitTransaction"]


def test_a_transaction_of_several_sends_no_more_commands_than_a_create(hospital: Hospital) -> None:
    patient, study = (f"urn:uuid:00000000-0000-4000-8000-00000000000{number}" for number in (1, 2))
    report = {
        "resourceType": "DiagnosticReport",
        "status": "final",
        "code": {"text": "report"},
        "subject": {"reference": patient},
        "imagingStudy": [{"reference": study}],
    }
    entries = [
        {"fullUrl": patient, "resource": PATIENT, "request": {"method": "POST", "url": "Patient"}},
        {"fullUrl": study, "resource": _study(patient), "request": {"method": "POST", "url": "ImagingStudy"}},
        {"resource": report, "request": {"method": "POST", "url": "DiagnosticReport"}},
    ]
    sent = hospital.sent("", {"resourceType": "Bundle", "type": "transaction", "entry": entries}, 200)
    assert sent == ["insert audit", "insert resources", "update patient_access", "commitTransaction"]


def _study(patient: str) -> dict[str, Any]:
    return {"resourceType": "ImagingStudy", "status": "available", "subject": {"reference": patient}}
