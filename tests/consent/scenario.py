"""Scenario files: people, what they signed, what is recorded, and who may see it, in words a lawyer could read.

`load_scenarios` turns every file of `scenarios/` into cases with an actor, a request, a facts document and what is
expected. The engine's tests and the store's tests run the same cases.

A file states a clock, people (actors), access (CareTeam, PractitionerRole, Group, RelatedPerson, Patient, Consent, in a
short form that `expand` writes out as FHIR), records, and cases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from consent import adherence, care_team, exams, related_person, substitution
from consent.directive import read_consent
from consent.documents import Membership, Relation
from consent.facts import PatientAccess, materialise, security_facts
from consent.period import interval
from consent.policy import Policy
from consent.release import EXTENSION, released
from consent.request import DEFAULT_PURPOSE, Actor, Request, parse_scopes
from tests.consent.reference import World

SCENARIOS = Path(__file__).parent / "scenarios"

_SYSTEMS = {
    "reason": "http://terminology.hl7.org/CodeSystem/v3-ActReason",
    "confidentiality": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality",
    "act": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
    "role": "http://terminology.hl7.org/CodeSystem/v3-RoleCode",
    "visibility": "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument",
}
_KINDS = {
    "Patient": "patient",
    "Consent": "consent",
    "CareTeam": "care-team",
    "AuditEvent": "audit",
    "Practitioner": "directory",
    "Organization": "directory",
    "Binary": "other",
}
_ACTORS = {
    "Practitioner": "professional",
    "Patient": "patient",
    "RelatedPerson": "representative",
    "Client": "system",
    "Link": "link",
}


@dataclass(frozen=True)
class Case:
    """Who asks for what, and what is expected.

    The engine has its part in what a question is made of, so everything is made when it is asked for: a test that fails
    does so in its own run, and a mutant of the engine meets the tests that it should meet.
    """

    document: Mapping[str, Any]
    asked: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What it shows, with the number of the worked example where it is one."""
        words = f"{self.asked['who']} asks to {self.asked.get('interaction', 'read')} {self.asked['record']}"
        why: str = self.asked.get("why", words)
        return f"{self.asked['example']}: {why}" if "example" in self.asked else why

    @property
    def actor(self) -> Actor:
        """Who asks."""
        person = {**self.document["people"][self.asked["who"]], **self.asked.get("as", {})}
        policy = policy_of(self.document)
        return build_actor(person, world_of(self.document, policy), self._now, policy)

    @property
    def request(self) -> Request:
        """What they ask."""
        purpose = self.asked.get("purpose") or DEFAULT_PURPOSE[self.actor.kind]
        return Request(self.asked.get("interaction", "read"), purpose, self._now)

    @property
    def record(self) -> dict[str, Any]:
        """The facts of what is asked for, without what access adds to them."""
        return world_of(self.document, policy_of(self.document)).records[self.asked["record"]]

    @property
    def facts(self) -> dict[str, Any]:
        """The document that a store would hold."""
        policy = policy_of(self.document)
        world = world_of(self.document, policy)
        return facts(world.records[self.asked["record"]], world, policy)

    @property
    def effect(self) -> str:
        """What is expected: permit or deny."""
        effect: str = self.asked["expect"]
        return effect

    @property
    def code(self) -> str:
        """By which reason."""
        code: str = self.asked["code"]
        return code

    @property
    def status(self) -> str | None:
        """How a refusal looks from outside, where the file says so."""
        return self.asked.get("status")

    @property
    def expectation(self) -> str:
        """What is expected, in two words."""
        return f"{self.effect} {self.code}"

    @property
    def _now(self) -> datetime:
        return _instant(self.asked.get("at", self.document["clock"]))


@dataclass(frozen=True)
class Scenario:
    """One document of a file: its title, the policy it runs under, the world it describes, and its cases."""

    document: Mapping[str, Any]
    file: str

    @property
    def title(self) -> str:
        """What it is about."""
        title: str = self.document["title"]
        return title

    @property
    def policy(self) -> Policy:
        """The policy it runs under."""
        return policy_of(self.document)

    @property
    def world(self) -> World:
        """What is stored."""
        return world_of(self.document, self.policy)

    @property
    def cases(self) -> tuple[Case, ...]:
        """Its questions."""
        return tuple(Case(self.document, each) for each in self.document["cases"])


