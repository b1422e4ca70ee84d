"""What the tests of the two bases share: the whole application over a real MongoDB, real tokens, and the audit."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask

from fhirserver.app import create_app
from fhirserver.config import Config
from fhirserver.oauth.access_token import Claims, issue
from fhirserver.oauth.bearer import COMMAND_LINE
from fhirserver.oauth.keys import SigningKeys
from fhirserver.store import documents
from fhirserver.store.database import Database

NUMBERS = "urn:oid:1.2.250.1.999.1"
_KEYS = {"keys": [{"kty": "RSA"}]}


@pytest.fixture(scope="module")
def app(config: Config, database: Database) -> Flask:
    """The application of this module's database."""
    return create_app(config, database)


@pytest.fixture(scope="module")
def token_of(app: Flask, config: Config) -> Callable[..., str]:
    """Make a token of a system of an establishment, which numbers patients by `NUMBERS`, or of a person."""

    def make(who: str, *, organization: str | None = None, category: str = "care", scope: str | None = None) -> str:
        kind, _, id_ = who.partition("/")
        if kind == "Client":
            documents.add_client(
                id_,
                name=id_,
                category=category,
                organization=organization,
                jwks=_KEYS,
                scopes="system/*.cruds",
                patient_id_system=NUMBERS,
                replace=True,
            )
            claims = Claims(id_, id_, scope or "system/*.cruds")
        else:
            context = "user" if kind == "Practitioner" else "patient"
            claims = Claims(
                who,
                COMMAND_LINE,
                scope or f"{context}/*.cruds",
                organization=organization,
                person=who,
                patient=id_ if kind == "Patient" else None,
            )
        token, _ = issue(SigningKeys.load(), config, claims, datetime.now(UTC))
        return token

    return make


@pytest.fixture
def audit_of(database: Database) -> Callable[[], list[dict[str, Any]]]:
    """The AuditEvents written since the test began, as JSON."""
    before = {row["_id"] for row in database.audit.find({}, {"_id": 1})}

    def events() -> list[dict[str, Any]]:
        rows = database.audit.find({}, {"b": 1}).sort([("_id", 1)])
        return [json.loads(row["b"]) for row in rows if row["_id"] not in before]

    return events
