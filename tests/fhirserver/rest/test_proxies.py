"""Links, audit and tokens behind a reverse proxy, and before a client that lies about one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from fhirserver.app import create_app
from fhirserver.config import Networks
from fhirserver.oauth.access_token import Claims, issue
from fhirserver.oauth.keys import SigningKeys
from tests.fhirserver.rest.conftest import Caller

TOLD = {
    "X_Forwarded_For": "203.0.113.9, 192.0.2.7",
    "X_Forwarded_Proto": "https",
    "X_Forwarded_Host": "images.example",
    "X_Forwarded_Prefix": "/region",
}
BASE = "https://images.example/region/fhir"
LOOPBACK = Networks("127.0.0.0/8")
OBSERVATION = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}


@pytest.fixture(scope="module")
def behind(config, database, his):
    """The hospital's system, asking the same region through a server with other settings."""

    def make(**settings):
        changed = replace(config, **settings)
        claims = Claims("his-e1", "his-e1", "system/*.cruds")
        token, _ = issue(SigningKeys.load(), changed, claims, datetime.now(UTC))
        return Caller(create_app(changed, database).test_client(), token)

    return make


@pytest.fixture(scope="module")
def proxied(behind):
    """Without a public base, the loopback listed as a proxy."""
    return behind(public_base="", proxies=LOOPBACK)


@pytest.fixture(scope="module")
def unlisted(behind):
    """Without a public base, and no proxy listed."""
    return behind(public_base="")


def test_links_begin_where_a_listed_proxy_says_that_the_client_came_in(proxied, patient):
    made = proxied.post("Observation", {**OBSERVATION, "subject": {"reference": patient}}, **TOLD)
    proxied.post("Observation", {**OBSERVATION, "subject": {"reference": f"{BASE}/{patient}"}}, **TOLD)
    assert made.headers["Location"].startswith(f"{BASE}/Observation/")
    found = proxied.get(f"Observation?subject={patient}&_count=1&_total=accurate", **TOLD).json
    assert found["total"] == 2  # what is written with the public address refers to the same patient
    assert all(link["url"].startswith(f"{BASE}/Observation?") for link in found["link"])
    assert found["entry"][0]["fullUrl"].startswith(f"{BASE}/Observation/")
    following = next(link["url"] for link in found["link"] if link["relation"] == "next")
    assert len(proxied.get(following.removeprefix(BASE), **TOLD).json["entry"]) == 1
    assert proxied.get("metadata", **TOLD).json["implementation"]["url"] == BASE


def test_without_a_list_links_begin_with_the_address_listened_on(unlisted):
    made = unlisted.post("Observation", OBSERVATION, **TOLD)
    assert made.headers["Location"].startswith("http://127.0.0.1:8080/fhir/Observation/")
    assert unlisted.get("metadata", **TOLD).json["implementation"]["url"] == "http://127.0.0.1:8080/fhir"


def test_a_public_base_makes_every_link_whatever_is_told(behind):
    listed = behind(public_base="http://fhir.example/imaging", proxies=LOOPBACK)
    made = listed.post("Observation", OBSERVATION, **TOLD)
    assert made.headers["Location"].startswith("http://fhir.example/imaging/fhir/Observation/")
    id_ = made.json["id"]
    path = f"/imaging/fhir/Observation/{id_}"
    assert listed.http.get(path, headers={"Authorization": f"Bearer {listed.token}"}).json["id"] == id_
    assert listed.http.get("/imaging/fhir/nothing").json["resourceType"] == "OperationOutcome"


def test_the_audit_has_the_address_of_the_client_that_a_listed_proxy_names(proxied, audit_of):
    proxied.post("Observation", OBSERVATION, **TOLD)
    assert addresses(audit_of()) == {"192.0.2.7"}


def test_the_audit_has_the_address_of_a_client_that_claims_another(unlisted, audit_of):
    unlisted.post("Observation", OBSERVATION, **TOLD)
    assert addresses(audit_of()) == {"127.0.0.1"}


def test_a_token_for_another_base_is_refused_whatever_a_proxy_says(proxied, his):
    told = {**TOLD, "X_Forwarded_Host": "fhir.example", "X_Forwarded_Proto": "http", "X_Forwarded_Prefix": ""}
    stranger = Caller(proxied.http, his.token)  # a token for http://fhir.example
    assert stranger.get("Observation", **told).status_code == 401


def test_what_oauth_says_of_itself_follows_no_header(proxied):
    told = {name.replace("_", "-"): value for name, value in TOLD.items()}
    for path in ("/fhir/.well-known/smart-configuration", "/fhir/metadata"):
        assert "images.example/region/oauth" not in proxied.http.get(path, headers=told).text
    assert "images.example" not in proxied.http.get("/fhir/.well-known/smart-configuration", headers=told).text


def addresses(events):
    """The addresses of who asked; the server itself is in the events by its base."""
    found = {agent["network"]["address"] for event in events for agent in event["agent"] if "network" in agent}
    return {address for address in found if "://" not in address}
