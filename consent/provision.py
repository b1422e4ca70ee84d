"""One provision of a Consent, read into plain values: whom it reaches, for what, when, and which data it means.

Actor, purpose and action are read already under the rule for the unknown: what a deny states and we do not understand
reaches everybody, what a permit states and we do not understand reaches nobody.
https://hl7.org/fhir/R4/consent-definitions.html#Consent.provision
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from consent.documents import Effect
from consent.link import is_link, recipient_key
from consent.period import ALWAYS, NEVER, Window, is_readable, window
from consent.policy import ACT_REASON, Policy
from consent.reference import literal, type_of

ANYBODY = ("*",)
"""Unconstrained: every actor, purpose or action."""

CONSENT_ACTION = "http://terminology.hl7.org/CodeSystem/consentaction"
PARTICIPATION_TYPE = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
RESOURCE_TYPES = "http://hl7.org/fhir/resource-types"
LOINC = "http://loinc.org"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"

LADDER = {"U": 1, "L": 2, "M": 3, "N": 4, "R": 5, "V": 6}
"""v3-Confidentiality from unrestricted to very restricted."""
_ACTOR_ROLES = frozenset({"IRCP", "PRCP", "CST"})
_ACTOR_TYPES = frozenset({
    "Practitioner", "PractitionerRole", "Organization", "CareTeam", "Group", "RelatedPerson", "Patient", "Device",
})  # fmt: skip
_ACTIONS = {"access": "access", "disclose": "disclose"}


@dataclass(frozen=True, slots=True)
class Labels:
    """`securityLabel`: confidentiality ranks, sensitivities as "system|code", and whether some label is not
    understood.
    """

    ranks: tuple[int, ...] = ()
    sensitivities: tuple[str, ...] = ()
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Codes:
    """`class` or `code`: the values we understand, and whether there are others."""

    known: tuple[str, ...] = ()
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Data:
    """`data`: the references by meaning, and whether some entry is not understood."""

    instances: tuple[str, ...] = ()
    related: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Provision:
    """One permit or deny with every dimension resolved; None is unconstrained.

    An empty `data_period` stands for one that could not be read, so that it matches as UNKNOWN.
    """

    effect: Effect
    window: Window
    keys: tuple[str, ...] = ANYBODY
    purposes: tuple[str, ...] = ANYBODY
    actions: tuple[str, ...] = ANYBODY
    labels: Labels | None = None
    classes: Codes | None = None
    codes: Codes | None = None
    data_period: Window | None = None
    data: Data | None = None


def read(
    raw: Mapping[str, Any], parents: Sequence[Mapping[str, Any]], effect: Effect, patient: str, policy: Policy
) -> Provision:
    """Read a provision under its parents, outermost first.

    What the provision leaves unstated it takes from the nearest parent that states it; what it states replaces the
    parent's, except periods, which intersect. `data` is one dimension, whatever the meanings of its entries.
    """
    stated: dict[str, Any] = {}
    for each in (*parents, raw):
        # An empty period is stated: it asks for a date, whatever the date.
        stated.update((name, value) for name, value in each.items() if value or value == {})
    periods = [each.get("period") for each in (*parents, raw)]
    data_period = stated.get("dataPeriod")
    return Provision(
        effect=effect,
        window=_window(periods, effect, policy),
        keys=_keys(stated.get("actor"), effect, patient),
        purposes=_purposes(stated.get("purpose"), effect),
        actions=_actions(stated.get("action"), effect),
        labels=_labels(stated.get("securityLabel")),
        classes=_classes(stated.get("class")),
        codes=_codes(stated.get("code")),
        data_period=None if data_period is None else window(data_period, policy.zone),
        data=_data(stated.get("data")),
    )


def _window(periods: Sequence[object], effect: Effect, policy: Policy) -> Window:
    """Intersect the periods. One that cannot be read ends a permit and does not limit a deny."""
    spent = ALWAYS
    for period in periods:
        if is_readable(period, policy.zone):
            spent = spent.meet(window(period, policy.zone))
        elif effect == "permit":
            return NEVER
    return spent


def _keys(actors: Sequence[Mapping[str, Any]] | None, effect: Effect, patient: str) -> tuple[str, ...]:
    if actors is None:
        return ANYBODY
    keys: list[str] = []
    for actor in actors:
        reference = recipient_key(actor.get("reference"))
        is_known = reference is not None and (type_of(reference) in _ACTOR_TYPES or is_link(reference))
        if reference is not None and is_known and is_recipient(actor.get("role")):
            keys.append(reference)
            if type_of(reference) == "CareTeam":
                keys.append(f"{reference}@{patient}")
        elif effect == "deny":
            return ANYBODY
    return tuple(dict.fromkeys(keys))


def is_recipient(role: object) -> bool:
    """Say whether the actor's role is that of a recipient of information; an absent role is not a reason to doubt
    it.
    """
    if role is None:
        return True
    return isinstance(role, Mapping) and any(
        coding.get("system") == PARTICIPATION_TYPE and coding.get("code") in _ACTOR_ROLES
        for coding in role.get("coding", ())
    )


def _purposes(purposes: Sequence[Mapping[str, Any]] | None, effect: Effect) -> tuple[str, ...]:
    """Return exact codes: v3-ActReason ones bare, others as "system|code", which only a request naming them equals."""
    if purposes is None:
        return ANYBODY
    codes: list[str] = []
    for purpose in purposes:
        system, code = purpose.get("system", ACT_REASON), purpose.get("code")
        if code and system == ACT_REASON:
            codes.append(code)
        elif effect == "deny":
            return ANYBODY
        elif code:
            codes.append(f"{system}|{code}")
    return tuple(dict.fromkeys(codes))


def _actions(actions: Sequence[Mapping[str, Any]] | None, effect: Effect) -> tuple[str, ...]:
    if actions is None:
        return ANYBODY
    found: list[str] = []
    for action in actions:
        known = [_ACTIONS[coding["code"]] for coding in _codings(action) if _is_action(coding)]
        if not known and effect == "deny":
            return ANYBODY
        found += known
    return tuple(dict.fromkeys(found))


def _is_action(coding: Mapping[str, Any]) -> bool:
    return coding.get("system") == CONSENT_ACTION and coding.get("code") in _ACTIONS


def _labels(labels: Sequence[Mapping[str, Any]] | None) -> Labels | None:
    if labels is None:
        return None
    ranks: list[int] = []
    sensitivities: list[str] = []
    unknown = False
    for label in labels:
        system, code = label.get("system"), label.get("code")
        if system == CONFIDENTIALITY and code in LADDER:
            ranks.append(LADDER[code])
        elif system == ACT_CODE and code:
            sensitivities.append(f"{system}|{code}")
        else:
            unknown = True
    return Labels(tuple(ranks), tuple(sensitivities), unknown)


def _classes(classes: Sequence[Mapping[str, Any]] | None) -> Codes | None:
    """Read `class`: resource types by bare name, LOINC document classes by "system|code"."""
    if classes is None:
        return None
    known: list[str] = []
    unknown = False
    for each in classes:
        system, code = each.get("system", RESOURCE_TYPES), each.get("code")
        if code and system == RESOURCE_TYPES:
            known.append(code)
        elif code and system == LOINC:
            known.append(f"{LOINC}|{code}")
        else:
            unknown = True
    return Codes(tuple(known), unknown)


def _codes(concepts: Sequence[Mapping[str, Any]] | None) -> Codes | None:
    """Read `code`: LOINC only."""
    if concepts is None:
        return None
    known: list[str] = []
    unknown = False
    for concept in concepts:
        loinc = [f"{LOINC}|{coding['code']}" for coding in _codings(concept) if _is_loinc(coding)]
        known += loinc
        unknown = unknown or not loinc
    return Codes(tuple(known), unknown)


def _is_loinc(coding: Mapping[str, Any]) -> bool:
    return coding.get("system") == LOINC and bool(coding.get("code"))


def _codings(concept: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from concept.get("coding", ())


def _data(entries: Sequence[Mapping[str, Any]] | None) -> Data | None:
    """Read `data`. `dependents` names a resource and, being expanded at write, what hangs on it: both are looked up."""
    if entries is None:
        return None
    instances: list[str] = []
    related: list[str] = []
    authors: list[str] = []
    unknown = False
    for entry in entries:
        reference = literal(entry.get("reference"))
        if reference is None:
            unknown = True
            continue
        match entry.get("meaning"):
            case "instance":
                instances.append(reference)
            case "related":
                related.append(reference)
            case "dependents":
                instances.append(reference)
                related.append(reference)
            case "authoredby":
                authors.append(reference)
            case _:
                unknown = True
    return Data(tuple(instances), tuple(related), tuple(authors), unknown)


# --------------------------------------------------------------------------------------------------- as a plain
# document


def to_document(provision: Provision) -> dict[str, Any]:
    """Return the provision as a plain document of strings, numbers, instants and lists."""
    labels, classes, codes, data = provision.labels, provision.classes, provision.codes, provision.data
    return {
        "effect": provision.effect,
        "window": list(provision.window),
        "keys": list(provision.keys),
        "purposes": list(provision.purposes),
        "actions": list(provision.actions),
        "labels": labels and [list(labels.ranks), list(labels.sensitivities), labels.unknown],
        "classes": classes and [list(classes.known), classes.unknown],
        "codes": codes and [list(codes.known), codes.unknown],
        "data_period": provision.data_period and list(provision.data_period),
        "data": data and [list(data.instances), list(data.related), list(data.authors), data.unknown],
    }


def from_document(document: Mapping[str, Any]) -> Provision:
    """Return the provision that `to_document` wrote."""
    labels, classes, codes, data = document["labels"], document["classes"], document["codes"], document["data"]
    return Provision(
        effect=document["effect"],
        window=Window(*document["window"]),
        keys=tuple(document["keys"]),
        purposes=tuple(document["purposes"]),
        actions=tuple(document["actions"]),
        labels=Labels(tuple(labels[0]), tuple(labels[1]), labels[2]) if labels else None,
        classes=Codes(tuple(classes[0]), classes[1]) if classes else None,
        codes=Codes(tuple(codes[0]), codes[1]) if codes else None,
        data_period=Window(*document["data_period"]) if document["data_period"] else None,
        data=Data(tuple(data[0]), tuple(data[1]), tuple(data[2]), data[3]) if data else None,
    )
