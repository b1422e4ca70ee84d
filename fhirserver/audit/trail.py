"""The trail of this process: where events are made durable before anything is disclosed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fhirserver.access import Access
from fhirserver.audit.event import Event, as_first
from fhirserver.errors import Unavailable
from fhirserver.store.audit_log import AuditLog


@dataclass(slots=True)
class _Trail:
    log: AuditLog | None = None


_trail = _Trail()


def use(log: AuditLog | None) -> None:
    """Let this process write to `log`, from now on; None lets every `flush` be refused."""
    _trail.log = log


def flush(access: Access | None, events: Sequence[Event]) -> None:
    """Write events and return when they are durable.

    `access` is the request they tell of, None where there was none. Raises Unavailable where they cannot be written:
    the caller then discloses nothing.
    """
    if not events:
        return
    if _trail.log is None:
        request = access.request_id if access is not None else "none"
        raise Unavailable(f"The audit trail is not open; nothing was disclosed (request {request}).")
    if access is None or access.actor.kind != "professional" or not _is_first(_trail.log, access, events):
        _trail.log.append([event.document for event in events])


def _is_first(log: AuditLog, access: Access, events: Sequence[Event]) -> bool:
    """Whether the events tell of a first access to somebody's record; they are then written, and marked with it."""
    firsts, subject = log.first_accesses, access.actor.reference
    opened = {event.opens: event for event in reversed(events) if event.opens is not None}
    while missing := firsts.missing(subject, opened) if opened else ():
        ids = {opened[patient].id for patient in missing}
        rows = [(as_first(event) if event.id in ids else event).document for event in events]
        named = {patient: f"AuditEvent/{opened[patient].id}" for patient in missing}
        if firsts.write((subject, access.actor.organization), named, rows, access.now):
            log.seal(rows)
            return True
    return False


def seal(events: Sequence[Event]) -> None:
    """Give events that a transaction has already made durable their place in the chain, soon."""
    if events and _trail.log is not None:
        _trail.log.seal([event.document for event in events])
