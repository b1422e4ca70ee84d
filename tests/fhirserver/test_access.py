"""The enforcement point itself: named system accesses, and explanations."""

from __future__ import annotations

from typing import Any

import pytest

from fhirserver.access import SYSTEM_ACCESSES, SystemAccess
from fhirserver.errors import Forbidden, NotFound
from fhirserver.explanation import explain
from tests.conftest import NOW, Region


def test_the_system_accesses_are_these_and_no_others() -> None:
    assert sorted(SYSTEM_ACCESSES) == [
        "break-glass",
        "dicom-patient-resolution",
        "explanation",
        "operator",
        "share-link",
    ]
    with pytest.raises(KeyError):
        SystemAccess.named("backdoor", NOW, "r")


@pytest.fixture(scope="module")
def record(region: Region) -> Region:
    """Patient/p, whom Practitioner/d follows."""
    region.put({"resourceType": "Patient", "id": "p"})
    team = {
        "resourceType": "CareTeam",
        "id": "t",
        "status": "active",
        "subject": {"reference": "Patient/p"},
        "participant": [{"member": {"reference": "Practitioner/d"}}],
    }
    region.put(team)
    return region


def told_to(record: Region, reference: str, resource: str) -> dict[str, Any]:
    return explain(record.database, record.config, record.access(reference), "read", resource).document()


def test_an_explanation_names_the_rule_the_care_team_and_the_condition(record: Region) -> None:
    told = told_to(record, "Practitioner/d", "Patient/p")
    assert (told["effect"], told["code"]) == ("permit", "permit-declared")
    assert told["careTeams"] == ["CareTeam/t/_history/1#0"]
    assert "relations" in told["condition"]


def test_a_refusal_is_explained_in_french_and_english(record: Region) -> None:
    told = told_to(record, "Practitioner/s", "Patient/p")
    assert (told["effect"], told["code"]) == ("deny", "no-relationship")
    assert set(told["text"]) == {"fr", "en"}


def test_what_does_not_exist_cannot_be_explained(record: Region) -> None:
    with pytest.raises(NotFound):
        told_to(record, "Practitioner/s", "Patient/nobody")


def test_a_payer_is_refused_by_the_token_alone(region: Region) -> None:
    access = region.access("Client/payer", organization="Organization/payer", category="payer")
    with pytest.raises(Forbidden):
        access.admit("read", "Patient")
    assert access.decisions[-1].decision.code == "ban-payer"
