"""Who asks for what: the actor as verified, the scopes of its token, and the request at one instant.

Scopes follow SMART App Launch 2.2, https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

ActorKind = Literal["patient", "representative", "professional", "system", "operator", "auditor", "link"]
Interaction = Literal[
    "read", "vread", "history", "search", "create", "update", "patch", "delete", "retrieve", "store"
]  # fmt: skip
Transport = Literal["FHIR", "DICOMweb"]
ScopeContext = Literal["patient", "user", "system"]

READS: frozenset[str] = frozenset({"read", "vread", "history", "search", "retrieve"})
WRITES: frozenset[str] = frozenset({"create", "update", "patch", "delete", "store"})

LETTER_OF: dict[str, str] = {
    "create": "c",
    "store": "c",
    "read": "r",
    "vread": "r",
    "history": "r",
    "retrieve": "r",
    "update": "u",
    "patch": "u",
    "delete": "d",
    "search": "s",
}
"""The SMART permission letter each interaction needs."""

DEFAULT_PURPOSE: dict[str, str] = {
    "patient": "PATRQT",
    "representative": "PWATRNY",
    "professional": "TREAT",
    "system": "TREAT",
    "operator": "HSYSADMIN",
    "auditor": "HCOMPL",
    "link": "PATRQT",
}
"""The purpose of use of a token that states none, by kind of actor (v3-ActReason)."""

_CONTEXTS: dict[str, ScopeContext] = {"patient": "patient", "user": "user", "system": "system"}
_SCOPE = re.compile(
    r"(?P<context>patient|user|system)/(?P<type>\*|[A-Z][A-Za-z]*)"
    r"\.(?:(?P<first>read|write|\*)|(?P<letters>(?=[cruds])c?r?u?d?s?)(?:\?(?P<parameters>\S+))?)"
)
_FIRST_VERSION = {"read": "rs", "write": "cud", "*": "cruds"}


@dataclass(frozen=True, slots=True)
class Scope:
    """One SMART resource scope.

    `letters` is a subset of "cruds". `parameters` is the search constraint of SMART 2 (`?category=…`); constraints are
    not offered, so a scope that carries one grants nothing.
    """

    context: ScopeContext
    type: str
    letters: frozenset[str]
    parameters: str | None = None

    def covers(self, interaction: str, resource_type: str) -> bool:
        """Say whether this scope by itself allows the interaction with the resource type."""
        return (
            self.parameters is None
            and self.type in {"*", resource_type}
            and LETTER_OF.get(interaction, "?") in self.letters
        )


def parse_scopes(text: str) -> tuple[Scope, ...]:
    """Read the resource scopes of an OAuth scope string, in order and without repetition.

    Tokens of SMART version 1 (`.read`, `.write`, `.*`) are read as their version 2 equivalents. Whatever is not a
    well-formed resource scope (`openid`, `launch`, letters out of order, anything unknown) grants nothing and is left
    out.
    """
    return tuple(dict.fromkeys(_scopes(text.split())))


def _scopes(tokens: Iterable[str]) -> Iterable[Scope]:
    for token in tokens:
        if found := _SCOPE.fullmatch(token):
            letters = _FIRST_VERSION.get(found["first"] or "", found["letters"] or "")
            yield Scope(_CONTEXTS[found["context"]], found["type"], frozenset(letters), found["parameters"])


@dataclass(frozen=True, slots=True)
class Actor:
    """Whoever acts, as verified: identity, the activity chosen at sign-in, and what the token carries.

    `reference` is "Practitioner/d", "Patient/p", "RelatedPerson/m", "Client/his-e1", or "Link/l" for whoever holds a
    link. `keys` holds every name by which a relation or a Consent may mean this actor now (see `care_team.actor_keys`).
    `patients` holds a patient's own references. `professions`, `specialties` and `sectors` are "system|code" of the
    chosen activity. `concealed` are the resources that are hidden from this person now; it is stated where the trail is
    asked for. `emergencies` are the patients for whom this professional has broken the glass, while the session lasts.
    `networks` are the organisations of which the establishment is a member now; it is stated for systems.
    Of a link `giver` is who gave it, and `shared` the one resource for which it was given.
    """

    kind: ActorKind
    reference: str
    organization: str | None = None
    keys: frozenset[str] = frozenset()
    patients: frozenset[str] = frozenset()
    client_category: str = "care"
    organization_types: frozenset[str] = frozenset()
    professions: frozenset[str] = frozenset()
    specialties: frozenset[str] = frozenset()
    sectors: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()
    is_active: bool = True
    scopes: tuple[Scope, ...] = ()
    launch_patient: str | None = None
    client_id: str | None = None
    concealed: frozenset[str] = frozenset()
    emergencies: frozenset[str] = frozenset()
    giver: str | None = None
    shared: str | None = None
    display: str | None = field(default=None, compare=False)

    def __hash__(self) -> int:
        """Hash the few fields that tell actors apart: an actor is looked up at every decision."""
        return hash((self.reference, self.organization, self.client_id, self.keys, self.launch_patient))


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked, for which single purpose of use, at the one instant captured for the whole request."""

    interaction: Interaction
    purpose: str
    now: datetime
    mode: str = "normal"
    transport: Transport = "FHIR"

    def __post_init__(self) -> None:
        """Refuse an instant without a time zone, which could not be compared with any period.

        Raises:
            ValueError: `now` is naive.

        """
        if self.now.tzinfo is None:
            raise ValueError("the instant of a request needs a time zone")
