"""The whole application over a real MongoDB, and callers with real tokens.

`his` is the hospital system of Organization/e1; `doctor` is declared in the care team of the patients that `declared`
names; `stranger` is a doctor whom nobody declared.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

FHIR_JSON = "application/fhir+json"


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller of the FHIR base; bodies may be JSON values or bytes."""

    http: FlaskClient
    token: str

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
        """Send a request; header names are written with underscores."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent.setdefault("Authorization", f"Bearer {self.token}")
        if body is not None:
            sent.setdefault("Content-Type", FHIR_JSON)
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
        path = path if path.startswith("/") or not path else f"/{path}"
        return self.http.open(f"/fhir{path}", method=method, data=body, headers=sent)

    def get(self, path: str, **headers: str) -> TestResponse:
        """GET."""
        return self.request("GET", path, **headers)

    def post(self, path: str, body: Any, **headers: str) -> TestResponse:
        """POST."""
        return self.request("POST", path, body, **headers)

    def put(self, path: str, body: Any, **headers: str) -> TestResponse:
        """PUT."""
        return self.request("PUT", path, body, **headers)

    def delete(self, path: str, **headers: str) -> TestResponse:
        """DELETE."""
        return self.request("DELETE", path, **headers)

    def make(self, resource: dict[str, Any]) -> dict[str, Any]:
        """Create a resource and give what the server made of it."""
        response = self.post(resource["resourceType"], resource)
        assert response.status_code == 201, response.text
        return response.json


@pytest.fixture(scope="module")
def caller(app: Flask, token_of: Callable[..., str]) -> Callable[..., Caller]:
    """Make a caller: a system of an establishment, or a person."""
    return lambda *who, **options: Caller(app.test_client(), token_of(*who, **options))


@pytest.fixture(scope="module")
def operator(caller: Callable[..., Caller]) -> Caller:
    """The operator of the region, who keeps the directory."""
    return caller("Client/operator", category="operator")


@pytest.fixture(scope="module")
def his(caller: Callable[..., Caller], operator: Caller) -> Caller:
    """The hospital system of Organization/e1."""
    for id_ in ("e1", "e2"):
        operator.put(f"Organization/{id_}", {"resourceType": "Organization", "id": id_, "active": True, "name": id_})
    return caller("Client/his-e1", organization="Organization/e1")


@pytest.fixture(scope="module")
def other_his(his: Caller, caller: Callable[..., Caller]) -> Caller:
    """The hospital system of Organization/e2."""
    return caller("Client/his-e2", organization="Organization/e2")


@pytest.fixture(scope="module")
def doctor(caller: Callable[..., Caller], operator: Caller, his: Caller) -> Caller:
    """Practitioner/d."""
    operator.put("Practitioner/d", {"resourceType": "Practitioner", "id": "d", "active": True})
    return caller("Practitioner/d", organization="Organization/e1")


@pytest.fixture(scope="module")
def stranger(caller: Callable[..., Caller], operator: Caller) -> Caller:
    """Practitioner/s, whom no patient declared."""
    operator.put("Practitioner/s", {"resourceType": "Practitioner", "id": "s", "active": True})
    return caller("Practitioner/s", organization="Organization/e2")


@pytest.fixture
def patient(his: Caller) -> str:
    """A new patient of Organization/e1, as a reference."""
    made = his.make(
        {
            "resourceType": "Patient",
            "identifier": [{"system": "urn:oid:1.2.3", "value": uuid.uuid4().hex}],
            "name": [{"family": "Martin", "given": ["Ada"]}],
            "birthDate": "1980-02-03",
        }
    )
    return f"Patient/{made['id']}"


@pytest.fixture
def declared(his: Caller, doctor: Caller, patient: str) -> str:
    """The same patient, who has declared Practitioner/d."""
    his.make(
        {
            "resourceType": "CareTeam",
            "status": "active",
            "subject": {"reference": patient},
            "participant": [{"member": {"reference": "Practitioner/d"}, "period": {"start": "2020-01-01"}}],
        }
    )
    return patient


def issues_of(response: TestResponse) -> list[dict[str, Any]]:
    """The issues of an OperationOutcome, which the answer must be."""
    assert response.content_type == f"{FHIR_JSON}; charset=utf-8", response.text
    assert response.json["resourceType"] == "OperationOutcome"
    return response.json["issue"]
