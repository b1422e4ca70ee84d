"""Invariants of clinical resources: findings, problems, medication, questionnaires, documents."""

from __future__ import annotations

from typing import Any

from resources.invariants.data_types import UCUM, is_ordered
from resources.invariants.row import (
    Node,
    Row,
    absent,
    both,
    codes,
    either,
    entries,
    exactly_one,
    exists,
    holds,
    implies,
    is_code,
    is_distinct,
    needs,
    not_both,
    one_or_more,
    within,
)

ALLERGY_VERIFICATION = "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification"
CONDITION_CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
CONDITION_VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
OPTION_TYPES = (
    *("choice", "open-choice", "decimal", "integer", "date", "dateTime", "time", "string", "quantity"),
    "text",
    "url",
)


def _verified_in_error(system: str) -> Any:
    return holds(lambda node: "entered-in-error" in codes(node.get("verificationStatus"), system))


def _has_abated_status(condition: Node) -> bool:
    status = codes(condition.get("clinicalStatus"), CONDITION_CLINICAL)
    return not status.isdisjoint({"resolved", "remission", "inactive"})


def _components_have_other_codes(observation: Node) -> bool:
    """obs-7 speaks of codings that are the same: system, version and code."""
    own = _codings(observation)
    return not any(own & _codings(component) for component in entries(observation, "component"))


def _codings(node: Node) -> set[tuple[Any, ...]]:
    return {
        tuple(coding.get(name) for name in ("system", "version", "code"))
        for coding in node.get("code", {}).get("coding", ())
    }


def _is_percentage(bound: Node | None) -> bool:
    return bound is None or (bound.get("code") == "%" and bound.get("system") == UCUM)


def _link_ids(item: Node) -> list[Any]:
    return [link for entry in entries(item, "item") for link in (entry.get("linkId"), *_link_ids(entry))]


DISPLAY = is_code("type", "display")

ROWS: tuple[Row, ...] = (
    Row(
        "AllergyIntolerance",
        "ait-1",
        either(exists("clinicalStatus"), _verified_in_error(ALLERGY_VERIFICATION)),
    ),
    Row(
        "AllergyIntolerance",
        "ait-2",
        implies(_verified_in_error(ALLERGY_VERIFICATION), absent("clinicalStatus")),
    ),
    Row("CarePlan.activity", "cpl-3", not_both("detail", "reference")),
    Row("Composition.section", "cmp-1", one_or_more("text", "entry", "section")),
    Row("Composition.section", "cmp-2", not_both("emptyReason", "entry")),
    Row("Condition", "con-4", implies(exists("abatement[x]"), holds(_has_abated_status))),
    Row("Condition", "con-5", implies(_verified_in_error(CONDITION_VERIFICATION), absent("clinicalStatus"))),
    Row("Condition.evidence", "con-2", one_or_more("code", "detail")),
    Row("Condition.stage", "con-1", one_or_more("summary", "assessment")),
    Row("FamilyMemberHistory", "fhs-1", not_both("age[x]", "born[x]")),
    Row("FamilyMemberHistory", "fhs-2", needs("estimatedAge", "age[x]")),
    Row("Goal.target", "gol-1", needs("detail[x]", "measure")),
    Row("Immunization.education", "imm-1", one_or_more("documentType", "reference")),
    Row("ImmunizationRecommendation.recommendation", "imr-1", one_or_more("vaccineCode", "targetDisease")),
    Row("MeasureReport", "mrp-1", implies(is_code("type", "data-collection"), absent("group"))),
    Row("MeasureReport.group.stratifier.stratum", "mrp-2", exactly_one("value", "component")),
    Row("MedicationAdministration.dosage", "mad-1", one_or_more("dose", "rate[x]")),
    Row(
        "MedicationDispense",
        "mdd-1",
        holds(lambda node: is_ordered(node.get("whenPrepared"), node.get("whenHandedOver"))),
    ),
    Row("MolecularSequence", "msq-3", holds(lambda node: node.get("coordinateSystem") in (0, 1))),
    Row(
        "MolecularSequence.referenceSeq",
        "msq-5",
        both(needs("chromosome", "genomeBuild"), needs("genomeBuild", "chromosome")),
    ),
    Row(
        "MolecularSequence.referenceSeq",
        "msq-6",
        exactly_one("genomeBuild", "referenceSeqId", "referenceSeqPointer", "referenceSeqString"),
    ),
    Row("Observation", "obs-6", not_both("dataAbsentReason", "value[x]")),
    Row("Observation", "obs-7", implies(exists("value[x]"), holds(_components_have_other_codes))),
    Row("Observation.referenceRange", "obs-3", one_or_more("low", "high", "text")),
    Row(
        "Questionnaire.item",
        "que-1",
        both(implies(is_code("type", "group"), exists("item")), implies(DISPLAY, absent("item"))),
    ),
    Row("Questionnaire", "que-2", holds(lambda node: is_distinct(_link_ids(node)))),
    Row("Questionnaire.item", "que-3", implies(DISPLAY, absent("code"))),
    Row("Questionnaire.item", "que-4", not_both("answerOption", "answerValueSet")),
    Row(
        "Questionnaire.item",
        "que-5",
        either(is_code("type", *OPTION_TYPES[:9]), both(absent("answerOption"), absent("answerValueSet"))),
    ),
    Row("Questionnaire.item", "que-6", implies(DISPLAY, both(absent("required"), absent("repeats")))),
    Row(
        "Questionnaire.item.enableWhen",
        "que-7",
        implies(is_code("operator", "exists"), holds(lambda node: "answerBoolean" in node)),
    ),
    Row("Questionnaire.item", "que-8", implies(is_code("type", "group", "display"), absent("initial"))),
    Row("Questionnaire.item", "que-9", implies(DISPLAY, absent("readOnly"))),
    Row(
        "Questionnaire.item",
        "que-10",
        implies(
            exists("maxLength"),
            is_code("type", "boolean", "decimal", "integer", "string", "text", "url", "open-choice"),
        ),
    ),
    Row("Questionnaire.item", "que-11", not_both("answerOption", "initial")),
    Row(
        "Questionnaire.item",
        "que-12",
        implies(holds(lambda node: len(entries(node, "enableWhen")) > 2), exists("enableBehavior")),
    ),
    Row(
        "Questionnaire.item",
        "que-13",
        holds(lambda node: node.get("repeats") is True or len(entries(node, "initial")) <= 1),
    ),
    Row("QuestionnaireResponse.item", "qrs-1", not_both("answer", "item")),
    Row(
        "RiskAssessment.prediction",
        "ras-1",
        holds(
            lambda node: all(
                _is_percentage(r.get(b)) for r in within(node, "probabilityRange") for b in ("low", "high")
            )
        ),
    ),
    Row("RiskAssessment.prediction", "ras-2", holds(lambda node: node.get("probabilityDecimal", 0) <= 100)),
)
