"""`$explain-search` tells an operator the plan of a search, and nothing of what would be found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from fhirserver.store.database import Database
from fhirserver.store.reindex import Reindex
from resources import validation
from tests.fhirserver.rest.conftest import Caller, issues_of


def told(caller: Caller, path: str) -> list[dict[str, list[Any]]]:
    """The queries that are told of: the values of each part by its name."""
    response = caller.get(path)
    assert response.status_code == 200, response.text
    validation.check("Parameters", response.data)
    queries = []
    for query in response.json["parameter"]:
        parts: dict[str, list[Any]] = {}
        for part in query["part"]:
            [value] = [value for name, value in part.items() if name != "name"]
            parts.setdefault(part["name"], []).append(value)
        queries.append(parts)
    return queries


def observed(his: Caller, patient: str, code: str) -> None:
    his.make(
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"coding": [{"system": "s", "code": code}]},
            "subject": {"reference": patient},
        }
    )


def test_the_index_and_the_filter_are_told(operator: Caller) -> None:
    [query] = told(operator, "Observation/$explain-search?patient=Patient/p")
    assert query["type"] == ["Observation"]
    assert query["index"] == ["by-value"]
    assert query["chosen"] == [True]
    assert "Patient/p" in query["filter"][0]


def test_a_chain_is_a_query_of_its_own(operator: Caller) -> None:
    inner, outer = told(operator, "Observation/$explain-search?patient.name=ada")
    assert inner["type"] == ["Patient"]
    assert "by-value" in inner["index"]
    assert "(found)" in outer["filter"][0]


def test_of_what_an_operator_may_not_read_nothing_is_counted_or_told(
    operator: Caller, his: Caller, patient: str
) -> None:
    path = "Observation/$explain-search?code=s|secret&date=2026"
    before = told(operator, path)
    assert "keysExamined" not in before[0]
    assert "documentsExamined" not in before[0]
    assert before[0]["chosen"] == [False]
    for _ in range(30):
        observed(his, patient, "secret")
    assert told(operator, path) == before


def test_of_the_directory_the_work_is_counted(operator: Caller, his: Caller) -> None:
    [query] = told(operator, "Organization/$explain-search?name=e1")
    assert query["chosen"] == [True]
    assert query["index"]
    assert query["documentsExamined"][0] >= 1


def test_nobody_else_is_answered(his: Caller, doctor: Caller, stranger: Caller, operator: Caller) -> None:
    for caller in (his, doctor, stranger):
        assert caller.get("Observation/$explain-search?code=x").status_code == 403
        [issue] = issues_of(caller.get("Observation?_explain=true"))
        assert "_explain" in issue["diagnostics"]
    assert operator.get("Observation/$explain-search?nothing=x").status_code == 400
    assert operator.get("Binary/$explain-search").status_code == 400


@pytest.fixture
def _quick(database: Database) -> Iterator[None]:
    database.search_parameters.age = 0.0
    database.in_flight.margin = timedelta(0)
    yield
    database.database["search_parameters"].delete_many({"_id": {"$ne": "generation"}})


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize(
    ("type_", "expression", "value"),
    [
        ("token", "Observation.interpretation", "H"),
        ("string", "Observation.note.text", "loud"),
        ("date", "Observation.issued", "2026"),
        ("quantity", "Observation.referenceRange.low", "3"),
        ("reference", "Observation.focus", "Patient/p"),
        ("uri", "Observation.implicitRules", "http://example.org"),
    ],
)
def test_an_added_parameter_goes_by_an_index(
    operator: Caller, database: Database, config: Any, type_: str, expression: str, value: str
) -> None:
    resource = {
        "resourceType": "SearchParameter",
        "id": f"own-{type_}",
        "url": f"http://example.org/own-{type_}",
        "name": "Own",
        "description": "x",
        "status": "active",
        "code": f"own-{type_}",
        "base": ["Observation"],
        "type": type_,
        "expression": expression,
    }
    assert operator.put(f"SearchParameter/own-{type_}", resource).status_code == 201
    job = Reindex(database, config)
    job.begin(["Observation"])
    assert job.run().status == "done"
    [query] = told(operator, f"Observation/$explain-search?own-{type_}={value}")
    assert {"by-value", "by-range"} & set(query["index"])


def test_it_is_in_the_audit(operator: Caller, audit_of: Callable[[], list[Any]]) -> None:
    told(operator, "Observation/$explain-search?patient=Patient/p")
    assert [event["subtype"][0]["code"] for event in audit_of()]
