"""AuditEvents of everything the server answers, by IHE's Basic Audit Log Patterns (https://profiles.ihe.net/ITI/BALP/).

Functions take the access of a request and what happened, and give rows ready to be stored; nothing here reads a stored
resource, decides anything or keeps anything between requests but ready JSON. No clinical content and no name of a
patient enters an event: patients, resources and Consents are told by reference. `flush` returns only when the events
are durable, and whoever cannot flush discloses nothing.
"""

from __future__ import annotations

from fhirserver.audit.caller import Caller
from fhirserver.audit.decisions import consent_events, refusal_events
from fhirserver.audit.dicom import dicom_events
from fhirserver.audit.emergency import emergency_events
from fhirserver.audit.erasure import erasure_begun, erasure_ended
from fhirserver.audit.event import Event
from fhirserver.audit.hidden import by_labels, disclosed, labels_of, labels_of_any
from fhirserver.audit.interactions import (
    history_events,
    named_patients,
    operation_events,
    read_events,
    search_events,
    write_events,
)
from fhirserver.audit.links import link_events
from fhirserver.audit.security import operator_events, token_events
from fhirserver.audit.trail import flush, seal, use

__all__ = [
    "Caller",
    "Event",
    "by_labels",
    "consent_events",
    "dicom_events",
    "disclosed",
    "emergency_events",
    "erasure_begun",
    "erasure_ended",
    "flush",
    "history_events",
    "labels_of",
    "labels_of_any",
    "link_events",
    "named_patients",
    "operation_events",
    "operator_events",
    "read_events",
    "refusal_events",
    "seal",
    "search_events",
    "token_events",
    "use",
    "write_events",
]
