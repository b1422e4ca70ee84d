"""What a Consent must hold that claims a profile of IHE PCF 1.1 in `meta.profile`: Basic, Intermediate or Advanced.

A Consent that claims none is looked at by `consent.problems` alone.
https://profiles.ihe.net/ITI/PCF/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from consent.policy import ACT_REASON
from consent.problem import Problem
from consent.reference import literal, type_of

BASIC, INTERMEDIATE, ADVANCED = (
    f"https://profiles.ihe.net/ITI/PCF/StructureDefinition/IHE.PCF.consent{option}"
    for option in ("Basic", "Intermediate", "Advanced")
)

_ROLE = ("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP")
_BASIC_PURPOSES = frozenset((ACT_REASON, code) for code in ("TREAT", "HPAYMT", "HOPERAT", "BTG"))
_LABELS = frozenset({
    *(("http://terminology.hl7.org/CodeSystem/v3-Confidentiality", code) for code in ("R", "N")),
    *(
        ("http://terminology.hl7.org/CodeSystem/v3-ActCode", code)
        for code in ("ETH", "ETHUD", "OPIOIDUD", "PSY", "SEX", "HIV")
    ),
})  # fmt: skip
_DATA: Mapping[str, frozenset[str] | None] = {
    "instance": None,
    "related": frozenset({"Encounter", "CarePlan", "EpisodeOfCare"}),
    "authoredby": frozenset({
        "Practitioner", "PractitionerRole", "Organization", "Device", "Group", "CareTeam", "Patient", "RelatedPerson",
    }),
}  # fmt: skip
"""What each meaning of `data` may refer to; None for anything."""


def claimed(consent: Mapping[str, Any]) -> set[str]:
    """Return which of the three profiles a Consent claims, without the version of the claim."""
    stated = {str(one).partition("|")[0] for one in (consent.get("meta") or {}).get("profile", ())}
    return stated & {BASIC, INTERMEDIATE, ADVANCED}


def problems(consent: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield every reason why a Consent is not what it claims to be; nothing where it claims no profile of PCF."""
    profiles = claimed(consent)
    if not profiles:
        return
    yield from _of_the_whole(consent)
    root = consent.get("provision") or {}
    yield from _of_provision(root, "Consent.provision")
    for index, nested in enumerate(root.get("provision", ())):
        yield from _of_provision(nested, f"Consent.provision.provision[{index}]")
    if BASIC in profiles:
        yield from _of_basic(root)
    if INTERMEDIATE in profiles:
        yield from _of_intermediate(root)
    if ADVANCED in profiles:
        yield from _of_advanced(root)


def _of_the_whole(consent: Mapping[str, Any]) -> Iterator[Problem]:
    if not consent.get("organization"):
        yield Problem("Consent.organization", "PCF: a Consent says which organization presented the policy.")
    if not any(name in consent for name in ("sourceReference", "sourceAttachment")):
        yield Problem("Consent.source", "PCF: a Consent has its source, what the person signed.")
    for index, performer in enumerate(consent.get("performer", ())):
        named = literal(performer)
        if named is None or type_of(named) not in {"Patient", "RelatedPerson"}:
            yield Problem(f"Consent.performer[{index}]", "PCF: a Consent is given by the patient or a RelatedPerson.")
    for index, policy in enumerate(consent.get("policy", ())):
        if "uri" not in policy:
            yield Problem(f"Consent.policy[{index}].uri", "PCF: a policy has its uri.")
        if "authority" in policy:
            yield Problem(f"Consent.policy[{index}].authority", "PCF has no policy.authority.")
    if "policyRule" in consent:
        yield Problem("Consent.policyRule", "PCF has no policyRule.")


def _of_provision(provision: Mapping[str, Any], path: str) -> Iterator[Problem]:
    for index, actor in enumerate(provision.get("actor", ())):
        codings = (actor.get("role") or {}).get("coding", ())
        if _ROLE not in {(coding.get("system"), coding.get("code")) for coding in codings}:
            yield Problem(f"{path}.actor[{index}].role", "PCF: the role of an actor is IRCP.")
    for element in ("action", "class", "code"):
        if element in provision:
            yield Problem(f"{path}.{element}", f"PCF has no provision.{element}.")


def _of_basic(root: Mapping[str, Any]) -> Iterator[Problem]:
    for element in ("securityLabel", "dataPeriod", "data", "provision"):
        if element in root:
            yield Problem(f"Consent.provision.{element}", f"PCF Basic has no provision.{element}.")
    for index, purpose in enumerate(root.get("purpose", ())):
        if (purpose.get("system"), purpose.get("code")) not in _BASIC_PURPOSES:
            yield Problem(f"Consent.provision.purpose[{index}]", "PCF Basic knows TREAT, HPAYMT, HOPERAT and BTG.")


def _of_intermediate(root: Mapping[str, Any]) -> Iterator[Problem]:
    yield from _of_data(root.get("data", ()), "Consent.provision")
    for provision, path in _all(root):
        if "securityLabel" in provision:
            yield Problem(f"{path}.securityLabel", "PCF Intermediate has no securityLabel.")
    for index, nested in enumerate(root.get("provision", ())):
        path = f"Consent.provision.provision[{index}]"
        data = nested.get("data", ())
        yield from _of_data(data, path)
        meanings = [each.get("meaning") for each in data]
        if len(set(meanings)) != len(meanings):
            yield Problem(f"{path}.data", "PCF: a nested provision has at most one data entry of each meaning.")


def _of_data(data: Sequence[Mapping[str, Any]], path: str) -> Iterator[Problem]:
    for index, each in enumerate(data):
        meaning = each.get("meaning", "")
        if meaning not in _DATA:
            yield Problem(f"{path}.data[{index}].meaning", f"PCF Intermediate knows {', '.join(_DATA)}.")
            continue
        types, named = _DATA[meaning], literal(each.get("reference"))
        if types is not None and (named is None or type_of(named) not in types):
            yield Problem(
                f"{path}.data[{index}].reference", f"PCF: {meaning} data refers to {', '.join(sorted(types))}."
            )


def _of_advanced(root: Mapping[str, Any]) -> Iterator[Problem]:
    for provision, path in _all(root):
        for index, label in enumerate(provision.get("securityLabel", ())):
            if (label.get("system"), label.get("code")) not in _LABELS:
                known = ", ".join(sorted(code for _, code in _LABELS))
                yield Problem(f"{path}.securityLabel[{index}]", f"PCF Advanced knows {known}.")


def _all(root: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str]]:
    yield root, "Consent.provision"
    for index, nested in enumerate(root.get("provision", ())):
        yield nested, f"Consent.provision.provision[{index}]"
