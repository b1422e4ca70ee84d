"""Relations of a care team, memberships, and the names an actor goes by; what the scenarios do not say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from consent.care_team import actor_keys, memberships, relations
from consent.documents import Membership
from consent.period import OPEN_END, OPEN_START

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)


def team(*participants: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "CareTeam",
        "id": "c1",
        "status": "active",
        "subject": {"reference": "Patient/p"},
        "participant": list(participants),
        **more,
    }


def member(reference: str, **more: Any) -> dict[str, Any]:
    return {"member": {"reference": reference}, **more}


def test_a_relation_cites_the_version_and_the_participant():
    (_, second) = relations(team(member("Practitioner/d"), member("Organization/c")), 4)
    assert second == {
        "kind": "declared",
        "key": "Organization/c",
        "organization": None,
        "from": OPEN_START,
        "until": OPEN_END,
        "source": "CareTeam/c1/_history/4#1",
    }


def test_the_windows_of_team_and_participant_intersect():
    (relation,) = relations(
        team(
            member("Practitioner/d", period={"start": "2026-11-01", "end": "2027-01-31"}),
            period={"start": "2026-06-01", "end": "2026-12-31"},
        ),
        1,
    )
    assert relation["from"] == datetime(2026, 10, 31, 23, tzinfo=UTC)
    assert relation["until"] == datetime(2026, 12, 31, 23, tzinfo=UTC)


def test_an_inner_team_relates_under_its_name_and_its_name_with_this_patient():
    keys = [each["key"] for each in relations(team(member("CareTeam/u")), 1)]
    assert keys == ["CareTeam/u", "CareTeam/u@Patient/p"]


@pytest.mark.parametrize(
    "participant",
    [
        {},
        {"member": {"display": "Dr D"}},
        {"member": {"identifier": {"value": "8101"}}},
        member("Patient/p"),
        member("RelatedPerson/m"),
        member("https://elsewhere.example/Practitioner/d"),
        member("Practitioner/d", period={"start": "soon"}),
        member("Practitioner/d", period={"start": "2027-01-01", "end": "2026-01-01"}),
        member("Practitioner/d", onBehalfOf={"display": "some clinic"}),
        member("Organization/c", onBehalfOf={"reference": "Organization/c"}),
    ],
)
def test_a_participant_who_is_nobody_we_can_name_relates_nobody(participant: dict[str, Any]):
    assert relations(team(participant), 1) == []
    assert memberships(team(participant)) == []


@pytest.mark.parametrize("subject", [{"reference": "Group/g"}, {"display": "P"}, None])
def test_a_team_about_nobody_we_can_name_relates_nobody(subject: dict[str, Any] | None):
    assert relations({**team(member("Practitioner/d")), "subject": subject}, 1) == []


def test_a_role_without_organisation_counts_everywhere_and_one_that_ended_nowhere():
    def rows(**role: Any) -> list[Membership]:
        return memberships(
            {
                "resourceType": "PractitionerRole",
                "id": "r",
                "practitioner": {"reference": "Practitioner/d"},
                **role,
            }
        )

    (row,) = rows()
    assert (row["member"], row["organization"], row["group"]) == ("Practitioner/d", None, "PractitionerRole/r")
    assert rows(active=False) == []
    assert rows(period={"start": "2026-02-01", "end": "2026-01-01"}) == []
    assert rows(organization={"display": "some clinic"}) == []
    assert memberships({"resourceType": "PractitionerRole", "id": "r"}) == []


def test_a_group_that_only_describes_has_no_members():
    group = {"resourceType": "Group", "id": "g", "member": [{"entity": {"reference": "Practitioner/d"}}]}
    assert memberships({**group, "actual": False}) == []
    assert [row["group"] for row in memberships({**group, "actual": True})] == ["Group/g"]
    assert memberships({**group, "actual": True, "active": False}) == []
    assert memberships({"resourceType": "Group", "id": "g", "actual": True}) == []


def test_a_member_of_a_group_is_one_for_as_long_as_it_says_in_the_zone_of_the_policy():
    spent = {"start": "2026-11-24", "end": "2026-11-24"}
    members = [{"entity": {"reference": "Practitioner/d"}, "period": spent}]
    (row,) = memberships({"resourceType": "Group", "id": "g", "actual": True, "member": members})
    assert (row["member"], row["organization"]) == ("Practitioner/d", None)
    assert (row["from"], row["until"]) == (
        datetime(2026, 11, 23, 23, tzinfo=UTC),
        datetime(2026, 11, 24, 23, tzinfo=UTC),
    )


def test_other_types_have_no_members():
    assert memberships({"resourceType": "Organization", "id": "c"}) == []


def lookup(*rows: tuple[str, str | None, str]):
    made: list[Membership] = [
        {"member": name, "organization": organization, "group": group, "from": OPEN_START, "until": OPEN_END}
        for name, organization, group in rows
    ]

    def memberships_of(keys: frozenset[str]) -> list[Membership]:
        return [row for row in made if row["member"] in keys]

    return memberships_of


def test_an_actor_goes_by_their_person_their_organisation_and_the_roles_held_in_it():
    keys = actor_keys(
        "Practitioner/d",
        "Organization/c",
        lookup(
            ("Practitioner/d", "Organization/c", "PractitionerRole/at-c"),
            ("Practitioner/d", "Organization/h", "PractitionerRole/at-h"),
            ("PractitionerRole/at-c", None, "CareTeam/u"),
            ("PractitionerRole/at-h", None, "CareTeam/v"),
        ),
        NOW,
    )
    assert keys == {"Practitioner/d", "Organization/c", "PractitionerRole/at-c", "CareTeam/u"}


def test_a_team_about_a_patient_stays_about_that_patient_in_an_outer_team():
    keys = actor_keys(
        "Practitioner/d",
        None,
        lookup(
            ("Practitioner/d", None, "CareTeam/inner@Patient/p"),
            ("CareTeam/inner", None, "CareTeam/open"),
            ("CareTeam/inner", None, "CareTeam/about-p@Patient/p"),
            ("CareTeam/inner", None, "CareTeam/about-q@Patient/q"),
        ),
        NOW,
    )
    assert keys == {
        "Practitioner/d",
        "CareTeam/inner@Patient/p",
        "CareTeam/open@Patient/p",
        "CareTeam/about-p@Patient/p",
    }


def test_memberships_that_go_in_circles_end():
    memberships_of = lookup(
        ("Practitioner/d", None, "CareTeam/a"), ("CareTeam/a", None, "CareTeam/b"), ("CareTeam/b", None, "CareTeam/a")
    )
    assert actor_keys("Practitioner/d", None, memberships_of, NOW) == {"Practitioner/d", "CareTeam/a", "CareTeam/b"}


def test_three_levels_of_teams_are_followed_and_not_a_fourth():
    rows = [
        ("Practitioner/d", None, "CareTeam/1"),
        *((f"CareTeam/{n}", None, f"CareTeam/{n + 1}") for n in range(1, 6)),
    ]
    assert actor_keys("Practitioner/d", None, lookup(*rows), NOW) == {
        "Practitioner/d",
        "CareTeam/1",
        "CareTeam/2",
        "CareTeam/3",
    }


@pytest.mark.parametrize(
    ("start", "until", "counts"),
    [
        (NOW, NOW + timedelta(seconds=1), True),
        (NOW - timedelta(seconds=1), NOW, False),
        (NOW + timedelta(seconds=1), OPEN_END, False),
    ],
)
def test_a_membership_counts_from_its_first_instant_to_before_its_end(start: datetime, until: datetime, counts: bool):
    row: Membership = {
        "member": "Practitioner/d",
        "organization": None,
        "group": "CareTeam/u",
        "from": start,
        "until": until,
    }
    assert ("CareTeam/u" in actor_keys("Practitioner/d", None, lambda _keys: [row], NOW)) == counts
