"""What a process keeps of actors holds until somebody writes to the directory, and not one request longer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from fhirserver.store import actors
from fhirserver.store.generation import Generation
from tests.conftest import NOW, Region


@pytest.fixture
def kept(region: Region) -> Iterator[Region]:
    """The region, with a counter as a server with a database of its own has one."""
    Generation.begin_anew(region.config.data)
    region.database.generation = Generation.of(region.config.data)
    region.database.standings.clear()
    yield region
    region.database.generation = None
    Generation.end(region.config.data)


def doctor(**more: object) -> dict[str, object]:
    return {"resourceType": "Practitioner", "id": "d", **more}


def test_an_actor_is_looked_up_once_while_nobody_writes(kept: Region) -> None:
    first = actors.standing(kept.database, "Practitioner/d", None, NOW)
    assert actors.standing(kept.database, "Practitioner/d", None, NOW) is first


def test_a_change_of_the_directory_counts_in_the_next_request(kept: Region) -> None:
    assert actors.standing(kept.database, "Practitioner/d", None, NOW).is_active
    kept.put(doctor(active=False), by="operator")
    assert not actors.standing(kept.database, "Practitioner/d", None, NOW).is_active


def test_a_write_of_clinical_content_lets_what_is_kept_be(kept: Region) -> None:
    first = actors.standing(kept.database, "Practitioner/d", None, NOW)
    kept.put({"resourceType": "Patient", "id": "p"})
    assert actors.standing(kept.database, "Practitioner/d", None, NOW) is first


def test_nothing_is_kept_while_a_write_is_under_way(kept: Region) -> None:
    generation = kept.database.generation
    assert generation is not None
    with generation.writing():
        first = actors.standing(kept.database, "Practitioner/d", None, NOW)
        assert actors.standing(kept.database, "Practitioner/d", None, NOW) is not first


def test_what_is_kept_ends_with_a_role(kept: Region) -> None:
    role = {
        "resourceType": "PractitionerRole",
        "id": "r",
        "practitioner": {"reference": "Practitioner/d"},
        "period": {"end": "2026-11-24"},
    }
    kept.put(role, by="operator")
    today = actors.standing(kept.database, "Practitioner/d", None, NOW)
    tomorrow = actors.standing(kept.database, "Practitioner/d", None, NOW + timedelta(days=1))
    assert "PractitionerRole/r" in today.keys
    assert "PractitionerRole/r" not in tomorrow.keys


def test_a_server_that_shares_its_database_has_no_counter(region: Region) -> None:
    assert Generation.of(region.config.data / "elsewhere") is None
