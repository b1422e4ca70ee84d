"""What terminology asks of whoever keeps the resources, and how it says that something cannot be answered.

Expansion and subsumption are pure: the ValueSets and CodeSystems they need are looked up through `Definitions`, by the
caller's own means and with the caller's own rights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

Resource = Mapping[str, Any]
Concept = tuple[str, str]
"""A system and a code."""


class Definitions(Protocol):
    """Where stored definitions are found; None for what is not there, or not for this caller."""

    def value_set(self, canonical: str) -> Resource | None:
        """The ValueSet of a canonical URL, with or without `|version`, or of an address such as `ValueSet/id`."""

    def code_system(self, canonical: str) -> Resource | None:
        """The CodeSystem of a canonical URL, with or without `|version`."""


class UnanswerableError(Exception):
    """What was asked cannot be answered in full; nothing is answered in part. `code` is a FHIR issue code."""

    def __init__(self, text: str, code: Literal["not-found", "not-supported", "too-costly"]) -> None:
        """Keep the text, which names the definition."""
        super().__init__(text)
        self.code: Literal["not-found", "not-supported", "too-costly"] = code
