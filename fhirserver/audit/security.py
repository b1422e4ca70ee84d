"""Events of tokens and of administration: User Authentication and Security Alert of DICOM PS3.15 section A.5.3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

from fhirserver.audit import codes, parts
from fhirserver.audit.caller import Caller, Moment
from fhirserver.audit.event import Event, event
from fhirserver.audit.parts import Entity, Shape, frozen

TokenOutcome = Literal["issued", "refused", "revoked"]
Act = Literal[
    "token", "client-add", "client-remove", "audit-verify", "trace-export", "explain", "reindex", "expunge", "erase"
]

_AUTHENTICATION = frozen(codes.USER_AUTHENTICATION)
_TOKENS: Final[Mapping[TokenOutcome, tuple[tuple[str, str, str], str]]] = {
    "issued": (frozen(codes.LOGIN), codes.SUCCESS),
    "refused": (frozen(codes.LOGIN), codes.MINOR_FAILURE),
    "revoked": (frozen(codes.LOGOUT), codes.SUCCESS),
}
_ACTS: Final[Mapping[Act, tuple[tuple[str, str, str], tuple[str, str, str], parts.Action]]] = {
    "token": (_AUTHENTICATION, frozen(codes.LOGIN), "E"),
    "client-add": (frozen(codes.SECURITY_ALERT), frozen(codes.SECURITY_ROLES_CHANGED), "C"),
    "client-remove": (frozen(codes.SECURITY_ALERT), frozen(codes.SECURITY_ROLES_CHANGED), "D"),
    "audit-verify": (frozen(codes.SECURITY_ALERT), frozen(codes.AUDIT_LOG_USED), "E"),
    "trace-export": (frozen(codes.SECURITY_ALERT), frozen(codes.AUDIT_LOG_USED), "E"),
    "reindex": (frozen(codes.SECURITY_ALERT), frozen(codes.SOFTWARE_CONFIGURATION), "E"),
    "expunge": (frozen(codes.RECORD_DESTROYED), frozen(codes.RECORD_DESTROYED), "D"),
    "erase": (frozen(codes.RECORD_DESTROYED), frozen(codes.RECORD_DESTROYED), "D"),
    "explain": (frozen(codes.SECURITY_ALERT), frozen(codes.AUDIT_LOG_USED), "E"),
}


def token_events(
    outcome: TokenOutcome,
    *,
    now: datetime,
    client_id: str | None,
    request_id: str | None = None,
    address: str | None = None,
    organization: str | None = None,
    token_id: str | None = None,
    reason: str | None = None,
) -> list[Event]:
    """An access token was issued to a client, refused (also one shown to a route), or revoked.

    `token_id` is its `jti`; `reason` a short stable text, never what the client sent.
    """
    subtype, code = _TOKENS[outcome]
    caller = Caller(
        name=client_id or "unknown",
        client_id=client_id,
        organization=organization,
        token_id=token_id,
        address=address,
        transport="OAuth",
    )
    shape = Shape(_AUTHENTICATION, "E", (subtype,), outcome=code, reason=reason)
    entities = [parts.request(request_id)] if request_id else []
    return [event(shape, caller, "authentication", Moment(now, request_id), entities, patient=None)]


def operator_events(
    operator: str,
    act: Act,
    target: str,
    *,
    now: datetime,
    details: Mapping[str, str] | None = None,
    patient: str | None = None,
    labels: Sequence[str] = (),
    about: Sequence[str] = (),
) -> list[Event]:
    """An operator (the name of an account of the machine) acted on the command line.

    `target` is the client, person or resource concerned; `patient` is set where the act concerns a patient's record,
    and `labels` are then those of the resource that say who may see it; `about` is the resource that is named.
    """
    type_, subtype, action = _ACTS[act]
    caller = Caller(name=operator, client_id="fhirserver command line", transport="command line")
    entities: list[Entity] = [parts.subject_of_change(target, tuple((details or {}).items()))]
    if patient is not None:
        entities.append(parts.patient(patient))
    shape = Shape(type_, action, (subtype,))
    moment = Moment(now, None)
    return [event(shape, caller, "authentication", moment, entities, patient=patient, labels=labels, about=about)]
