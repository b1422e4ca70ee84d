"""Who somebody is, for access: roles, groups and teams, looked up by index and never scanned.

The collection `actors` has one document for each name that can be a member of something. It is written in the same
transaction as the Practitioner, PractitionerRole, Organization, Group or CareTeam it comes from, so that the next
request is decided on it. CareTeams of a patient are not listed here unless another team has them as a member: their
participants are found on the patient's own resources.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from consent import adherence, care_team
from consent.documents import Affiliation, Membership
from consent.facts import OPEN_END, OPEN_START
from consent.reference import literal
from fhirserver.store.database import Database, Document
from fhirserver.store.standing import Standing
from fhirserver.store.writes import update_of

# The types whose content says who somebody is.
TYPES = frozenset({"Practitioner", "PractitionerRole", "Organization", "OrganizationAffiliation", "Group", "CareTeam"})


# What is in a team or group, and is not named by a token: the groups of somebody, and whom they replace.
_WITH_MEMBERSHIPS = ("CareTeam/", "Group/", "Organization/", "Practitioner/", "PractitionerRole/")

# Actors that one process keeps at once; more than are at work in a region at one time.
_MOST_KEPT = 20_000


def standing(database: Database, reference: str, organization: str | None, now: datetime) -> Standing:
    """Who an actor is who acts for `organization` (None: for nobody but themselves) at `now`.

    Looked up at every request, unless this process knows that nobody has written to the directory since it last did.
    """
    generation = None if database.generation is None else database.generation.stable()
    key = (reference, organization)
    if generation is not None:
        kept = database.standings.get(key)
        if kept is not None and kept[0] == generation and kept[1].since <= now < kept[1].until:
            return kept[1]
    found = _look_up(database, reference, organization, now)
    if generation is not None and database.generation is not None and database.generation.stable() == generation:
        if len(database.standings) >= _MOST_KEPT:
            database.standings.clear()
        database.standings[key] = (generation, found)
    return found


def standings(
    database: Database, people: Collection[tuple[str, str | None]], now: datetime
) -> dict[tuple[str, str | None], Standing]:
    """Who each of them is, looked up together: one query, and one more for each level of teams within teams."""
    known = _documents(database, {name for person in people for name in person if name is not None})
    return {
        (reference, organization): _look_up(database, reference, organization, now, known)
        for reference, organization in people
    }


@dataclass(frozen=True, slots=True)
class Described:
    """What the directory says of somebody for people to read.

    `roles` are the codings, `system|code`, of each role that is not over by its own word, with the organisation in
    which it is held, None where it is held in none.
    """

    name: str | None
    roles: tuple[tuple[str | None, tuple[str, ...]], ...]


def described(database: Database, names: Collection[str]) -> dict[str, Described]:
    """Practitioners and organisations in words, those of the names that are known: one query."""
    return {
        reference: Described(
            found.get("name"),
            tuple(
                (row["organization"], tuple(row.get("codes", ())))
                for row in found.get("rows", ())
                if row["group"].startswith("PractitionerRole/")
            ),
        )
        for reference, found in _documents(database, names).items()
    }


def _documents(database: Database, names: Collection[str]) -> dict[str, Document]:
    return {one["_id"]: one for one in database.actors.find({"_id": {"$in": sorted(names)}})}


def _look_up(
    database: Database,
    reference: str,
    organization: str | None,
    now: datetime,
    known: Mapping[str, Document] | None = None,
) -> Standing:
    """`known` are documents that were looked up already, those of the two names among them as far as there are any."""
    names = {reference} if organization is None else {reference, organization}
    documents = _documents(database, names) if known is None else known
    found = {name: documents[name] for name in names if name in documents}

    def memberships_of(members: frozenset[str]) -> list[Membership]:
        missing = [member for member in members if member not in found and member.startswith(_WITH_MEMBERSHIPS)]
        if missing:
            found.update(_documents(database, missing))
        return [row for member in members for row in found.get(member, {}).get("rows", ())]

    def part_of(name: str) -> str | None:
        if name not in found:
            found.update(_documents(database, [name]))
        whole: str | None = found.get(name, {}).get("part_of")
        return whole

    above = care_team.organizations_above(organization, part_of) if database.descends else frozenset()
    keys = care_team.actor_keys(reference, organization, memberships_of, now, above=above)
    own = found.get(reference, {})
    roles = [
        row for row in own.get("rows", ()) if row["group"] in keys and row["group"].startswith("PractitionerRole/")
    ]
    joined: list[Affiliation] = found.get(organization or "", {}).get("networks", [])
    limited = [*(row for one in found.values() for row in one.get("rows", ())), *joined]
    bounds = [row[end] for row in limited for end in ("from", "until")]
    return Standing(
        keys=keys,
        is_active=own.get("active", True),
        professions=frozenset(code for role in roles for code in role.get("codes", ())),
        specialties=frozenset(code for role in roles for code in role.get("specialties", ())),
        organization_types=frozenset(found.get(organization or "", {}).get("types", ())),
        networks=frozenset(one["network"] for one in joined if one["from"] <= now < one["until"]),
        name=own.get("name"),
        since=max((bound for bound in bounds if bound <= now), default=OPEN_START),
        until=min((bound for bound in bounds if bound > now), default=OPEN_END),
    )


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored of a CareTeam: its resource, None where absent, and whether another team has it as a member."""

    resource: Mapping[str, Any] | None
    is_member: bool


