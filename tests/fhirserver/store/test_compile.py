"""What is compiled into a query means what is evaluated in Python, on a real MongoDB, for random rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consent import Actor, Request, parse_scopes, permitted
from consent import condition as c
from consent.engine import Permission
from fhirserver.search import expression as e
from fhirserver.search.stored import Values
from fhirserver.store.compile import (
    both,
    compile_condition,
    compile_expression,
    compile_search,
    hint_for,
    permission_filter,
)
from fhirserver.store.database import Database

INSTANTS = [datetime(2026, 1, day, tzinfo=UTC) for day in range(1, 5)]
KEYS = ["a", "b", "c", "*"]

# Rows and predicates draw from the same few values, so that they often meet.
elements = st.fixed_dictionaries(
    {
        "key": st.sampled_from(KEYS),
        "keys": st.lists(st.sampled_from(KEYS), max_size=2),
        "from": st.sampled_from(INSTANTS),
    },
    optional={"organization": st.sampled_from([None, "o"]), "until": st.sampled_from(INSTANTS)},
)
documents = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["clinical", "consent"]),
        "confidentiality": st.integers(3, 5),
        "labels": st.lists(st.sampled_from(KEYS), max_size=2),
        "subjects": st.lists(
            st.fixed_dictionaries({"patient": st.sampled_from(KEYS), "relations": st.lists(elements, max_size=3)}),
            max_size=2,
        ),
    }
)
of_element = st.one_of(
    st.builds(c.Is, st.sampled_from(["key", "keys"]), st.sampled_from(KEYS)),
    st.builds(c.In, st.sampled_from(["key", "keys"]), st.frozensets(st.sampled_from(KEYS))),
    st.builds(c.In, st.just("organization"), st.frozensets(st.sampled_from([None, "o"]))),
    st.builds(c.AtMost, st.just("from"), st.sampled_from(INSTANTS)),
    st.builds(c.GreaterThan, st.just("until"), st.sampled_from(INSTANTS)),
    st.builds(c.LessThan, st.just("until"), st.sampled_from(INSTANTS)),
)


def joined(parts: Any) -> Any:
    return st.one_of(
        st.lists(parts, max_size=3).map(lambda found: c.AllOf(*found)),
        st.lists(parts, max_size=3).map(lambda found: c.AnyOf(*found)),
        parts.map(c.Not),
    )


within_element = st.recursive(of_element, joined, max_leaves=4)
of_subject = st.recursive(
    st.one_of(
        st.builds(c.Is, st.just("patient"), st.sampled_from(KEYS)),
        st.builds(c.Some, st.just("relations"), within_element),
    ),
    joined,
    max_leaves=4,
)
conditions = st.recursive(
    st.one_of(
        st.just(c.Everything()),
        st.just(c.Nothing()),
        st.builds(c.Is, st.sampled_from(["kind", "labels", "absent"]), st.sampled_from(["clinical", *KEYS])),
        st.builds(c.In, st.just("labels"), st.frozensets(st.sampled_from(KEYS))),
        st.just(c.Is("labels", ())),
        st.builds(c.AtMost, st.just("confidentiality"), st.integers(3, 5)),
        st.builds(c.AtLeast, st.just("absent"), st.integers(3, 5)),
        st.builds(c.Some, st.just("subjects"), of_subject),
        st.builds(c.Every, st.just("subjects"), of_subject),
    ),
    joined,
    max_leaves=5,
)


def found(database: Database, rows: list[dict[str, Any]], wanted: dict[str, Any]) -> list[int]:
    database.instances.delete_many({})
    database.instances.insert_many([{"_id": number, **row} for number, row in enumerate(rows)])
    return sorted(row["_id"] for row in database.instances.find(wanted, {"_id": 1}))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(documents, min_size=1, max_size=5), condition=conditions)
def test_a_condition_finds_exactly_the_rows_it_holds_for(
    database: Database, rows: list[dict[str, Any]], condition: c.Condition
) -> None:
    expected = [number for number, row in enumerate(rows) if c.evaluate(condition, row)]
    assert found(database, [{"facts": row} for row in rows], compile_condition(condition)) == expected


ATOMS = [
    "code\x1fs|a",
    "code\x1fs|b",
    "name\x1fanna",
    "name\x1fann.*",
    "name\x1fäb",
    "patient\x1fPatient/p",
    "_id\x1f|i",
]
intervals = st.builds(
    lambda name, low, length: {"n": name, "lo": low, "hi": low + timedelta(days=length), "u": ["mg"]},
    st.sampled_from(["date", "period"]),
    st.sampled_from(INSTANTS),
    st.integers(0, 2),
)
values = st.builds(
    Values, st.lists(st.sampled_from(ATOMS), max_size=3, unique=True), st.lists(intervals, max_size=2), st.just({})
)
comparisons = st.builds(
    e.Comparison, st.sampled_from(["lo", "hi"]), st.sampled_from(["lt", "lte", "gt", "gte"]), st.sampled_from(INSTANTS)
)
expressions = st.recursive(
    st.one_of(
        st.builds(e.Equals, st.sampled_from(ATOMS)),
        st.builds(e.StartsWith, st.sampled_from(["name\x1fan", "name\x1f", "code\x1fs|", "name\x1fä"])),
        st.builds(e.Matches, st.just("name\x1f"), st.sampled_from(["n", ".*", "b", "("])),
        st.builds(
            e.Interval,
            st.sampled_from(["date", "period"]),
            st.lists(comparisons, max_size=2, unique_by=lambda one: (one.bound, one.operator)).map(tuple),
            st.sampled_from([None, "mg", "g"]),
        ),
        st.just(e.Always()),
        st.just(e.Never()),
    ),
    lambda parts: st.one_of(
        st.lists(parts, min_size=1, max_size=3).map(lambda found: e.All(tuple(found))),
        st.lists(parts, min_size=1, max_size=3).map(lambda found: e.Any(tuple(found))),
        parts.map(e.Not),
    ),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(values, min_size=1, max_size=5), expression=expressions)
def test_an_expression_finds_exactly_the_rows_it_holds_for(
    database: Database, rows: list[Values], expression: e.Expression
) -> None:
    expected = [number for number, row in enumerate(rows) if e.evaluate(expression, row)]
    stored = [{"tk": row.tk, "rg": row.rg} for row in rows]
    assert found(database, stored, compile_expression(expression)) == expected


OF_ONE = e.Equals("patient\x1fPatient/p7")
OF_ALL = [
    e.Equals("status\x1f|available"),
    e.StartsWith("description\x1fthorax"),
    e.Matches("description\x1f", "orax"),
    e.Any((e.Equals("status\x1f|available"), e.Equals("status\x1f|registered"))),
]


def test_a_compartment_is_gone_by_before_what_many_rows_have() -> None:
    own = e.Any(tuple(e.Equals(f"{name}\x1fPatient/p7") for name in ("performer", "subject", "author")))
    wanted = compile_expression(e.All((e.Equals("status\x1f|final"), own)))
    [status, compartment] = wanted["$and"]
    assert status == {"$nor": [{"$nor": [{"tk": "status\x1f|final"}]}]}
    assert compartment == compile_expression(own)


@pytest.mark.parametrize("of_all", OF_ALL, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("is_first", [True, False])
def test_a_search_goes_by_what_few_rows_have_wherever_it_stands(
    database: Database, of_all: e.Expression, is_first: bool
) -> None:
    rows = [
        {
            "_id": f"ImagingStudy/compiled-{number}",
            "t": "ImagingStudy",
            "tk": [f"patient\x1fPatient/p{number}", "description\x1fthorax", "status\x1f|available"],
        }
        for number in range(200)
    ]
    of_few = e.Any((OF_ONE, e.Equals("patient\x1fPatient/p8")))
    database.resources.insert_many(rows)
    try:
        for of_some, count in ((OF_ONE, 1), (of_few, 2)):
            expression = e.All((of_some, of_all) if is_first else (of_all, of_some))
            find = {
                "find": database.resources.name,
                "filter": both({"t": "ImagingStudy"}, compile_search(expression)),
                "hint": hint_for(expression, [("lu", -1)]),
            }
            told = database.command("explain", find, verbosity="executionStats")["executionStats"]
            assert (told["nReturned"], told["totalDocsExamined"]) == (count, count)
    finally:
        database.resources.delete_many({"_id": {"$in": [row["_id"] for row in rows]}})


def test_a_permission_is_encoded_once_and_dated_at_each_request(database: Database) -> None:
    template = c.Some("relations", c.AllOf(c.AtMost("from", c.NOW), c.GreaterThan("until", c.NOW)))
    rows = [{"relations": [{"from": INSTANTS[number], "until": INSTANTS[number + 1]}]} for number in range(3)]
    database.instances.delete_many({})
    database.instances.insert_many([{"_id": number, "facts": row} for number, row in enumerate(rows)])
    for number in range(3):
        permission = Permission(template, INSTANTS[number], frozenset(), ())
        matched = database.instances.find({"$and": [permission_filter(permission)]}, {"_id": 1}).to_list()
        assert [row["_id"] for row in matched] == [number]


def doctors_filter(type_: str) -> bytes:
    """The filter of a doctor with a role in a hospital."""
    keys = frozenset({"Practitioner/d", "PractitionerRole/d-at-h", "Organization/h"})
    doctor = Actor(
        "professional", "Practitioner/d", organization="Organization/h", keys=keys, scopes=parse_scopes("user/*.rs")
    )
    return bytes(permission_filter(permitted(doctor, Request("search", "TREAT", INSTANTS[0]), type_)).raw)


@pytest.mark.parametrize("type_", ["ImagingStudy", "Patient", "DiagnosticReport"])
def test_the_filter_of_a_professional_stays_small(type_: str) -> None:
    """MongoDB reads and plans it at every search."""
    assert len(doctors_filter(type_)) <= 2_688


def test_what_the_type_of_a_row_says_is_not_asked_of_it() -> None:
    assert b"directory" not in doctors_filter("ImagingStudy")
    assert b"subjects" not in doctors_filter("Practitioner")
    assert len(doctors_filter("Consent")) < 50  # a professional reads no Consents


def test_the_kind_of_a_binary_is_asked_since_it_is_that_of_another_resource() -> None:
    assert b"directory" in doctors_filter("Binary")
    assert b"clinical" in doctors_filter("Binary")


def test_one_template_is_compiled_for_each_type_it_is_asked_for(database: Database) -> None:
    template = c.Is("kind", "clinical")
    database.instances.delete_many({})
    database.instances.insert_one({"_id": 0, "facts": {"kind": "clinical"}})
    for type_, expected in (("ImagingStudy", 1), ("Practitioner", 0), ("Binary", 1), ("ImagingStudy", 1)):
        wanted = permission_filter(Permission(template, INSTANTS[0], frozenset(), (), type_))
        assert len(database.instances.find({"$and": [wanted]}).to_list()) == expected
