"""Consents as operations write them: whole, in the form of IHE PCF, so that nobody need know how one is put together.

https://profiles.ihe.net/ITI/PCF, https://hl7.org/fhir/R4/consent.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from consent.documents import Family
from consent.family import CONSENT_SCOPE
from fhirserver.errors import Conflict, Forbidden, NotFound
from fhirserver.interactions.context import Context
from fhirserver.store.rows import Row
from fhirserver.store.unit import Unit
from resources.exact import encode
from resources.validation import parse

_LOINC_PRIVACY = {"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}


def consent(
    context: Context,
    family: Family,
    *,
    patient: str,
    performer: str,
    provision: Mapping[str, Any],
    profile: str | None = None,
    organizations: Sequence[str] = (),
) -> dict[str, Any]:
    """An active Consent given now, under the policy of its family; its source is the request itself.

    References are of this server; `organizations` are the establishments to which it was given. It claims `profile`,
    one of PCF's, where there is one of them, as PCF wants.
    """
    policy = getattr(context.access.policy, family)[0]
    given = context.access.now.astimezone(context.zone).isoformat(timespec="seconds")
    source = {"contentType": "text/plain", "title": f"Request {context.access.request_id}", "creation": given}
    named = {"organization": [{"reference": one} for one in organizations]} if organizations else {}
    return {
        "resourceType": "Consent",
        **({"meta": {"profile": [profile]}} if profile and organizations else {}),
        "status": "active",
        "scope": {"coding": [{"system": CONSENT_SCOPE, "code": "patient-privacy"}]},
        "category": [_LOINC_PRIVACY],
        "patient": {"reference": patient},
        "dateTime": given,
        "performer": [{"reference": performer}],
        **named,
        "sourceAttachment": source,
        "policy": [{"uri": policy}],
        "provision": provision,
    }


def give(context: Context, unit: Unit, resource: Mapping[str, Any]) -> Row:
    """Write a new Consent and its event in the unit's transaction. Raises what a create raises."""
    row = unit.create(context.check("Consent", encode(resource)))
    context.record_write(unit, "create", row)
    return row


def withdraw(context: Context, unit: Unit, row: Row) -> Row:
    """Make a Consent inactive, as a version of its own. Raises Forbidden where the caller may read it only.

    One that is inactive stays as it is. Raises Conflict where it is neither: withdrawn, it would exist again.
    """
    status = parse(row.body).get("status")
    if status == "inactive":
        context.note_read(row)
        return row
    if status != "active":
        raise Conflict(f"{row.reference} is {status}, and so opens and closes nothing.", expression="Consent.status")
    inactive = {**parse(row.body), "status": "inactive"}
    try:
        written = unit.update(context.check("Consent", encode(inactive)), row.id).row
    except NotFound as error:  # it may be read
        raise Forbidden("This Consent may not be withdrawn by this client.") from error
    context.record_write(unit, "update", written)
    return written
