"""Whatever goes wrong under the FHIR base, the answer is an OperationOutcome that says what; and nothing is stored."""

from __future__ import annotations

import io
import json

import pytest

from fhirserver.audit import trail
from fhirserver.store import documents
from fhirserver.store.resource_store import ResourceStore
from tests.fhirserver.rest.conftest import issues_of

PATIENT = b'{"resourceType":"Patient"}'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b"[]",
        b"null",
        b"1",
        b'"Patient"',
        b"\xff\xfe",
        b'{"resourceType":"Patient","resourceType":"Patient"}',
        b'{"resourceType":"Patient","birthDate":NaN}',
        b'{"resourceType":"Patient","name":[{"family":"\\ud800"}]}',
        b'{"resourceType":"Patient","a":' + b"[" * 2_000 + b"]" * 2_000 + b"}",
    ],
    ids=range(12),
)
def test_what_is_no_json_of_a_resource_is_refused(his, body):
    response = his.request("POST", "/Patient", body)
    assert response.status_code in {400, 422}
    assert issues_of(response)[0]["severity"] in {"error", "fatal"}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"nonsense"])
def test_what_cannot_be_read_at_all_is_a_bad_request(his, body):
    assert his.request("POST", "/Patient", body).status_code == 400


def test_all_that_is_wrong_with_the_content_is_said_at_once(his):
    wrong = {"resourceType": "Patient", "birthDate": "2020-02-31", "nosuch": 1, "active": "yes"}
    response = his.post("Patient", wrong)
    assert response.status_code == 422
    expressions = {issue["expression"][0] for issue in issues_of(response)}
    assert {"Patient.birthDate", "Patient.nosuch", "Patient.active"} <= expressions


def test_a_resource_of_another_type_than_the_address_is_refused(his):
    assert his.post("Observation", PATIENT).status_code == 422


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "text/turtle", "application/fhir+xml; charset=utf-16", "application/fhir+json; charset=latin-1",
     "application/fhir+json; fhirVersion=5.0", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"],
)  # fmt: skip
def test_a_resource_in_another_content_type_is_refused(his, content_type):
    response = his.request("POST", "/Patient", PATIENT, Content_Type=content_type)
    assert response.status_code == 415
    assert issues_of(response)[0]["code"] == "not-supported"


@pytest.mark.parametrize(
    "content_type",
    ["application/fhir+json", "application/json", "application/fhir+json; charset=UTF-8",
     "application/fhir+json;fhirVersion=4.0", 'application/fhir+json; fhirVersion="4.0"'],
)  # fmt: skip
def test_the_content_types_of_fhir_json_are_taken(his, content_type):
    assert his.request("POST", "/Patient", PATIENT, Content_Type=content_type).status_code == 201


def test_a_body_over_the_limit_is_refused(his, config):
    body = b'{"resourceType":"Patient","x":"' + b"a" * config.max_body + b'"}'
    response = his.request("POST", "/Patient", body)
    assert response.status_code == 413
    assert issues_of(response)[0]["code"] == "too-long"


def test_a_chunked_body_over_the_limit_is_refused_while_it_is_read(app, his, config):
    class Endless(io.RawIOBase):
        read_bytes = 0

        def readable(self):
            return True

        def seek(self, *_):
            return 0

        def tell(self):
            return 0

        def readinto(self, buffer):
            Endless.read_bytes += len(buffer)
            buffer[:] = b"a" * len(buffer)
            return len(buffer)

    response = app.test_client().open(
        "/fhir/Patient",
        method="POST",
        headers={"Authorization": f"Bearer {his.token}", "Content-Type": "application/fhir+json"},
        input_stream=Endless(),
        environ_overrides={"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"},
    )
    assert response.status_code == 413
    assert Endless.read_bytes < config.max_body * 2


