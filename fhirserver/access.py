"""The enforcement point: one actor, one request, one instant.

Every guarded read and write asks an `Access`; it answers by the pure rules of `consent` and notes each decision, so
that the audit can say what was decided and why. Nothing is decided anywhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, Literal

from consent import engine
from consent.condition import Everything
from consent.decision import Decision
from consent.engine import Permission
from consent.facts import visibility
from consent.link import link_key
from consent.policy import DEFAULT, Policy
from consent.request import Actor, ActorKind, Interaction, Request, Scope
from fhirserver.config import Config, Switch
from fhirserver.errors import Forbidden
from fhirserver.store.standing import Standing

__all__ = ["Access", "Noted", "SystemAccess", "named", "policy_of", "visibility"]

_CONCERNED = frozenset({"patient", "representative"})
"""The kinds of actor from whom something of a record may be hidden that others see."""

_PROMPT = 1.0
"""Seconds for which the instant of a request is that of what it writes."""


@dataclass(frozen=True, slots=True)
class Noted:
    """A decision on one resource, or by the token alone (`id` is then None), as the audit will tell it.

    `labels` are those of the resource that say who may see it, `about` the resource and what it hangs on.
    """

    interaction: str
    type: str
    id: str | None
    patients: tuple[str, ...]
    decision: Decision
    labels: tuple[str, ...] = ()
    about: tuple[str, ...] = ()


def named(reference: str, facts: Mapping[str, Any]) -> tuple[str, ...]:
    """What an event about a resource with these facts names: the resource, and what that gives away.

    A Binary gives away what it hangs on, an event of the trail what it names itself.
    """
    more = {"Binary": "related", "AuditEvent": "about"}.get(reference.partition("/")[0], "")
    return (reference, *facts.get(more, ()))


@dataclass(slots=True)
class Access:
    """Who acts, for what purpose, since when; built from a verified token for each request.

    `now` is the one instant (UTC) at which the whole request is decided. `request_id` correlates answer and audit.
    `sessions` are the caller's sessions of break-glass, by patient.
    """

    actor: Actor
    purpose: str
    now: datetime
    request_id: str
    token_id: str = ""
    transport: Literal["FHIR", "DICOMweb"] = "FHIR"
    client_address: str | None = None
    policy: Policy = DEFAULT
    decisions: list[Noted] = field(default_factory=list)
    began: float = field(default_factory=monotonic)
    sessions: Mapping[str, str] = field(default_factory=dict)
    _look_up: Callable[[], frozenset[str]] | None = None

    def instant(self) -> datetime:
        """The instant of a version that is written now: that of the request, or later where it took its time.

        A body that came slowly must not be written with an instant of long ago (`store.in_flight`).
        """
        taken = monotonic() - self.began
        return self.now if taken < _PROMPT else self.now + timedelta(milliseconds=int(taken * 1_000))

    def request(self, interaction: Interaction) -> Request:
        """The request as the rules see it."""
        return Request(interaction, self.purpose, self.now, transport=self.transport)

    def admit(self, interaction: Interaction, type_: str) -> None:
        """Raise Forbidden where the token alone refuses: a banned purpose, organisation or activity, or no scope."""
        self._obey(engine.admit(self.actor, self.request(interaction), type_, policy=self.policy), interaction, type_)

    def _obey(self, refusal: Decision | None, interaction: Interaction, type_: str) -> None:
        if refusal is not None:
            self.note(interaction, type_, None, (), refusal)
            raise Forbidden("The access token does not cover this request.")

    def admits(self, interaction: Interaction, type_: str) -> bool:
        """Whether the token covers this, where a refusal only leaves something out: it is not noted."""
        return engine.admit(self.actor, self.request(interaction), type_, policy=self.policy) is None

    def admit_any(self, interaction: Interaction, types: Sequence[str]) -> None:
        """Raise Forbidden where the token refuses every one of the types; the refusal is noted once."""
        refusal = None
        for type_ in types:
            refusal = engine.admit(self.actor, self.request(interaction), type_, policy=self.policy)
            if refusal is None:
                return
        self._obey(refusal, interaction, "Resource")
        raise Forbidden("The access token does not cover this request.")

    def admit_operator(self, interaction: Interaction, type_: str) -> None:
        """Raise Forbidden unless the token is an operator's and covers this of the type, `*` for every type."""
        refusal = engine.admit_operator(self.actor, self.request(interaction), type_, policy=self.policy)
        self._obey(refusal, interaction, type_)

    def admit_explanation(self, type_: str) -> None:
        """Raise Forbidden unless the token is of somebody who may be told why a resource of the type is open or not."""
        refusal = engine.admit_explanation(self.actor, self.request("read"), type_, policy=self.policy)
        self._obey(refusal, "read", type_)

    def permission(self, interaction: Interaction, type_: str) -> Permission:
        """What of this type the actor may see now: a Condition over facts, and the audience it implies."""
        return engine.permitted(self._actor(type_), self.request(interaction), type_, policy=self.policy)

    def learn(self, concealed: Callable[[], frozenset[str]]) -> None:
        """Be told how to find what is hidden from the actor now; it is asked once, and only for the trail."""
        self._look_up = concealed

    def _actor(self, type_: str) -> Actor:
        """The actor, who for the trail knows what it must not name to them."""
        if type_ == "AuditEvent" and self._look_up is not None and self.actor.kind in _CONCERNED:
            self.actor, self._look_up = replace(self.actor, concealed=self._look_up()), None
        return self.actor

    def decide(self, interaction: Interaction, facts: Mapping[str, Any]) -> Decision:
        """Decide on one resource and note the decision."""
        actor = self._actor(facts["type"])
        decision = engine.decide(actor, self.request(interaction), facts, policy=self.policy)
        self._note_on(interaction, facts, decision)
        return decision

    def note(
        self,
        interaction: str,
        type_: str,
        id_: str | None,
        patients: tuple[str, ...],
        decision: Decision,
        labels: tuple[str, ...] = (),
        about: tuple[str, ...] = (),
    ) -> None:
        """Keep a decision for the audit."""
        about = about or (() if id_ is None else (f"{type_}/{id_}",))
        self.decisions.append(Noted(interaction, type_, id_, patients, decision, labels, about))

    def _note_on(self, interaction: Interaction, facts: Mapping[str, Any], decision: Decision) -> None:
        patients = tuple(subject["patient"] for subject in facts["subjects"])
        about = named(f"{facts['type']}/{facts['id']}", facts)
        self.note(interaction, facts["type"], facts["id"], patients, decision, visibility(facts), about)

    @property
    def custodian(self) -> str | None:
        """The establishment that a system client writes for; what it creates belongs to it, whatever it sent."""
        return self.actor.organization if self.actor.kind == "system" else None


