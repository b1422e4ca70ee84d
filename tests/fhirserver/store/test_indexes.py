"""Every declared search parameter of every type is answered by an index: the query planner is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC
from typing import Any

import pytest

from fhirserver.search.parse import parse
from fhirserver.store.compile import compile_expression
from fhirserver.store.database import Database
from fhirserver.store.indexes import create_indexes
from resources import SUPPORTED

# A value that each parameter type takes.
SAMPLES = {
    "date": "2026",
    "number": "1",
    "quantity": "1|http://unitsofmeasure.org|mg",
    "reference": "Patient/p",
    "special": "48.8|2.3|10|km",
    "string": "ann",
    "token": "s|c",
    "uri": "http://example.org",
}


def plans(stage: Mapping[str, Any]) -> Iterator[str]:
    yield stage["stage"]
    for inner in [stage[key] for key in ("inputStage",) if key in stage] + list(stage.get("inputStages", ())):
        yield from plans(inner)


def sample(declaration: Any, parameter: Any) -> str | None:
    if parameter.type == "composite":
        return "$".join(SAMPLES[component.type] for component in parameter.components)
    if parameter.name == "_lastUpdated":
        return "2026"
    return SAMPLES.get(parameter.type)


@pytest.mark.parametrize("type_", sorted(SUPPORTED))
def test_every_parameter_of_the_type_goes_by_an_index(database: Database, type_: str) -> None:
    declaration = SUPPORTED[type_]
    for name, parameter in declaration.parameters.items():
        value = sample(declaration, parameter)
        if value is not None:
            assert_by_index(database, type_, name, value)


def assert_by_index(database: Database, type_: str, name: str, value: str) -> None:
    query = parse(SUPPORTED[type_], [(name, value)], handling="strict", zone=UTC, supported=SUPPORTED)
    wanted = {"t": type_, **compile_expression(query.expression)}
    plan = database.collection_of(type_).find(wanted).explain()["queryPlanner"]["winningPlan"]
    stages = set(plans(plan.get("queryPlan", plan)))
    assert "COLLSCAN" not in stages, f"{type_}?{name}={value}: {stages}"
    assert "IXSCAN" in stages, f"{type_}?{name}={value}: {stages}"


@pytest.mark.parametrize(
    ("name", "value"),
    [("_text", "bone AND liver*"), ("_content", "bone OR (liver lung)"), ("_filter", "code eq a and date ge 2026")],
)
def test_what_no_type_declares_goes_by_an_index_too(database: Database, name: str, value: str) -> None:
    assert_by_index(database, "DiagnosticReport", name, value)


def test_an_index_that_another_release_defined_otherwise_is_made_anew(database: Database) -> None:
    database.history.drop_index("by-resource")
    database.history.create_index([("r", 1)], name="by-resource")
    create_indexes(database)
    assert database.history.index_information()["by-resource"]["key"] == [("r", 1), ("lu", -1)]


def test_indexes_that_are_there_are_left_alone(database: Database) -> None:
    before = database.resources.index_information()
    create_indexes(database)
    assert database.resources.index_information() == before
