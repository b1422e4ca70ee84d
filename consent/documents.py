"""The documents that are materialised in facts: relations, rulings, and the windows of a base Consent."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypedDict

Effect = Literal["permit", "deny"]
Family = Literal["base", "grant", "restriction", "opposition"]

# Two keys are words of Python, so these are written in the functional form.
Span = TypedDict("Span", {"from": datetime, "until": datetime})
"""From one instant, included, to another one, excluded."""

Base = TypedDict("Base", {"from": datetime, "until": datetime, "source": str})
"""A window in which a base Consent replaces the implicit policy."""

Relation = TypedDict(
    "Relation",
    {
        "kind": Literal["declared", "treating", "representative"],
        "key": str,
        "organization": str | None,
        "from": datetime,
        "until": datetime,
        "source": str,
    },
)
"""Who is related to a patient, when; with an organization, only when acting for it."""

Exception_ = TypedDict(
    "Exception_",
    {"keys": list[str], "purposes": list[str], "from": datetime, "until": datetime},
)
"""Whom a deny does not reach, because a nested provision of the same Consent permits."""

Ruling = TypedDict(
    "Ruling",
    {
        "effect": Effect,
        "family": Family,
        "keys": list[str],
        "purposes": list[str],
        "from": datetime,
        "until": datetime,
        "source": str,
        "unless": list[Exception_],
    },
)
"""What one provision of a Consent says of access to one resource."""

Affiliation = TypedDict("Affiliation", {"member": str, "network": str, "from": datetime, "until": datetime})
"""Which organisation is a member of which network, when."""

Membership = TypedDict(
    "Membership",
    {"member": str, "organization": str | None, "group": str, "from": datetime, "until": datetime},
)
"""Who is in a role, an inner team or a group, when; the group of who replaces a practitioner is that practitioner."""
