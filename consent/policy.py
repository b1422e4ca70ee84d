"""The region's choices: what the standard leaves open is decided here, once, and written down in docs/policy.md."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from zoneinfo import ZoneInfo

ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"

CARE_PURPOSES = frozenset({"TREAT", "ETREAT", "BTG", "ERTREAT", "COC"})
"""Purposes of care proper within v3-ActReason TREAT; clinical trials and population health are not care of the
person."""
PERSONAL_PURPOSES = frozenset({"PATRQT", "FAMRQT", "PWATRNY", "SUPNWK"})
"""v3-ActReason PATRQT and its descendants."""
OPERATION_PURPOSES = frozenset(
    {"HOPERAT", "CAREMGT", "HCOMPL", "HSYSADMIN", "PATADMIN", "PATSFTY", "RECORDMGT", "HTEST"}
)
"""The operations of an establishment and of the host that this service knows, from v3-ActReason HOPERAT."""
PAYER_PURPOSES = frozenset({
    "HPAYMT", "CLMATTCH", "COVAUTH", "COVERAGE", "ELIGDTRM", "ELIGVER", "ENROLLM", "MILDCRG", "REMITADV",
})  # fmt: skip
"""v3-ActReason HPAYMT and its descendants."""

_PROFESSIONS = "urn:oid:1.2.250.1.71.1.2.7"
_PROFESSIONS_URL = "https://mos.esante.gouv.fr/NOS/TRE_G15-ProfessionSante/FHIR/TRE-G15-ProfessionSante"
_PRACTITIONER_ROLE = "http://terminology.hl7.org/CodeSystem/practitioner-role"
_SPECIALITIES = "urn:oid:1.2.250.1.71.4.2.5"
_SPECIALITIES_URL = "https://mos.esante.gouv.fr/NOS/TRE_R38-SpecialiteOrdinale/FHIR/TRE-R38-SpecialiteOrdinale"
_SECTORS = "urn:oid:1.2.250.1.71.4.2.4"
_SECTORS_URL = "https://mos.esante.gouv.fr/NOS/TRE_R02-SecteurActivite/FHIR/TRE-R02-SecteurActivite"
_ORGANIZATION_TYPE = "http://terminology.hl7.org/CodeSystem/organization-type"


def _codes(systems: tuple[str, ...], codes: str) -> frozenset[str]:
    return frozenset(f"{system}|{code}" for system in systems for code in codes.split())


HEALTH_PROFESSIONS = _codes((_PROFESSIONS, _PROFESSIONS_URL), "10 21 40 50 60 70 98") | _codes(
    (_PRACTITIONER_ROLE,), "doctor nurse pharmacist"
)
"""Physician, pharmacist, dentist, midwife, nurse, physiotherapist, radiographer (TRE_G15), and HL7's examples of
them."""
EMERGENCY_PROFESSIONS = _codes((_PROFESSIONS, _PROFESSIONS_URL), "10") | _codes((_PRACTITIONER_ROLE,), "doctor")
"""Who may break the glass: physicians. A region adds others."""
PROFESSION_SYSTEMS = frozenset(
    {
        _PROFESSIONS,
        _PROFESSIONS_URL,
        _PRACTITIONER_ROLE,
        "urn:oid:1.2.250.1.213.1.6.1.4",  # social professions of the DMP role list: none of them a health profession
    }
)
OCCUPATIONAL_MEDICINE = _codes((_SPECIALITIES, _SPECIALITIES_URL), "SM25 SCH35 C41")
"""Occupational medicine among the ordinal specialities (JDV_J65)."""
CARE_SECTORS = _codes((_SECTORS, _SECTORS_URL), "SA01 SA07 SA08")
"""Public hospital, single practice, group practice (TRE_R02); a region adds its own."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Every setting of the access rules, with the default this service is delivered with.

    The four policy URIs sort a Consent into its family. `implicit` is the policy that holds where no BASE Consent is in
    force; it covers `implicit_purposes`, confidentiality up to `implicit_confidentiality` and no sensitive label.
    `network` is the Organization of whose members alone this service takes anything; "" where every establishment whose
    client the operator registered is one. `descends`: what is said of an organisation is said of its parts.
    """

    base: tuple[str, ...] = (
        "urn:fhirserver:policy:base",
        "https://profiles.ihe.net/ITI/PCF/Policy-basic-normal",
        "https://profiles.ihe.net/ITI/PCF/Policy-all-normal",
        "https://profiles.ihe.net/ITI/PCF/Policy-deny",
        "https://profiles.ihe.net/ITI/PCF/Policy-break-glass-only",
    )
    grant: tuple[str, ...] = ("urn:fhirserver:policy:grant",)
    restriction: tuple[str, ...] = ("urn:fhirserver:policy:restriction",)
    opposition: tuple[str, ...] = ("urn:fhirserver:policy:opposition",)

    implicit: str = "https://profiles.ihe.net/ITI/PCF/Policy-basic-normal"
    implicit_purposes: frozenset[str] = frozenset({"TREAT", "ETREAT", "BTG"})
    implicit_confidentiality: int = 4

    network: str = ""
    descends: bool = False

    emergency_professions: frozenset[str] = EMERGENCY_PROFESSIONS
    emergency_window: timedelta = timedelta(minutes=60)

    treating_window: timedelta = timedelta(days=90)
    span: Literal["record", "exam"] = "record"
    timezone: str = "Europe/Paris"
    age_of_majority: int = 18

    offered_purposes: frozenset[str] = CARE_PURPOSES | PERSONAL_PURPOSES | OPERATION_PURPOSES
    payer_purposes: frozenset[str] = PAYER_PURPOSES
    payer_organizations: frozenset[str] = frozenset({f"{_ORGANIZATION_TYPE}|ins", f"{_ORGANIZATION_TYPE}|pay"})
    employer_organizations: frozenset[str] = frozenset({f"{_ORGANIZATION_TYPE}|bus"})
    occupational_medicine: frozenset[str] = OCCUPATIONAL_MEDICINE
    health_professions: frozenset[str] = HEALTH_PROFESSIONS
    profession_systems: frozenset[str] = PROFESSION_SYSTEMS
    care_sectors: frozenset[str] = CARE_SECTORS
    requires_stated_profession: bool = False

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which dates without an offset are read."""
        return ZoneInfo(self.timezone)

    def __hash__(self) -> int:
        """Hash what tells two regions apart: a policy is part of the key of every prepared decision."""
        return hash(
            (self.base, self.grant, self.span, self.timezone, self.implicit, self.offered_purposes, self.network)
        )


DEFAULT = Policy()
"""The policy this service is delivered with."""
