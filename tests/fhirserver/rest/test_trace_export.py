"""The national projection: every event of the trail as TDE has it, and the same events as BALP has them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from consent.request import Actor
from fhirserver.access import Access, SystemAccess
from fhirserver.audit import tde
from fhirserver.config import Config
from fhirserver.operations.trace_export import traces
from fhirserver.store.database import Database
from fhirserver.store.resource_store import ResourceStore
from resources import validation
from tests.fhirserver.rest.conftest import Caller

BASE = "https://imaging.example.org/fhir"
RPPS = {"system": "https://rpps.esante.gouv.fr", "value": "10001234567"}


@pytest.fixture
def trail(
    app: Any, doctor: Caller, stranger: Caller, his: Caller, caller: Callable[..., Caller], declared: str, audit_of: Any
) -> list[dict[str, Any]]:
    """Events of each kind that FHIR knows: reads, searches, writes, refusals, operations, the trail itself."""
    made = his.make(
        {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": {"reference": declared}}
    )
    person = caller(declared)
    doctor.get(declared)
    doctor.get(f"Observation?patient={declared}")
    doctor.get(f"{declared}/$everything")
    stranger.get(f"Observation/{made['id']}")
    person.get(f"{declared}/$access-report")
    his.delete(f"Observation/{made['id']}")
    app.test_client().get("/fhir/Patient/x", headers={"Authorization": "Bearer nothing"})
    return audit_of()


def projected(event: dict[str, Any]) -> dict[str, Any]:
    return tde.projected(json.dumps(event).encode(), BASE, {"Practitioner/d": RPPS})


def test_every_event_has_the_shape_of_the_profile_and_is_valid(trail: list[dict[str, Any]]) -> None:
    assert {event["action"] for event in trail} >= {"C", "R", "E", "D"}
    for event in trail:
        made = projected(event)
        assert (
            validation.check("AuditEvent", json.dumps(made).encode(), max_bytes=1_000_000).resource["id"] == event["id"]
        )
        assert made["meta"]["profile"] == [tde.PROFILE]
        assert len(made.get("subtype", ())) <= 1
        assert 1 <= len(made["agent"]) <= 2
        assert all(agent["who"] for agent in made["agent"])
        assert [agent["requestor"] for agent in made["agent"]].count(True) == 1
        assert made["period"]["start"] == event["recorded"]
        assert made["source"]["observer"]["type"] == "Device"


def test_the_agents_are_the_user_by_the_national_identifier_and_the_establishment(trail: list[dict[str, Any]]) -> None:
    event = next(one for one in trail if one["agent"][2]["who"].get("reference") == "Practitioner/d")
    user, establishment = projected(event)["agent"]
    assert user["who"]["identifier"] == RPPS
    assert user["who"]["reference"] == f"{BASE}/Practitioner/d"
    assert establishment["who"]["reference"] == f"{BASE}/Organization/e1"
    assert projected(event)["purposeOfEvent"][0]["coding"][0]["code"] == "TREAT"


def test_what_happened_is_the_same_in_both(trail: list[dict[str, Any]]) -> None:
    for event in trail:
        made = projected(event)
        for name in ("type", "action", "recorded", "outcome", "outcomeDesc"):
            assert made.get(name) == event.get(name)
        whats = [one["what"].get("reference") for one in event.get("entity", ()) if "what" in one]
        told = [one["what"].get("reference") for one in made.get("entity", ()) if "what" in one]
        assert told == [None if one is None else f"{BASE}/{one}" for one in whats]


def test_national_identifiers_are_chosen_among_others() -> None:
    own = {"system": "urn:oid:1.2.3", "value": "1"}
    finess = {"system": "https://finess.esante.gouv.fr", "value": "670000000", "use": "official"}
    assert tde.national([own, {**RPPS, "type": {"text": "RPPS"}}]) == RPPS
    assert tde.national([own, finess]) == {"system": finess["system"], "value": finess["value"]}
    assert tde.national([own, {"system": RPPS["system"]}]) is None


def test_the_lines_carry_the_identifiers_of_the_directory(
    trail: list[dict[str, Any]], operator: Caller, database: Database, config: Config
) -> None:
    operator.put("Practitioner/d", {"resourceType": "Practitioner", "id": "d", "active": True, "identifier": [RPPS]})
    now = datetime.now(UTC)
    store = ResourceStore(database, SystemAccess.named("operator", now, "test"), config)

    lines = [json.loads(line) for line in traces(store, BASE, now - timedelta(minutes=10), now)]

    assert {event["id"] for event in trail} <= {line["id"] for line in lines}
    users = [line["agent"][0]["who"] for line in lines]
    assert {one["identifier"]["value"] for one in users if one.get("reference") == f"{BASE}/Practitioner/d"} == {
        RPPS["value"]
    }


def test_the_trail_is_read_by_when_it_was_written_and_in_that_order(
    trail: list[dict[str, Any]], database: Database, config: Config
) -> None:
    now = datetime.now(UTC)
    store = ResourceStore(database, SystemAccess.named("operator", now, "test"), config)
    ids = [row.id for row in store.trail(now - timedelta(minutes=10), now + timedelta(minutes=1))]
    assert ids == sorted(ids)
    assert {event["id"] for event in trail} <= set(ids)
    assert list(store.trail(now + timedelta(minutes=1), now + timedelta(minutes=2))) == []


def test_who_may_not_see_an_event_is_not_given_it_so_either(
    trail: list[dict[str, Any]], database: Database, config: Config, caller: Callable[..., Caller], doctor: Caller
) -> None:
    now = datetime.now(UTC)
    nobody = Access(Actor("professional", "Practitioner/d"), "TREAT", now, "test")
    assert list(ResourceStore(database, nobody, config).trail(now - timedelta(days=1), now)) == []
