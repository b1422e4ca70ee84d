"""Random searches that follow references over random worlds, part of them hidden: they find what brute force finds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhirserver.search import expression as e
from fhirserver.search.query import Query
from tests.conftest import Region

# Rows are written as the store writes them, with the facts of one that the caller's own establishment wrote, or one
# that another wrote, whose resources the caller does not see.

_IDS = ("1", "2", "3")
_TYPES = ("Patient", "Encounter", "Observation")
_POINTS = {
    "Patient": (),
    "Encounter": (("patient", "Patient"), ("part-of", "Encounter")),
    "Observation": (("patient", "Patient"), ("encounter", "Encounter"), ("has-member", "Observation")),
}

resources = st.fixed_dictionaries(
    {
        "is_visible": st.sampled_from([True, True, False]),
        "code": st.sampled_from("ab"),
        "points": st.lists(st.tuples(st.integers(0, 2), st.sampled_from(_IDS)), min_size=2, max_size=4),
    }
)
worlds = st.fixed_dictionaries({(type_, id_): resources for type_ in _TYPES for id_ in _IDS})


@st.composite
def expressions(draw: st.DrawFn, type_: str, depth: int = 3) -> e.Expression:
    """An expression about resources of a type, with references followed in both directions."""
    kind = draw(st.sampled_from(["referred", "refers", "refers", "all", "any", "not", "equals"])) if depth else "equals"
    if kind == "refers" and not _POINTS[type_]:
        kind = "referred"
    match kind:
        case "not":
            return e.Not(draw(expressions(type_, depth - 1)))
        case "all" | "any":
            parts = tuple(draw(expressions(type_, depth - 1)) for _ in range(2))
            return e.All(parts) if kind == "all" else e.Any(parts)
        case "refers":
            param, target = draw(st.sampled_from(_POINTS[type_]))
            return e.Refers(param, (target,), draw(expressions(target, depth - 1)))
        case "referred":
            sources = [(source, param) for source in _TYPES for param, target in _POINTS[source] if target == type_]
            source, param = draw(st.sampled_from(sources))
            return e.ReferredBy(source, param, type_, draw(expressions(source, depth - 1)))
        case _:
            return e.Equals(f"code\x1f{draw(st.sampled_from('ab'))}")


@st.composite
def searches(draw: st.DrawFn) -> tuple[str, e.Expression]:
    """A type and an expression about its resources."""
    type_ = draw(st.sampled_from(_TYPES))
    return type_, draw(expressions(type_))


def atoms(type_: str, id_: str, made: dict[str, Any]) -> list[str]:
    points = _POINTS[type_]
    references = [f"{points[n][0]}\x1f{points[n][1]}/{to}" for n, to in made["points"] if n < len(points)]
    return [f"_id\x1f|{id_}", f"code\x1f{made['code']}", *references]


@pytest.fixture(scope="module")
def templates(region: Region) -> dict[tuple[str, bool], dict[str, Any]]:
    """A row of each type, of the caller's own establishment (True) and of another (False)."""
    found = {}
    for is_visible, establishment in ((True, "e1"), (False, "e2")):
        subject = {"reference": f"Patient/template-{establishment}"}
        made: list[dict[str, Any]] = [
            {"resourceType": "Patient"},
            {"resourceType": "Encounter", "status": "planned", "class": {"code": "a"}, "subject": subject},
            {"resourceType": "Observation", "status": "final", "code": {"text": "a"}, "subject": subject},
        ]
        for one in made:
            row = region.put({**one, "id": f"template-{establishment}"}, by=f"Organization/{establishment}")
            found[row.type, is_visible] = region.database.resources.find_one_and_delete({"_id": row.reference})
    return found


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(search=searches(), world=worlds)
def test_a_search_that_follows_references_equals_brute_force_among_what_is_visible(
    region: Region, templates: dict[tuple[str, bool], dict[str, Any]], search: tuple[str, e.Expression], world: Any
) -> None:
    type_, expression = search
    region.database.resources.delete_many({"_id": {"$regex": "/[123]$"}})
    rows = [
        {**templates[kind, made["is_visible"]], "_id": f"{kind}/{id_}", "tk": atoms(kind, id_, made)}
        for (kind, id_), made in world.items()
    ]
    if rows:
        region.database.resources.insert_many(rows)
    visible = {
        f"{kind}/{id_}": e.Values(atoms(kind, id_, made), [], {})
        for (kind, id_), made in world.items()
        if made["is_visible"]
    }
    expected = {
        reference
        for reference, values in visible.items()
        if reference.startswith(f"{type_}/") and e.evaluate(expression, values, visible)
    }
    store = region.store("Client/e1", organization="Organization/e1")

    page = store.search(Query(type_, expression, 100))

    assert {row.reference for row in page.rows} == expected
    assert page.total == len(expected)
    assert store.count(Query(type_, expression, 0)) == len(expected)
