"""What a rule may know of a resource: the facts document, its parts, and how access is written into it.

The document is stored beside the resource's bytes. Whoever is related to a patient, and what the patient's Consents
say of this very resource, is materialised in it, so one condition over one document decides at any instant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NotRequired, TypedDict

from consent.directive import Directive, rulings
from consent.documents import Base, Relation, Ruling, Span
from consent.period import OPEN_END, OPEN_START
from consent.policy import DEFAULT, Policy
from consent.provision import ACT_CODE, CONFIDENTIALITY, LADDER
from consent.release import as_label

__all__ = [
    "OPEN_END",
    "OPEN_START",
    "Base",
    "Facts",
    "PatientAccess",
    "Relation",
    "Ruling",
    "Subject",
    "audience",
    "materialise",
    "rank_of",
    "security_facts",
    "visibility",
]

Kind = Literal["clinical", "patient", "consent", "care-team", "audit", "directory", "other"]

NORMAL, HIGHEST = LADDER["N"], LADDER["V"]

VISIBILITY_SYSTEMS = frozenset(
    {
        "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument",
        # The spelling of a published example: accepted on read, never written.
        "https://mos.esante.gouv.fr/NOS/TRE_A07-StatusVisibiliteDocument/FHIR/TRE-A07-StatusVisibiliteDocument",
        "urn:oid:1.2.250.1.213.1.1.4.13",
    }
)
"""TRE_A07, who may see a document: spoken for by rules of their own, so not sensitivities."""

_HANDLING_CODES = frozenset({
    "NOINTEGRATE", "NOCOLLECT", "NODSCLCD", "REDACT", "PERSISTLABEL", "EMRGONLY", "OPTIN", "OPTOUT", "OPTINR",
    "OPTOUTE",
})  # fmt: skip
"""Codes of v3-ActCode that say how to handle a resource, not what makes it sensitive."""


class Subject(TypedDict):
    """What concerns one patient of the resource.

    `kind`, `authors` and `family` are those of the resource, said again here because a rule that every patient must
    permit by looks at one subject alone. `ordinary`: the implicit policy covers the labels.
    """

    patient: str
    kind: Kind
    authors: list[str]
    ordinary: bool
    relations: list[Relation]
    rulings: list[Ruling]
    base: list[Base]
    family: NotRequired[str | None]


class Facts(TypedDict):
    """A facts document.

    `family` is stated for a Consent: which family its policy puts it in; `establishments` for a Patient: who else holds
    something of the person. `released` is stated where the person may see it only from then on, `about` for an event of
    the trail: the resources that it names.
    """

    type: str
    id: str
    kind: Kind
    custodians: list[str]
    authors: list[str]
    confidentiality: int
    sensitivities: list[str]
    labels: list[str]
    lifecycle: Literal["present", "entered-in-error", "erased", "withheld"]
    instances: list[str]
    related: list[str]
    performed: Span | None
    subjects: list[Subject]
    family: NotRequired[str | None]
    released: NotRequired[datetime]
    about: NotRequired[list[str]]
    establishments: NotRequired[list[str]]


@dataclass(frozen=True, slots=True)
class PatientAccess:
    """Everything in the record that says who may reach one patient's resources."""

    patient: str
    relations: tuple[Relation, ...] = ()
    directives: tuple[Directive, ...] = ()


def rank_of(code: str | None) -> int:
    """Return the rank of a v3-Confidentiality code, U=1 to V=6.

    No code is N, as the ladder has it for unlabelled resources. A code that is not on the ladder is V: unknown is
    refused.
    """
    return NORMAL if code is None else LADDER.get(code, HIGHEST)


def security_facts(labels: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the facts `confidentiality`, `sensitivities` and `labels` of a `meta.security` list of Codings.

    Several confidentiality codes count as the highest. A label of a system we do not know counts as a sensitivity,
    which nothing but an explicit permit covers.
    """
    ranks: list[int] = []
    sensitivities: list[str] = []
    names: list[str] = []
    for label in labels:
        system, code = label.get("system", ""), label.get("code", "")
        names.append(f"{system}|{code}")
        if system == CONFIDENTIALITY:
            ranks.append(rank_of(code))
        elif system not in VISIBILITY_SYSTEMS and not (system == ACT_CODE and code in _HANDLING_CODES):
            sensitivities.append(f"{system}|{code}")
    return {"confidentiality": max(ranks, default=NORMAL), "sensitivities": sensitivities, "labels": names}


def visibility(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the labels that say who may see a resource: those of TRE_A07, and its release written as one.

    What tells of the resource is seen by the same.
    """
    labels, instant = facts.get("labels"), facts.get("released")
    if not labels and instant is None:
        return ()
    found = tuple(label for label in labels or () if label.partition("|")[0] in VISIBILITY_SYSTEMS)
    return found if instant is None else (*found, as_label(instant))


def materialise(
    static: Mapping[str, Any],
    accesses: Sequence[PatientAccess],
    policy: Policy = DEFAULT,
) -> dict[str, Any]:
    """Write the access of each patient concerned into a facts document.

    `static` is the document without subjects, or with subjects that name patients only; a patient named there without
    an access in `accesses` keeps a subject to whom nobody is related. Returns a new document; `static` stays as it was.
    """
    by_patient = {each["patient"]: PatientAccess(each["patient"]) for each in static.get("subjects", ())}
    by_patient.update((access.patient, access) for access in accesses)
    facts = dict(static)
    ordinary = is_ordinary(facts, policy)
    facts["subjects"] = [_subject(facts, access, ordinary=ordinary) for access in by_patient.values()]
    return facts


def is_ordinary(static: Mapping[str, Any], policy: Policy = DEFAULT) -> bool:
    """Say whether the implicit policy covers the labels: confidentiality up to its limit, and nothing sensitive."""
    within: bool = static["confidentiality"] <= policy.implicit_confidentiality
    return within and not static["sensitivities"]


def _subject(static: Mapping[str, Any], access: PatientAccess, *, ordinary: bool) -> Subject:
    subject: Subject = {
        "patient": access.patient,
        "kind": static["kind"],
        "authors": list(static["authors"]),
        "ordinary": ordinary,
        "relations": list(access.relations),
        "rulings": [ruling for directive in access.directives for ruling in rulings(directive, static)],
        "base": [
            {"from": each.window.start, "until": each.window.until, "source": each.source}
            for each in access.directives
            if each.family == "base" and each.effect is not None and not each.window.is_empty
        ],
    }
    if "family" in static:
        subject["family"] = static["family"]
    return subject


def audience(facts: Mapping[str, Any]) -> list[str]:
    """Return the keys of everybody who could possibly be permitted, now or later: the index that prepares a search.

    A permitted actor always shares a key with it (`engine.permitted` returns the actor's). It decides nothing.
    """
    establishments = (*facts["custodians"], *facts.get("establishments", ()))
    keys: set[str] = {f"custodian:{establishment}" for establishment in establishments}
    if facts["kind"] == "directory":
        keys.add("*")
    if facts["kind"] == "audit":
        keys.add("auditor")
    keys.update(facts["authors"])
    for subject in facts["subjects"]:
        keys.add(subject["patient"])
        keys.update(relation["key"] for relation in subject["relations"])
        for ruling in subject["rulings"]:
            if ruling["effect"] == "permit" and ruling["family"] == "grant":
                keys.update(key for key in ruling["keys"] if key != "*")
    return sorted(keys)