@cache
def load_scenarios() -> list[Scenario]:
    """Read every scenario file, in the order of their names."""
    return [
        Scenario(document, path.name)
        for path in sorted(SCENARIOS.glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text("utf-8"))
    ]


def policy_of(document: Mapping[str, Any]) -> Policy:
    """Return the policy of a scenario."""
    return Policy(**document.get("policy", {}))


def world_of(document: Mapping[str, Any], policy: Policy) -> World:
    """Return what is stored in a scenario."""
    resources = [expand(each) for each in document.get("access", [])]
    records = {name: record(name, each, policy) for name, each in document.get("records", {}).items()}
    return World(resources, records, policy.span, policy.network, policy.descends)


def _instant(text: str | datetime) -> datetime:
    instant = text if isinstance(text, datetime) else datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"an instant needs an offset: {text}")
    return instant


def build_actor(person: Mapping[str, Any], world: World, now: datetime, policy: Policy) -> Actor:
    """Build an actor as the server would: keys are resolved from the memberships in force now."""
    reference = person["reference"]
    kind = person.get("kind", _ACTORS[reference.partition("/")[0]])
    context = {"system": "system", "operator": "system", "patient": "patient", "link": "patient"}.get(kind, "user")
    organization = person.get("organization")
    rows = [row for each in world.resources for row in care_team.memberships(each, policy)]

    def memberships_of(members: frozenset[str]) -> list[Membership]:
        return [row for row in rows if row["member"] in members]

    keys = frozenset({reference})
    if kind == "professional":
        wholes = {
            f"Organization/{each['id']}": each["partOf"]["reference"]
            for each in world.of_type("Organization")
            if "partOf" in each
        }
        above = care_team.organizations_above(organization, wholes.get) if policy.descends else frozenset()
        keys = care_team.actor_keys(reference, organization, memberships_of, now, above=above)
    return Actor(
        kind=kind,
        reference=reference,
        organization=organization,
        keys=keys,
        patients=frozenset({reference}) if kind == "patient" else frozenset(),
        client_category=person.get("category", "care"),
        organization_types=frozenset(person.get("organization-types", ())),
        professions=frozenset(person.get("professions", ())),
        specialties=frozenset(person.get("specialties", ())),
        sectors=frozenset(person.get("sectors", ())),
        networks=frozenset(
            row["network"]
            for each in world.of_type("OrganizationAffiliation")
            for row in adherence.affiliations(each, policy)
            if row["member"] == organization and row["from"] <= now < row["until"]
        ),
        is_active=person.get("active", True),
        scopes=parse_scopes(person.get("scopes", f"{context}/*.cruds")),
        launch_patient=person.get("launch-patient"),
        client_id=person.get("client"),
        emergencies=frozenset(person.get("sessions", ())),
        giver=person.get("giver"),
        shared=person.get("shared"),
    )


def record(name: str, short: Mapping[str, Any], policy: Policy) -> dict[str, Any]:
    """Write out the facts of a record, without what access adds to them."""
    resource_type = short.get("type", "ImagingStudy")
    reference = f"{resource_type}/{name}"
    performed = None
    if "performed" in short:
        spent = interval(str(short["performed"]), policy.zone)
        performed = {"from": spent.start, "until": spent.until}
    labels = [_label(each) for each in short.get("labels", ())]
    static = {
        "type": resource_type,
        "id": name,
        "kind": short.get("kind", _KINDS.get(resource_type, "clinical")),
        "custodians": [short["custodian"]] if "custodian" in short else [],
        "authors": list(short.get("authors", ())),
        **security_facts(labels),
        "lifecycle": short.get("lifecycle", "present"),
        "instances": [reference, *short.get("of", ())],
        "related": list(short.get("related", ())),
        "performed": performed,
        "class": [resource_type, *short.get("codes", ())],
        "subjects": [{"patient": patient} for patient in short.get("patients", ["Patient/p"])],
    }
    if "released" in short:
        static["released"] = released([{"url": EXTENSION, "valueInstant": str(short["released"])}])
    if resource_type == "Consent":
        static["family"] = short.get("family")
    return static


def facts(static: Mapping[str, Any], world: World, policy: Policy) -> dict[str, Any]:
    """Materialise the access of every patient of the record, as a store does at each write."""
    patients = [subject["patient"] for subject in static["subjects"]]
    return materialise(static, [patient_access(patient, world, policy) for patient in patients], policy)


