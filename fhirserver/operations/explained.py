"""What the operations that explain have in common: which resource they explain, on what the caller may know of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from consent.decision import Decision, sentences
from fhirserver import audit
from fhirserver.access import SystemAccess
from fhirserver.errors import FhirError, NotSupported
from fhirserver.interactions.context import Context, declaration_of
from fhirserver.operations.operation import Target
from fhirserver.store.rows import Row

_GROUNDS = ("CareTeam", "Consent", "DiagnosticReport", "ImagingStudy", "RelatedPerson")
"""The types that say who may read a record."""


@dataclass(frozen=True, slots=True)
class Explained:
    """The resource whose access is explained, and its facts as far as the caller may know them."""

    row: Row
    facts: Mapping[str, Any]


def explained(context: Context, target: Target, address: str, query: str = "") -> Explained:
    """What may be explained to the caller; that it was asked at `address`, and with what `query`, is noted.

    A person and their representatives are told of what they read themselves, as far as it rests on what they may read:
    that a doctor made an exam which is not theirs to know yet must not be told by what it opens. An operator and an
    auditor are told of anything.

    Raises Forbidden for everybody else, and for a token that does not cover what the answer rests on, NotFound and Gone
    as a read does, NotSupported where access does not depend on a patient.
    """
    kind = declaration_of(target.type).kind
    access = context.access
    access.admit_explanation(target.type)
    if target.type == "Binary" or kind in {"audit", "directory"}:
        raise NotSupported(f"Who may read {target.type} does not depend on a patient's Consents and care teams.")
    if access.actor.kind in {"operator", "auditor"}:
        row = _for_the_region(context, target)
        found = Explained(row, row.facts)
    else:
        for type_ in _GROUNDS:  # what the token does not cover would be missing from the answer in silence
            access.admit("read", type_)
        row = context.store.read(target.type, target.id)
        found = Explained(row, _as_known(context, row.facts))
    events = audit.operation_events(access, target.type, address, (), query, about=row, names_patients=False)
    context.note(events)
    return found


def _for_the_region(context: Context, target: Target) -> Row:
    """The resource, for an operator or auditor; what they do not find is noted as their attempt."""
    access = context.access
    system = SystemAccess.named("explanation", access.now, access.request_id, access.policy)
    try:
        return context.store.beside(system).read(target.type, target.id)
    except FhirError:
        access.note("read", target.type, target.id, (), Decision("deny", "no-relationship", access.now, "absent"))
        raise


def _as_known(context: Context, facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """The facts without what comes from versions which the caller may not read, and without other establishments.

    Where a base Consent is not theirs to know, it is as if none took the place of the implicit policy.
    What the person themselves refuses counts in any case, without its source: it may be said on another record of
    theirs, and an answer that leaves it out would call open what is closed.
    """
    named = {_version(one) for subject in facts["subjects"] for one in _said(subject)}
    known = {f"{row.reference}/_history/{row.version}" for row in context.store.versions(named)}
    is_own = context.access.actor.kind == "patient"

    def rulings(found: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        for one in found:
            if _version(one) in known:
                yield one
            elif is_own and one["effect"] == "deny" and one["family"] in {"restriction", "opposition"}:
                yield {name: value for name, value in one.items() if name != "source"}

    subjects = [
        {
            **subject,
            "relations": [one for one in subject["relations"] if _version(one) in known],
            "rulings": list(rulings(subject["rulings"])),
            "base": [one for one in subject["base"] if _version(one) in known],
        }
        for subject in facts["subjects"]
    ]
    return {**facts, "subjects": subjects, **({"establishments": []} if "establishments" in facts else {})}


def _said(subject: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """What versions say of one patient: relations, rulings, and windows of base Consents."""
    return (*subject["relations"], *subject["rulings"], *subject["base"])


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
