"""A link to one exam for whoever holds it, as a SMART Health Link: what `$share` makes where `link` asks for it.

It is a grant like every other, to the link itself: the Consent names the link by an identifier and carries no secret.
What opens the link is answered once and stored nowhere (`fhirserver.shlink`).

https://hl7.org/fhir/uv/smart-health-cards-and-links/STU1/links-specification.html
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from consent.link import SYSTEM
from consent.period import interval
from consent.request import DEFAULT_PURPOSE
from fhirserver import shlink
from fhirserver.errors import BadRequest, Forbidden, NotSupported
from fhirserver.interactions.context import Context
from fhirserver.operations.consents import consent, give
from fhirserver.operations.operation import Given, Made, Parameter, Target
from fhirserver.operations.parameters import parameters
from fhirserver.store.rows import Row
from fhirserver.store.share_links import ATTEMPTS
from fhirserver.store.unit import Unit
from resources.validation import parse

SHORTEST_PASSCODE: Final = 6
LONGEST_PASSCODE: Final = 64

TAKES: Final = (
    Parameter("link", "boolean", "True: a link for whoever holds it, in the place of a recipient."),
    Parameter("from", "dateTime", "Of a link: from when on it opens; at once if not given."),
    Parameter(
        "passcode",
        "string",
        f"Of a link: {SHORTEST_PASSCODE} to {LONGEST_PASSCODE} characters that its holder must know. "
        f"After {ATTEMPTS} wrong ones it is closed for good.",
    ),
    Parameter("uses", "positiveInt", "Of a link: how often it may be opened; any number of times if not given."),
    Parameter("label", "string", f"Of a link: what it is, in {shlink.LONGEST_LABEL} characters."),
    Parameter(
        "direct", "boolean", "Of a link: true, if it gives one file by a plain GET (flag U); without a passcode."
    ),
)
OF_LINKS: Final = tuple(one.name for one in TAKES if one.name != "link")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What was asked for, read."""

    start: str
    until: str
    span: tuple[datetime, datetime]
    passcode: str | None
    label: str | None
    uses: int | None
    flag: str


def make_link(context: Context, target: Target, given: Given, today: str, until: str) -> Made:
    """Write the grant and the link in one transaction, and answer both. Raises BadRequest, Forbidden, NotSupported.

    `today` is where the grant begins if nothing else is asked, `until` where it ends.
    """
    wanted = _wanted(context, given, today, until)
    (text, secret), key, name = shlink.Secret.drawn(), shlink.new_secret(), uuid.uuid4().hex
    address = f"{context.config.base}{shlink.PATH}/{text}"
    if len(address) > shlink.LONGEST_URL:
        raise NotSupported(f"The address of this server is too long for links of {shlink.LONGEST_URL} characters.")
    passcode = None if wanted.passcode is None else shlink.kept(wanted.passcode)

    def work(unit: Unit) -> Row:
        row = unit.read(target.type, target.id)
        if len(row.patients) != 1:
            raise Forbidden("What concerns several people is not shared by one of them.")
        (patient,) = row.patients
        resource = consent(
            context,
            "grant",
            patient=patient,
            performer=context.access.actor.reference,
            provision=_provision(name, target, wanted),
            organizations=row.facts["custodians"],
        )
        written = give(context, unit, resource)
        link = {
            "_id": name,
            "digest": secret.digest,
            "sealed": secret.sealed(key),
            "patient": patient,
            "giver": context.access.actor.reference,
            "consent": written.reference,
            "target": row.reference,
            "label": wanted.label,
            "flag": wanted.flag,
            "passcode": passcode,
            "attempts": None if passcode is None else ATTEMPTS,
            "from": wanted.span[0],
            "until": wanted.span[1],
            "uses": 0,
            "most": wanted.uses,
            "last": None,
            "made": context.access.now,
        }
        unit.put("share_links", [link])
        return written

    written = context.transact(work)
    uri = shlink.uri(address, key, until=wanted.span[1], flag=wanted.flag, label=wanted.label)
    return Made(parameters([{"name": "return", "resource": parse(written.body)}, {"name": "link", "valueUri": uri}]))


def refuse_without_link(given: Given) -> None:
    """Raise BadRequest for a parameter that says something of a link, where none is asked for."""
    for name in OF_LINKS:
        if given.all(name):
            raise BadRequest(f"{name} is of links: it goes with link=true.", expression=name)


def _wanted(context: Context, given: Given, today: str, until: str) -> _Wanted:
    for name in ("recipient", "purpose"):
        if given.all(name):
            raise BadRequest(f"A link is for whoever holds it, and has no {name}.", expression=name)
    start = given.one("from", today)
    begin, end = _instant(context, start, "from")[0], _instant(context, until, "until")[1]
    if end <= max(begin, context.access.now):
        raise BadRequest("until comes before from.", expression="until")
    passcode, label, uses = given.one("passcode"), given.one("label"), given.one("uses")
    is_direct = given.one("direct", default=False)
    if passcode is not None and is_direct:
        raise BadRequest("A link that gives its file by GET takes no passcode.", expression="passcode")
    if passcode is not None and not SHORTEST_PASSCODE <= len(passcode) <= LONGEST_PASSCODE:
        raise BadRequest(f"A passcode has {SHORTEST_PASSCODE} to {LONGEST_PASSCODE} characters.", expression="passcode")
    if label is not None and len(label) > shlink.LONGEST_LABEL:
        raise BadRequest(f"A label has at most {shlink.LONGEST_LABEL} characters.", expression="label")
    # L, P, U: in the order of the alphabet. A link that opens once does not change.
    flag = "L" * (uses != 1) + "P" * (passcode is not None) + "U" * is_direct
    return _Wanted(start, until, (begin, end), passcode, label, uses, flag)


def _instant(context: Context, text: str, name: str) -> tuple[datetime, datetime]:
    try:
        spent = interval(text, context.zone)
    except (ValueError, OverflowError) as error:
        raise BadRequest(f"{name} is a date or dateTime.", expression=name) from error
    return spent.start, spent.until


def _provision(name: str, target: Target, wanted: _Wanted) -> Mapping[str, Any]:
    recipients = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
    purposes = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
    link = {"identifier": {"system": SYSTEM, "value": name}, "display": wanted.label or "link"}
    actors: Sequence[Mapping[str, Any]] = [
        {"role": {"coding": [{"system": recipients, "code": "IRCP"}]}, "reference": link}
    ]
    return {
        "type": "permit",
        "period": {"start": wanted.start, "end": wanted.until},
        "actor": actors,
        "purpose": [{"system": purposes, "code": DEFAULT_PURPOSE["link"]}],
        "data": [{"meaning": "instance", "reference": {"reference": f"{target.type}/{target.id}"}}],
    }
