"""How a Consent names a share link, which is no resource: by an identifier, so that the Consent carries no secret.

https://hl7.org/fhir/R4/references.html#logical
"""

from __future__ import annotations

from collections.abc import Mapping

from consent.reference import literal

SYSTEM = "urn:fhirserver:link"
"""The system of the identifiers of links."""


def link_key(name: str) -> str:
    """Return the key by which rules mean the link of that name."""
    return f"Link/{name}"


def is_link(key: str) -> bool:
    """Say whether a key means a link."""
    return key.startswith("Link/")


def recipient_key(reference: object) -> str | None:
    """Return the key of an actor of a Consent: "Type/id", or that of a link; None for what is neither.

    No resource has the type Link, so a literal reference to one means nobody.
    """
    found = literal(reference)
    if found is not None:
        return None if is_link(found) else found
    if not isinstance(reference, Mapping) or "reference" in reference:
        return None
    identifier = reference.get("identifier")
    if not isinstance(identifier, Mapping) or identifier.get("system") != SYSTEM:
        return None
    value = identifier.get("value")
    return link_key(value) if isinstance(value, str) and value else None
