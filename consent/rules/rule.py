"""What a rule is, and the question it is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from consent.condition import NOW, AllOf, AtMost, Condition, GreaterThan, In
from consent.policy import Policy
from consent.request import READS, Actor

IN_FORCE = AllOf(AtMost("from", NOW), GreaterThan("until", NOW))
"""The window of the document contains the instant of the request."""

Stage = Literal["scope", "lifecycle", "deny", "audience", "permit"]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, without the resource and the instant: the part that a condition is made for."""

    actor: Actor
    interaction: str
    resource_type: str
    purpose: str
    policy: Policy
    names: frozenset[str] = field(init=False)
    """Every name by which a relation or a Consent may mean the actor now."""
    personal_names: frozenset[str] = field(init=False)
    """Those of them that mean the professional in person, whoever they act with: their own and their roles'."""
    addressed: Condition = field(init=False)
    """The ruling at hand speaks of this actor and purpose, and is in force."""

    def __post_init__(self) -> None:
        """Work out once what nearly every rule asks for."""
        names = self.actor.keys | {self.actor.reference}
        personal = frozenset(name for name in names if name.startswith(("Practitioner/", "PractitionerRole/")))
        addressed = AllOf(In("keys", names | {"*"}), In("purposes", {self.purpose, "*"}), IN_FORCE)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "personal_names", personal)
        object.__setattr__(self, "addressed", addressed)

    @property
    def is_read(self) -> bool:
        """Say whether the interaction discloses and changes nothing."""
        return self.interaction in READS


Asked = Callable[[Question], Condition]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: when it speaks, of what, and under which code.

    `over` "resource": `condition` is over the facts document, and a permit needs nobody's agreement. `over` "subject":
    `condition` is over each subject of the document, and every patient concerned must permit. `code_of` may choose a
    finer code from the relation or ruling that made the rule speak.
    """

    name: str
    stage: Stage
    over: Literal["resource", "subject"]
    code: str
    condition: Asked
    code_of: Callable[[Question, Mapping[str, Any]], str] | None = None