def patient_access(patient: str, world: World, policy: Policy) -> PatientAccess:
    """Gather everything that says who may reach one patient's record."""
    relations: list[Relation] = []
    patients = {f"Patient/{each['id']}": each for each in world.of_type("Patient")}
    for team in world.of_type("CareTeam"):
        if team.get("subject", {}).get("reference") == patient:
            relations += care_team.relations(team, 1, policy)
    for person in world.of_type("RelatedPerson"):
        if person["patient"]["reference"] == patient:
            relations += related_person.relations(person, 1, patients.get(patient), policy)
    for each in world.records.values():
        concerned = patient in {subject["patient"] for subject in each["subjects"]}
        if concerned and each["type"] in {"ImagingStudy", "DiagnosticReport"}:
            source = f"{each['type']}/{each['id']}/_history/1"
            relations += exams.relations(each["authors"], each["performed"], source, policy)
    directives = [
        directive
        for consent in world.of_type("Consent")
        if consent["patient"]["reference"] == patient and (directive := read_consent(consent, 1, policy))
    ]
    return PatientAccess(patient, tuple(relations), tuple(directives))


# -------------------------------------------------------------------------------------------------------- the short
# form


def expand(short: Mapping[str, Any]) -> dict[str, Any]:
    """Write out one access resource as FHIR; keys that are FHIR already are taken over as they stand."""
    (resource_type, identifier), *_ = short.items()
    rest = {name: value for name, value in short.items() if name != resource_type}
    resource = {"resourceType": resource_type, "id": identifier}
    return resource | _EXPANSIONS[resource_type](rest)


def _care_team(short: dict[str, Any]) -> dict[str, Any]:
    team: dict[str, Any] = {"status": "active", **short}
    if team["status"] is None:
        del team["status"]
    if "subject" in team:
        team["subject"] = _reference(team["subject"])
    if "period" in team:
        team["period"] = _period(team["period"])
    team["participant"] = [_participant(each) for each in team.pop("members", ())]
    return team


def _participant(short: str | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(short, str):
        return {"member": _reference(short)}
    participant: dict[str, Any] = {}
    for name, value in short.items():
        participant[name] = _period(value) if name == "period" else _reference(value)
    return participant


def _role(short: dict[str, Any]) -> dict[str, Any]:
    role = dict(short)
    for name in ("practitioner", "organization"):
        if name in role:
            role[name] = _reference(role[name])
    if "period" in role:
        role["period"] = _period(role["period"])
    if "replaces" in role:
        stated = {"url": substitution.EXTENSION, "valueReference": _reference(role.pop("replaces"))}
        role["extension"] = [stated]
    return role


def _organization(short: dict[str, Any]) -> dict[str, Any]:
    return {"partOf": _reference(short["of"])} if "of" in short else {}


def _affiliation(short: dict[str, Any]) -> dict[str, Any]:
    """`member` and `of` name the two organisations; `as` another code than member."""
    affiliation = {name: value for name, value in short.items() if name not in {"member", "of", "as"}}
    affiliation["participatingOrganization"] = _reference(short["member"])
    affiliation["network"] = [_reference(short["of"])]
    role = _coding(short.get("as", "member"), "http://hl7.org/fhir/organization-role")
    affiliation["code"] = [{"coding": [role]}]
    if "period" in short:
        affiliation["period"] = _period(short["period"])
    return affiliation


def _group(short: dict[str, Any]) -> dict[str, Any]:
    members = [
        {"entity": _reference(each)} if isinstance(each, str) else {**each, "entity": _reference(each["entity"])}
        for each in short.get("members", ())
    ]
    return {"type": "practitioner", "actual": True, "active": short.get("active", True), "member": members}


def _related_person(short: dict[str, Any]) -> dict[str, Any]:
    person = dict(short)
    person["patient"] = _reference(person.get("patient", "Patient/p"))
    person["relationship"] = [{"coding": [{"system": _SYSTEMS["role"], "code": person.pop("as")}]}]
    if "period" in person:
        person["period"] = _period(person["period"])
    return person


def _patient(short: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) for name, value in short.items()}


