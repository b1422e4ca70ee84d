"""What is in force for a person or a client at one instant, as the store found it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """Names, activity and qualifications; codings are written `system|code`, `name` is for people to read, and
    `networks` are those of which the organisation acted for is a member.

    It is the same from `since`, included, to `until`, excluded, as long as nobody writes to the directory.
    """

    keys: frozenset[str]
    is_active: bool
    professions: frozenset[str]
    specialties: frozenset[str]
    organization_types: frozenset[str]
    networks: frozenset[str]
    name: str | None
    since: datetime
    until: datetime
