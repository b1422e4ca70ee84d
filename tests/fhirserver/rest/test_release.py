"""What is not released does not exist for the person and their representatives until its instant."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from consent.release import EXTENSION
from tests.fhirserver.rest.conftest import Caller, issues_of

TRE_A07 = "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument"


def observation(patient: str, released: str | None = None) -> dict[str, Any]:
    extension = [] if released is None else [{"url": EXTENSION, "valueInstant": released}]
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "release"},
        "subject": {"reference": patient},
        **({"extension": extension} if extension else {}),
    }


def from_now(**span: float) -> str:
    return (datetime.now(UTC) + timedelta(**span)).isoformat(timespec="seconds")


@pytest.fixture
def person(caller: Callable[..., Caller], declared: str) -> Caller:
    return caller(declared)


def found(caller: Caller, query: str) -> list[str]:
    bundle = caller.get(query).json
    assert bundle.get("total", len(bundle.get("entry", []))) == len(bundle.get("entry", []))
    return [entry["resource"]["id"] for entry in bundle.get("entry", [])]


def test_the_person_sees_nothing_of_what_is_released_tomorrow_and_the_doctor_does(
    his: Caller, doctor: Caller, person: Caller, declared: str
):
    made = his.make(observation(declared, from_now(days=1)))
    query = f"Observation?patient={declared}&_total=accurate"

    assert person.get(f"Observation/{made['id']}").status_code == 404
    assert person.get(f"Observation/{made['id']}/_history/1").status_code == 404
    assert found(person, query) == []
    assert doctor.get(f"Observation/{made['id']}").status_code == 200
    assert found(doctor, query) == [made["id"]]


def test_what_was_released_is_there_and_a_later_version_may_be_held_back_again(
    his: Caller, person: Caller, declared: str
):
    made = his.make(observation(declared, from_now(minutes=-1)))
    assert person.get(f"Observation/{made['id']}").status_code == 200

    held = {**observation(declared, from_now(days=1)), "id": made["id"]}
    assert his.put(f"Observation/{made['id']}", held).status_code == 200

    assert person.get(f"Observation/{made['id']}").status_code == 404
    assert person.get(f"Observation/{made['id']}/_history/1").status_code == 404


def test_a_representative_sees_no_more_than_the_person(his: Caller, caller: Callable[..., Caller], patient: str):
    child = his.get(patient).json
    his.put(patient, {**child, "birthDate": f"{datetime.now(UTC).year - 9}-01-01"})
    mother = his.make(
        {
            "resourceType": "RelatedPerson",
            "active": True,
            "patient": {"reference": patient},
            "relationship": [
                {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "MTH"}]}
            ],
        }
    )
    shown, held = his.make(observation(patient)), his.make(observation(patient, from_now(days=1)))
    asking = caller(f"RelatedPerson/{mother['id']}", scope="user/*.rs")

    assert found(asking, f"Observation?patient={patient}") == [shown["id"]]
    assert asking.get(f"Observation/{held['id']}").status_code == 404


def test_the_trail_names_what_was_looked_at_once_it_is_released_and_not_while_it_is_held_back(
    his: Caller, doctor: Caller, person: Caller, declared: str
):
    made = his.make(observation(declared, from_now(days=1)))
    assert doctor.get(f"Observation/{made['id']}").status_code == 200
    trail = f"AuditEvent?entity=Observation/{made['id']}"
    assert found(person, trail) == []

    his.put(f"Observation/{made['id']}", {**observation(declared, from_now(minutes=-1)), "id": made["id"]})
    told = found(person, trail)
    assert len(told) == 3  # made, read, released
    assert all(person.get(f"AuditEvent/{id_}").status_code == 200 for id_ in told)

    his.put(f"Observation/{made['id']}", {**observation(declared, from_now(days=2)), "id": made["id"]})
    assert found(person, trail) == []
    assert all(person.get(f"AuditEvent/{id_}").status_code == 404 for id_ in told)


def test_the_trail_stays_silent_on_what_was_hidden_later_and_then_deleted(his: Caller, person: Caller, declared: str):
    made = his.make(observation(declared))
    trail = f"AuditEvent?entity=Observation/{made['id']}"
    assert len(found(person, trail)) == 1

    labelled = {**observation(declared), "id": made["id"]}
    labelled["meta"] = {"security": [{"system": TRE_A07, "code": "INVISIBLE_PATIENT"}]}
    his.put(f"Observation/{made['id']}", labelled)
    assert found(person, trail) == []
    his.delete(f"Observation/{made['id']}")
    assert found(person, trail) == []


@pytest.mark.parametrize("path", ["Observation/_history", "Observation/{id}/_history"])
def test_a_feed_that_held_a_version_from_before_an_exam_was_held_back_tells_the_person_nothing_of_it(
    his: Caller, person: Caller, declared: str, path: str
):
    made = his.make(observation(declared))
    his.put(f"Observation/{made['id']}", {**observation(declared, from_now(days=1)), "id": made["id"]})
    before = len(found(person, "AuditEvent?_count=200"))
    assert his.get(path.format(id=made["id"]) + "?_count=200").status_code == 200
    assert len(found(person, "AuditEvent?_count=200")) - before == 1  # that the person had asked for their trail


@pytest.mark.parametrize(
    "extension",
    [{"valueDate": "2027-01-01"}, {"valueInstant": "2027-01-01"}, {"valueString": "tomorrow"}],
)
def test_a_release_that_is_no_instant_is_refused(his: Caller, declared: str, extension: dict[str, str]):
    response = his.post("Observation", {**observation(declared), "extension": [{"url": EXTENSION, **extension}]})
    assert response.status_code == 422
    assert any("extension" in issue["expression"][0] for issue in issues_of(response))
