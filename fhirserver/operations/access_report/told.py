"""AuditEvents as somebody reads them: the events of one request by one person are one line.

Only what the events say is used, each of which the caller may read: a line tells nothing that the trail does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Any, Final, Literal

import msgspec

from fhirserver.audit import codes
from fhirserver.audit.event import FIRST_ACCESS
from fhirserver.store.rows import Row

Kind = Literal["person", "representative", "professional", "link", "establishment", "service"]
Action = Literal[
    "read", "search", "images", "store", "create", "update", "delete", "operation", "trail", "access",
    "break-glass", "break-glass-end", "link", "session", "administration",
]  # fmt: skip

_KINDS: Final[Mapping[str, Kind]] = {
    "Patient": "person",
    "Link": "link",
    "RelatedPerson": "representative",
    "Practitioner": "professional",
    "PractitionerRole": "professional",
}
# By the code of a type or subtype; of several the first that an event has counts.
_ACTIONS: Final[Mapping[str, Action]] = {
    codes.AUDIT_LOG_USED["code"]: "trail",
    codes.EMERGENCY_OVERRIDE_STARTED["code"]: "break-glass",
    codes.EMERGENCY_OVERRIDE_STOPPED["code"]: "break-glass-end",
    codes.AUTHZ_CONSENT["code"]: "access",
    codes.AUTHZ_ROLE["code"]: "access",
    "read": "read",
    "vread": "read",
    "history-instance": "read",
    "history-type": "search",
    "history-system": "search",
    "search-type": "search",
    "search-system": "search",
    "operation": "operation",
    "create": "create",
    "update": "update",
    "patch": "update",
    "delete": "delete",
    codes.INSTANCES_ACCESSED["code"]: "images",
    codes.INSTANCES_TRANSFERRED["code"]: "images",
    codes.DICOM_QUERY["code"]: "search",
    codes.EXPORT["code"]: "link",
    codes.USER_AUTHENTICATION["code"]: "session",
    codes.RECORD_DESTROYED["code"]: "delete",
}


@dataclass(frozen=True, slots=True)
class Who:
    """Who acted, as the events name them; a client without an establishment is a service of the platform.

    The name of who holds a link is what they said it is.
    """

    kind: Kind
    reference: str
    organization: str | None
    name: str | None
    purpose: str | None


@dataclass(frozen=True, slots=True)
class Line:
    """What one person did in one request, or several times within one minute; then `when` is the last of them.

    `of` are the resources, `asked` the path of a search or an operation; `found` is how many resources a search gave;
    `reasons` are the codes of the decisions, `events` the ids of the AuditEvents.
    """

    when: datetime
    who: Who
    action: Action
    of: tuple[str, ...]
    asked: str
    found: int | None
    is_permitted: bool
    reasons: tuple[str, ...]
    is_first: bool
    events: tuple[str, ...]
    times: int = 1


@dataclass(frozen=True, slots=True)
class _Told:
    """One event, read."""

    id: str
    when: datetime
    request: str
    who: Who
    action: Action
    of: tuple[str, ...]
    asked: str
    found: int | None
    is_permitted: bool
    reason: str | None
    is_first: bool


def lines(rows: Sequence[Row]) -> list[Line]:
    """The lines of events in the order of time, latest first."""
    requests: dict[Any, list[_Told]] = {}
    for row in rows:
        told = _read(row)
        # A request has one instant; its id alone may be one that a client always sends.
        key = (told.when, told.request or told.id, told.who, told.is_permitted)
        requests.setdefault(key, []).append(told)
    merged = [_merged(events) for events in requests.values()]
    return [_repeated(list(alike)) for _, alike in groupby(merged, _alike)]


def of_whole_requests(rows: Sequence[Row]) -> Sequence[Row]:
    """The rows without the last request, which may go on after them; all of them where they are of one instant."""
    last = rows[-1].last_updated if rows else None
    whole = [row for row in rows if row.last_updated != last]
    return whole or rows


def _merged(events: Sequence[_Told]) -> Line:
    """One line for the events of one request: what was done, not that it was decided on."""
    done = [event for event in events if event.action != "access"] or events
    counts = [event.found for event in done if event.found is not None]
    return Line(
        done[0].when,
        done[0].who,
        done[0].action,
        tuple(dict.fromkeys(reference for event in done for reference in event.of)),
        next((event.asked for event in done if event.asked), ""),
        sum(counts) if counts else None,
        done[0].is_permitted,
        tuple(dict.fromkeys(event.reason for event in events if event.reason)),
        any(event.is_first for event in events),
        tuple(event.id for event in events),
    )


def _alike(line: Line) -> Any:
    """What lines that follow one another within a minute must share to be told as one: a viewer asks image by image."""
    minute = line.when.replace(second=0, microsecond=0)
    return minute, line.who, line.action, line.of, line.asked, line.is_permitted, line.reasons


def _repeated(alike: Sequence[Line]) -> Line:
    if len(alike) == 1:
        return alike[0]
    latest = alike[0]
    return replace(
        latest,
        is_first=any(line.is_first for line in alike),
        events=tuple(id_ for line in alike for id_ in line.events),
        times=len(alike),
    )


def _read(row: Row) -> _Told:
    event = msgspec.json.decode(row.body)
    entities = event.get("entity", ())
    details = [(one["type"], one["valueString"]) for entity in entities for one in entity.get("detail", ())]
    said = dict(reversed(details))
    is_permitted = event["outcome"] == codes.SUCCESS
    return _Told(
        row.id,
        row.last_updated,
        _request_of(entities) or said.get("X-Request-Id", ""),
        _who(event["agent"], said.get("recipient")),
        _action(event),
        tuple(dict.fromkeys(_references(entities))),
        next((entity["description"].partition("?")[0] for entity in entities if "description" in entity), ""),
        int(said["disclosed"]) if "disclosed" in said else None,
        is_permitted,
        event.get("outcomeDesc") or said.get("decision"),
        FIRST_ACCESS in said,
    )


def _action(event: Mapping[str, Any]) -> Action:
    stated = {event["type"]["code"], *(subtype["code"] for subtype in event.get("subtype", ()))}
    action: Action = next((action for code, action in _ACTIONS.items() if code in stated), "administration")
    return "store" if action == "images" and event["action"] == "C" else action


def _request_of(entities: Iterable[Mapping[str, Any]]) -> str:
    for entity in entities:
        if entity.get("type", {}).get("code") == codes.REQUEST_ID["code"]:
            return str(entity["what"]["identifier"]["value"])
    return ""


def _references(entities: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    """The resources of which events tell, without versions; not the patient concerned, nor the Consents that decided.

    The event of a decision by Consents names its resource beside each of these.
    """
    for entity in entities:
        if entity.get("type", {}).get("code") == codes.CONSENT["code"]:
            yield from (one["valueString"] for one in entity.get("detail", ()) if one["type"] == "resource")
        elif entity.get("role", {}).get("code") == codes.DOMAIN_RESOURCE["code"] and "reference" in entity["what"]:
            yield entity["what"]["reference"].partition("/_history/")[0]


def _who(agents: Sequence[Mapping[str, Any]], recipient: str | None) -> Who:
    user = next(agent for agent in agents if agent["requestor"])
    who = user["who"]
    reference = who.get("reference") or who["identifier"]["value"]
    organization = next((agent["who"]["reference"] for agent in agents if _is_establishment(agent)), None)
    kind = _KINDS.get(reference.partition("/")[0], "establishment" if organization else "service")
    purpose = next((coding["code"] for one in user.get("purposeOfUse", ()) for coding in one["coding"]), None)
    return Who(kind, reference, organization, user.get("name") or recipient, purpose)


def _is_establishment(agent: Mapping[str, Any]) -> bool:
    return any(coding["code"] == codes.ORGANISATION["code"] for coding in agent["type"]["coding"])
