"""Events of break-glass: Security Alert with Emergency Override Started or Stopped (DICOM PS3.15 section A.5.3.11)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from fhirserver.access import Access
from fhirserver.audit import codes, parts
from fhirserver.audit.caller import Caller, Moment
from fhirserver.audit.event import Event, event
from fhirserver.audit.parts import Entity, Shape, frozen

_SHAPES: Final = {
    "begun": Shape(frozen(codes.SECURITY_ALERT), "E", (frozen(codes.EMERGENCY_OVERRIDE_STARTED),)),
    "ended": Shape(frozen(codes.SECURITY_ALERT), "E", (frozen(codes.EMERGENCY_OVERRIDE_STOPPED),)),
}


def emergency_events(
    access: Access, what: Literal["begun", "ended"], patient: str, session: str, details: Mapping[str, str]
) -> list[Event]:
    """A session for a patient began or was ended by whom it is for; `details` are its mode, reason and end."""
    entities: list[Entity] = [
        parts.patient(patient),
        parts.session(session, tuple(details.items())),
        parts.request(access.request_id),
    ]
    moment = Moment(access.now, access.request_id)
    return [event(_SHAPES[what], Caller.of(access), "decision", moment, entities, patient=patient)]
