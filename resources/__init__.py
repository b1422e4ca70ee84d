"""The FHIR R4 resource types and what the server knows of each: declarations and validation.

Nothing here speaks HTTP, opens a database, reads a clock or asks the network. Nothing here decides who may see what:
the declarations say where facts are found in a resource, and ``consent``, which this package never imports, decides
over them. What a client sent is never rewritten here except by what is made for it: ``validation.splice``,
``validation.rewrite_references`` and the patches of ``resources.patch``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from resources import (
    audit_event,
    binary,
    care_team,
    composition,
    consent,
    diagnostic_report,
    document_manifest,
    document_reference,
    endpoint,
    imaging_study,
    media,
    observation,
    patient,
    practitioner_role,
    service_request,
)
from resources.declaration import GENERAL, Behaviour, Declaration, Kind, SearchParameter, compartment, declare
from resources.structure import resource_types

__all__ = ["SUPPORTED", "Declaration", "SearchParameter"]

BEHAVIOURS: Mapping[str, Behaviour] = {
    "AuditEvent": audit_event.BEHAVIOUR,
    "Binary": binary.BEHAVIOUR,
    "CareTeam": care_team.BEHAVIOUR,
    "Composition": composition.BEHAVIOUR,
    "Consent": consent.BEHAVIOUR,
    "DiagnosticReport": diagnostic_report.BEHAVIOUR,
    "DocumentManifest": document_manifest.BEHAVIOUR,
    "DocumentReference": document_reference.BEHAVIOUR,
    "Endpoint": endpoint.BEHAVIOUR,
    "ImagingStudy": imaging_study.BEHAVIOUR,
    "Media": media.BEHAVIOUR,
    "Observation": observation.BEHAVIOUR,
    "Patient": patient.BEHAVIOUR,
    "PractitionerRole": practitioner_role.BEHAVIOUR,
    "ServiceRequest": service_request.BEHAVIOUR,
}
"""The types with behaviour of their own."""

# Who and where; conformance (https://hl7.org/fhir/R4/conformance-module.html); terminology
# (https://hl7.org/fhir/R4/terminology-module.html).
_DIRECTORY = """
Endpoint HealthcareService Location Organization OrganizationAffiliation Practitioner PractitionerRole
CapabilityStatement CompartmentDefinition GraphDefinition ImplementationGuide MessageDefinition OperationDefinition
SearchParameter StructureDefinition StructureMap
CodeSystem ConceptMap NamingSystem TerminologyCapabilities ValueSet
"""
DIRECTORY = frozenset(_DIRECTORY.split())
"""Types that are about no patient and that every admitted actor may read."""

OTHER = frozenset({"Basic", "Binary", "Bundle", "Group"})
"""Types in, or near, the Patient compartment whose meaning is not known from their type."""


def _kind(type_name: str) -> Kind:
    """Directory by the list, clinical by the published Patient compartment, and otherwise neither."""
    if type_name in DIRECTORY:
        return "directory"
    if type_name in compartment("Patient") and type_name not in OTHER:
        return "clinical"
    return "other"


SUPPORTED: Mapping[str, Declaration] = MappingProxyType(
    {
        name: declare(name, _kind(name), BEHAVIOURS.get(name, GENERAL))
        for name in resource_types()
        if name != "Parameters"  # Parameters has no endpoint of its own, https://hl7.org/fhir/R4/parameters.html
    }
)
"""Every concrete R4 type, by name."""
