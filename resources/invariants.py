"""The error invariants of R4 that a schema cannot say, as one table.

Each row names the structure it guards (a type, or the path of an element with children), the published key and text,
and a predicate over the parsed element. The published FHIRPath is at the type's page on https://hl7.org/fhir/R4/. A
predicate is only asked of elements whose shape has already been checked; one that meets an odd shape says that it
holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

Node = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Invariant:
    """One row: where it applies, its published key and text, and whether it holds for an element."""

    structure: str
    key: str
    human: str
    holds: Callable[[Node], bool]


def has(node: Node, name: str) -> bool:
    """FHIRPath ``exists()`` of an element: a value, or for a primitive at least extensions; choices by their stem."""
    return name in node or f"_{name}" in node


def has_choice(node: Node, stem: str) -> bool:
    """``exists()`` of a choice element: any member that is the stem followed by a type."""
    size = len(stem)
    return any(name.lstrip("_").startswith(stem) and name.lstrip("_")[size : size + 1].isupper() for name in node)


def codes(concept: object, system: str) -> set[str]:
    """The codes of one system in a CodeableConcept, or in a list of them."""
    if isinstance(concept, list):
        return {code for entry in concept for code in codes(entry, system)}
    if not isinstance(concept, dict):
        return set()
    return {
        coding["code"]
        for coding in concept.get("coding", ())
        if coding.get("system") == system and isinstance(coding.get("code"), str)
    }


def is_distinct(values: list[Any]) -> bool:
    """FHIRPath ``isDistinct()``."""
    return len(values) == len(set(values))


def entries(node: Node, name: str) -> list[Any]:
    """The element as a list: of the objects there, or empty."""
    value = node.get(name, ())
    return list(value) if isinstance(value, list | tuple) else [value]


CONDITION_STATUS = "http://terminology.hl7.org/CodeSystem/condition-clinical"
CONDITION_VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
ALLERGY_VERIFICATION = "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification"


def _ends_after_start(period: Node) -> bool:
    """per-1 over partial dates: compared only as far as both are precise, and in one zone."""
    start, end = period.get("start"), period.get("end")
    if not isinstance(start, str) or not isinstance(end, str):
        return True
    size = min(len(start), len(end), 10)
    if start[:size] != end[:size]:
        return start[:size] < end[:size] or _within_a_day(start, end)
    if len(start) > 10 and len(end) > 10:
        return _instant(start) <= _instant(end)
    return True


def _within_a_day(start: str, end: str) -> bool:
    """Two date-times written in different zones may be in order although their dates are not."""
    return len(start) > 10 and len(end) > 10 and _instant(start) <= _instant(end)


def _instant(text: str) -> float:
    """Seconds of a FHIR date-time for comparison; 60 seconds and any number of fraction digits are understood."""
    from datetime import UTC, datetime, timedelta

    clock, fraction = text[:19], ""
    rest = text[19:]
    if rest.startswith("."):
        digits = len(rest) - len(rest[1:].lstrip("0123456789"))
        fraction, rest = rest[1:digits], rest[digits:]
    try:
        moment = datetime.fromisoformat(clock[:17] + "00").replace(tzinfo=UTC)
        offset = (
            timedelta(hours=int(rest[1:3]), minutes=int(rest[4:6]))
            if rest[:1] in "+-" and len(rest) == 6
            else timedelta()
        )
        if rest[:1] == "-":
            offset = -offset
        return (moment - offset).timestamp() + int(clock[17:19]) + float(f"0.{fraction or 0}")
    except ValueError:
        return 0.0


def _is_not_low_above_high(node: Node) -> bool:
    """rng-2: only comparable when both are in the same unit."""
    low, high = node.get("low"), node.get("high")
    if not isinstance(low, dict) or not isinstance(high, dict):
        return True
    same_unit = (low.get("system"), low.get("code")) == (high.get("system"), high.get("code"))
    if not same_unit or "value" not in low or "value" not in high:
        return True
    return bool(low["value"] <= high["value"])


def _component_codes_differ(observation: Node) -> bool:
    """obs-7: when a component has the observation's own code, the observation has no value of its own."""
    if not has_choice(observation, "value"):
        return True
    own = _coding_pairs(observation.get("code"))
    return not any(own & _coding_pairs(component.get("code")) for component in entries(observation, "component"))


def _coding_pairs(concept: object) -> set[tuple[Any, Any]]:
    codings = concept.get("coding", ()) if isinstance(concept, dict) else ()
    return {(coding.get("system"), coding.get("code")) for coding in codings if "code" in coding}


TABLE: tuple[Invariant, ...] = (
    # data types
    Invariant(
        "Attachment",
        "att-1",
        "If the Attachment has data, it SHALL have a contentType",
        lambda node: "data" not in node or has(node, "contentType"),
    ),
    Invariant(
        "ContactPoint",
        "cpt-2",
        "A system is required if a value is provided.",
        lambda node: not has(node, "value") or has(node, "system"),
    ),
    Invariant("Period", "per-1", "If present, start SHALL have a lower value than end", _ends_after_start),
    Invariant("Range", "rng-2", "If present, low SHALL have a lower value than high", _is_not_low_above_high),
    Invariant(
        "Quantity",
        "qty-3",
        "If a code for the unit is present, the system SHALL also be present",
        lambda node: not has(node, "code") or has(node, "system"),
    ),
    Invariant(
        "Ratio",
        "rat-1",
        "Numerator and denominator SHALL both be present, or both are absent. If both are absent, there SHALL be some"
        " extension present",
        lambda node: ("numerator" in node) == ("denominator" in node) and ("numerator" in node or "extension" in node),
    ),
    Invariant(
        "Extension",
        "ext-1",
        "Must have either extensions or value[x], not both",
        lambda node: ("extension" in node) != has_choice(node, "value"),
    ),
    # resources
    Invariant(
        "Patient.contact",
        "pat-1",
        "SHALL at least contain a contact's details or a reference to an organization",
        lambda node: any(has(node, name) for name in ("name", "telecom", "address", "organization")),
    ),
    Invariant(
        "Observation",
        "obs-6",
        "dataAbsentReason SHALL only be present if Observation.value[x] is not present",
        lambda node: not ("dataAbsentReason" in node and has_choice(node, "value")),
    ),
    Invariant(
        "Observation",
        "obs-7",
        "If Observation.code is the same as an Observation.component.code then the value element associated with the"
        " code SHALL NOT be present",
        _component_codes_differ,
    ),
)


@cache
def invariants_of(structure: str) -> tuple[Invariant, ...]:
    """The rows for a structure."""
    return tuple(row for row in TABLE if row.structure == structure)
