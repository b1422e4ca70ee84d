"""What the operations that explain have in common: which resource they explain, on what the caller may know of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from consent.decision import sentences
from fhirserver.access import SystemAccess
from fhirserver.errors import NotFound
from fhirserver.interactions.context import Context, declaration_of
from fhirserver.operations.operation import Target
from fhirserver.store.resource_store import ResourceStore
from fhirserver.store.rows import Row


@dataclass(frozen=True, slots=True)
class Explained:
    """The resource whose access is explained, and its facts as far as the caller may know them."""

    row: Row
    facts: Mapping[str, Any]


def explained(context: Context, target: Target) -> Explained:
    """What may be explained to the caller.

    A person and their representatives are told of what they read themselves, as far as it rests on what they may read:
    that a doctor made an exam which is not theirs to know yet must not be told by what it opens. An operator and an
    auditor are told of anything. Raises Forbidden for everybody else, NotFound and Gone as a read does.
    """
    declaration_of(target.type)
    access = context.access
    access.admit_explanation(target.type)
    if target.type == "Binary":
        raise NotFound("A Binary is as open as the resource that refers to it.", code="not-supported")
    if access.actor.kind in {"operator", "auditor"}:
        system = SystemAccess.named("explanation", access.now, access.request_id, access.policy)
        row = context.store.beside(system).read(target.type, target.id)
        return Explained(row, row.facts)
    row = context.store.read(target.type, target.id)
    return Explained(row, _as_known(context.store, row.facts))


def _as_known(store: ResourceStore, facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """The facts without the relations and rulings that come from versions which the caller may not read."""
    named = {_version(one) for subject in facts["subjects"] for one in (*subject["relations"], *subject["rulings"])}
    known = {f"{row.reference}/_history/{row.version}" for row in store.versions(named)}
    subjects = [
        {
            **subject,
            "relations": [one for one in subject["relations"] if _version(one) in known],
            "rulings": [one for one in subject["rulings"] if _version(one) in known],
        }
        for subject in facts["subjects"]
    ]
    return {**facts, "subjects": subjects}


def _version(document: Mapping[str, Any]) -> str:
    source: str = document["source"]
    return source.partition("#")[0]


def in_words(code: str) -> list[dict[str, Any]]:
    """A reason code with its sentences, as parts."""
    said = sentences(code)
    return [
        {"name": "code", "valueCode": code},
        {"name": "text-fr", "valueString": said["fr"]},
        {"name": "text-en", "valueString": said["en"]},
    ]


def grounds(sources: Iterable[str]) -> list[dict[str, Any]]:
    """The versions that something rests on, each once, as parts; of a CareTeam with the place of the participant."""
    parts: list[dict[str, Any]] = []
    for source in dict.fromkeys(sources):
        reference, _, place = source.partition("#")
        parts.append({"name": "source", "valueReference": {"reference": reference}})
        if place:
            parts.append({"name": "participant", "valueUnsignedInt": int(place)})
    return parts
