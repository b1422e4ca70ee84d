"""`$break-glass` and `$break-glass-end`: a physician opens the record of somebody who cannot be asked, and closes it.

https://www.legifrance.gouv.fr/codes/article_lc/LEGIARTI000045399699 (CSP L.1111-17 I), docs/policy.md.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from consent.decision import Decision, sentences
from consent.eligibility import MODES, PURPOSE
from consent.emergency import may_begin
from fhirserver import audit
from fhirserver.access import SystemAccess
from fhirserver.errors import BadRequest, Forbidden, Gone, NotFound, NotSupported
from fhirserver.interactions.context import Context
from fhirserver.operations.operation import Given, Made, Operation, Parameter, Target
from fhirserver.operations.parameters import parameters
from fhirserver.store.search_values import fhir_instant
from fhirserver.store.unit import Unit
from resources import validation
from resources.exact import encode

SHORTEST_REASON: Final = 10
"""Characters that a reason in words has at the least."""
LONGEST_REASON: Final = 1_000
REVIEW: Final = timedelta(days=3)
"""Within which a session is reviewed."""
TASKS: Final = "urn:fhirserver:task"
SESSIONS: Final = "urn:fhirserver:break-glass"

_TO = ("patient", "representatives", "data-protection")


def _begin(context: Context, target: Target, given: Given) -> Made:
    access = context.access
    access.admit("read", "Patient")
    mode, reason, text = given.one("mode"), given.one("reasonCode"), given.one("reason").strip()
    _check(mode, text, given, reason)
    patient = f"Patient/{target.id}"
    system = context.store.beside(SystemAccess.named("break-glass", access.now, access.request_id, access.policy))
    try:
        facts: Mapping[str, Any] | None = system.read("Patient", target.id, with_body=False).facts
    except (NotFound, Gone):
        facts = None
    decision = may_begin(access.actor, access.now, facts, policy=access.policy)
    access.note("operation", "Patient", target.id, (patient,) if facts else (), decision)
    _obey(decision, patient)
    session = _session(context, patient, mode, reason, text)

    def work(unit: Unit) -> None:
        task = validation.check("Task", encode(_review(session)))
        row = unit.create(task, facts={"kind": "audit", "subjects": [{"patient": patient}]})
        unit.put("emergencies", [{**session, "task": row.reference}])
        unit.put("notices", [_notice(session, to) for to in _TO])
        details = {"mode": mode, "reason": reason["code"], "until": fhir_instant(session["until"])}
        events = audit.emergency_events(access, "begun", patient, session["_id"], details)
        unit.record(event.document for event in events)

    system.transact(work)
    return Made(parameters(_answer(session)))


def _check(mode: str, text: str, given: Given, reason: Mapping[str, Any]) -> None:
    if given.if_match is not None:
        raise NotSupported("$break-glass takes no If-Match.")
    if mode not in MODES:
        raise BadRequest(f"The mode is one of {', '.join(sorted(MODES))}.", expression="mode")
    if not SHORTEST_REASON <= len(text) <= LONGEST_REASON:
        raise BadRequest(
            f"The reason is told in {SHORTEST_REASON} to {LONGEST_REASON} characters.", expression="reason"
        )
    if not (isinstance(reason.get("system"), str) and isinstance(reason.get("code"), str)):
        raise BadRequest("The reason has a system and a code.", expression="reasonCode")
    if mode == "bris_de_glace" and not given.one("cannotConsent", default=False):
        raise BadRequest(
            "Who breaks the glass states that the person cannot express their will and faces an immediate risk.",
            code="required",
            expression="cannotConsent",
        )


def _obey(decision: Decision, patient: str) -> None:
    """Raise what a refusal looks like: Forbidden where the reason may be told, else NotFound."""
    if decision.status == "forbidden":
        text = sentences(decision.code)
        raise Forbidden(f"{text['en']} {text['fr']}", code="suppressed" if decision.code == "btg-objection" else None)
    if not decision.is_permit:
        raise NotFound(f"{patient} is not known.")


def _session(context: Context, patient: str, mode: str, reason: Mapping[str, Any], text: str) -> dict[str, Any]:
    access = context.access
    return {
        "_id": uuid.uuid4().hex,
        "subject": access.actor.reference,
        "organization": access.actor.organization,
        "client": access.actor.client_id,
        "patient": patient,
        "mode": mode,
        "reason": {"system": reason["system"], "code": reason["code"]},
        "text": text,
        "from": access.now,
        "until": access.now + access.policy.emergency_window,
        "ended": None,
    }


def _review(session: Mapping[str, Any]) -> dict[str, Any]:
    """The Task by which the session is reviewed: read by the person concerned and by auditors."""
    begun = session["from"]
    return {
        "resourceType": "Task",
        "identifier": [{"system": SESSIONS, "value": session["_id"]}],
        "status": "requested",
        "intent": "order",
        "priority": "urgent",
        "code": {"coding": [{"system": TASKS, "code": "break-glass-review"}]},
        "description": session["text"],
        "for": {"reference": session["patient"]},
        "authoredOn": fhir_instant(begun),
        "requester": {"reference": session["subject"]},
        "reasonCode": {"coding": [session["reason"]]},
        "restriction": {"period": {"end": fhir_instant(begun + REVIEW)}},
    }


def _notice(session: Mapping[str, Any], to: str) -> dict[str, Any]:
    """One message that is owed to somebody; whoever sends it says when it was sent."""
    return {
        "_id": uuid.uuid4().hex,
        "kind": "break-glass",
        "to": to,
        "patient": session["patient"],
        "session": session["_id"],
        "at": session["from"],
        "sent": None,
    }


def _answer(session: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": "session", "valueString": session["_id"]},
        {"name": "mode", "valueCode": session["mode"]},
        {"name": "purpose", "valueCode": PURPOSE},
        {"name": "until", "valueInstant": fhir_instant(session["until"])},
    ]


def _end(context: Context, target: Target, given: Given) -> Made:
    if given.if_match is not None:
        raise NotSupported("$break-glass-end takes no If-Match.")
    access = context.access
    access.admit("read", "Patient")
    patient = f"Patient/{target.id}"

    def work(unit: Unit) -> list[str]:
        ended = unit.end_emergencies(patient)
        for session in ended:
            details = {"mode": session["mode"], "reason": session["reason"]["code"]}
            events = audit.emergency_events(access, "ended", patient, session["_id"], details)
            unit.record(event.document for event in events)
        return [session["_id"] for session in ended]

    names = context.transact(work)
    if not names:
        raise NotFound(f"No session for {patient} lasts.")
    return Made(parameters({"name": "session", "valueString": name} for name in names))


BEGIN = Operation(
    name="break-glass",
    title="Open the record of a patient in an emergency (break-glass); physicians only.",
    about="Begins a session in which a physician reads the record of a patient who cannot be asked. Each use is told "
    "to the patient and reviewed.",
    definition="fhirserver-break-glass",
    is_hl7s=False,
    levels=("instance",),
    types=("Patient",),
    perform=_begin,
    takes=(
        Parameter("mode", "code", "bris_de_glace, or centre_15 for the regulation of emergency calls (TRE_R248).", 1),
        Parameter("reasonCode", "Coding", "Why, as a code.", 1),
        Parameter("reason", "string", f"Why, in {SHORTEST_REASON} to {LONGEST_REASON} characters.", 1),
        Parameter(
            "cannotConsent",
            "boolean",
            "True: the person cannot express their will and faces an immediate risk. Needed for bris_de_glace.",
        ),
    ),
    gives=(
        Parameter("session", "string", "The id of the session, by which the trail names it.", 1),
        Parameter("mode", "code", "The mode, as sent.", 1),
        Parameter("purpose", "code", "The purpose of use of the tokens that read in the session: BTG.", 1),
        Parameter("until", "instant", "When the session ends by itself.", 1),
    ),
    changes=True,
)

END = Operation(
    name="break-glass-end",
    title="End one's own sessions of break-glass for a patient.",
    about="Ends the sessions of the caller for the patient, at once.",
    definition="fhirserver-break-glass-end",
    is_hl7s=False,
    levels=("instance",),
    types=("Patient",),
    perform=_end,
    gives=(Parameter("session", "string", "The id of a session that was ended.", 1, None),),
    changes=True,
)
