"""What the store needs of whoever asks: the shape of `fhirserver.access.Access`, seen from below."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

from consent.decision import Decision
from consent.engine import Permission
from consent.policy import Policy
from consent.request import Actor, Interaction


class Guard(Protocol):
    """Decides for one actor at one instant."""

    actor: Actor
    now: datetime
    policy: Policy

    def instant(self) -> datetime:
        """The instant of a version that is written now."""

    def learn(self, concealed: Callable[[], frozenset[str]]) -> None:
        """Be told how to find what is hidden from the actor now."""

    def permission(self, interaction: Interaction, type_: str) -> Permission:
        """The Condition on what the actor may see of a type."""

    def decide(self, interaction: Interaction, facts: Mapping[str, Any]) -> Decision:
        """The decision on one resource, noted for the audit."""

    def note(
        self, interaction: str, type_: str, id_: str | None, patients: tuple[str, ...], decision: Decision
    ) -> None:
        """Keep a decision for the audit."""

    @property
    def custodian(self) -> str | None:
        """The establishment that a system client writes for."""