def changes(
    reference: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    look_up: Callable[[str], Known],
    *,
    is_kept: bool = True,
) -> list[Document]:
    """The writes to `actors` that follow from a resource's change; `before` and `after` are None where it is absent.

    References in the resources are relative. `look_up` tells what is stored of a CareTeam. `is_kept` says that the
    operator keeps the resource: of what an organisation is a part, and who adheres, is not an establishment's to say.
    """
    type_ = reference.partition("/")[0]
    if type_ == "Practitioner":
        is_active = after is not None and after.get("active", True)
        return [_set(reference, {"active": is_active, "name": _name(after)})]
    if type_ == "Organization":
        return [_set(reference, _organization(after, is_kept=is_kept))]
    if type_ == "OrganizationAffiliation" and not is_kept:
        return []
    if type_ == "OrganizationAffiliation":
        return _moved(reference, *map(_affiliations, (before, after)), field="networks")
    if type_ != "CareTeam":
        return _moved(reference, _rows(before), _rows(after))
    return _team_changes(reference, before, after, look_up)


def _team_changes(
    reference: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    look_up: Callable[[str], Known],
) -> list[Document]:
    """A team matters here for its member teams, and for its participants once another team has it as a member."""
    nested = [row for row in _rows(after) if row["member"].startswith("CareTeam/")]
    was_nested = [row for row in _rows(before) if row["member"].startswith("CareTeam/")]
    writes = _moved(reference, was_nested, nested)
    for inner in {row["member"].partition("@")[0] for row in nested}:
        writes += _moved(inner, [], _people(_rows(look_up(inner).resource)))
    if look_up(reference).is_member:
        writes += _moved(reference, _people(_rows(before)), _people(_rows(after)))
    return writes


def _people(rows: Iterable[Document]) -> list[Document]:
    return [row for row in rows if not row["member"].startswith("CareTeam/")]


def _rows(resource: Mapping[str, Any] | None) -> list[Document]:
    if resource is None:
        return []
    rows = [dict(row) for row in care_team.memberships(resource)]
    if resource["resourceType"] == "PractitionerRole":
        described = {"codes": _codings(resource, "code"), "specialties": _codings(resource, "specialty")}
        rows = [{**row, **described} for row in rows]
    return rows


def _organization(resource: Mapping[str, Any] | None, *, is_kept: bool) -> Document:
    whole = literal((resource or {}).get("partOf")) if is_kept else None
    is_active = resource is not None and resource.get("active", True)
    return {
        "types": _codings(resource, "type"),
        "active": is_active,
        "name": (resource or {}).get("name"),
        "part_of": whole,
    }


def _affiliations(resource: Mapping[str, Any] | None) -> list[Document]:
    return [] if resource is None else [dict(one) for one in adherence.affiliations(resource)]


def _moved(
    source: str, before: Iterable[Document], after: Iterable[Document], *, field: str = "rows"
) -> list[Document]:
    """Replace what `source` said of its members: pulled from all who were or are in it, pushed to those who are."""
    after = list(after)
    members = {row["member"] for row in [*before, *after]}
    writes = [update_of({"_id": member}, {"$pull": {field: {"source": source}}}) for member in sorted(members)]
    writes += [
        update_of({"_id": row["member"]}, {"$push": {field: {**row, "source": source}}}, upsert=True) for row in after
    ]
    return writes


def _set(reference: str, values: Mapping[str, Any]) -> Document:
    return update_of({"_id": reference}, {"$set": dict(values)}, upsert=True)


def _codings(resource: Mapping[str, Any] | None, element: str) -> list[str]:
    return [
        f"{coding.get('system', '')}|{coding.get('code', '')}"
        for concept in (resource or {}).get(element, ())
        for coding in concept.get("coding", ())
    ]


def _name(practitioner: Mapping[str, Any] | None) -> str | None:
    """The first name as one line: its text, or prefix, given names and family name."""
    for name in (practitioner or {}).get("name", ()):
        parts = [*name.get("prefix", ()), *name.get("given", ()), name.get("family")]
        return name.get("text") or " ".join(part for part in parts if part) or None
    return None
