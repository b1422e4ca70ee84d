from __future__ import annotations

import copy
import json
import warnings
from decimal import Decimal
from pathlib import Path
from typing import Any

import fhirpathpy
import pytest
from fhirpathpy.engine.nodes import ResourceNode
from fhirpathpy.models import models

from resources import SUPPORTED
from resources.paths import UnsupportedExpressionError, compile_expression, reference_type
from resources.structure import is_a

OBSERVATION = {
    "resourceType": "Observation",
    "id": "o",
    "code": {"text": "x"},
    "subject": {"reference": "Patient/p"},
    "component": [{"valueQuantity": {"value": 1}}, {"valueString": "x"}, {"dataAbsentReason": {"text": "x"}}],
    "effectivePeriod": {"start": "2026"},
}


def values(expression: str, type_name: str, resource: dict[str, Any]) -> list[Any]:
    return compile_expression(expression, type_name)(resource)


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("Observation.code", [({"text": "x"}, "CodeableConcept")]),
        ("Observation.code.text", [("x", "string")]),
        ("Resource.id", [("o", "id")]),
        ("Observation.value", []),
        ("Observation.effective", [({"start": "2026"}, "Period")]),
        ("Observation.component.value", [({"value": 1}, "Quantity"), ("x", "string")]),
        ("(Observation.component.value as Quantity)", [({"value": 1}, "Quantity")]),
        ("Observation.component.value.ofType(string)", [("x", "string")]),
        ("(Observation.component.value as Quantity).value", [(1, "decimal")]),
        ("Observation.component[1].value", [("x", "string")]),
        ("Observation.effective.as(DateTime)", []),
        ("Patient.name | Observation.code.text", [("x", "string")]),
        ("Patient.name", []),
        ("Observation.subject.where(resolve() is Patient)", [({"reference": "Patient/p"}, "Reference")]),
        ("Observation.subject.where(resolve() is Group)", []),
        ("Observation.code.where(text = 'x')", [({"text": "x"}, "CodeableConcept")]),
        ("Observation.code.where(text='y')", []),
    ],
)
def test_an_expression_finds_values_with_their_types(expression: str, found: list[Any]) -> None:
    assert values(expression, "Observation", OBSERVATION) == found


def test_a_path_without_a_type_is_relative_to_the_element() -> None:
    assert values("value.as(Quantity)", "Observation.component", {"valueQuantity": {"value": 1}}) == [
        ({"value": 1}, "Quantity")
    ]


def test_a_name_that_begins_like_a_choice_is_not_taken_for_one() -> None:
    request = {"performerType": {"text": "x"}, "performer": [{"reference": "Practitioner/x"}]}
    assert values("ServiceRequest.performer", "ServiceRequest", request) == [
        ({"reference": "Practitioner/x"}, "Reference")
    ]


def test_an_extension_gives_its_value() -> None:
    extension = [{"url": "http://x", "valueCode": "a"}, {"url": "http://y", "valueCode": "b"}]
    assert values("Patient.extension('http://x')", "Patient", {"extension": extension}) == [("a", "code")]


def test_the_value_of_an_extension_may_be_named() -> None:
    resource = {"extension": [{"url": "http://x", "valueIdentifier": {"value": "1"}}, {"url": "http://x"}]}
    for path in ("extension('http://x').value", "extension.where(url='http://x').value"):
        assert values(f"Patient.{path}.ofType(Identifier)", "Patient", resource) == [({"value": "1"}, "Identifier")]
    assert values("(Patient.extension('http://x').value as string)", "Patient", resource) == []


def test_values_that_are_only_extensions_are_passed_over() -> None:
    name = {"given": [None, "b"], "_given": [{"id": "x"}, None], "_family": {"id": "y"}}
    assert values("Patient.name.given | Patient.name.family", "Patient", {"name": [name]}) == [("b", "string")]


@pytest.mark.parametrize(
    ("resource", "found"),
    [
        ({}, False),
        ({"deceasedBoolean": False}, False),
        ({"deceasedBoolean": True}, True),
        ({"deceasedDateTime": "2020"}, True),
    ],
)
def test_deceased_is_one_boolean_for_every_patient(resource: dict[str, Any], found: bool) -> None:
    assert SUPPORTED["Patient"].parameters["deceased"].extract(resource) == [(found, "boolean")]


