"""Invariants of the data types, https://hl7.org/fhir/R4/datatypes.html."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from resources.invariants.row import (
    Node,
    Row,
    absent,
    both,
    either,
    entries,
    exactly_one,
    exists,
    has,
    holds,
    implies,
    is_code,
    is_distinct,
    needs,
    not_both,
    one_or_more,
)

UCUM = "http://unitsofmeasure.org"
BOUND_TYPES = {"code", "Coding", "CodeableConcept", "Quantity", "string", "uri"}


def is_ordered(start: object, end: object) -> bool:
    """Whether two FHIR dates are in order, as far as they can be compared: to the precision that both have."""
    if not isinstance(start, str) or not isinstance(end, str):
        return True
    if len(start) > 10 and len(end) > 10:
        return instant(start) <= instant(end)
    size = min(len(start), len(end), 10)
    return start[:size] <= end[:size]


def instant(text: str) -> Decimal:
    """Seconds since 1970 of a date-time; the leap second and any number of fraction digits are understood.

    Raises ValueError for another syntax.
    """
    clock, zone = text[:19], text[19:]
    fraction = "0"
    if zone.startswith("."):
        size = len(zone) - len(zone[1:].lstrip("0123456789"))
        fraction, zone = f"0{zone[:size]}", zone[size:]
    sign = -1 if zone.startswith("-") else 1
    offset = timedelta() if zone == "Z" else sign * timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
    minute = datetime.fromisoformat(f"{clock[:17]}00").replace(tzinfo=UTC) - offset
    return int(minute.timestamp()) + int(clock[17:19]) + Decimal(fraction)


def _low_is_not_above_high(node: Node) -> bool:
    """rng-2: only comparable in the same unit."""
    low, high = node["low"], node["high"]
    if any(low.get(name) != high.get(name) for name in ("system", "code", "unit")):
        return True
    return bool(low["value"] <= high["value"])


def _is_positive(node: Node) -> bool:
    return "value" not in node or node["value"] > 0


def _is_whole(node: Node) -> bool:
    return "value" not in node or node["value"] == int(node["value"])


def _min_is_not_above_max(node: Node) -> bool:
    return node.get("max", "*") == "*" or "min" not in node or node["min"] <= int(node["max"])


def _has_codes(node: Node) -> bool:
    """Bindings need a type that has codes."""
    types = [entry["code"] for entry in entries(node, "type") if "code" in entry]
    return "binding" not in node or not types or not BOUND_TYPES.isdisjoint(types)


VALUE_NEEDS_CODE = needs("value", "code")
IS_UCUM = holds(lambda node: node.get("system", UCUM) == UCUM)
SYSTEM_WITH_CODE = needs("code", "system")

ROWS: tuple[Row, ...] = (
    Row("Age", "age-1", both(VALUE_NEEDS_CODE, IS_UCUM, holds(_is_positive))),
    Row("Attachment", "att-1", needs("data", "contentType")),
    Row("ContactPoint", "cpt-2", needs("value", "system")),
    Row(
        "Count",
        "cnt-3",
        both(VALUE_NEEDS_CODE, IS_UCUM, holds(_is_whole), either(absent("code"), is_code("code", "1"))),
    ),
    Row("DataRequirement.codeFilter", "drq-1", exactly_one("path", "searchParam")),
    Row("DataRequirement.dateFilter", "drq-2", exactly_one("path", "searchParam")),
    Row("Distance", "dis-1", both(VALUE_NEEDS_CODE, IS_UCUM)),
    Row("Duration", "drt-1", implies(exists("code"), both(is_code("system", UCUM), exists("value")))),
    Row("ElementDefinition", "eld-2", holds(_min_is_not_above_max)),
    Row("ElementDefinition", "eld-3", holds(lambda node: node.get("max", "*") == "*" or int(node["max"]) >= 0)),
    Row(
        "ElementDefinition.type",
        "eld-4",
        implies(exists("aggregation"), is_code("code", "Reference", "canonical")),
    ),
    Row(
        "ElementDefinition",
        "eld-5",
        implies(
            exists("contentReference"),
            both(
                *map(absent, ("type", "defaultValue[x]", "fixed[x]", "pattern[x]", "example")),
                *map(absent, ("minValue[x]", "maxValue[x]", "maxLength", "binding")),
            ),
        ),
    ),
    Row("ElementDefinition", "eld-6", implies(exists("fixed[x]"), holds(lambda node: len(entries(node, "type")) <= 1))),
    Row(
        "ElementDefinition", "eld-7", implies(exists("pattern[x]"), holds(lambda node: len(entries(node, "type")) <= 1))
    ),
    Row("ElementDefinition", "eld-8", not_both("pattern[x]", "fixed[x]")),
    Row("ElementDefinition", "eld-11", holds(_has_codes)),
    Row(
        "ElementDefinition.binding",
        "eld-12",
        holds(lambda node: node.get("valueSet", "http:").startswith(("http:", "https:", "urn:", "#"))),
    ),
    Row(
        "ElementDefinition",
        "eld-13",
        holds(lambda node: is_distinct([entry["code"] for entry in entries(node, "type")])),
    ),
    Row(
        "ElementDefinition",
        "eld-14",
        holds(lambda node: is_distinct([entry["key"] for entry in entries(node, "constraint")])),
    ),
    Row("ElementDefinition", "eld-15", not_both("defaultValue[x]", "meaningWhenMissing")),
    Row(
        "ElementDefinition",
        "eld-16",
        holds(lambda node: all(c.isascii() and (c.isalnum() or c in "/-_[]@") for c in node.get("sliceName", "a"))),
    ),
    Row(
        "ElementDefinition.type",
        "eld-17",
        implies(exists("targetProfile"), is_code("code", "Reference", "canonical")),
    ),
    Row(
        "ElementDefinition",
        "eld-18",
        holds(lambda node: node.get("isModifier") is not True or has(node, "isModifierReason")),
    ),
    Row("ElementDefinition", "eld-22", needs("sliceIsConstraining", "sliceName")),
    Row("ElementDefinition.slicing", "eld-1", one_or_more("discriminator", "description")),
    Row("Expression", "exp-1", one_or_more("expression", "reference")),
    Row("Extension", "ext-1", exactly_one("extension", "value[x]")),
    Row("Period", "per-1", holds(lambda node: is_ordered(node.get("start"), node.get("end")))),
    *(Row(name, "qty-3", SYSTEM_WITH_CODE) for name in ("Quantity", "Age", "Count", "Distance", "Duration")),
    Row("Range", "rng-2", implies(both(exists("low"), exists("high")), holds(_low_is_not_above_high))),
    Row(
        "Ratio",
        "rat-1",
        both(
            needs("numerator", "denominator"),
            needs("denominator", "numerator"),
            one_or_more("numerator", "extension"),
        ),
    ),
    Row("Timing.repeat", "tim-1", needs("duration", "durationUnit")),
    Row("Timing.repeat", "tim-2", needs("period", "periodUnit")),
    Row("Timing.repeat", "tim-4", holds(lambda node: node.get("duration", 0) >= 0)),
    Row("Timing.repeat", "tim-5", holds(lambda node: node.get("period", 0) >= 0)),
    Row("Timing.repeat", "tim-6", needs("periodMax", "period")),
    Row("Timing.repeat", "tim-7", needs("durationMax", "duration")),
    Row("Timing.repeat", "tim-8", needs("countMax", "count")),
    Row(
        "Timing.repeat",
        "tim-9",
        implies(
            exists("offset"),
            both(exists("when"), holds(lambda node: {"C", "CM", "CD", "CV"}.isdisjoint(entries(node, "when")))),
        ),
    ),
    Row("Timing.repeat", "tim-10", not_both("timeOfDay", "when")),
    Row("TriggerDefinition", "trd-1", not_both("data", "timing[x]")),
    Row("TriggerDefinition", "trd-2", needs("condition", "data")),
    Row(
        "TriggerDefinition",
        "trd-3",
        both(
            implies(is_code("type", "named-event"), exists("name")),
            implies(is_code("type", "periodic"), exists("timing[x]")),
            implies(holds(lambda node: node.get("type", "").startswith("data-")), exists("data")),
        ),
    ),
)