@pytest.mark.parametrize("is_terminated", [True, False])
def test_a_body_cut_short_is_refused(app, his, is_terminated):
    response = app.test_client().open(
        "/fhir/Patient",
        method="POST",
        headers={"Authorization": f"Bearer {his.token}", "Content-Type": "application/fhir+json"},
        input_stream=io.BytesIO(PATIENT),
        environ_overrides={"wsgi.input_terminated": is_terminated, "CONTENT_LENGTH": str(len(PATIENT) + 10)},
    )
    assert response.status_code == 400
    assert issues_of(response)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PATCH", "/Binary/1", 405),
        ("PATCH", "/Binary?_id=1", 405),
        ("DELETE", "/Binary?_id=1", 400),
        ("POST", "/_history", 405),
        ("POST", "/Patient/_history", 405),
        ("GET", "/Binary/_history", 400),
        ("GET", "/AuditEvent/_history", 400),
        ("GET", "/Nosuch/_history", 404),
        ("GET", "/Patient/_search", 405),
        ("GET", "/_search", 405),
        ("PUT", "", 405),
        ("GET", "?_type=Binary", 400),
        ("GET", "/Organization/1/Observation", 400),
        ("GET", "/Patient/1/Organization", 400),
        ("POST", "/Patient/1/Observation", 405),
        ("POST", "/Patient/1/Organization", 400),
        ("POST", "/$convert", 400),
        ("GET", "/Patient/$match", 400),
        ("GET", "/Observation/1/$everything", 400),
        ("POST", "/Patient/1", 405),
        ("POST", "/Patient/1/_history", 405),
        ("PUT", "/Patient/1/_history/1", 405),
        ("DELETE", "/Patient/1/_history/1", 405),
        ("DELETE", "", 405),
        ("POST", "/metadata", 404),
        ("GET", "/Nosuch", 404),
        ("GET", "/Nosuch/1", 404),
        ("GET", "/Parameters", 404),
        ("GET", "/patient/1", 404),
        ("GET", "/Patient/1/2/3/4", 404),
        ("GET", "//Patient/1", 404),
        ("GET", "/Patient/a%20b", 400),
        ("GET", f"/Patient/{'a' * 65}", 400),
        ("GET", "/Patient/1%2F..%2F2", 404),
    ],
)
def test_what_is_not_offered_is_refused_in_words(his, method, path, status):
    response = his.request(method, path, b"{}" if method in {"POST", "PUT", "PATCH"} else None)
    assert response.status_code == status
    [issue] = issues_of(response)
    assert issue["diagnostics"]
    assert issue["code"] in {"not-supported", "not-found", "value"}


@pytest.mark.parametrize("method", ["TRACE", "PROPFIND", "CONNECT"])
def test_methods_of_other_protocols_are_refused_with_an_outcome(his, method):
    response = his.request(method, "/Patient/1")
    assert response.status_code == 405
    assert issues_of(response)


def test_options_names_the_methods(his):
    response = his.request("OPTIONS", "/Patient/1")
    assert response.status_code == 204
    assert allowed(response) == {"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"}


def test_a_method_that_is_not_offered_is_told_which_ones_are(his):
    assert allowed(his.request("POST", "/Patient/1")) == {"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"}
    assert allowed(his.request("TRACE", "/Patient")) == {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
    assert allowed(his.request("POST", "/_history", b"{}")) == {"GET", "HEAD", "OPTIONS"}


def allowed(response):
    return set(response.headers["Allow"].replace(" ", "").split(","))


@pytest.mark.parametrize("prefer", ["return=everything", "handling=careless"])
def test_a_preference_that_fhir_does_not_know_is_refused(his, prefer):
    assert his.post("Patient", {"resourceType": "Patient"}, Prefer=prefer).status_code == 400


def test_other_preferences_are_passed_over(his):
    assert his.post("Patient", {"resourceType": "Patient"}, Prefer="respond-async, wait=10").status_code == 201


@pytest.mark.parametrize("token", ["", "Bearer", "Bearer x", "Basic eDp5", "Bearer a.b.c"])
def test_a_token_that_is_none_is_refused(app, token):
    response = app.test_client().get("/fhir/Patient/1", headers={"Authorization": token})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert issues_of(response)


def test_nothing_is_disclosed_when_the_audit_cannot_be_written(his, patient):
    log, trail._trail.log = trail._trail.log, None
    try:
        responses = his.get(patient), his.get("Patient?_count=1"), his.get(f"{patient}/_history")
    finally:
        trail._trail.log = log
    for response in responses:
        assert response.status_code == 503
        assert issues_of(response)[0]["code"] == "transient"


def test_a_failure_of_the_server_is_an_outcome_without_a_word_about_its_cause(his, patient, monkeypatch, capsys):
    def fail(*_):
        raise RuntimeError(f"something about {patient}")

    monkeypatch.setattr(ResourceStore, "read", fail)
    response = his.get(patient, X_Request_Id="failing-1")
    assert response.status_code == 500
    assert patient not in response.text
    assert issues_of(response)[0]["code"] == "exception"
    logged = capsys.readouterr().out
    assert "failing-1" in logged
    assert patient not in logged


def test_a_database_that_does_not_answer_is_said_to_be_unavailable(his, patient, monkeypatch):
    def fail(*_):
        raise documents.DatabaseError(f"no answer about {patient}")

    monkeypatch.setattr(ResourceStore, "read", fail)
    response = his.get(patient)
    assert response.status_code == 503
    assert response.headers["Retry-After"]
    assert issues_of(response)[0]["code"] == "transient"
    assert patient not in response.text


def test_errors_outside_the_fhir_base_are_plain(app):
    response = app.test_client().get("/nosuch")
    assert (response.status_code, response.content_type) == (404, "text/plain; charset=utf-8")


def test_an_error_under_the_oauth_base_has_the_form_of_oauth(app):
    assert "error" in json.loads(app.test_client().get("/oauth/nosuch").data)


def test_every_refusal_carries_its_request_id(his):
    assert his.get("/Nosuch", X_Request_Id="refused-1").headers["X-Request-Id"] == "refused-1"
