"""/healthz, /readyz, /openapi.json and /docs."""

from __future__ import annotations

from flask import Flask

from fhirserver.rest import health


def test_a_server_with_a_database_and_an_audit_log_is_ready(app):
    assert app.test_client().get("/healthz").status_code == 200
    assert app.test_client().get("/readyz").status_code == 200


def test_a_server_without_one_of_its_parts_lives_but_is_not_ready():
    def fails() -> None:
        raise ConnectionError

    app = Flask(__name__)
    app.register_blueprint(health.blueprint({"database": fails, "audit": lambda: None}))
    assert app.test_client().get("/healthz").status_code == 200
    response = app.test_client().get("/readyz")
    assert (response.status_code, response.text) == (503, "not ready: database\n")


def test_a_server_whose_audit_is_closed_is_not_ready(app, database, monkeypatch):
    monkeypatch.setattr(database, "sealer", None)
    assert app.test_client().get("/readyz").text == "not ready: audit\n"


def test_the_description_for_tools_names_each_shape_of_address(app):
    paths = app.test_client().get("/openapi.json").json["paths"]
    assert set(paths["/fhir/{type}/{id}"]) >= {"get", "put", "delete"}
    assert {"/fhir/metadata", "/fhir/{type}", "/fhir/{type}/_search", "/fhir"} <= set(paths)


def test_the_page_for_people_fetches_nothing_from_elsewhere(app):
    response = app.test_client().get("/docs")
    assert response.status_code == 200
    assert "<script" not in response.text
    assert "http" not in response.text
