"""What a rule is, and the question it is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from consent.condition import Condition, Everything
from consent.policy import Policy
from consent.request import READS, Actor

Stage = Literal["scope", "lifecycle", "deny", "audience", "permit"]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, without the resource and the instant: the part that a condition is made for."""

    actor: Actor
    interaction: str
    resource_type: str
    purpose: str
    policy: Policy

    @property
    def is_read(self) -> bool:
        """Say whether the interaction discloses and changes nothing."""
        return self.interaction in READS

    @property
    def names(self) -> frozenset[str]:
        """Every name by which a relation or a Consent may mean the actor now."""
        return self.actor.keys | {self.actor.reference}

    @property
    def personal_names(self) -> frozenset[str]:
        """Those of them that mean the professional in person, whoever they act with: their own and their roles'."""
        return frozenset(name for name in self.names if name.startswith(("Practitioner/", "PractitionerRole/")))


Asked = Callable[[Question], Condition]


def _everything(_question: Question) -> Condition:
    return Everything()


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: when it speaks, of what, and under which code.

    `over` "resource": `condition` is over the facts document, and a permit needs nobody's agreement. `over` "subject":
    `condition` is over each subject of the document, `guard` over the document itself; every patient concerned must
    permit. `code_of` may choose a finer code from the relation or ruling that made the rule speak.
    """

    name: str
    stage: Stage
    over: Literal["resource", "subject"]
    code: str
    condition: Asked
    guard: Asked = _everything
    code_of: Callable[[Question, Mapping[str, Any]], str] | None = None
