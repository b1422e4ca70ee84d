"""The Endpoint at which the images of an establishment are served (https://hl7.org/fhir/R4/endpoint.html).

One for each establishment, although all have the same address: it belongs to who stored the images, its systems write
it, and it can become an address of their own when their images stay with them.
"""

from __future__ import annotations

import hashlib
from typing import Any

from fhirserver.dicomweb.media_types import DICOM

_CONNECTION_TYPES = "http://terminology.hl7.org/CodeSystem/endpoint-connection-type"


def endpoint_id(organization: str, number: int = 0) -> str:
    """The id of an establishment's Endpoint; `number` counts those that somebody else has taken."""
    return hashlib.sha256(f"dicomweb {organization}{f' {number}' * bool(number)}".encode()).hexdigest()[:32]


def endpoint(organization: str, base: str, number: int = 0) -> dict[str, Any]:
    """The resource: DICOM WADO-RS at `base`, answered for by `organization` (a literal reference)."""
    return {
        "resourceType": "Endpoint",
        "id": endpoint_id(organization, number),
        "status": "active",
        "connectionType": {"system": _CONNECTION_TYPES, "code": "dicom-wado-rs"},
        "name": "DICOMweb",
        "managingOrganization": {"reference": organization},
        "payloadType": [{"text": "DICOM"}],
        "payloadMimeType": [DICOM],
        "address": base,
    }
