"""Events of an erasure: the record was locked, and later, what was removed of it (ISO 21089 lifecycle, destroy)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from fhirserver.access import Access
from fhirserver.audit import codes, parts
from fhirserver.audit.caller import Caller, Moment
from fhirserver.audit.event import Event, event
from fhirserver.audit.parts import Entity, Shape, frozen

_SHAPE: Final = Shape(frozen(codes.RECORD_DESTROYED), "D", (frozen(codes.RECORD_DESTROYED),))


def erasure_begun(access: Access, patient: str) -> list[Event]:
    """The record of a patient was locked: nobody reads it any more."""
    return _events("erasure-begun", patient, Caller.of(access), Moment(access.now, access.request_id), {})


def erasure_ended(patient: str, by: Mapping[str, Any], ended: datetime, details: Mapping[str, str]) -> list[Event]:
    """The record is gone; `by` is who had asked for it, and `details` are the numbers of the receipt."""
    caller = Caller(
        name=by["reference"], client_id=by["client"], organization=by["organization"], purpose=by["purpose"]
    )
    return _events("erasure-ended", patient, caller, Moment(ended, by["request"]), details)


def _events(what: str, patient: str, caller: Caller, moment: Moment, details: Mapping[str, str]) -> list[Event]:
    entities: list[Entity] = [parts.subject_of_change(what, tuple(details.items())), parts.patient(patient)]
    if moment.request_id is not None:
        entities.append(parts.request(moment.request_id))
    return [event(_SHAPE, caller, "delete", moment, entities, patient=patient)]
