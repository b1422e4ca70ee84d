"""OPTIONS, HEAD, and pages of other origins (https://fetch.spec.whatwg.org/#http-cors-protocol)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fhirserver.app import create_app
from fhirserver.config import Origins
from fhirserver.rest.routes import ROUTED
from tests.fhirserver.rest.conftest import Caller, issues_of

APP = "https://app.example"
PREFLIGHT = {
    "Origin": APP,
    "Access-Control-Request-Method": "PUT",
    "Access-Control-Request-Headers": "authorization,if-match",
}


@pytest.fixture(scope="module")
def open_to(config, database):
    """A client of a server that lists these origins."""
    return lambda *origins: create_app(replace(config, cors_origins=Origins(",".join(origins))), database).test_client()


@pytest.fixture(scope="module")
def listed(open_to):
    return open_to(APP)


# OPTIONS


def test_options_says_which_methods_an_address_takes_and_asks_for_no_token(app):
    http = app.test_client()
    for path, methods in (
        ("/fhir/Patient/x", {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"}),
        ("/fhir/Patient", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("/fhir/Patient/_search", {"POST", "OPTIONS"}),
        ("/fhir/metadata", {"GET", "HEAD", "OPTIONS"}),
        ("/fhir/Patient/x/$everything", {"GET", "HEAD", "OPTIONS"}),
        ("/dicomweb/studies", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("/oauth/token", {"POST", "OPTIONS"}),
    ):
        response = http.options(path)
        assert (response.status_code, response.data) == (204, b""), path
        assert methods <= set(response.headers["Allow"].split(", ")), path


def test_options_of_every_route_names_its_method(app):
    values = {"type": "Patient", "id": "x", "version_id": "1", "target": "Observation", "name": "$meta"}
    for method, address, _, _ in ROUTED:
        path = "/fhir" + "/".join(
            values.get(part.strip("<>").split(":")[-1], "x") if part.startswith("<") else part
            for part in address.split("/")
        )
        response = app.test_client().options(path)
        assert response.status_code in {200, 204}, path
        assert method in response.headers["Allow"].split(", "), path


def test_options_of_what_is_not_there_is_not_found(app):
    http = app.test_client()
    assert issues_of(http.options("/fhir/NoSuchType/x"))
    assert http.options("/fhir/NoSuchType").status_code == 404
    assert http.options("/fhir/Patient/a%20b").status_code == 400
    assert http.options("/fhir/Patient/a/b/c/d/e").status_code == 404
    assert http.options("/nothing").status_code == 404


def test_options_of_the_base_gives_the_capability_statement(app):
    response = app.test_client().options("/fhir")
    assert response.json["resourceType"] == "CapabilityStatement"
    assert {"OPTIONS", "POST"} <= set(response.headers["Allow"].split(", "))


def test_options_leaves_nothing_in_the_audit(app, audit_of):
    app.test_client().options("/fhir/Patient/x")
    assert audit_of() == []


# HEAD


def test_head_is_get_without_the_body_and_is_audited_like_it(his, patient, audit_of):
    for path in (patient, f"{patient}/_history/1", f"{patient}/_history", f"Patient?_id={patient[8:]}", "metadata"):
        before = len(audit_of())
        get = his.get(path)
        of_get = len(audit_of()) - before
        head = his.request("HEAD", path)
        assert (head.status_code, head.data) == (get.status_code, b"")
        varying = {"X-Request-Id", "Date"}
        assert {k: v for k, v in head.headers if k not in varying} == {k: v for k, v in get.headers if k not in varying}
        assert len(audit_of()) - before == 2 * of_get


def test_head_of_what_is_hidden_and_of_what_is_absent_are_alike(stranger, patient):
    hidden, absent = (stranger.request("HEAD", path) for path in (patient, "Patient/absent"))
    assert (hidden.status_code, hidden.data) == (absent.status_code, absent.data) == (404, b"")


# CORS


def test_no_page_of_another_origin_reads_data_unless_its_origin_is_listed(app, listed, his, patient):
    for http, origin, allowed in (
        (app.test_client(), APP, None),
        (listed, "https://evil.example", None),
        (listed, "https://app.example.evil.example", None),
        (listed, "http://app.example", None),
        (listed, "https://app.example:8443", None),
        (listed, "null", None),
        (listed, APP, APP),
    ):
        response = Caller(http, his.token).get(patient, Origin=origin)
        assert response.status_code == 200
        assert response.headers.get("Access-Control-Allow-Origin") == allowed


def test_a_listed_page_may_read_the_headers_that_fhir_needs(listed, his, patient):
    response = Caller(listed, his.token).get(patient, Origin=APP)
    exposed = set(response.headers["Access-Control-Expose-Headers"].split(", "))
    assert exposed >= {"ETag", "Location", "Content-Location", "Last-Modified", "X-Request-Id"}
    assert "Origin" in response.headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in response.headers


def test_a_listed_page_may_read_why_it_was_refused(listed):
    response = listed.get("/fhir/Patient/x", headers={"Origin": APP})
    assert response.status_code == 401
    assert response.headers["Access-Control-Allow-Origin"] == APP


def test_a_preflight_of_a_listed_page_is_answered_without_a_token(listed):
    for path in ("/fhir/Patient/x", "/dicomweb/studies/1.2.3"):
        response = listed.options(path, headers=PREFLIGHT)
        assert response.status_code == 204
        assert response.headers["Access-Control-Allow-Origin"] == APP
        assert response.headers["Access-Control-Allow-Methods"] == response.headers["Allow"]
        allowed = {name.lower() for name in response.headers["Access-Control-Allow-Headers"].split(", ")}
        assert {"authorization", "content-type", "if-match", "if-none-exist", "prefer"} <= allowed
    assert "PUT" in listed.options("/fhir/Patient/x", headers=PREFLIGHT).headers["Access-Control-Allow-Methods"]
    token = listed.options("/oauth/token", headers={**PREFLIGHT, "Access-Control-Request-Method": "POST"})
    assert token.headers["Access-Control-Allow-Methods"] == "OPTIONS, POST"


def test_a_preflight_of_another_page_allows_nothing(app, listed):
    for http, sent in ((app.test_client(), PREFLIGHT), (listed, {**PREFLIGHT, "Origin": "https://evil.example"})):
        response = http.options("/fhir/Patient/x", headers=sent)
        assert not [name for name in response.headers.keys() if name.startswith("Access-Control")]  # noqa: SIM118


def test_what_is_public_anyway_is_open_to_every_page(app):
    http = app.test_client()
    for path in ("/fhir/metadata", "/fhir/.well-known/smart-configuration", "/oauth/jwks", "/openapi.json"):
        assert http.get(path, headers={"Origin": "https://any.example"}).headers["Access-Control-Allow-Origin"] == "*"
        preflight = http.options(path, headers={**PREFLIGHT, "Access-Control-Request-Method": "GET"})
        assert preflight.headers["Access-Control-Allow-Origin"] == "*"


def test_all_origins_may_be_listed_by_a_star(open_to):
    http = open_to("*")
    assert http.options("/fhir/Patient", headers=PREFLIGHT).headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Origin" not in http.get("/docs", headers={"Origin": APP}).headers


def test_an_answer_that_depends_on_the_origin_says_so_whoever_asks(listed, his, patient):
    for sent in ({}, {"Origin": APP}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        for path in (patient, "Patient/never-was", "Patient?_id=x"):
            response = Caller(listed, his.token).get(path, **sent)
            assert "Origin" in response.vary, (path, sent)
        assert "Origin" in listed.get("/fhir/Patient/x", headers=sent).vary, "refused for want of a token"
        assert "Origin" in listed.options("/fhir/Patient/x", headers={**PREFLIGHT, **sent}).vary
        assert "Origin" in listed.post("/oauth/token", headers=sent).vary
        assert "Origin" in listed.get("/dicomweb/studies", headers=sent).vary


def test_an_answer_that_is_the_same_for_every_origin_is_one_for_caches(app, listed, open_to):
    for http, path in (
        (app.test_client(), "/fhir/metadata"),
        (listed, "/fhir/metadata"),
        (open_to("*"), "/fhir/Patient/x"),
    ):
        for sent in ({}, {"Origin": APP}, {"Origin": "https://any.example"}):
            response = http.get(path, headers=sent)
            assert response.headers["Access-Control-Allow-Origin"] == "*", (path, sent)
            assert "Origin" not in response.vary
    for http, path in ((app.test_client(), "/fhir/Patient/x"), (listed, "/docs"), (listed, "/readyz")):
        response = http.get(path)
        assert "Origin" not in response.vary, path
        assert "Access-Control-Allow-Origin" not in response.headers
