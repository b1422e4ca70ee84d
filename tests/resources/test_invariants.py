"""Each invariant is met by one element and broken by another; the table accounts for every published one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from resources.invariants import ELSEWHERE, NOT_CHECKED, TABLE, invariants_of, published_key, published_texts
from resources.structure import structures

UCUM = "http://unitsofmeasure.org"
VERIFIED_IN_ERROR = {
    "coding": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification",
            "code": "entered-in-error",
        }
    ]
}
CONDITION_IN_ERROR = {
    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-ver-status", "code": "entered-in-error"}]
}
RESOLVED = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "resolved"}]}
CODE_A = {"coding": [{"system": "s", "code": "a"}]}
CODE_B = {"coding": [{"system": "s", "code": "b"}]}
SOURCE = {"compareToSourceId": "x", "compareToSourcePath": "y"}

# (structure, key, an element that meets it, elements that break it)
CASES: list[tuple[str, str, dict[str, Any], list[dict[str, Any]]]] = [
    # data types
    ("Age", "age-1", {"value": 3, "system": UCUM, "code": "a"}, [{"value": 3}, {"value": -1, "code": "a"}]),
    ("Attachment", "att-1", {"data": "AAAA", "contentType": "a/b"}, [{"data": "AAAA"}]),
    ("ContactPoint", "cpt-2", {"value": "1", "system": "phone"}, [{"value": "1"}]),
    ("Count", "cnt-3", {"value": 3, "code": "1"}, [{"value": 1.5, "code": "1"}, {"value": 3, "code": "2"}]),
    ("DataRequirement.codeFilter", "drq-1", {"path": "a"}, [{"path": "a", "searchParam": "b"}, {"code": []}]),
    ("DataRequirement.dateFilter", "drq-2", {"searchParam": "a"}, [{"path": "a", "searchParam": "b"}, {}]),
    ("Distance", "dis-1", {"value": 3, "code": "m", "system": UCUM}, [{"value": 3}, {"code": "m", "system": "x"}]),
    ("Duration", "drt-1", {"value": 3, "code": "h", "system": UCUM}, [{"code": "h", "system": UCUM}]),
    ("Expression", "exp-1", {"expression": "x"}, [{"language": "text/cql"}]),
    ("Extension", "ext-1", {"valueString": "x"}, [{"url": "x"}, {"valueString": "x", "extension": [{}]}]),
    ("Extension", "ext-1", {"_valueString": {"id": "x"}}, [{"values": "x"}]),
    ("Period", "per-1", {"start": "2026-01-01", "end": "2026"}, [{"start": "2026-02", "end": "2026-01-31"}]),
    (
        "Period",
        "per-1",
        {"start": "2026-01-02T00:30:00+02:00", "end": "2026-01-01T23:00:00Z"},
        [
            {"start": "2026-01-01T00:30:00Z", "end": "2026-01-01T01:00:00+02:00"},
            {"start": "2026-01-01T00:00:00.0002Z", "end": "2026-01-01T00:00:00.0001Z"},
        ],
    ),
    ("Quantity", "qty-3", {"code": "m", "system": UCUM}, [{"code": "m"}]),
    ("Range", "rng-2", {"low": {"value": 1}, "high": {"value": 2}}, [{"low": {"value": 3}, "high": {"value": 2}}]),
    ("Ratio", "rat-1", {"numerator": {}, "denominator": {}}, [{"numerator": {}}, {"denominator": {}}, {}]),
    ("Timing.repeat", "tim-1", {"duration": 1, "durationUnit": "h"}, [{"duration": 1}]),
    ("Timing.repeat", "tim-2", {"period": 1, "periodUnit": "h"}, [{"period": 1}]),
    ("Timing.repeat", "tim-4", {"duration": 0}, [{"duration": -1}]),
    ("Timing.repeat", "tim-5", {"period": 0}, [{"period": -1}]),
    ("Timing.repeat", "tim-6", {"periodMax": 1, "period": 1}, [{"periodMax": 1}]),
    ("Timing.repeat", "tim-7", {"durationMax": 1, "duration": 1}, [{"durationMax": 1}]),
    ("Timing.repeat", "tim-8", {"countMax": 1, "count": 1}, [{"countMax": 1}]),
    ("Timing.repeat", "tim-9", {"offset": 1, "when": ["HS"]}, [{"offset": 1}, {"offset": 1, "when": ["C"]}]),
    ("Timing.repeat", "tim-10", {"when": ["HS"]}, [{"when": ["HS"], "timeOfDay": ["10:00:00"]}]),
    ("TriggerDefinition", "trd-1", {"data": [{}]}, [{"data": [{}], "timingDate": "2026"}]),
    ("TriggerDefinition", "trd-2", {"condition": {}, "data": [{}]}, [{"condition": {}}]),
    (
        "TriggerDefinition",
        "trd-3",
        {"type": "named-event", "name": "x"},
        [{"type": "periodic"}, {"type": "data-added"}],
    ),
    # bundles and lists
    ("Bundle", "bdl-1", {"type": "searchset", "total": 1}, [{"type": "batch", "total": 1}]),
    (
        "Bundle",
        "bdl-2",
        {"type": "searchset", "entry": [{"search": {}}]},
        [{"type": "collection", "entry": [{"search": {}}]}],
    ),
    (
        "Bundle",
        "bdl-3",
        {"type": "batch", "entry": [{"request": {}}]},
        [{"type": "batch", "entry": [{}]}, {"type": "collection", "entry": [{"request": {}}]}],
    ),
    (
        "Bundle",
        "bdl-4",
        {"type": "batch-response", "entry": [{"response": {}}]},
        [{"type": "history", "entry": [{}]}, {"type": "batch", "entry": [{"response": {}}]}],
    ),
    ("Bundle.entry", "bdl-5", {"resource": {}}, [{"fullUrl": "x"}]),
    (
        "Bundle",
        "bdl-7",
        {"entry": [{"fullUrl": "x", "resource": {"meta": {"versionId": "1"}}}, {"fullUrl": "x"}, {}]},
        [{"entry": [{"fullUrl": "x"}, {"fullUrl": "x"}]}],
    ),
    ("Bundle.entry", "bdl-8", {"fullUrl": "http://x/Patient/1"}, [{"fullUrl": "http://x/Patient/1/_history/1"}]),
    (
        "Bundle",
        "bdl-9",
        {"type": "document", "identifier": {"system": "s", "value": "v"}},
        [{"type": "document"}, {"type": "document", "identifier": {"value": "v"}}],
    ),
    ("Bundle", "bdl-10", {"type": "document", "timestamp": "x"}, [{"type": "document"}]),
    (
        "Bundle",
        "bdl-11",
        {"type": "document", "entry": [{"resource": {"resourceType": "Composition"}}]},
        [{"type": "document"}, {"type": "document", "entry": [{"resource": {"resourceType": "Patient"}}]}],
    ),
    (
        "Bundle",
        "bdl-12",
        {"type": "message", "entry": [{"resource": {"resourceType": "MessageHeader"}}]},
        [{"type": "message", "entry": [{}]}],
    ),
    ("Linkage", "lnk-1", {"item": [{}, {}]}, [{"item": [{}]}]),
    ("List", "lst-1", {"emptyReason": {}}, [{"emptyReason": {}, "entry": [{}]}]),
    (
        "List",
        "lst-2",
        {"mode": "changes", "entry": [{"deleted": True}]},
        [{"mode": "working", "entry": [{"deleted": True}]}],
    ),
    ("List", "lst-3", {"mode": "working", "entry": [{"date": "x"}]}, [{"mode": "changes", "entry": [{"date": "x"}]}]),
    # administration
    ("Appointment", "app-2", {"start": "x", "end": "y"}, [{"start": "x"}, {"end": "x"}]),
    ("Appointment", "app-3", {"status": "proposed"}, [{"status": "booked"}]),
    (
        "Appointment",
        "app-4",
        {"status": "noshow", "cancelationReason": {}},
        [{"status": "booked", "cancelationReason": {}}],
    ),
    ("Appointment.participant", "app-1", {"actor": {}}, [{"status": "accepted"}]),
    ("AppointmentResponse", "apr-1", {"actor": {}}, [{"participantStatus": "accepted"}]),
    ("AuditEvent.entity", "sev-1", {"name": "x"}, [{"name": "x", "query": "AAAA"}]),
    (
        "CareTeam.participant",
        "ctm-1",
        {"member": {"reference": "Practitioner/d"}, "onBehalfOf": {}},
        [{"member": {"reference": "Patient/p"}, "onBehalfOf": {}}],
    ),
    ("Consent", "ppc-1", {"policyRule": {}}, [{"status": "active"}]),
    (
        "CoverageEligibilityResponse.insurance.item",
        "ces-1",
        {"category": {}},
        [{}, {"category": {}, "productOrService": {}}],
    ),
    ("Group", "grp-1", {"actual": True, "member": [{}]}, [{"actual": False, "member": [{}]}]),
    ("InsurancePlan", "ipn-1", {"name": "x"}, [{}]),
    ("Organization", "org-1", {"name": "x"}, [{"active": True}]),
    ("Organization", "org-2", {"address": [{"use": "work"}]}, [{"address": [{"use": "work"}, {"use": "home"}]}]),
    ("Organization", "org-3", {"telecom": [{}]}, [{"telecom": [{"use": "home"}]}]),
    ("Parameters.parameter", "inv-1", {"valueString": "x"}, [{"name": "x"}, {"valueString": "x", "part": [{}]}]),
    ("Patient.contact", "pat-1", {"name": {}}, [{"relationship": [{}]}, {"gender": "male"}]),
    ("RequestGroup.action", "rqg-1", {"resource": {}}, [{}, {"resource": {}, "action": [{}]}]),
    ("ServiceRequest", "prr-1", {"orderDetail": [{}], "code": {}}, [{"orderDetail": [{}]}]),
    ("Task", "inv-1", {"authoredOn": "2025", "lastModified": "2026"}, [{"authoredOn": "2026", "lastModified": "2025"}]),
    # clinical
    ("AllergyIntolerance", "ait-1", {"clinicalStatus": {}}, [{}]),
    ("AllergyIntolerance", "ait-1", {"verificationStatus": VERIFIED_IN_ERROR}, [{"verificationStatus": {}}]),
    (
        "AllergyIntolerance",
        "ait-2",
        {"verificationStatus": VERIFIED_IN_ERROR},
        [{"verificationStatus": VERIFIED_IN_ERROR, "clinicalStatus": {}}],
    ),
    ("CarePlan.activity", "cpl-3", {"detail": {}}, [{"detail": {}, "reference": {}}]),
    ("Composition.section", "cmp-1", {"text": {}}, [{"title": "x"}]),
    ("Composition.section", "cmp-2", {"emptyReason": {}}, [{"emptyReason": {}, "entry": [{}]}]),
    (
        "Condition",
        "con-4",
        {"abatementString": "x", "clinicalStatus": RESOLVED},
        [{"abatementString": "x"}, {"abatementDateTime": "2020", "clinicalStatus": CODE_A}],
    ),
    (
        "Condition",
        "con-5",
        {"verificationStatus": CONDITION_IN_ERROR},
        [{"verificationStatus": CONDITION_IN_ERROR, "clinicalStatus": {}}],
    ),
    ("Condition.evidence", "con-2", {"code": [{}]}, [{}]),
    ("Condition.stage", "con-1", {"summary": {}}, [{"type": {}}]),
    ("FamilyMemberHistory", "fhs-1", {"ageString": "x"}, [{"ageString": "x", "bornDate": "2000"}]),
    ("FamilyMemberHistory", "fhs-2", {"estimatedAge": True, "ageString": "x"}, [{"estimatedAge": True}]),
    ("Goal.target", "gol-1", {"detailString": "x", "measure": {}}, [{"detailString": "x"}]),
    ("Immunization.education", "imm-1", {"reference": "x"}, [{"publicationDate": "2020"}]),
    ("ImmunizationRecommendation.recommendation", "imr-1", {"vaccineCode": [{}]}, [{}]),
    ("MeasureReport", "mrp-1", {"type": "data-collection"}, [{"type": "data-collection", "group": [{}]}]),
    ("MeasureReport.group.stratifier.stratum", "mrp-2", {"value": {}}, [{}, {"value": {}, "component": [{}]}]),
    ("MedicationAdministration.dosage", "mad-1", {"rateRatio": {}}, [{"text": "x"}]),
    (
        "MedicationDispense",
        "mdd-1",
        {"whenPrepared": "2025", "whenHandedOver": "2026"},
        [{"whenPrepared": "2026", "whenHandedOver": "2025"}],
    ),
    ("MolecularSequence", "msq-3", {"coordinateSystem": 1}, [{"coordinateSystem": 2}]),
    ("MolecularSequence.referenceSeq", "msq-5", {"chromosome": {}, "genomeBuild": "x"}, [{"chromosome": {}}]),
    ("MolecularSequence.referenceSeq", "msq-6", {"genomeBuild": "x"}, [{}, {"genomeBuild": "x", "referenceSeqId": {}}]),
    ("Observation", "obs-6", {"valueString": "x"}, [{"valueString": "x", "dataAbsentReason": {}}]),
    (
        "Observation",
        "obs-7",
        {"valueString": "x", "code": CODE_A, "component": [{"code": CODE_B}]},
        [{"valueString": "x", "code": CODE_A, "component": [{"code": CODE_B}, {"code": CODE_A}]}],
    ),
    ("Observation.referenceRange", "obs-3", {"text": "x"}, [{"type": {}}]),
    ("Questionnaire", "que-2", {"item": [{"linkId": "1"}]}, [{"item": [{"linkId": "1", "item": [{"linkId": "1"}]}]}]),
    (
        "Questionnaire.item",
        "que-1",
        {"type": "group", "item": [{}]},
        [{"type": "group"}, {"type": "display", "item": [{}]}],
    ),
    ("Questionnaire.item", "que-3", {"type": "display"}, [{"type": "display", "code": [{}]}]),
    ("Questionnaire.item", "que-4", {"answerOption": [{}]}, [{"answerOption": [{}], "answerValueSet": "x"}]),
    (
        "Questionnaire.item",
        "que-5",
        {"type": "choice", "answerOption": [{}]},
        [{"type": "boolean", "answerOption": [{}]}],
    ),
    ("Questionnaire.item", "que-6", {"type": "display"}, [{"type": "display", "required": True}]),
    ("Questionnaire.item", "que-8", {"type": "string", "initial": [{}]}, [{"type": "group", "initial": [{}]}]),
    ("Questionnaire.item", "que-9", {"type": "display"}, [{"type": "display", "readOnly": True}]),
    ("Questionnaire.item", "que-10", {"type": "string", "maxLength": 3}, [{"type": "choice", "maxLength": 3}]),
    ("Questionnaire.item", "que-11", {"initial": [{}]}, [{"initial": [{}], "answerOption": [{}]}]),
    ("Questionnaire.item", "que-12", {"enableWhen": [{}, {}]}, [{"enableWhen": [{}, {}, {}]}]),
    ("Questionnaire.item", "que-13", {"initial": [{}, {}], "repeats": True}, [{"initial": [{}, {}]}]),
    (
        "Questionnaire.item.enableWhen",
        "que-7",
        {"operator": "exists", "answerBoolean": True},
        [{"operator": "exists", "answerString": "x"}],
    ),
    ("QuestionnaireResponse.item", "qrs-1", {"answer": [{}]}, [{"answer": [{}], "item": [{}]}]),
    (
        "RiskAssessment.prediction",
        "ras-1",
        {"probabilityRange": {"low": {"code": "%", "system": UCUM}}},
        [{"probabilityRange": {"high": {"code": "m", "system": UCUM}}}],
    ),
    ("RiskAssessment.prediction", "ras-2", {"probabilityDecimal": 100}, [{"probabilityDecimal": 100.5}]),
    # terminology and conformance
    ("CapabilityStatement", "cpb-1", {"rest": [{}]}, [{}]),
    ("CapabilityStatement", "cpb-2", {"software": {}}, [{}]),
    (
        "CapabilityStatement",
        "cpb-3",
        {"kind": "instance", "messaging": [{"endpoint": [{}]}]},
        [{"messaging": [{"endpoint": [{}]}]}],
    ),
    ("CapabilityStatement", "cpb-7", {"document": [{"mode": "a"}, {"mode": "b"}]}, [{"document": [{}, {}]}]),
    ("CapabilityStatement", "cpb-14", {"kind": "instance", "implementation": {}}, [{"kind": "instance"}]),
    ("CapabilityStatement", "cpb-15", {"kind": "capability", "software": {}}, [{"kind": "capability"}]),
    ("CapabilityStatement", "cpb-16", {"kind": "requirements"}, [{"kind": "requirements", "software": {}}]),
    (
        "CapabilityStatement.rest",
        "cpb-9",
        {"resource": [{"type": "A"}]},
        [{"resource": [{"type": "A"}, {"type": "A"}]}],
    ),
    (
        "CapabilityStatement.rest.resource",
        "cpb-12",
        {"searchParam": [{"name": "a"}]},
        [{"searchParam": [{"name": "a"}, {"name": "a"}]}],
    ),
    ("CodeSystem", "csd-1", {"concept": [{"code": "a"}]}, [{"concept": [{"code": "a", "concept": [{"code": "a"}]}]}]),
    (
        "ConceptMap.group.element.target",
        "cmd-1",
        {"equivalence": "narrower", "comment": "x"},
        [{"equivalence": "narrower"}],
    ),
    ("ConceptMap.group.unmapped", "cmd-2", {"mode": "fixed", "code": "x"}, [{"mode": "fixed"}]),
    ("ConceptMap.group.unmapped", "cmd-3", {"mode": "other-map", "url": "x"}, [{"mode": "other-map"}]),
    ("MessageDefinition.focus", "md-1", {"max": "2"}, [{"max": "0"}]),
    (
        "NamingSystem",
        "nsd-1",
        {"kind": "root", "uniqueId": [{"type": "oid"}]},
        [{"kind": "root", "uniqueId": [{"type": "uuid"}]}],
    ),
    (
        "NamingSystem",
        "nsd-2",
        {"uniqueId": [{"type": "oid"}] * 2},
        [{"uniqueId": [{"type": "oid", "preferred": True}] * 2}],
    ),
    ("OperationDefinition.parameter", "opd-1", {"type": "string"}, [{"name": "x"}]),
    ("OperationDefinition.parameter", "opd-2", {"searchType": "token", "type": "string"}, [{"searchType": "token"}]),
    (
        "OperationDefinition.parameter",
        "opd-3",
        {"targetProfile": ["x"], "type": "Reference"},
        [{"targetProfile": ["x"]}],
    ),
    ("SearchParameter", "spd-1", {"xpath": "x", "xpathUsage": "normal"}, [{"xpath": "x"}]),
    ("SearchParameter", "spd-2", {"chain": ["x"], "type": "reference"}, [{"chain": ["x"], "type": "token"}]),
    ("StructureDefinition", "sdf-6", {"snapshot": {}}, [{"abstract": False}]),
    ("StructureMap.group.rule.target", "smp-1", {"element": "x", "context": "x"}, [{"element": "x"}]),
    ("StructureMap.group.rule.target", "smp-2", {"contextType": "type", "context": "x"}, [{"context": "x"}]),
    ("TerminologyCapabilities.codeSystem", "tcp-1", {"version": [{}]}, [{"version": [{}, {"code": "1"}]}]),
    ("TestScript.setup.action", "tst-1", {"operation": {}}, [{}, {"operation": {}, "assert": {}}]),
    ("TestScript.setup.action.assert", "tst-5", {"path": "x"}, [{"path": "x", "expression": "y"}]),
    ("TestScript.setup.action.assert", "tst-10", SOURCE, [{"compareToSourceId": "x"}, {"compareToSourcePath": "x"}]),
    ("TestScript.setup.action.assert", "tst-12", {"response": "okay"}, [{"response": "okay", "direction": "request"}]),
    ("TestScript.setup.action.operation", "tst-7", {"type": {"code": "search"}}, [{"targetId": "a", "url": "b"}]),
    ("ValueSet.compose.include", "vsd-1", {"system": "x"}, [{"concept": [{}]}]),
    ("ValueSet.compose.include", "vsd-2", {"system": "x", "concept": [{}]}, [{"valueSet": ["x"], "filter": [{}]}]),
    ("ValueSet.compose.include", "vsd-3", {"concept": [{}]}, [{"concept": [{}], "filter": [{}]}]),
    ("ValueSet.expansion.contains", "vsd-6", {"display": "x"}, [{"system": "x"}]),
    ("ValueSet.expansion.contains", "vsd-9", {"abstract": True}, [{"display": "x"}]),
    ("ValueSet.expansion.contains", "vsd-10", {"code": "x", "system": "x"}, [{"code": "x"}]),
]


def holds(structure: str, key: str, element: dict[str, Any]) -> bool:
    (found,) = [invariant for invariant in invariants_of(structure) if invariant.key == key]
    return found.holds(element)


@pytest.mark.parametrize(("structure", "key", "met", "broken"), CASES)
def test_an_invariant_tells_right_from_wrong(
    structure: str, key: str, met: dict[str, Any], broken: list[dict[str, Any]]
) -> None:
    assert holds(structure, key, met), json.dumps(met)
    for element in broken:
        assert not holds(structure, key, element), json.dumps(element)


def test_every_published_error_invariant_has_a_row_a_place_or_a_reason() -> None:
    rows = {published_key(row) for row in TABLE}
    assert rows | set(ELSEWHERE) | set(NOT_CHECKED) == set(published_texts())
    assert not rows & (set(ELSEWHERE) | set(NOT_CHECKED))


def test_every_row_guards_a_structure_that_exists() -> None:
    assert {row.structure for row in TABLE} <= set(structures())
    for structure in {row.structure for row in TABLE}:
        assert all(invariant.human for invariant in invariants_of(structure))
