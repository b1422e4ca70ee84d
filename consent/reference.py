"""Literal references of FHIR, reduced to "Type/id"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_LITERAL = re.compile(r"(?P<type>[A-Z][A-Za-z]+)/(?P<id>[A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")


def literal(reference: object) -> str | None:
    """Return "Type/id" of a Reference to a resource of this server, or None for any other: logical, contained,
    elsewhere.
    """
    if not isinstance(reference, Mapping):
        return None
    text: Any = reference.get("reference")
    found = _LITERAL.fullmatch(text) if isinstance(text, str) else None
    return f"{found['type']}/{found['id']}" if found else None


def type_of(reference: str) -> str:
    """Return the resource type of a "Type/id"."""
    return reference.partition("/")[0]
