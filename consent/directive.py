"""From the Consent a patient signs to directives, and from directives to what they say of one resource.

Matching is three-valued: a code system, actor, action, class or date that is not understood is UNKNOWN. A permit
counts only on YES; a deny counts on YES or UNKNOWN. So nothing unknown ever widens access.
https://hl7.org/fhir/R4/consent.html, https://profiles.ihe.net/ITI/PCF/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any

from consent import provision as provisions
from consent.documents import Effect, Exception_, Family, Ruling
from consent.family import family_of, is_privacy
from consent.period import ALWAYS, Window
from consent.policy import DEFAULT, Policy
from consent.problems import Problem, problems
from consent.provision import ANYBODY, Provision
from consent.reference import literal, type_of

__all__ = ["Directive", "Match", "Problem", "counts", "family_of", "match", "problems", "read_consent", "rulings"]


class Match(IntEnum):
    """Whether a provision speaks of a resource. Ordered, so that AND is the least and OR the greatest."""

    NO = 0
    UNKNOWN = 1
    YES = 2


@dataclass(frozen=True, slots=True)
class Directive:
    """What one active Consent says, resolved: nested provisions carry the dimensions they inherit.

    `effect` is that of the root provision; None where an imported Consent states none, or states a permit under a
    policy we cannot sort: such a root is not enforced, its nested denies are.
    """

    family: Family
    patient: str
    source: str
    effect: Effect | None
    window: Window
    root: Provision | None
    children: tuple[Provision, ...]

    def to_document(self) -> dict[str, Any]:
        """Return the directive as a plain document, for a store to keep."""
        return {
            "family": self.family,
            "patient": self.patient,
            "source": self.source,
            "effect": self.effect,
            "from": self.window.start,
            "until": self.window.until,
            "root": provisions.to_document(self.root) if self.root else None,
            "children": [provisions.to_document(each) for each in self.children],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Directive:
        """Return the directive that `to_document` wrote."""
        root = document["root"]
        return cls(
            document["family"],
            document["patient"],
            document["source"],
            document["effect"],
            Window(document["from"], document["until"]),
            provisions.from_document(root) if root else None,
            tuple(provisions.from_document(each) for each in document["children"]),
        )


def read_consent(consent: Mapping[str, Any], version: int, policy: Policy = DEFAULT) -> Directive | None:
    """Return what a Consent says, or None where it says nothing to the engine.

    Only status "active" counts, and only the consent scope "patient-privacy". An untyped root has an effect only under
    policyRule OPTOUT, where it denies the whole record. Under a policy that names no family of ours, denies are
    enforced as restrictions and permits are not enforced.
    """
    patient = literal(consent.get("patient"))
    if consent.get("status") != "active" or not is_privacy(consent) or patient is None or type_of(patient) != "Patient":
        return None
    source = f"Consent/{consent.get('id')}/_history/{version}"
    family = family_of(consent, policy)
    raw = _mapping(consent.get("provision"))
    effect = _effect(raw)
    if effect is None and _opts_out(consent):
        everything = Provision(effect="deny", window=ALWAYS)
        return Directive(family or "restriction", patient, source, "deny", ALWAYS, everything, ())
    if family is None and effect == "permit":
        effect = None
    root = provisions.read(raw, (), effect, patient, policy) if effect else None
    children = tuple(_children(raw, patient, policy, permits=effect is not None))
    if root is None and not children:
        return None
    window = root.window if root else ALWAYS
    return Directive(family or "restriction", patient, source, effect, window, root, children)


def _children(raw: Mapping[str, Any], patient: str, policy: Policy, *, permits: bool) -> Iterator[Provision]:
    """Yield the nested provisions; of a root that is not enforced only the denies."""
    for nested in raw.get("provision", ()):
        effect = _effect(nested)
        if effect == "deny" or (effect == "permit" and permits):
            yield provisions.read(nested, (raw,), effect, patient, policy)
        for deeper in nested.get("provision", ()):
            # Refused at write, so only in imported Consents: their denies are kept, their permits open nothing.
            if _effect(deeper) == "deny":
                yield provisions.read(deeper, (raw, nested), "deny", patient, policy)


def _opts_out(consent: Mapping[str, Any]) -> bool:
    rule = _mapping(consent.get("policyRule"))
    return any(coding.get("code") == "OPTOUT" for coding in rule.get("coding", ()))


def _effect(raw: Mapping[str, Any]) -> Effect | None:
    match raw.get("type"):
        case "permit":
            return "permit"
        case "deny":
            return "deny"
        case _:
            return None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


# ----------------------------------------------------------------------------------------- what is said of one resource


def rulings(directive: Directive, facts: Mapping[str, Any]) -> list[Ruling]:
    """Return what the directive says of the resource with these facts; nothing if it does not speak of it.

    A nested provision that matches beats its parent, and among siblings a deny beats a permit. As actor, purpose and
    instant are known only at the request, the permits that beat a deny are written into it as `unless`. A deny that
    beats a permit needs no such note: it is a ruling itself, and every deny beats every permit (`rules.consent_deny`).
    Everything decided under a Consent is the Consent action "access", so provisions of other actions say nothing here.
    """
    speaking = [each for each in directive.children if counts(each, facts)]
    permits = [each for each in speaking if each.effect == "permit" and _is_addressed(each, directive.family)]
    denies = [each for each in speaking if each.effect == "deny"]
    found = [_ruling(directive, each, ()) for each in (*denies, *permits) if _is_heard(each, directive.family)]
    root = directive.root
    if root and counts(root, facts) and _is_heard(root, directive.family):
        if root.effect == "deny":
            found.append(_ruling(directive, root, [each for each in permits if _is_of_access(each)]))
        elif _is_addressed(root, directive.family):
            found.append(_ruling(directive, root, ()))
    return found


def _is_heard(provision: Provision, family: Family) -> bool:
    """Say whether the provision can reach anybody; a deny of an opposition hides, whatever actor or action it names."""
    if family == "opposition" and provision.effect == "deny":
        return True
    return bool(provision.keys and provision.purposes) and _is_of_access(provision)


def _is_of_access(provision: Provision) -> bool:
    return "*" in provision.actions or "access" in provision.actions


def _is_addressed(permit: Provision, family: Family) -> bool:
    """Say whether a permit may count: a grant names whom it opens the record to, or opens nothing."""
    return family != "grant" or permit.keys != ANYBODY


def _ruling(directive: Directive, provision: Provision, beaten_by: Iterable[Provision]) -> Ruling:
    """Write one provision down; of another action than access, as an opposition may be, it is addressed to nobody."""
    return {
        "effect": provision.effect,
        "family": directive.family,
        "keys": list(provision.keys) if _is_of_access(provision) else [],
        "purposes": list(provision.purposes),
        "from": provision.window.start,
        "until": provision.window.until,
        "source": directive.source,
        "unless": [_exception(each) for each in beaten_by],
    }


def _exception(provision: Provision) -> Exception_:
    return {
        "keys": list(provision.keys),
        "purposes": list(provision.purposes),
        "from": provision.window.start,
        "until": provision.window.until,
    }


def counts(provision: Provision, facts: Mapping[str, Any]) -> bool:
    """Say whether the provision speaks of the resource: for a permit YES, for a deny YES or UNKNOWN."""
    needed = Match.YES if provision.effect == "permit" else Match.UNKNOWN
    return not provision.window.is_empty and match(provision, facts) >= needed


def match(provision: Provision, facts: Mapping[str, Any]) -> Match:
    """Return whether the provision's data, labels, classes, codes and dates are those of the resource."""
    return min(
        _match_labels(provision, facts),
        _match_codes(provision.classes, facts),
        _match_codes(provision.codes, facts),
        _match_performed(provision, facts),
        _match_data(provision, facts),
    )