def _consent(short: dict[str, Any]) -> dict[str, Any]:
    patient = short.get("patient", "Patient/p")
    consent: dict[str, Any] = {
        "status": short.get("status", "active"),
        "scope": {"coding": [_coding("patient-privacy", "http://terminology.hl7.org/CodeSystem/consentscope")]},
        "category": [{"coding": [_coding("59284-0", "http://loinc.org")]}],
        "patient": _reference(patient),
        "dateTime": short.get("dateTime", "2026-11-01"),
        "performer": [_reference(short.get("performer", patient))],
    }
    if "policy" in short:
        uri = short["policy"] if ":" in short["policy"] else f"urn:fhirserver:policy:{short['policy']}"
        consent["policy"] = [{"uri": uri}]
    if "policyRule" in short:
        consent["policyRule"] = {"coding": [_coding(short["policyRule"], _SYSTEMS["act"])]}
    root = {name: value for name, value in short.items() if name in _PROVISION}
    if "permit" in short or "deny" in short or root:
        consent["provision"] = provision(short)
    return consent


_PROVISION = {"for", "purpose", "labels", "period", "data", "dates", "actions", "class", "codes", "nested", "untyped"}


def provision(short: Mapping[str, Any]) -> dict[str, Any]:
    """Write out a provision: `permit` or `deny` holds whom it reaches ("anybody" states nobody)."""
    written: dict[str, Any] = {}
    for effect in ("permit", "deny", "untyped"):
        if effect in short:
            if effect != "untyped":
                written["type"] = effect
            reached = short[effect]
            actors = [reached] if isinstance(reached, str | dict) else reached
            if actors and actors != ["anybody"]:
                written["actor"] = [_actor(each) for each in actors]
    if "purpose" in short:
        written["purpose"] = [_coding(each, _SYSTEMS["reason"]) for each in _list(short["purpose"])]
    if "labels" in short:
        written["securityLabel"] = [_label(each) for each in _list(short["labels"])]
    if "period" in short:
        written["period"] = _period(short["period"])
    if "dates" in short:
        written["dataPeriod"] = _period(short["dates"])
    if "actions" in short:
        system = "http://terminology.hl7.org/CodeSystem/consentaction"
        written["action"] = [{"coding": [_coding(each, system)]} for each in _list(short["actions"])]
    if "class" in short:
        written["class"] = [_coding(each, "http://hl7.org/fhir/resource-types") for each in _list(short["class"])]
    if "codes" in short:
        written["code"] = [{"coding": [_coding(each, "http://loinc.org")]} for each in _list(short["codes"])]
    if "data" in short:
        written["data"] = [
            {"meaning": meaning, "reference": _reference(reference)}
            for each in _list(short["data"])
            for meaning, reference in (each.items() if isinstance(each, dict) else [("instance", each)])
        ]
    if "nested" in short:
        written["provision"] = [provision(each) for each in short["nested"]]
    return written


def _actor(short: str | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(short, Mapping):
        return dict(short)
    role = _coding("IRCP", "http://terminology.hl7.org/CodeSystem/v3-ParticipationType")
    named: dict[str, Any] = _reference(short)
    if short.startswith("Link/"):
        named = {"identifier": {"system": "urn:fhirserver:link", "value": short.removeprefix("Link/")}}
    return {"role": {"coding": [role]}, "reference": named}


def _label(short: str) -> dict[str, str]:
    """Write out a label: a letter is a confidentiality, a known name a sensitivity or visibility, else
    "system|code"."""
    if "|" in short:
        system, _, code = short.partition("|")
        return {"system": system, "code": code}
    if len(short) == 1:
        return _coding(short, _SYSTEMS["confidentiality"])
    if short.startswith(("MASQUE_", "INVISIBLE_")):
        return _coding(short, _SYSTEMS["visibility"])
    return _coding(short, _SYSTEMS["act"])


def _coding(code: str, system: str) -> dict[str, str]:
    if "|" in code:
        system, _, code = code.partition("|")
    return {"system": system, "code": code}


def _reference(text: str) -> dict[str, str]:
    return {"reference": text}


def _period(bounds: Any) -> dict[str, str]:
    """Write out a period: [start, end], either of them null, as the dates they are written with."""
    start, end = bounds
    return {
        name: value.isoformat() if hasattr(value, "isoformat") else str(value)
        for name, value in (("start", start), ("end", end))
        if value is not None
    }


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


_EXPANSIONS = {
    "CareTeam": _care_team,
    "PractitionerRole": _role,
    "Organization": _organization,
    "OrganizationAffiliation": _affiliation,
    "Group": _group,
    "RelatedPerson": _related_person,
    "Patient": _patient,
    "Consent": _consent,
}
