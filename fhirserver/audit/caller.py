"""Who is named in an AuditEvent: the person or client, for whom they act, from where, and by which token."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from fhirserver.access import Access

# AuditEvent.agent.who may refer to these; whoever else acts (a client, an operator) is named by an identifier.
_REFERABLE = frozenset({"Practitioner", "PractitionerRole", "Organization", "Device", "Patient", "RelatedPerson"})


@dataclass(frozen=True, slots=True)
class Caller:
    """What stays the same from one request to the next of one token; hashable, so that its JSON is made once."""

    name: str
    client_id: str | None = None
    organization: str | None = None
    display: str | None = None
    purpose: str | None = None
    token_id: str | None = None
    address: str | None = None
    transport: Literal["FHIR", "DICOMweb", "OAuth", "command line"] = "FHIR"

    @classmethod
    def of(cls, access: Access) -> Caller:
        """The caller of a verified request."""
        actor = access.actor
        return cls(
            name=actor.reference,
            client_id=actor.client_id,
            organization=actor.organization,
            display=actor.display,
            purpose=access.purpose,
            token_id=access.token_id,
            address=access.client_address,
            transport="DICOMweb" if access.transport == "DICOMweb" else "FHIR",
        )

    @property
    def reference(self) -> str | None:
        """`Practitioner/d` where FHIR can refer to the caller, None for clients and operators."""
        return self.name if self.name.partition("/")[0] in _REFERABLE else None

    @property
    def patient(self) -> str | None:
        """`Patient/p` where the caller is a patient."""
        return self.name if self.name.startswith("Patient/") else None


@dataclass(frozen=True, slots=True)
class Moment:
    """When, and in which request, an event happened."""

    now: datetime
    request_id: str | None
