"""Who the patient of an instance is: identifiers with their issuers, never Patient ID alone.

PS3.3 C.7.1.1 and C.2.2: Patient ID is unique within its issuer only. The issuer is named by an object identifier
(Issuer of Patient ID Qualifiers Sequence), by a name that a national or regional convention fixes, or not at all; then
it is the sending establishment's own.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fhirserver.dicomweb.attributes import Dataset, items, text
from fhirserver.search.string import normalise

ISSUERS = {
    # The French national health identity, by DRIMbox's names for Issuer of Patient ID.
    "ASIP-SANTE-INS-NIR": "urn:oid:1.2.250.1.213.1.4.8",
    "ASIP-SANTE-INS-NIA": "urn:oid:1.2.250.1.213.1.4.9",
    "ASIP-SANTE-INS-NIR-TEST": "urn:oid:1.2.250.1.213.1.4.10",
    "ASIP-SANTE-INS-NIR-DEMO": "urn:oid:1.2.250.1.213.1.4.11",
    "ASIP-SANTE-INS-C": "urn:oid:1.2.250.1.213.1.4.2",
}
"""Names of issuers that mean the same everywhere, with the identifier system of each."""


@dataclass(frozen=True, slots=True)
class PatientIdentifier:
    """A business identifier of a Patient, as FHIR writes it."""

    system: str
    value: str


@dataclass(frozen=True, slots=True)
class Traits:
    """What a header says of the person beside the identifiers: family name and birth date (YYYYMMDD)."""

    family: str
    birth_date: str

    def agree(self, patient: Mapping[str, Any]) -> bool:
        """Whether a Patient resource has the same birth date and one such family name; what is unstated does not agree.

        A number alone is not a person: it may be mistyped, or guessed.
        """
        names = {normalise(name["family"]) for name in patient.get("name", ()) if "family" in name}
        born = str(patient.get("birthDate", "")).replace("-", "")
        return len(born) == 8 and born == self.birth_date and normalise(self.family) in names


def traits(dataset: Dataset) -> Traits:
    """The traits of a header; a person name's first component is the family name (PS3.5 6.2.1)."""
    return Traits(text(dataset, "PatientName").partition("^")[0], text(dataset, "PatientBirthDate"))


def patient_identifiers(dataset: Dataset, own_system: str | None) -> tuple[PatientIdentifier, ...]:
    """Patient ID first, then the other identifiers of the header; those of an issuer we cannot name are left out.

    `own_system` is the identifier system of the sending establishment, meant where the header names no issuer.
    """
    named = [_identifier(dataset, own_system)]
    named += [_identifier(item, None) for item in items(dataset, "OtherPatientIDsSequence")]
    return tuple(dict.fromkeys(one for one in named if one is not None))


def _identifier(dataset: Dataset, own_system: str | None) -> PatientIdentifier | None:
    value = text(dataset, "PatientID")
    system = _issuer(dataset, own_system)
    return PatientIdentifier(system, value) if value and system else None


def _issuer(dataset: Dataset, own_system: str | None) -> str | None:
    for qualifiers in items(dataset, "IssuerOfPatientIDQualifiersSequence"):
        if entity := text(qualifiers, "UniversalEntityID"):
            return system_of(entity, text(qualifiers, "UniversalEntityIDType"))
    name = text(dataset, "IssuerOfPatientID")
    if not name:
        return own_system
    return ISSUERS.get(name.upper())


def system_of(entity: str, entity_type: str) -> str | None:
    """The identifier system of a universal entity (PS3.3 10.14); None for what FHIR has no form for."""
    match entity_type.upper():
        case "ISO" | "":
            oid = entity.removeprefix("urn:oid:")
            return f"urn:oid:{oid}" if _OID.fullmatch(oid) else None
        case "URI":
            return entity if _URI.fullmatch(entity) else None
        case "UUID":
            try:
                return uuid.UUID(entity).urn
            except ValueError:
                return None
        case _:
            return None


_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"]+")
