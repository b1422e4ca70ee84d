"""The OAuth routes inside the whole application: every error in the form of the address it happens at."""

from __future__ import annotations

import pytest

from fhirserver.app import create_app
from tests.fhirserver.oauth.assertions import form


@pytest.fixture(scope="module")
def app(config, database):
    return create_app(config, database)


def test_a_system_obtains_a_token_and_reads_with_it(http):
    token = http.post("/oauth/token", data=form()).json["access_token"]
    response = http.get("/fhir/Patient/nobody", headers={"Authorization": f"Bearer {token}"})
    assert (response.status_code, response.json["resourceType"]) == (404, "OperationOutcome")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/oauth/token", 405), ("DELETE", "/oauth/revoke", 405), ("GET", "/oauth/nothing", 404)],
)
def test_an_error_under_oauth_is_an_oauth_error(http, method, path, status):
    response = http.open(path, method=method)
    assert response.status_code == status
    assert response.json["error"] == "invalid_request"


def test_a_form_that_is_too_large_is_an_oauth_error_too(http):
    response = http.post("/oauth/token", data={"client_assertion": "a" * 100_000})
    assert (response.status_code, response.json["error"]) == (413, "invalid_request")


def test_a_missing_token_under_fhir_is_an_operation_outcome_with_a_challenge(http):
    response = http.get("/fhir/Patient/ada")
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="fhir"'
    assert response.json["issue"][0]["code"] == "login"


def test_a_bad_token_under_dicomweb_is_refused_with_a_challenge(http):
    response = http.get("/dicomweb/studies", headers={"Authorization": "Bearer nonsense"})
    assert response.status_code == 401
    assert "invalid_token" in response.headers["WWW-Authenticate"]


def test_the_request_id_comes_back(http):
    response = http.post("/oauth/token", data=form(), headers={"X-Request-Id": "request-9"})
    assert response.headers["X-Request-Id"] == "request-9"
