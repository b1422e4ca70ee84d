"""When a representative's authority begins and ends, and how long an exam makes somebody treating."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from consent import Policy, exams, related_person
from consent.period import OPEN_END, OPEN_START

ROLE_CODE = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"


def mother(code: str = "MTH", system: str = ROLE_CODE, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "RelatedPerson",
        "id": "m",
        "patient": {"reference": "Patient/p"},
        "relationship": [{"coding": [{"system": system, "code": code}]}],
        **more,
    }


@pytest.mark.parametrize(
    ("birth_date", "until"),
    [
        ("2008-11-24", datetime(2026, 11, 23, 23, tzinfo=UTC)),
        ("2008-07-01", datetime(2026, 6, 30, 22, tzinfo=UTC)),
        ("2008-02-29", datetime(2026, 2, 27, 23, tzinfo=UTC)),
        ("2008-11", datetime(2026, 10, 31, 23, tzinfo=UTC)),
        ("2008", datetime(2025, 12, 31, 23, tzinfo=UTC)),
    ],
)
def test_authority_ends_at_midnight_in_paris_of_the_eighteenth_birthday(birth_date: str, until: datetime):
    (relation,) = related_person.relations(mother(), 2, {"birthDate": birth_date})
    assert relation["until"] == until
    assert (relation["kind"], relation["key"], relation["organization"]) == ("representative", "RelatedPerson/m", None)
    assert relation["source"] == "RelatedPerson/m/_history/2"


@pytest.mark.parametrize(
    ("person", "patient"),
    [
        (mother(), None),
        (mother(), {}),
        (mother(), {"birthDate": "unknown"}),
        (mother("STPMTH"), {"birthDate": "2020-01-01"}),
        (mother("NOK"), {"birthDate": "2020-01-01"}),
        (mother("MTH", "http://terminology.hl7.org/CodeSystem/v2-0131"), {"birthDate": "2020-01-01"}),
        (mother(active=False), {"birthDate": "2020-01-01"}),
        (mother(period={"start": "soon"}), {"birthDate": "2020-01-01"}),
        (mother(patient={"display": "P"}), {"birthDate": "2020-01-01"}),
        ({**mother(), "relationship": []}, {"birthDate": "2020-01-01"}),
        (mother("GUARD", period={"start": "2024-01-01"}), {"birthDate": "1950-01-01"}),
        (
            {**mother(), "relationship": [{"text": "mother"}, {"coding": [{"system": ROLE_CODE}]}]},
            {"birthDate": "2020-01-01"},
        ),
        ({name: value for name, value in mother().items() if name != "relationship"}, {"birthDate": "2020-01-01"}),
    ],
)
def test_who_is_not_known_to_hold_authority_represents_nobody(person: dict[str, Any], patient: dict[str, Any] | None):
    assert related_person.relations(person, 1, patient) == []


def test_a_guardian_of_an_adult_represents_until_the_measure_ends():
    (relation,) = related_person.relations(mother("GUARD", period={"end": "2029-01-01"}), 1, None)
    assert (relation["from"], relation["until"]) == (OPEN_START, datetime(2029, 1, 1, 23, tzinfo=UTC))


def test_a_period_does_not_make_a_parent_a_guardian():
    (relation,) = related_person.relations(mother(period={"end": "2029-01-01"}), 1, {"birthDate": "1950-01-01"})
    assert relation["until"] == datetime(1967, 12, 31, 23, tzinfo=UTC)


def test_the_age_of_majority_and_the_zone_are_settings():
    policy = Policy(age_of_majority=16, timezone="UTC")
    (relation,) = related_person.relations(mother(), 1, {"birthDate": "2010-01-01"}, policy)
    assert relation["until"] == datetime(2026, 1, 1, tzinfo=UTC)


def test_an_exam_makes_its_performers_treating_for_the_window_of_the_policy():
    start = datetime(2026, 11, 20, tzinfo=UTC)
    found = exams.relations(
        ["Practitioner/r", "PractitionerRole/s", "Organization/e1", "CareTeam/u", "Practitioner/r"],
        {"from": start, "until": start + timedelta(hours=1)},
        "ImagingStudy/a/_history/1",
        Policy(treating_window=timedelta(days=30)),
    )
    assert [each["key"] for each in found] == ["Practitioner/r", "PractitionerRole/s"]
    assert {(each["from"], each["until"]) for each in found} == {(start, start + timedelta(days=30))}


@pytest.mark.parametrize("performed", [None, {"from": OPEN_START, "until": OPEN_END}])
def test_an_undated_exam_makes_nobody_treating(performed: Any):
    assert exams.relations(["Practitioner/r"], performed, "ImagingStudy/a/_history/1") == []
