"""An AuditEvent ready to be stored: its bytes, its search values and its facts, made from what is known."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import msgspec

from consent.facts import PatientAccess, audience, materialise
from consent.release import of_labels
from fhirserver.audit import codes, parts
from fhirserver.audit.caller import Caller, Moment
from fhirserver.audit.mold import mold_of
from fhirserver.audit.parts import Entity, Filled, Part, Shape, Template

FIRST_ACCESS: Final = "first-access"
"""The detail that marks the first time a professional opened a record."""

_MILLISECOND = timedelta(milliseconds=1)

# Begun anywhere, so that an id does not tell how many events there were; a thread takes its number atomically.
_count = itertools.count(int.from_bytes(os.urandom(3), "big"))


@dataclass(frozen=True, slots=True)
class Event:
    """One AuditEvent; `document` is the row that the store writes (the log adds sequence and hashes).

    `opens` is the patient whose record was opened to somebody, where the person may know of it now.
    """

    document: dict[str, Any]
    opens: str | None = None

    @property
    def id(self) -> str:
        """The logical id."""
        return str(self.document["id"])

    @property
    def body(self) -> bytes:
        """The JSON as it will be sent."""
        body: bytes = self.document["b"]
        return body


def event(
    shape: Shape,
    caller: Caller,
    role: parts.Role,
    moment: Moment,
    entities: Sequence[Entity],
    *,
    patient: str | None,
    labels: Sequence[str] = (),
    about: Sequence[str] = (),
    is_callers: bool = True,
    is_access: bool = False,
) -> Event:
    """One event about at most one patient, who may read it unless `labels` hide from them what it tells of.

    One about nobody may be read by the patient who called, unless `is_callers` is false. `about` are the resources that
    the event names: who may not see one of these when they ask for the event does not see it. Where it `is_access`,
    something of the patient's record was given out.
    """
    identifier = _time_ordered_id()
    now = _milliseconds(moment.now)
    instant = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    texts = [identifier, instant]
    kinds: list[Part | Template] = []
    for entity in entities:
        if isinstance(entity, Filled):
            kinds.append(entity.template)
            texts += entity.texts
        else:
            kinds.append(entity)
    cast = mold_of(shape, caller, role, tuple(kinds)).cast(texts, now)
    concerned = patient or (caller.patient if is_callers else None)
    facts = _facts(identifier, shape, now, concerned, labels, about)
    return Event(
        {
            "_id": f"AuditEvent/{identifier}",
            "t": "AuditEvent",
            "id": identifier,
            "v": 1,
            "lu": now,
            "b": cast.body,
            "tk": cast.tk,
            "ix": cast.ix,
            "rg": cast.rg,
            "so": cast.so,
            "facts": facts,
            "aud": audience(facts),
        },
        patient if is_access and not _hides(labels, now) else None,
    )


def as_first(event: Event) -> Event:
    """The event with the mark of a first access, beside the patient; no search value comes of it."""
    body = msgspec.json.decode(event.body)
    for entity in body["entity"]:
        if entity.get("role", {}).get("code") == codes.PATIENT["code"]:
            entity.setdefault("detail", []).append({"type": FIRST_ACCESS, "valueString": "true"})
    return Event({**event.document, "b": msgspec.json.encode(body)}, event.opens)


def _hides(labels: Sequence[str], now: datetime) -> bool:
    """Whether labels keep what an event tells of from the person concerned."""
    if not labels:
        return False
    kept, instant = of_labels(labels)
    return (instant is not None and instant > now) or any(one.endswith("|INVISIBLE_PATIENT") for one in kept)


def _time_ordered_id() -> str:
    """32 hexadecimal digits that grow with time, as UUID version 7 (RFC 9562), so that the index grows at its end.

    A counter of 26 bits (section 6.2, method 1) lets the events of one millisecond of a process stand in their order.
    """
    milliseconds, count = time.time_ns() // 1_000_000, next(_count)
    high = milliseconds << 16 | 0x7 << 12 | count >> 14 & 0xFFF
    low = 0x2 << 62 | (count & 0x3FFF) << 48 | int.from_bytes(os.urandom(6), "big")
    return f"{high << 64 | low:032x}"


def _milliseconds(now: datetime) -> datetime:
    now = now.astimezone(UTC)
    return now.replace(microsecond=now.microsecond // 1_000 * 1_000)


def _facts(
    identifier: str, shape: Shape, now: datetime, patient: str | None, labels: Sequence[str], about: Sequence[str]
) -> dict[str, Any]:
    """As `store.facts.static_facts` would read them, the patient concerned being the one subject.

    The labels are those of the resource told of, so that the event is hidden from whom that is; the JSON has none. A
    release among them is kept only where no resource is named of which the present release could be asked.
    (The compartment would add a patient who acted on another's record, and hide the event from the one concerned.) No
    relation is kept: events are never rewritten, so a relation here would outlive the authority it speaks of.
    """
    known, subject = _known(shape)
    kept, instant = of_labels(labels) if labels else ([], None)
    told: dict[str, Any] = {"about": list(about)} if about else {} if instant is None else {"released": instant}
    return {
        **known,
        **told,
        "id": identifier,
        "labels": kept,
        "instances": [f"AuditEvent/{identifier}"],
        "performed": {"from": now, "until": now + _MILLISECOND},
        "subjects": [{**subject, "patient": patient}] if patient else [],
    }


@lru_cache(maxsize=1_024)
def _known(shape: Shape) -> tuple[dict[str, Any], dict[str, Any]]:
    """The facts that events of one shape have in common, and those of the patient concerned; never changed."""
    static = {
        "type": "AuditEvent",
        "kind": "audit",
        "custodians": [],
        "authors": [],
        "confidentiality": 4,
        "sensitivities": [],
        "lifecycle": "present",
        "related": [],
        "class": ["AuditEvent", *(f"{system}|{code}" for system, code, _ in (shape.type, *shape.subtypes))],
    }
    whole = materialise(static, [PatientAccess("")])
    (subject,) = whole.pop("subjects")
    return whole, subject
