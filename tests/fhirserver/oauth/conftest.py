"""An application with the OAuth routes and one route that says who it was reached by; real keys, a real MongoDB."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from flask import Flask, jsonify, request
from joserfc import jwt
from joserfc.jwk import KeySet

from fhirserver.errors import FhirError
from fhirserver.oauth import access_token, bearer, server
from fhirserver.oauth.access_token import Claims
from fhirserver.store import documents
from tests.fhirserver.oauth.assertions import EC, RSA


@pytest.fixture(scope="module")
def app(config, database):
    application = Flask("oauth-test")
    application.register_blueprint(server.blueprint(config, database))

    @application.get("/fhir/whoami")
    def whoami():
        access = bearer.authenticate(request)
        actor = access.actor
        return jsonify(
            kind=actor.kind,
            reference=actor.reference,
            organization=actor.organization,
            keys=sorted(actor.keys),
            patients=sorted(actor.patients),
            category=actor.client_category,
            active=actor.is_active,
            client=actor.client_id,
            purpose=access.purpose,
            request_id=access.request_id,
            token_id=access.token_id,
            transport=access.transport,
            reads_studies=any(scope.covers("read", "ImagingStudy") for scope in actor.scopes),
            deletes_studies=any(scope.covers("delete", "ImagingStudy") for scope in actor.scopes),
        )

    application.register_error_handler(FhirError, server.render_error)
    application.add_url_rule("/dicomweb/whoami", view_func=whoami)
    return application


@pytest.fixture
def http(app):
    documents._kept.clear()
    app.extensions[bearer.EXTENSION]._kept.clear()
    return app.test_client()


@pytest.fixture(scope="module", autouse=True)
def his(database):
    """The system of hospital e1, registered with an RSA key and a P-384 key."""
    jwks = KeySet([EC, RSA]).as_dict(private=False)
    values = {"category": "care", "jwks": jwks, "scopes": "system/*.cruds"}
    client = documents.add_client("his-e1", name="HIS of e1", organization="Organization/e1", **values)
    documents.add_client("his-e2", name="HIS of e2", organization="Organization/e2", **values)
    return client


@dataclass
class Tokens:
    """Makes access tokens as the server does, and as nobody should."""

    app: Flask
    config: object

    @property
    def keys(self):
        return self.app.extensions[bearer.EXTENSION].keys

    def issue(self, *, now=None, config=None, **values):
        granted = Claims(**{"subject": "his-e1", "client_id": "his-e1", "scope": "system/*.rs", **values})
        return access_token.issue(self.keys, config or self.config, granted, now or datetime.now(UTC))[0]

    def person(self, reference, **values):
        defaults = {"client_id": bearer.COMMAND_LINE, "scope": "user/*.rs", "person": reference}
        return self.issue(subject=reference, **{**defaults, **values})

    def forge(self, *, key=None, header=None, **changes):
        """A token with our claims but for `changes`, signed by `key`."""
        key = key or self.keys.signing
        now = int(time.time())
        payload = {
            "iss": "http://fhir.example/oauth",
            "aud": "http://fhir.example/fhir",
            "sub": "his-e1",
            "client_id": "his-e1",
            "scope": "system/*.cruds",
            "jti": secrets.token_hex(8),
            "iat": now,
            "exp": now + 200,
            **changes,
        }
        payload = {name: value for name, value in payload.items() if value is not None}
        head = {"alg": "ES256", "typ": "at+jwt", "kid": self.keys.signing.kid, **(header or {})}
        head = {name: value for name, value in head.items() if value is not None}
        return jwt.encode(head, payload, key, algorithms=[head["alg"]], default_type=None)


@pytest.fixture
def tokens(app, config):
    return Tokens(app, config)


@pytest.fixture
def whoami(http):
    def ask(token, path="/fhir/whoami", **headers):
        return http.get(path, headers={"Authorization": f"Bearer {token}", **headers})

    return ask


@pytest.fixture
def audited(database):
    """The AuditEvents written since the test began, as stored JSON."""
    before = database.audit.distinct("_id")

    def events():
        return [row["b"].decode() for row in database.audit.find({"_id": {"$nin": before}})]

    return events
