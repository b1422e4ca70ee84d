"""The predicate language: what each node means, and that simplifying and binding change nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent.condition import (
    NOW,
    AllOf,
    AnyOf,
    AtLeast,
    AtMost,
    Condition,
    Every,
    Everything,
    GreaterThan,
    In,
    Is,
    LessThan,
    Not,
    Nothing,
    Some,
    assume,
    bind,
    compiled,
    describe,
    evaluate,
    prepare,
    simplify,
)

INSTANT = datetime(2026, 11, 24, 9, tzinfo=UTC)


def test_no_conditions_at_all_is_everything_for_all_of_and_nothing_for_any_of():
    assert evaluate(AllOf(), {})
    assert not evaluate(AnyOf(), {})


@pytest.mark.parametrize(
    "condition",
    [Is("x", "a"), Is("x", None), In("x", {"a", None}), AtMost("x", 1), AtLeast("x", 1), LessThan("x", 1)],
    ids=describe,
)
def test_a_comparison_on_a_missing_path_is_false(condition: Condition):
    assert not evaluate(condition, {"y": 1})


@pytest.mark.parametrize(
    ("condition", "below", "equal", "above"),
    [
        (AtMost("x", 4), True, True, False),
        (AtLeast("x", 4), False, True, True),
        (LessThan("x", 4), True, False, False),
        (GreaterThan("x", 4), False, False, True),
    ],
    ids=str,
)
def test_a_comparison_holds_on_its_side(condition: Condition, below: bool, equal: bool, above: bool):
    assert [evaluate(condition, {"x": value}) for value in (3, 4, 5)] == [below, equal, above]


@pytest.mark.parametrize(
    ("condition", "before", "then", "after"),
    [
        (AtMost("at", NOW), True, True, False),
        (AtLeast("at", NOW), False, True, True),
        (LessThan("at", NOW), True, False, False),
        (GreaterThan("at", NOW), False, False, True),
    ],
    ids=str,
)
def test_a_comparison_with_now_holds_on_its_side(condition: Condition, before: bool, then: bool, after: bool):
    instants = (INSTANT - timedelta(milliseconds=1), INSTANT, INSTANT + timedelta(milliseconds=1))
    assert [prepare(condition)({"at": instant}, INSTANT) for instant in instants] == [before, then, after]


def test_is_and_in_look_into_arrays():
    assert evaluate(Is("keys", "a"), {"keys": ["b", "a"]})
    assert evaluate(In("keys", {"a", "c"}), {"keys": ["b", "a"]})
    assert not evaluate(Is("keys", "c"), {"keys": ["b", "a"]})
    assert not evaluate(In("keys", {"c"}), {"keys": []})


def test_is_of_nothing_asks_for_the_empty_array():
    assert evaluate(Is("labels", ()), {"labels": []})
    assert not evaluate(Is("labels", ()), {"labels": ["a"]})
    assert not evaluate(Is("labels", ()), {})


def test_some_needs_one_element_that_satisfies_the_whole_condition():
    both = Some("rows", AllOf(Is("a", 1), Is("b", 1)))
    assert evaluate(both, {"rows": [{"a": 0, "b": 0}, {"a": 1, "b": 1}]})
    assert not evaluate(both, {"rows": [{"a": 1, "b": 0}, {"a": 0, "b": 1}]})
    assert not evaluate(both, {})


def test_every_is_false_of_no_elements_and_of_one_exception():
    each = Every("rows", Is("a", 1))
    assert evaluate(each, {"rows": [{"a": 1}, {"a": 1}]})
    assert not evaluate(each, {"rows": [{"a": 1}, {"a": 2}]})
    assert not evaluate(each, {"rows": []})
    assert not evaluate(each, {})


def test_a_condition_that_still_speaks_of_now_is_not_evaluated():
    with pytest.raises(ValueError, match="bind"):
        evaluate(Not(Some("rows", AtMost("from", NOW))), {})


def test_values_that_cannot_be_compared_are_an_error_not_an_answer():
    with pytest.raises(TypeError):
        evaluate(AtMost("confidentiality", 4), {"confidentiality": "N"})


@pytest.mark.parametrize(
    ("condition", "simple"),
    [
        (AllOf(Everything(), Is("a", 1)), Is("a", 1)),
        (AnyOf(Nothing(), Is("a", 1)), Is("a", 1)),
        (AllOf(Is("a", 1), Nothing()), Nothing()),
        (AnyOf(Is("a", 1), Everything()), Everything()),
        (AllOf(), Everything()),
        (AnyOf(), Nothing()),
        (Not(Not(Is("a", 1))), Is("a", 1)),
        (Not(Nothing()), Everything()),
        (In("a", set()), Nothing()),
        (In("a", {1}), Is("a", 1)),
        (Some("a", AnyOf()), Nothing()),
        (Every("a", Nothing()), Nothing()),
        (AnyOf(Is("a", 1), AllOf(Is("a", 1), Is("b", 1))), Is("a", 1)),
        (AllOf(Is("a", 1), AnyOf(Is("a", 1), Is("b", 1))), Is("a", 1)),
        (AllOf(In("a", {1, 2}), In("a", {1, 2, 3})), In("a", {1, 2})),
        (AnyOf(Is("a", 1), In("a", {1, 2})), In("a", {1, 2})),
        (AnyOf(Some("a", Is("b", 1)), Some("a", Is("b", 2))), Some("a", AnyOf(Is("b", 1), Is("b", 2)))),
        (
            AnyOf(AllOf(Is("a", 1), Is("b", 1)), AllOf(Is("a", 1), Is("c", 1))),
            AllOf(Is("a", 1), AnyOf(Is("b", 1), Is("c", 1))),
        ),
        (
            AnyOf(AllOf(Is("a", 1), Is("b", 1)), Is("d", 1), AllOf(Is("c", 1), Is("a", 1))),
            AnyOf(Is("d", 1), AllOf(Is("a", 1), AnyOf(Is("b", 1), Is("c", 1)))),
        ),
        (AllOf(Not(Is("a", 1)), Not(Is("b", 1))), Not(AnyOf(Is("a", 1), Is("b", 1)))),
        (
            AllOf(Not(Some("a", Is("x", 1))), Not(Some("a", Is("y", 1)))),
            Not(Some("a", AnyOf(Is("x", 1), Is("y", 1)))),
        ),
        (AllOf(Every("a", Is("x", 1)), Not(Some("a", Is("y", 1)))), Every("a", AllOf(Is("x", 1), Not(Is("y", 1))))),
        (AllOf(Every("a", Is("x", 1)), Every("a", Is("y", 1))), Every("a", AllOf(Is("x", 1), Is("y", 1)))),
    ],
    ids=describe,
)
def test_what_says_nothing_is_left_out(condition: Condition, simple: Condition):
    assert simplify(condition) == simple


@pytest.mark.parametrize(
    "condition",
    [
        AllOf(Is("a", 1), In("b", {1, 2})),
        AnyOf(Is("a", 1), In("b", {1, 2})),
        AllOf(In("a", {1, 2}), In("b", {1, 2, 3})),
        AllOf(In("a", {1, 2}), In("a", {2, 3})),
        AllOf(Some("a", Is("x", 1)), Some("a", Is("y", 1))),
        AllOf(Not(Some("b", Is("x", 1))), Every("a", Is("x", 1))),
        AnyOf(Every("a", Is("x", 1)), Every("a", Is("y", 1))),
        AnyOf(Every("a", Is("x", 1)), Some("a", Is("x", 1))),
        AllOf(Some("a", Is("x", 1)), Some("b", Is("x", 1))),
        AnyOf(Some("a", Is("x", 1)), Some("b", Is("x", 1))),
    ],
    ids=describe,
)
def test_what_says_something_is_kept(condition: Condition):
    assert simplify(condition) == condition


def test_everything_inside_some_still_asks_for_an_element():
    assert simplify(Some("a", Everything())) == Some("a", Everything())


def test_a_condition_is_described_in_words_and_a_stable_order():
    condition = AllOf(In("kind", {"b", "a"}), Not(Some("rulings", GreaterThan("until", NOW))), Is("organization", None))
    assert describe(condition) == (
        "(kind is one of [a, b] and not some of rulings has until > now and organization is none)"
    )


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (Everything(), "everything"),
        (Nothing(), "nothing"),
        (AllOf(), "everything"),
        (AnyOf(), "nothing"),
        (AnyOf(Is("a", 1), Is("b", 2)), "(a is 1 or b is 2)"),
        (AtMost("a", INSTANT), f"a <= {INSTANT.isoformat()}"),
        (AtLeast("a", 3), "a >= 3"),
        (LessThan("a", NOW), "a < now"),
        (Every("rows", Is("a", 1)), "each of rows has a is 1"),
    ],
)
def test_each_kind_of_condition_has_its_words(condition: Condition, words: str):
    assert describe(condition) == words


def test_binding_replaces_now_everywhere_and_shares_the_rest():
    kept = Is("a", 1)
    bound = bind(AllOf(kept, Every("rows", AnyOf(LessThan("x", NOW), AtLeast("x", NOW)))), INSTANT)
    assert bound == AllOf(kept, Every("rows", AnyOf(LessThan("x", INSTANT), AtLeast("x", INSTANT))))
    assert isinstance(bound, AllOf)
    assert bound.conditions[0] is kept


def test_what_is_known_of_every_document_is_not_asked_again():
    condition = AllOf(In("kind", {"a", "b"}), Is("other", 1), Every("rows", AnyOf(Is("kind", "b"), Is("x", 1))))
    assert assume(condition, {"kind": "a"}) == AllOf(Is("other", 1), Every("rows", AnyOf(Is("kind", "b"), Is("x", 1))))
    assert assume(condition, {"rows": {"kind": "a"}}) == AllOf(
        In("kind", {"a", "b"}), Is("other", 1), Every("rows", Is("x", 1))
    )
    assert assume(condition, {"kind": "c"}) == Nothing()


def test_what_is_known_of_the_elements_of_an_array_does_not_say_that_it_has_any():
    assert assume(Some("rows", Is("kind", "a")), {"rows": {"kind": "a"}}) == Some("rows", Everything())
    assert assume(Every("rows", Is("kind", "a")), {"rows": {"kind": "a"}}) == Every("rows", Everything())


def test_a_comparison_with_now_is_not_decided_by_what_is_known():
    assert assume(AtMost("at", NOW), {"at": INSTANT}) == AtMost("at", NOW)


leaves = st.one_of(
    st.just(Everything()),
    st.just(Nothing()),
    st.builds(Is, st.sampled_from("abk"), st.sampled_from([1, 2, None, ()])),
    st.builds(In, st.sampled_from("abk"), st.sets(st.sampled_from([1, 2, None]))),
    st.builds(AtMost, st.just("at"), st.sampled_from([NOW, INSTANT])),
    st.builds(GreaterThan, st.just("at"), st.sampled_from([NOW, INSTANT])),
    st.builds(LessThan, st.just("at"), st.sampled_from([NOW, INSTANT])),
    st.builds(AtLeast, st.just("at"), st.sampled_from([NOW, INSTANT])),
)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: AllOf(*parts)),
        st.lists(inner, max_size=3).map(lambda parts: AnyOf(*parts)),
        st.builds(Not, inner),
        st.builds(Some, st.sampled_from(["rows", "more"]), inner),
        st.builds(Every, st.sampled_from(["rows", "more"]), inner),
    ),
    max_leaves=8,
)
rows = st.fixed_dictionaries(
    {},
    optional={
        "a": st.sampled_from([1, 2, None]),
        "b": st.sampled_from([1, 2]),
        "k": st.sampled_from([[], [1], [2, 3]]),
        "at": st.sampled_from([INSTANT - timedelta(days=1), INSTANT, INSTANT + timedelta(days=1)]),
    },
)
documents = st.builds(
    lambda row, inner, more: {**row, "rows": inner, "more": more}, rows, st.lists(rows), st.lists(rows)
)


@settings(max_examples=300, deadline=None)
@given(conditions, documents)
def test_simplifying_and_binding_do_not_change_the_meaning(condition: Condition, document: dict[str, Any]):
    told = prepare(condition)(document, INSTANT)
    assert compiled(bind(condition, INSTANT))(document) == told
    assert prepare(simplify(condition))(document, INSTANT) == told
    assert evaluate(simplify(bind(condition, INSTANT)), document) == told


def is_so(known: Mapping[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """Make what is known true of the document."""
    return {
        **document,
        **{
            path: [{**each, **value} for each in document[path]] if isinstance(value, Mapping) else value
            for path, value in known.items()
        },
    }


values = st.dictionaries(st.sampled_from("ab"), st.sampled_from([1, 2, None]), max_size=2)
knowledge = st.builds(lambda outer, inner: {**outer, "rows": inner}, values, values)


@settings(max_examples=300, deadline=None)
@given(conditions, knowledge, documents)
def test_an_assumption_does_not_change_the_meaning_where_it_is_true(
    condition: Condition, known: dict[str, Any], document: dict[str, Any]
):
    so = is_so(known, document)
    assert prepare(assume(condition, known))(so, INSTANT) == prepare(condition)(so, INSTANT)
