"""`$links`: the links that were given to exams of a person, how often each was used, and whether it still opens.

Each is told to whoever may read the Consent behind it and the exam that it was given for; what opens it is told to
nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fhirserver import audit
from fhirserver.interactions.context import Context
from fhirserver.operations.operation import Given, Made, Operation, Parameter, Target
from fhirserver.operations.parameters import parameters
from fhirserver.store import share_links
from fhirserver.store.rows import Row
from fhirserver.store.search_values import fhir_instant
from resources.validation import parse


def _perform(context: Context, target: Target, _given: Given) -> Made:
    access = context.access
    for type_ in ("Patient", "Consent"):
        access.admit("read", type_)
    person = context.store.read("Patient", target.id)
    links = context.store.share_links_of(person.reference)
    named = {reference for link in links for reference in (link["consent"], link["target"])}
    readable = context.store.readable(named)
    told = [link for link in links if link["consent"] in readable and link["target"] in readable]
    rows = [readable[link["consent"]] for link in told]
    context.note(audit.operation_events(access, "Patient", target.address("links"), rows, about=person))
    return Made(
        parameters({"name": "link", "part": _part(link, row, access.now)} for link, row in zip(told, rows, strict=True))
    )


def _part(link: Mapping[str, Any], consent: Row, now: datetime) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [
        {"name": "consent", "valueReference": {"reference": f"{consent.reference}/_history/{consent.version}"}},
        {"name": "target", "valueReference": {"reference": link["target"]}},
        {"name": "giver", "valueReference": {"reference": link["giver"]}},
        {"name": "state", "valueCode": _state(link, consent, now)},
        {"name": "from", "valueInstant": fhir_instant(link["from"])},
        {"name": "until", "valueInstant": fhir_instant(link["until"])},
        {"name": "uses", "valueUnsignedInt": link["uses"]},
    ]
    if link["last"] is not None:
        parts.append({"name": "lastUse", "valueInstant": fhir_instant(link["last"])})
    if link["most"] is not None:
        parts.append({"name": "mostUses", "valuePositiveInt": link["most"]})
    if link["passcode"] is not None:
        parts.append({"name": "remainingAttempts", "valueUnsignedInt": link["attempts"]})
    if link["label"] is not None:
        parts.append({"name": "label", "valueString": link["label"]})
    return parts


def _state(link: Mapping[str, Any], consent: Row, now: datetime) -> str:
    """Of a link that was taken back that is said first, whatever else is true of it."""
    if parse(consent.body).get("status") != "active":
        return "revoked"
    if share_links.is_used_up(link):
        return "used-up"
    return (share_links.refusal(link, now) or "link-active").removeprefix("link-")


OPERATION = Operation(
    name="links",
    title="The links that were given to exams of a person, with their uses (links).",
    about="Lists the links that were given to exams of a person: the Consent behind each, its state, its uses and the"
    " last one.",
    definition="fhirserver-links",
    levels=("instance",),
    perform=_perform,
    types=("Patient",),
    gives=(
        Parameter(
            "link",
            "BackboneElement",
            "Consent, target, giver, state (active, not-yet, expired, used-up, locked, revoked), from, until, uses,"
            " lastUse, mostUses, remainingAttempts and label.",
            0,
            None,
        ),
    ),
    is_hl7s=False,
)
