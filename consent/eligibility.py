"""Who may break the glass at all, by the modes of access of TRE_R248."""

from __future__ import annotations

from consent.policy import DEFAULT, Policy
from consent.request import Actor

PURPOSE = "BTG"
"""The purpose of use of every request in a session (v3-ActReason)."""

MODES: frozenset[str] = frozenset({"bris_de_glace", "centre_15"})
"""The access modes of TRE_R248 by which a session begins: by a physician present, or by the regulation of calls."""


def is_eligible(actor: Actor, policy: Policy = DEFAULT) -> bool:
    """Say whether the actor's stated profession may break the glass at all; what is not stated is not believed."""
    return actor.kind == "professional" and actor.is_active and bool(actor.professions & policy.emergency_professions)
