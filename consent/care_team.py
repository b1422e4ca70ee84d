"""Who is declared for a patient by a CareTeam, and who stands behind a team, a role or a group.

Membership is read live: a relation names a team or an organisation, and `actor_keys` says at each request which teams,
roles and groups the actor is in. Nothing of it descends through Organization.partOf, unless a region wants that; and
never does it ascend.
https://hl7.org/fhir/R4/careteam.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from consent.documents import Membership, Relation
from consent.period import Window, window
from consent.policy import DEFAULT, Policy
from consent.reference import literal, type_of
from consent.substitution import replaced

NESTING = 3
"""How many teams within teams are followed."""


def relations(care_team: Mapping[str, Any], version: int, policy: Policy = DEFAULT) -> list[Relation]:
    """Return the declared relations that a CareTeam makes with its subject; none where it is not active.

    An absent status is not active. A participant without a literal member, and members that are patients or related
    persons, relate nobody. `onBehalfOf` of a practitioner limits the relation to acting for that organisation.
    """
    subject = literal(care_team.get("subject"))
    if care_team.get("status") != "active" or subject is None or type_of(subject) != "Patient":
        return []
    found: list[Relation] = []
    for index, member, organization, spent in _participants(care_team, policy):
        source = f"CareTeam/{care_team.get('id')}/_history/{version}#{index}"
        found += [
            {
                "kind": "declared",
                "key": key,
                "organization": organization,
                "from": spent.start,
                "until": spent.until,
                "source": source,
            }
            for key in _keys(member, subject)
        ]
    return found


def _keys(member: str, subject: str) -> tuple[str, ...]:
    """Return the keys under which a member counts: an inner team only if it has no subject, or this same patient."""
    return (member, f"{member}@{subject}") if type_of(member) == "CareTeam" else (member,)


def _participants(care_team: Mapping[str, Any], policy: Policy) -> Iterator[tuple[int, str, str | None, Window]]:
    """Yield index, professional member, onBehalfOf and window of each participant who could ever count."""
    team = window(care_team.get("period"), policy.zone)
    for index, participant in enumerate(care_team.get("participant", ())):
        member = literal(participant.get("member"))
        spent = team.meet(window(participant.get("period"), policy.zone))
        if member is None or type_of(member) not in _PROFESSIONAL_MEMBERS or spent.is_empty:
            continue
        if "onBehalfOf" not in participant:
            yield index, member, None, spent
        elif (organization := literal(participant["onBehalfOf"])) and type_of(member) == "Practitioner":
            # Invariant ctm-1: onBehalfOf only with a Practitioner; one we cannot resolve limits to nobody.
            yield index, member, organization, spent


_PROFESSIONAL_MEMBERS = frozenset({"Practitioner", "PractitionerRole", "Organization", "CareTeam"})


def memberships(resource: Mapping[str, Any], policy: Policy = DEFAULT) -> list[Membership]:
    """Return who is in a CareTeam, who holds a PractitionerRole, or who is in a Group; other types have no members."""
    match resource.get("resourceType"):
        case "CareTeam":
            return _members_of_team(resource, policy)
        case "PractitionerRole":
            return _holder_of_role(resource, policy)
        case "Group":
            return _members_of_group(resource, policy)
        case _:
            return []


def _members_of_team(team: Mapping[str, Any], policy: Policy) -> list[Membership]:
    if team.get("status") != "active":
        return []
    group = f"CareTeam/{team.get('id')}"
    if "subject" in team:
        subject = literal(team["subject"])
        if subject is None:
            return []
        group = f"{group}@{subject}"
    return [
        {"member": member, "organization": organization, "group": group, "from": spent.start, "until": spent.until}
        for _, member, organization, spent in _participants(team, policy)
    ]


def _holder_of_role(role: Mapping[str, Any], policy: Policy) -> list[Membership]:
    holder = literal(role.get("practitioner"))
    spent = window(role.get("period"), policy.zone)
    if holder is None or role.get("active") is False or spent.is_empty:
        return []
    organization = None
    if "organization" in role:
        organization = literal(role["organization"])
        if organization is None:
            return []
    groups = [f"PractitionerRole/{role.get('id')}"]
    if (stands_in_for := replaced(role)) is not None:
        groups.append(stands_in_for)
    return [
        {"member": holder, "organization": organization, "group": group, "from": spent.start, "until": spent.until}
        for group in groups
    ]


_GROUP_MEMBERS = frozenset({"Practitioner", "PractitionerRole", "Device", "Group"})


def _members_of_group(group: Mapping[str, Any], policy: Policy) -> list[Membership]:
    if group.get("active") is False or group.get("actual") is not True:
        return []
    rows: list[Membership] = []
    for each in group.get("member", ()):
        member = literal(each.get("entity"))
        spent = window(each.get("period"), policy.zone)
        if member and type_of(member) in _GROUP_MEMBERS and each.get("inactive") is not True and not spent.is_empty:
            rows.append(
                {
                    "member": member,
                    "organization": None,
                    "group": f"Group/{group.get('id')}",
                    "from": spent.start,
                    "until": spent.until,
                }
            )
    return rows


MembershipsOf = Callable[[frozenset[str]], list[Membership]]
"""Looks up every membership row whose `member` is one of these keys."""


def actor_keys(
    reference: str,
    organization: str | None,
    memberships_of: MembershipsOf,
    now: datetime,
    *,
    above: frozenset[str] = frozenset(),
) -> frozenset[str]:
    """Return every name by which a relation or a Consent may mean the actor now.

    These are the actor, whom they replace in the organisation of the chosen activity, that organisation, the roles held
    in it, and the teams and groups reached through at most `NESTING` memberships. A row that names another organisation
    does not count; a substitution is not handed on. `above` are the organisations of which that of the activity is a
    part, where membership descends. Terminates on cycles.
    """
    own = _counting(memberships_of(frozenset({reference})), organization, now)
    keys = {reference} | {row["group"] for row in own if _is_person(row)} | ({organization} if organization else set())
    keys |= above
    roles = {row["group"] for row in _counting(memberships_of(frozenset(keys)), organization, now)}
    keys |= {role for role in roles if type_of(role) == "PractitionerRole"}
    newest = frozenset(keys)
    for _ in range(NESTING):
        if not newest:
            break
        rows = _counting(memberships_of(frozenset(_bare(key) for key in newest)), organization, now)
        reached = {group for row in rows if not _is_person(row) for group in _reached(row, newest)}
        newest = frozenset(reached - keys)
        keys |= newest
    return frozenset(keys)


def organizations_above(organization: str | None, part_of: Callable[[str], str | None]) -> frozenset[str]:
    """Return the organisations that an organisation is a part of, at most `NESTING` levels up, and not itself.

    `part_of` tells that of which one is a part. Terminates on cycles.
    """
    found: list[str] = []
    above = organization
    while above is not None and len(found) < NESTING:
        above = part_of(above)
        if above is None or above == organization or above in found:
            break
        found.append(above)
    return frozenset(found)


def _counting(rows: list[Membership], organization: str | None, now: datetime) -> list[Membership]:
    return [row for row in rows if row["from"] <= now < row["until"] and row["organization"] in {None, organization}]


def _is_person(row: Membership) -> bool:
    return type_of(row["group"]) == "Practitioner"


def _bare(key: str) -> str:
    return key.partition("@")[0]


def _reached(row: Membership, held: frozenset[str]) -> Iterator[str]:
    """Yield the group of a row, for each held key it admits.

    A team about one patient stays about that patient when an outer team contains it: "u@Patient/p" within a team
    without subject reaches that team about Patient/p, and within a team about somebody else it reaches nothing.
    """
    group, _, subject = row["group"].partition("@")
    for key in held:
        bare, _, about = key.partition("@")
        if bare == row["member"] and (not about or not subject or about == subject):
            yield f"{group}@{about or subject}" if about or subject else group
