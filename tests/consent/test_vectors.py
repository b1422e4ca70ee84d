"""What one Consent says of one request: the vectors of IHE PCF, through the rulings and through the reference engine.

The evaluator is neutral: purposes that the engine bans by structure are evaluated here like any other.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from consent import Actor
from consent.directive import Directive, read_consent, rulings
from consent.policy import DEFAULT
from tests.consent import reference
from tests.consent.scenario import expand, record

VECTORS = yaml.safe_load((Path(__file__).parent / "vectors.yaml").read_text("utf-8"))
NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
REQUESTS = [
    pytest.param(vector["consent"], request, id=f"{vector['name']}: {request}")
    for vector in VECTORS
    for request in vector["requests"]
]


def facts_of(request: dict[str, Any]) -> dict[str, Any]:
    shown = {
        name: value for name, value in request.items() if name in {"labels", "performed", "authors", "related", "of"}
    }
    return record(request.get("id", "a0"), {**shown, "codes": request.get("codes", [])}, DEFAULT)


def said(directive: Directive | None, facts: dict[str, Any], names: set[str], purpose: str, now: datetime) -> str:
    """Read the rulings as the rules do: a deny in force that nothing beats, else a permit, else nothing."""

    def addresses(each: dict[str, Any]) -> bool:
        return bool(
            {*names, "*"} & set(each["keys"])
            and {purpose, "*"} & set(each["purposes"])
            and each["from"] <= now < each["until"]
        )

    heard = {
        ruling["effect"]
        for ruling in (rulings(directive, facts) if directive else [])
        if addresses(ruling) and not any(addresses(each) for each in ruling["unless"])
    }
    return "deny" if "deny" in heard else "permit" if "permit" in heard else "none"


@pytest.mark.parametrize(("short", "request_"), REQUESTS)
def test_the_rulings_of_one_consent_say_what_the_vector_says(short: dict[str, Any], request_: dict[str, Any]):
    consent = expand({"Consent": "v", "policy": "base", **short})
    now = datetime.fromisoformat(request_["at"]) if "at" in request_ else NOW
    by = set(request_.get("by", ["Practitioner/other"]))

    directive = read_consent(consent, 1)

    assert said(directive, facts_of(request_), by, request_.get("purpose", "TREAT"), now) == request_["says"]


@pytest.mark.parametrize(("short", "request_"), REQUESTS)
def test_the_reference_engine_says_what_the_vector_says(short: dict[str, Any], request_: dict[str, Any]):
    consent = expand({"Consent": "v", "policy": "base", **short})
    purpose = request_.get("purpose", "TREAT")
    by = set(request_.get("by", ["Practitioner/other"]))
    asked = reference.Asked(
        actor=Actor("professional", "Practitioner/other"),
        interaction="read",
        purpose=purpose,
        now=datetime.fromisoformat(request_["at"]) if "at" in request_ else NOW,
        world=reference.World([], {}),
        record=facts_of(request_),
        names=by,
    )
    if any(name.startswith("Group/") for name in by):
        members = [{"entity": {"reference": "Practitioner/other"}}]
        asked.world.resources.append({"resourceType": "Group", "id": "g", "actual": True, "member": members})
        asked.names = {"Practitioner/other"}

    heard = set(reference.effects(consent, asked)) or {"none"}

    assert heard == {request_["says"]}


def test_published_consents_of_the_profile_are_read_and_survive_being_stored():
    """The published examples, where a folder of cases is given; our own vectors above run everywhere."""
    folder = Path(os.environ.get("FHIR_CASES", "/nonexistent")) / "pcf"
    consents = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("**/Consent-*.json"))]
    own = [expand({"Consent": "v", "policy": "base", **vector["consent"]}) for vector in VECTORS]
    print(f"{len(consents)} published Consents, {len(own)} of our own")

    for consent in [*consents, *own]:
        directive = read_consent(consent, 3)
        if directive:
            assert Directive.from_document(directive.to_document()) == directive
