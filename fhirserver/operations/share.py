"""`$share` and `$revoke`: the person opens one exam or report to somebody, for a time, and takes it back.

With `link` it is opened to whoever holds a link (`share_link`).

What `$share` writes is a grant as IHE PCF has it (data by id); the recipient reads from the next request on, and no
longer from the request after a `$revoke`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from consent import pcf
from consent.link import is_link, recipient_key
from consent.period import interval
from consent.request import Actor
from fhirserver.access import SystemAccess
from fhirserver.errors import BadRequest, Forbidden, NotFound
from fhirserver.interactions.context import Context
from fhirserver.operations.consents import consent, give, withdraw
from fhirserver.operations.operation import Given, Made, Operation, Parameter, Target
from fhirserver.operations.parameters import reference_of
from fhirserver.operations.relabel import check_version
from fhirserver.operations.share_link import TAKES, make_link, refuse_without_link
from fhirserver.store.rows import Row
from fhirserver.store.unit import Unit
from resources.validation import parse

DAYS = 30
"""For how long something is shared where nobody says until when."""

_RECIPIENTS = ("Practitioner", "PractitionerRole", "Organization", "CareTeam")
_RECIPIENT_ROLE = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]}
_PURPOSES = "http://terminology.hl7.org/CodeSystem/v3-ActReason"


def _share(context: Context, target: Target, given: Given) -> Row | Made:
    access = context.access
    access.admit("create", "Consent")
    access.admit("read", target.type)
    if access.actor.kind not in {"patient", "representative"}:
        raise Forbidden("A record is shared by the person, or by who represents them.")
    today = access.now.astimezone(context.zone).date()
    until = given.one("until", (today + timedelta(days=DAYS)).isoformat())
    _check_future(context, until)
    if given.one("link", default=False):
        return make_link(context, target, given, today.isoformat(), until)
    refuse_without_link(given)
    recipient = _recipient(context, given.one("recipient"))
    purpose = given.one("purpose", "TREAT")
    if purpose not in access.policy.implicit_purposes:
        offered = ", ".join(sorted(access.policy.implicit_purposes))
        raise BadRequest(f"purpose is one of {offered}.", expression="purpose")
    provision: dict[str, Any] = {
        "type": "permit",
        "period": {"start": today.isoformat(), "end": until},
        "actor": [{"role": _RECIPIENT_ROLE, "reference": {"reference": recipient}}],
        "purpose": [{"system": _PURPOSES, "code": purpose}],
        "data": [{"meaning": "instance", "reference": {"reference": f"{target.type}/{target.id}"}}],
    }

    def work(unit: Unit) -> Row:
        row = unit.read(target.type, target.id)
        if len(row.patients) != 1:
            raise Forbidden("What concerns several people is not shared by one of them.")
        resource = consent(
            context,
            "grant",
            patient=row.patients[0],
            performer=access.actor.reference,
            provision=provision,
            profile=pcf.INTERMEDIATE,
            organizations=row.facts["custodians"],
        )
        return give(context, unit, resource)

    return context.transact(work)


def _recipient(context: Context, text: str | None) -> str:
    if text is None:
        raise BadRequest("recipient is needed, or link.", code="required", expression="recipient")
    reference = reference_of(context, text, "recipient", _RECIPIENTS)
    if reference not in context.store.readable([reference]):
        raise BadRequest(f"{reference} is not known.", expression="recipient")
    return reference


def _check_future(context: Context, until: str) -> None:
    try:
        end = interval(until, context.zone).until
    except ValueError as error:
        raise BadRequest("until is a date or dateTime.", expression="until") from error
    if end <= context.access.now:
        raise BadRequest("until has passed.", expression="until")


def _revoke(context: Context, target: Target, given: Given) -> Row:
    access = context.access
    access.admit("update", "Consent")
    access.admit("read", "Consent")
    store = context.store
    if access.actor.kind == "patient" and _is_others_link(access.actor, store.read("Consent", target.id)):
        store = store.beside(SystemAccess.named("share-link", access.now, access.request_id, access.policy))

    def work(unit: Unit) -> Row:
        row = unit.read("Consent", target.id)
        if store is not context.store and not _is_others_link(access.actor, row):
            raise NotFound(f"Consent/{target.id} is not known.")
        check_version(context, unit, row, given)
        return withdraw(context, unit, row)

    return context.transact(work, store)


def _is_others_link(actor: Actor, row: Row) -> bool:
    """Whether it is behind a link to their exam that somebody else gave: the person may always take it back."""
    if row.patients != (actor.reference,) or row.facts.get("family") != "grant":
        return False
    consent = parse(row.body)
    recipients = [recipient_key(one.get("reference")) for one in consent.get("provision", {}).get("actor", ())]
    is_links = bool(recipients) and all(one is not None and is_link(one) for one in recipients)
    return is_links and row.facts["authors"] != [actor.reference]


SHARE = Operation(
    name="share",
    title="Open one exam, report or document to somebody for a time (share).",
    about="Opens one exam, report or document for a time: to a professional, role, team or organisation, or by a link.",
    definition="share",
    levels=("instance",),
    perform=_share,
    types=("ImagingStudy", "DiagnosticReport", "DocumentReference"),
    takes=(
        Parameter(
            "recipient", "string", "Practitioner/id, PractitionerRole/id, Organization/id or CareTeam/id; or else link."
        ),
        Parameter("until", "dateTime", f"The last day, or the instant of the end; {DAYS} days if not given."),
        Parameter("purpose", "code", "Purpose of use; TREAT if not given."),
        *TAKES,
    ),
    gives=(
        Parameter("return", "Consent", "The grant; the whole answer where it is to a recipient.", 1),
        Parameter("link", "uri", "The SMART Health Link (shlink:/), where one was asked for. It is told this once."),
    ),
    is_hl7s=False,
    changes=True,
)

REVOKE = Operation(
    name="revoke",
    title="Take back a grant, or lift a restriction (revoke).",
    about="Makes a Consent inactive, as whoever gave it or answers for it may.",
    definition="revoke",
    levels=("instance",),
    perform=_revoke,
    types=("Consent",),
    gives=(Parameter("return", "Consent", "The Consent as it now stands.", 1),),
    is_hl7s=False,
    changes=True,
)
