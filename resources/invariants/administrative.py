"""Invariants of administrative resources: people, organisations, appointments, finance, consent, audit."""

from __future__ import annotations

from resources.invariants.data_types import is_ordered
from resources.invariants.row import (
    Row,
    both,
    either,
    entries,
    exactly_one,
    exists,
    holds,
    implies,
    is_code,
    needs,
    not_both,
    one_or_more,
)
from resources.paths import reference_type

ROWS: tuple[Row, ...] = (
    Row("Appointment", "app-2", both(needs("start", "end"), needs("end", "start"))),
    Row("Appointment", "app-3", either(exists("start"), is_code("status", "proposed", "cancelled", "waitlist"))),
    Row("Appointment", "app-4", implies(exists("cancelationReason"), is_code("status", "noshow", "cancelled"))),
    Row("Appointment.participant", "app-1", one_or_more("type", "actor")),
    Row("AppointmentResponse", "apr-1", one_or_more("participantType", "actor")),
    Row("AuditEvent.entity", "sev-1", not_both("name", "query")),
    # An organisation stands behind a professional; a member whose type cannot be told from its reference is let be.
    Row(
        "CareTeam.participant",
        "ctm-1",
        implies(
            exists("onBehalfOf"), holds(lambda node: reference_type(node.get("member", {})) in (None, "Practitioner"))
        ),
    ),
    Row("Consent", "ppc-1", one_or_more("policy", "policyRule")),
    Row("CoverageEligibilityResponse.insurance.item", "ces-1", exactly_one("category", "productOrService")),
    Row("Group", "grp-1", implies(exists("member"), holds(lambda node: node.get("actual") is True))),
    Row("InsurancePlan", "ipn-1", one_or_more("identifier", "name")),
    Row("Organization", "org-1", one_or_more("identifier", "name")),
    Row("Organization", "org-2", holds(lambda node: all(a.get("use") != "home" for a in entries(node, "address")))),
    Row("Organization", "org-3", holds(lambda node: all(t.get("use") != "home" for t in entries(node, "telecom")))),
    Row("Patient.contact", "pat-1", one_or_more("name", "telecom", "address", "organization")),
    Row("RequestGroup.action", "rqg-1", exactly_one("resource", "action")),
    Row("Parameters.parameter", "inv-1", exactly_one("value[x]", "resource", "part")),
    Row("Task", "inv-1", holds(lambda node: is_ordered(node.get("authoredOn"), node.get("lastModified")))),
    Row("ServiceRequest", "prr-1", needs("orderDetail", "code")),
)