def _match_labels(provision: Provision, facts: Mapping[str, Any]) -> Match:
    labels = provision.labels
    if labels is None:
        return Match.YES
    sensitivities = set(facts["sensitivities"])
    if provision.effect == "deny":
        reached = bool(labels.ranks) and facts["confidentiality"] >= min(labels.ranks)
        if reached or sensitivities & set(labels.sensitivities):
            return Match.YES
        return Match.UNKNOWN if labels.unknown else Match.NO
    if labels.unknown:
        return Match.UNKNOWN
    return Match.YES if _covers(labels, facts["confidentiality"], sensitivities) else Match.NO


def _covers(labels: provisions.Labels, confidentiality: int, sensitivities: set[str]) -> bool:
    """Say whether a permit limited to these labels covers a resource.

    Every sensitivity of the resource must be listed. Confidentiality must not exceed the highest one listed. A list of
    sensitivities alone does not limit confidentiality, but then speaks only of resources that carry one of them.
    """
    if not sensitivities <= set(labels.sensitivities):
        return False
    if labels.ranks:
        return confidentiality <= max(labels.ranks)
    return bool(sensitivities)


def _match_codes(listed: provisions.Codes | None, facts: Mapping[str, Any]) -> Match:
    if listed is None or not set(listed.known).isdisjoint(facts["class"]):
        return Match.YES
    return Match.UNKNOWN if listed.unknown else Match.NO


def _match_performed(provision: Provision, facts: Mapping[str, Any]) -> Match:
    limits = provision.data_period
    if limits is None:
        return Match.YES
    if facts["kind"] != "clinical":
        return Match.NO  # a period of care is said of clinical data, not of the person's identity or care team
    performed = facts["performed"]
    if performed is None or limits.is_empty:
        return Match.UNKNOWN
    start: datetime = performed["from"]
    until: datetime = performed["until"]
    if until <= limits.start or start >= limits.until:
        return Match.NO
    return Match.YES if limits.start <= start and until <= limits.until else Match.UNKNOWN


def _match_data(provision: Provision, facts: Mapping[str, Any]) -> Match:
    data = provision.data
    if data is None:
        return Match.YES
    pairs = ((data.instances, facts["instances"]), (data.related, facts["related"]), (data.authors, facts["authors"]))
    if any(not set(listed).isdisjoint(stated) for listed, stated in pairs):
        return Match.YES
    return Match.UNKNOWN if data.unknown else Match.NO
