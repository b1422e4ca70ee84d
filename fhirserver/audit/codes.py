"""The codes of an AuditEvent, each with the table it comes from.

Sources: IHE Basic Audit Log Patterns (https://profiles.ihe.net/ITI/BALP/), DICOM PS3.16 CID 400 for the DCM codes, and
the R4 code systems (https://hl7.org/fhir/R4/auditevent.html).
"""

from __future__ import annotations

from typing import Final

TERMINOLOGY: Final = "http://terminology.hl7.org/CodeSystem/"
DCM_SYSTEM: Final = "http://dicom.nema.org/resources/ontology/DCM"
BALP: Final = "https://profiles.ihe.net/ITI/BALP/"


def _coding(system: str, code: str, display: str | None = None) -> dict[str, str]:
    return {"system": system, "code": code} | ({"display": display} if display else {})


def dcm(code: str, display: str) -> dict[str, str]:
    """A Coding of the DICOM vocabulary."""
    return _coding(DCM_SYSTEM, code, display)


# AuditEvent.type
REST: Final = _coding(f"{TERMINOLOGY}audit-event-type", "rest", "Restful Operation")
SECURITY_ALERT: Final = dcm("110113", "Security Alert")
USER_AUTHENTICATION: Final = dcm("110114", "User Authentication")
INSTANCES_ACCESSED: Final = dcm("110103", "DICOM Instances Accessed")
INSTANCES_TRANSFERRED: Final = dcm("110104", "DICOM Instances Transferred")
RECORD_DESTROYED: Final = _coding(
    f"{TERMINOLOGY}iso-21089-lifecycle", "destroy", "Destroy/Delete Record Lifecycle Event"
)
DICOM_QUERY: Final = dcm("110112", "Query")
EXPORT: Final = dcm("110106", "Export")

# AuditEvent.subtype
AUTHZ_CONSENT: Final = _coding(f"{BALP}CodeSystem/AuthZsubType", "AuthZ-Consent")
AUTHZ_ROLE: Final = _coding(f"{BALP}CodeSystem/AuthZsubType", "AuthZ-Role")
AUDIT_LOG_USED: Final = dcm("110101", "Audit Log Used")
LOGIN: Final = dcm("110122", "Login")
LOGOUT: Final = dcm("110123", "Logout")
EMERGENCY_OVERRIDE_STARTED: Final = dcm("110127", "Emergency Override Started")
EMERGENCY_OVERRIDE_STOPPED: Final = dcm("110138", "Emergency Override Stopped")
DISCLOSE: Final = _coding(f"{TERMINOLOGY}iso-21089-lifecycle", "disclose", "Disclose Record Lifecycle Event")
BREAK_GLASS: Final = "urn:fhirserver:break-glass"
SOFTWARE_CONFIGURATION: Final = dcm("110131", "Software Configuration")
SECURITY_ROLES_CHANGED: Final = dcm("110136", "Security Roles Changed")

# AuditEvent.outcome (http://hl7.org/fhir/audit-event-outcome)
SUCCESS: Final = "0"
MINOR_FAILURE: Final = "4"
SERIOUS_FAILURE: Final = "8"

# AuditEvent.agent.type
APPLICATION: Final = dcm("110150", "Application")
DESTINATION: Final = dcm("110152", "Destination Role ID")
SOURCE: Final = dcm("110153", "Source Role ID")
CUSTODIAN: Final = _coding(f"{TERMINOLOGY}provenance-participant-type", "custodian", "Custodian")
AUTHORISER: Final = _coding(f"{TERMINOLOGY}extra-security-role-type", "authserver", "authorization server")
HUMAN_USER: Final = _coding(f"{TERMINOLOGY}extra-security-role-type", "humanuser", "human user")
ORGANISATION: Final = _coding(f"{TERMINOLOGY}v3-RoleClass", "PROV", "healthcare provider")
RECIPIENT: Final = _coding(f"{TERMINOLOGY}v3-ParticipationType", "IRCP", "information recipient")
AUTHOR: Final = _coding(f"{TERMINOLOGY}v3-ParticipationType", "AUT", "author (originator)")
KEEPER: Final = _coding(f"{TERMINOLOGY}v3-ParticipationType", "CST", "custodian")
OAUTH_USER: Final = _coding(f"{BALP}CodeSystem/UserAgentTypes", "UserOauthAgent")

# AuditEvent.entity.type and .role
SYSTEM_OBJECT: Final = _coding(f"{TERMINOLOGY}audit-entity-type", "2", "System Object")
PERSON: Final = _coding(f"{TERMINOLOGY}audit-entity-type", "1", "Person")
CONSENT: Final = _coding("http://hl7.org/fhir/resource-types", "Consent", "Consent")
REQUEST_ID: Final = _coding(f"{BALP}CodeSystem/BasicAuditEntityType", "XrequestId")
PATIENT: Final = _coding(f"{TERMINOLOGY}object-role", "1", "Patient")
DOMAIN_RESOURCE: Final = _coding(f"{TERMINOLOGY}object-role", "4", "Domain Resource")
SECURITY_USER: Final = _coding(f"{TERMINOLOGY}object-role", "11", "Security User Entity")
QUERY: Final = _coding(f"{TERMINOLOGY}object-role", "24", "Query")

# AuditEvent.source.type
APPLICATION_SERVER: Final = _coding(f"{TERMINOLOGY}security-source-type", "4", "Application Server")

PURPOSE_SYSTEM: Final = f"{TERMINOLOGY}v3-ActReason"

# IUA writes the id of a token as a URN (https://profiles.ihe.net/ITI/BALP/content.html, OAUTH minimal).
JTI: Final = "urn:ietf:params:oauth:jti:"


def interaction(code: str) -> dict[str, str]:
    """The Coding of a RESTful interaction (http://hl7.org/fhir/restful-interaction)."""
    return _coding("http://hl7.org/fhir/restful-interaction", code)


def profile(name: str) -> str:
    """The canonical URL of a BALP profile, for example `PatientRead`."""
    return f"{BALP}StructureDefinition/IHE.BasicAudit.{name}"


OAUTH_MINIMAL: Final = profile("OAUTHaccessTokenUse.Minimal")