def actor_of(
    kind: ActorKind,
    reference: str,
    organization: str | None,
    standing: Standing,
    policy: Policy,
    *,
    scopes: tuple[Scope, ...],
    category: str = "care",
    launch_patient: str | None = None,
    client_id: str | None = None,
) -> Actor:
    """A person as the rules see them: what the directory says of them, and what their token carries."""
    systems = {code.rpartition("|")[0] for code in policy.care_sectors}
    return Actor(
        kind,
        reference,
        organization=organization,
        keys=standing.keys,
        patients=frozenset({reference}) if kind == "patient" else frozenset(),
        client_category=category,
        organization_types=standing.organization_types,
        display=standing.name,
        professions=standing.professions,
        specialties=standing.specialties,
        sectors=frozenset(code for code in standing.professions if code.rpartition("|")[0] in systems),
        is_active=standing.is_active,
        scopes=scopes,
        launch_patient=launch_patient,
        client_id=client_id,
    )


def actor_of_link(link: Mapping[str, Any], scopes: tuple[Scope, ...], display: str | None = None) -> Actor:
    """Whoever holds a link, as the rules see them; `display` is whom they say they are."""
    return Actor(
        "link",
        link_key(link["_id"]),
        scopes=scopes,
        launch_patient=link["patient"],
        client_id=SHARE_LINK,
        giver=link["giver"],
        shared=link["target"],
        display=display,
    )


def policy_of(config: Config) -> Policy:
    """The region's access policy as the settings choose it."""
    span: Literal["record", "exam"] = "exam" if config.treating_span == "exam" else "record"
    return Policy(
        treating_window=timedelta(days=config.treating_days),
        emergency_window=timedelta(minutes=config.break_glass_minutes),
        span=span,
        network=config.network,
        descends=config.organization_parts is Switch.ON,
        timezone=config.zone,
    )


# The client id of whoever comes by a link; no client can be registered under a name with "_".
SHARE_LINK = "share_link"

# Who the server is when it acts for itself: a name, and why it may read without a person's token.
SYSTEM_ACCESSES = {
    "dicom-patient-resolution": "Find the Patient whom the header of a stored DICOM instance names.",
    "explanation": "Explain to an operator or auditor why a resource is open or closed to somebody.",
    "break-glass": "Look at the will of the person before a physician breaks the glass, and have it reviewed.",
    "share-link": "Say whose exam a link opens, and take back for the person a link that another gave.",
    "operator": "Answer the operator's own commands on the machine that holds the data.",
}


class SystemAccess(Access):
    """An access that permits everything, for the tasks listed in `SYSTEM_ACCESSES` and no other."""

    @classmethod
    def named(cls, name: str, now: datetime, request_id: str, policy: Policy = DEFAULT) -> SystemAccess:
        """The system access of that name. Raises KeyError where the list does not have it."""
        SYSTEM_ACCESSES[name]
        actor = Actor("system", f"Client/{name}", client_id=name)
        return cls(actor, "HSYSADMIN", now, request_id, policy=policy)

    def admit(self, interaction: Interaction, type_: str) -> None:
        """Nothing to refuse."""

    def admits(self, interaction: Interaction, type_: str) -> bool:  # noqa: ARG002 - the same for all
        """Everything."""
        return True

    def admit_any(self, interaction: Interaction, types: Sequence[str]) -> None:
        """Nothing to refuse."""

    def permission(self, interaction: Interaction, type_: str) -> Permission:  # noqa: ARG002 - the same for all
        """Everything, written out."""
        return Permission(Everything(), self.now, frozenset(), ("system",))

    def decide(self, interaction: Interaction, facts: Mapping[str, Any]) -> Decision:
        """Permit, and note it."""
        decision = Decision("permit", "permit-operator", self.now, "permitted")
        self._note_on(interaction, facts, decision)
        return decision
