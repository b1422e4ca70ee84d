"""The national projection of an event: the profile of the ANS, "Traçabilité des événements" (TDE) 2.0.0.

BALP asks for three agents and several subtypes, TDE admits two and one: both are projections of the one event that the
trail keeps, which is the BALP form. What TDE leaves no place for (the application, this server as an agent, the second
subtype) stays in the trail.

https://interop.esante.gouv.fr/ig/fhir/tde
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from fhirserver.audit import codes

PROFILE: Final = "https://interop.esante.gouv.fr/ig/fhir/tde/StructureDefinition/tde-auditevent"

Identifiers = Mapping[str, Mapping[str, Any]]
"""National identifiers, by the reference of whom they name."""

_KEPT = ("type", "action", "recorded", "outcome", "outcomeDesc")


def projected(body: bytes, base: str, identifiers: Identifiers) -> dict[str, Any]:
    """The event as TDE has it. References become addresses below `base`, since a repository elsewhere reads them."""
    event = msgspec.json.decode(body)
    kept = {name: event[name] for name in _KEPT if name in event}
    user = next(agent for agent in event["agent"] if agent["requestor"])
    others = [agent for agent in event["agent"] if not agent["requestor"]]
    purposes = user.get("purposeOfUse")
    return {
        "resourceType": "AuditEvent",
        "id": event["id"],
        "meta": {"profile": [PROFILE]},
        **kept,
        **({"subtype": event["subtype"][:1]} if "subtype" in event else {}),
        # What an event tells of is done within its request: it begins and ends at the instant that is recorded.
        "period": {"start": event["recorded"], "end": event["recorded"]},
        **({"purposeOfEvent": purposes} if purposes else {}),
        "agent": [_agent(agent, base, identifiers) for agent in (user, *_second(others))],
        "source": _source(event["source"], base),
        **({"entity": [_entity(entity, base) for entity in event["entity"]]} if "entity" in event else {}),
    }


def named(body: bytes) -> Iterable[str]:
    """The professionals and establishments that an event names as its agents."""
    for agent in msgspec.json.decode(body)["agent"]:
        reference = agent["who"].get("reference", "")
        if reference.startswith(("Practitioner/", "Organization/")):
            yield reference


def national(identifiers: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The national identifier among those of a resource: RPPS or IDNPS, FINESS or the national id of structures."""
    found = {one.get("system"): one for one in identifiers if "value" in one}
    system = next((system for system in _NATIONAL if system in found), None)
    return None if system is None else {"system": system, "value": found[system]["value"]}


_NATIONAL = (
    "https://rpps.esante.gouv.fr",
    "urn:oid:1.2.250.1.71.4.2.1",
    "https://finess.esante.gouv.fr",
    "urn:oid:1.2.250.1.71.4.2.2",
)


def _second(agents: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The establishment acted for, else the application: the first agent that is not the user."""
    found = list(agents)
    return ([agent for agent in found if _is(agent, codes.ORGANISATION)] or found)[:1]


def _is(agent: Mapping[str, Any], coding: Mapping[str, str]) -> bool:
    return any(one["code"] == coding["code"] for one in agent["type"]["coding"])


def _agent(agent: Mapping[str, Any], base: str, identifiers: Identifiers) -> dict[str, Any]:
    who = agent["who"]
    identifier = identifiers.get(who.get("reference", ""))
    return {**agent, "who": _absolute(who, base) | ({"identifier": dict(identifier)} if identifier else {})}


def _entity(entity: Mapping[str, Any], base: str) -> dict[str, Any]:
    return {**entity, "what": _absolute(entity["what"], base)} if "what" in entity else dict(entity)


def _absolute(reference: Mapping[str, Any], base: str) -> dict[str, Any]:
    if "reference" not in reference:
        return dict(reference)
    return {**reference, "reference": f"{base}/{reference['reference']}"}


def _source(source: Mapping[str, Any], base: str) -> dict[str, Any]:
    """Who reports: this server, as a Device that is named and not stored."""
    observer = {**source["observer"], "type": "Device", "identifier": {"system": "urn:ietf:rfc:3986", "value": base}}
    return {**source, "observer": observer}
