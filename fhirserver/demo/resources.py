"""The demo region as FHIR resources (https://hl7.org/fhir/R4/)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Final

from fhirserver.demo import identifiers
from fhirserver.demo.region import Establishment, Exam, Parent, Person, Professional

Resource = dict[str, Any]

_TERMINOLOGY: Final = "http://terminology.hl7.org/CodeSystem/"
_PROFESSIONS: Final = "https://mos.esante.gouv.fr/NOS/TRE_G15-ProfessionSante/FHIR/TRE-G15-ProfessionSante"
_SPECIALITIES: Final = "https://mos.esante.gouv.fr/NOS/TRE_R38-SpecialiteOrdinale/FHIR/TRE-R38-SpecialiteOrdinale"

# The family of a Consent is named by its policy (docs/policy.md).
_POLICY: Final = "urn:fhirserver:policy:"


def _concept(system: str, code: str, display: str | None = None) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code} | ({"display": display} if display else {})]}


# ----------------------------------------------------------------------------------------------------- directory


def organization(establishment: Establishment) -> Resource:
    """An establishment."""
    return {
        "resourceType": "Organization",
        "id": establishment.id,
        "identifier": [identifiers.finess(establishment.finess)],
        "active": True,
        "type": [_concept(f"{_TERMINOLOGY}organization-type", establishment.type)],
        "name": establishment.name,
        "address": [{"city": establishment.city, "country": "FR"}],
    }


def practitioner(professional: Professional) -> Resource:
    """A professional as a person."""
    name: dict[str, Any] = {"family": professional.family, "given": [professional.given]}
    if professional.prefix:
        name["prefix"] = [professional.prefix]
    return {
        "resourceType": "Practitioner",
        "id": professional.id,
        "identifier": identifiers.rpps(professional.rpps),
        "active": True,
        "name": [name],
    }


def practitioner_role(professional: Professional) -> Resource:
    """The activity of a professional in an establishment."""
    role: Resource = {
        "resourceType": "PractitionerRole",
        "id": f"{professional.id}-{professional.establishment}",
        "active": True,
        "practitioner": {"reference": f"Practitioner/{professional.id}", "display": professional.name},
        "organization": {"reference": f"Organization/{professional.establishment}"},
        "code": [_concept(_PROFESSIONS, *professional.profession)],
    }
    if professional.specialty:
        role["specialty"] = [_concept(_SPECIALITIES, *professional.specialty)]
    return role


# ------------------------------------------------------------------------------------------------------- record


def patient(person: Person, oid: str) -> Resource:
    """A patient, with the national identity and the number of the establishment that registers them."""
    return {
        "resourceType": "Patient",
        "id": person.id,
        "identifier": [identifiers.ins(person.ins), identifiers.local(oid, person.number)],
        "active": True,
        "name": [{"use": "official", "family": person.family, "given": [person.given]}],
        "gender": person.gender,
        "birthDate": person.birth_date,
    }


def care_team(
    id_: str, subject: str, members: Sequence[str], start: date, former: Sequence[str] = (), end: date | None = None
) -> Resource:
    """Those whom the patient declared at the visit; `former` members took part until `end`."""
    participant: list[dict[str, Any]] = [
        {"member": {"reference": member}, "period": {"start": start.isoformat()}} for member in members
    ]
    if end is not None:
        participant += [
            {"member": {"reference": member}, "period": {"start": start.isoformat(), "end": end.isoformat()}}
            for member in former
        ]
    return {
        "resourceType": "CareTeam",
        "id": id_,
        "status": "active",
        "name": "Correspondants déclarés",
        "subject": {"reference": subject},
        "period": {"start": start.isoformat()},
        "participant": participant,
    }


def related_person(parent: Parent) -> Resource:
    """A parent of a minor."""
    return {
        "resourceType": "RelatedPerson",
        "id": parent.id,
        "active": True,
        "patient": {"reference": f"Patient/{parent.child}"},
        "relationship": [_concept(f"{_TERMINOLOGY}v3-RoleCode", parent.relationship)],
        "name": [{"family": parent.family, "given": [parent.given]}],
    }


def diagnostic_report(
    id_: str, subject: str, study: str, exam: Exam, performed: datetime, establishment: str, radiologist: Professional
) -> Resource:
    """The report of a study (LOINC 18748-4)."""
    report: Resource = {
        "resourceType": "DiagnosticReport",
        "id": id_,
        "status": "final",
        "category": [_concept("http://terminology.hl7.org/CodeSystem/v2-0074", "RAD", "Radiology")],
        "code": {
            "coding": [{"system": "http://loinc.org", "code": "18748-4", "display": "Diagnostic imaging study"}],
            "text": exam.title,
        },
        "subject": {"reference": subject},
        "effectiveDateTime": performed.isoformat(timespec="seconds"),
        "issued": performed.isoformat(timespec="seconds"),
        "performer": [{"reference": f"Organization/{establishment}"}],
        "resultsInterpreter": [{"reference": f"Practitioner/{radiologist.id}", "display": radiologist.name}],
        "imagingStudy": [{"reference": study}],
        "conclusion": exam.conclusion,
    }
    if exam.label:
        code, display = exam.label
        report["meta"] = {
            "security": [{"system": f"{_TERMINOLOGY}v3-Confidentiality", "code": code, "display": display}]
        }
    return report


# ----------------------------------------------------------------------------------------------------- Consents


def _consent(id_: str, subject: str, performer: str, family: str, now: datetime, provision: Resource) -> Resource:
    return {
        "resourceType": "Consent",
        "id": id_,
        "status": "active",
        "scope": _concept(f"{_TERMINOLOGY}consentscope", "patient-privacy"),
        "category": [_concept("http://loinc.org", "59284-0", "Consent Document")],
        "patient": {"reference": subject},
        "dateTime": now.isoformat(timespec="seconds"),
        "performer": [{"reference": performer}],
        "policy": [{"uri": _POLICY + family}],
        "provision": provision,
    }


def _recipient(professional: str) -> Resource:
    return {
        "role": _concept(f"{_TERMINOLOGY}v3-ParticipationType", "IRCP", "information recipient"),
        "reference": {"reference": f"Practitioner/{professional}"},
    }


def opposition(id_: str, subject: str, now: datetime) -> Resource:
    """The patient refuses sharing; their establishment records it."""
    return _consent(id_, subject, subject, "opposition", now, {"type": "deny"})


def block(id_: str, subject: str, professional: str, now: datetime) -> Resource:
    """The patient excludes one professional."""
    return _consent(id_, subject, subject, "restriction", now, {"type": "deny", "actor": [_recipient(professional)]})


def gift(id_: str, subject: str, professional: str, study: str, now: datetime) -> Resource:
    """The patient gives one exam to one professional."""
    provision = {
        "type": "permit",
        "actor": [_recipient(professional)],
        "data": [{"meaning": "instance", "reference": {"reference": study}}],
    }
    return _consent(id_, subject, subject, "grant", now, provision)


# ------------------------------------------------------------------------------------------------- transactions


def transaction(resources: Sequence[Resource]) -> Resource:
    """One transaction that writes each resource under its own id."""
    entry = [
        {"resource": each, "request": {"method": "PUT", "url": f"{each['resourceType']}/{each['id']}"}}
        for each in resources
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entry}
