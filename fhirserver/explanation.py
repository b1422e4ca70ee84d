"""Why somebody may do something to a resource or may not, and who may read it: for those who may be told.

An explanation is the decision itself, made again for the person it is about, with the versions that it rests on. What
is explained is not an attempt of that person, so nothing of it is noted in their name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from consent.condition import describe
from consent.decision import Decision, sentences
from consent.engine import decide_apart
from consent.link import is_link
from consent.period import OPEN_END
from consent.policy import Policy
from consent.request import DEFAULT_PURPOSE, Actor, ActorKind, Interaction, Scope
from fhirserver.access import Access, SystemAccess, actor_of, actor_of_link
from fhirserver.config import Config
from fhirserver.errors import TooCostly
from fhirserver.store import share_links
from fhirserver.store.database import Database
from fhirserver.store.resource_store import ResourceStore
from fhirserver.store.rows import Row
from fhirserver.store.standing import Standing

KINDS: Mapping[str, ActorKind] = {
    "Practitioner": "professional",
    "Patient": "patient",
    "RelatedPerson": "representative",
    "Organization": "professional",
    "PractitionerRole": "professional",
    "CareTeam": "professional",
    "Group": "professional",
}
"""Whom a reference stands for, by its type; the last four for anybody who acts for them or is in them."""

# More holders than that are no list that somebody reads.
_MOST_HOLDERS = 100

_EVERY_SCOPE = tuple(Scope(context, "*", frozenset("cruds")) for context in ("patient", "user", "system"))


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision on one stored version, with the whole condition that was asked of it, in words."""

    row: Row
    decision: Decision
    condition: str

    def document(self) -> dict[str, Any]:
        """The explanation as plain values, for scripts."""
        decision = self.decision
        return {
            "resource": f"{self.row.reference}/_history/{self.row.version}",
            "effect": decision.effect,
            "code": decision.code,
            "status": decision.status,
            "instant": decision.instant.isoformat(),
            "text": sentences(decision.code),
            "reasons": [
                {"rule": reason.rule, "code": reason.code, "detail": reason.detail, "sources": list(reason.sources)}
                for reason in decision.reasons
            ],
            "consents": [source for source in sources_of(decision) if source.startswith("Consent/")],
            "careTeams": [source for source in sources_of(decision) if source.startswith("CareTeam/")],
            "obligations": list(decision.obligations),
            "condition": self.condition,
        }


def sources_of(decision: Decision) -> list[str]:
    """The versions that a decision rests on, each once; of a CareTeam with the place of the participant."""
    return list(dict.fromkeys(source for reason in decision.reasons for source in reason.sources))


def explain(
    database: Database, config: Config, access: Access, interaction: Interaction, reference: str
) -> Explanation:
    """What `access` is answered for an interaction with a resource, `Type/id`, and every rule that spoke.

    For operators and tests: the facts are read by the system access "operator", which the caller audits. Raises
    NotFound where the resource does not exist.
    """
    type_, _, id_ = reference.partition("/")
    operator = SystemAccess.named("operator", access.now, access.request_id, access.policy)
    row = ResourceStore(database, operator, config).read(type_, id_)
    ResourceStore(database, access, config)  # tells the access what it must know to decide
    decision = access.decide(interaction, row.facts)
    permission = access.permission(interaction, type_)
    return Explanation(row, decision, describe(permission.condition))


def epoch(policy: Policy) -> str:
    """A short name of the rules' settings: two decisions of one epoch differ by what is stored only."""
    return hashlib.sha256(repr(policy).encode()).hexdigest()[:12]


def imagined(
    access: Access, reference: str, standing: Standing, organization: str | None, purpose: str | None
) -> Access:
    """The access that somebody would have at the same instant, with a token that covers everything.

    `reference` is of one of the types of `KINDS`; `organization` is whom they act for.
    """
    kind = KINDS[reference.partition("/")[0]]
    actor = actor_of(kind, reference, organization, standing, access.policy, scopes=_EVERY_SCOPE)
    return Access(actor, purpose or DEFAULT_PURPOSE[kind], access.now, access.request_id, policy=access.policy)


@dataclass(frozen=True, slots=True)
class Holder:
    """Somebody who may read a resource now: who, for whom they act, by what decision, and until when as things are.

    `until` is None where nothing that is stored ends it.
    """

    reference: str
    organization: str | None
    name: str | None
    decision: Decision
    until: datetime | None