@pytest.mark.parametrize(
    "expression",
    [
        "Patient.nme",
        "Patient.name.repeat(x)",
        "Patient.name.where(use > 'a')",
        "Patient.name.first()",
        "Patient.name[a]",
        "Patient.extension(x)",
        "Patient.name.family.foo",
        "Patient.birthDate < today()",
        "Patient.name and Patient.active",
    ],
)
def test_what_cannot_be_compiled_is_refused_before_any_resource_is_seen(expression: str) -> None:
    with pytest.raises(UnsupportedExpressionError):
        compile_expression(expression, "Patient")


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ({"reference": "Patient/1"}, "Patient"),
        ({"reference": "Patient/1/_history/2"}, "Patient"),
        ({"reference": "http://example.org/fhir/Patient/1"}, "Patient"),
        ({"reference": "Patient/1", "type": "Group"}, "Patient"),
        ({"reference": "#Patient/1"}, None),
        ({"reference": "#p", "type": "Patient"}, "Patient"),
        ({"reference": "urn:uuid:Patient/1"}, None),
        ({"reference": "1"}, None),
        ({"reference": "http://example.org/notPatient/1"}, None),
        ({"identifier": {"value": "1"}, "type": "Patient"}, "Patient"),
        ({"reference": 1, "type": 2}, None),
        ({}, None),
    ],
)
def test_the_type_that_a_reference_points_to(reference: dict[str, Any], found: str | None) -> None:
    assert reference_type(reference) == found


def test_every_published_expression_compiles() -> None:
    for declaration in SUPPORTED.values():
        for parameter in declaration.parameters.values():
            assert parameter.extract({"resourceType": declaration.type}) is not None
            for found in parameter.extract({}) if parameter.type == "composite" else ():
                parameter.component_values(found)


# -- against another implementation -----------------------------------------------------------------------------------


def resolve(nodes: list[Any]) -> list[Any]:
    """``resolve()`` for fhirpathpy: a stand-in of the type that the reference names."""
    targets = [reference_type(node) for node in nodes]
    return [ResourceNode.create_node({"resourceType": target}) for target in targets if target]


FUNCTIONS = {"resolve": {"fn": resolve, "arity": {0: []}, "nullable": False}}


def by_fhirpathpy(expression: str, resource: dict[str, Any]) -> list[Any] | None:
    """What fhirpathpy finds, or None where it cannot evaluate the expression (it refuses ``as`` on several values)."""
    for head in ("Resource", "DomainResource"):
        # It does not know that a Patient is a Resource.
        expression = expression.replace(f"{head}.", f"{resource['resourceType']}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            evaluate = fhirpathpy.compile(expression, models["r4"], options={"userInvocationTable": FUNCTIONS})
            return list(evaluate(copy.deepcopy(resource), {}))
    except Exception:  # noqa: BLE001 - it raises bare exceptions
        return None


def comparable(found: list[Any]) -> set[str]:
    """As a set, since FHIRPath's union drops what is equal; without the ``_`` siblings, which fhirpathpy blanks."""
    return {json.dumps(plain(value), sort_keys=True, default=str) for value in found if value is not None}


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: plain(entry) for name, entry in value.items() if name[0] != "_"}
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    return float(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else value


def compare(resource: dict[str, Any]) -> tuple[int, list[str]]:
    """How many parameters could be compared, and those that differ."""
    compared, differ = 0, []
    for parameter in SUPPORTED[resource["resourceType"]].parameters.values():
        parts = [part.strip() for part in parameter.expression.split(" | ")]
        own = [part for part in parts if is_about(part, resource["resourceType"])]
        if parameter.type == "composite" or "extension(" in parameter.expression or not own:
            continue
        theirs = by_fhirpathpy(" | ".join(own), resource)
        ours = [value for value, _ in parameter.extract(resource)]
        if theirs is None:
            continue
        compared += 1
        if comparable(ours) != comparable(theirs):
            differ.append(f"{resource['resourceType']}.{parameter.name}: {ours} is not {theirs}")
    return compared, differ


def is_about(part: str, type_name: str) -> bool:
    return is_a(type_name, part.lstrip("(").partition(".")[0])


def test_search_values_are_those_of_fhirpathpy(samples: dict[str, Any], official_examples: list[Path]) -> None:
    chosen = [path for path in official_examples[::25] if path.stat().st_size < 20_000]
    resources = [*samples.values(), *(json.loads(path.read_text("utf-8")) for path in chosen)]
    results = [compare(resource) for resource in resources if resource.get("resourceType") in SUPPORTED]
    assert sum(compared for compared, _ in results) > 150
    assert [difference for _, differences in results for difference in differences] == []