def holders(store: ResourceStore, access: Access, facts: Mapping[str, Any]) -> list[Holder]:
    """Everybody who may read a resource with these facts for their usual purpose, in a stable order.

    Teams, groups, roles and organisations are told as such, and not by who is in them: that is read live at each
    request. Raises TooCostly where there are too many.
    """
    candidates = list(dict.fromkeys(_candidates(facts)))
    if len(candidates) > _MOST_HOLDERS:
        raise TooCostly(f"More than {_MOST_HOLDERS} could be asked about.")
    standings = store.standings(candidates)
    links = store.share_links([key.partition("/")[2] for key in _links(facts)])
    found = [
        Holder(f"Organization/{id_}", None, None, decision, None)
        for id_ in _establishments(facts)
        if (decision := _read_by(_of_establishment(access, f"Organization/{id_}"), facts)).is_permit
    ]
    for reference, organization in candidates:
        asked = imagined(access, reference, standings[reference, organization], organization, None)
        decision = _read_by(asked, facts)
        if decision.is_permit:
            name = standings[reference, organization].name
            until = _until(facts, asked.actor, decision)
            found.append(Holder(reference, organization, name, decision, until))
    for link in links.values():
        actor = actor_of_link(link, _EVERY_SCOPE)
        decision = _read_by(replace(access, actor=actor, purpose=DEFAULT_PURPOSE["link"]), facts)
        if share_links.refusal(link, access.now) is None and not share_links.is_used_up(link) and decision.is_permit:
            until = _until(facts, actor, decision)
            ends = link["until"] if until is None else min(until, link["until"])
            found.append(Holder(actor.reference, None, None, decision, ends))
    return found


def _links(facts: Mapping[str, Any]) -> Iterator[str]:
    """The links that some grant names."""
    for subject in facts["subjects"]:
        for ruling in subject["rulings"]:
            if ruling["effect"] == "permit" and ruling["family"] == "grant":
                yield from (key for key in ruling["keys"] if is_link(key))


def _read_by(asked: Access, facts: Mapping[str, Any]) -> Decision:
    return decide_apart(asked.actor, asked.request("read"), facts, policy=asked.policy)


def _candidates(facts: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Whoever a rule could permit: named by a relation, a grant or the resource itself, and for whom they act."""
    for subject in facts["subjects"]:
        yield subject["patient"], None
        for relation in subject["relations"]:
            yield from _named(relation["key"], relation["organization"])
        for ruling in subject["rulings"]:
            if ruling["effect"] == "permit" and ruling["family"] == "grant":
                for key in ruling["keys"]:
                    yield from _named(key, None)
    for author in facts["authors"]:
        yield from _named(author, None)


def _named(key: str, organization: str | None) -> Iterator[tuple[str, str | None]]:
    """A team about one patient (`CareTeam/x@Patient/p`) is that team; everybody (`*`) is nobody."""
    reference = key.partition("@")[0]
    if reference.partition("/")[0] in KINDS:
        yield reference, reference if reference.startswith("Organization/") else organization


def _establishments(facts: Mapping[str, Any]) -> Iterable[str]:
    names = (*facts["custodians"], *facts.get("establishments", ()))
    return sorted({name.partition("/")[2] for name in names if name})


def _of_establishment(access: Access, organization: str) -> Access:
    actor = Actor("system", organization, organization=organization, scopes=_EVERY_SCOPE)
    return Access(actor, DEFAULT_PURPOSE["system"], access.now, access.request_id, policy=access.policy)


def _until(facts: Mapping[str, Any], actor: Actor, decision: Decision) -> datetime | None:
    """When the last of what permits ends, where all of it ends."""
    sources = {source for reason in decision.reasons for source in reason.sources}
    names: Sequence[str] = (*actor.keys, actor.reference)
    ends: list[datetime] = []
    for subject in facts["subjects"]:
        for one in (*subject["relations"], *subject["rulings"]):
            keys = one["keys"] if "keys" in one else [one["key"]]
            if one.get("source") in sources and any(key.partition("@")[0] in names for key in keys):
                ends.append(one["until"])
    last = max(ends, default=OPEN_END)
    return None if last >= OPEN_END else last
