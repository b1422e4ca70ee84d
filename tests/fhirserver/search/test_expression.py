"""Expressions over stored values: each node alone, and together."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.search.expression import (
    All,
    Always,
    Any,
    Comparison,
    Equals,
    Interval,
    Matches,
    Never,
    Not,
    StartsWith,
    all_of,
    any_of,
    evaluate,
)
from fhirserver.search.stored import Values

JANUARY = {"n": "date", "lo": datetime(2024, 1, 1, tzinfo=UTC), "hi": datetime(2024, 1, 31, tzinfo=UTC)}
VALUES = Values(["code\x1fa|b", "family\x1fdurand"], [JANUARY, {"n": "dose", "lo": 5.0, "hi": 5.0, "u": ["|mg"]}], {})


def test_equals_holds_of_a_whole_atom_only():
    assert evaluate(Equals("code\x1fa|b"), VALUES)
    assert not evaluate(Equals("code\x1fa|"), VALUES)


def test_starts_with_holds_of_the_beginning_of_an_atom():
    assert evaluate(StartsWith("code\x1fa|"), VALUES)
    assert not evaluate(StartsWith("code\x1fb"), VALUES)


def test_matches_looks_after_the_prefix_and_takes_the_text_literally():
    assert evaluate(Matches("family\x1f", "ran"), VALUES)
    assert not evaluate(Matches("family\x1f", "r.n"), VALUES)
    assert not evaluate(Matches("given\x1f", "ran"), VALUES)


def test_an_interval_meets_all_comparisons_at_once():
    inside = Comparison("lo", "gte", datetime(2023, 12, 1, tzinfo=UTC))
    before_february = Comparison("hi", "lt", datetime(2024, 2, 1, tzinfo=UTC))
    before_mid_january = Comparison("hi", "lt", datetime(2024, 1, 15, tzinfo=UTC))
    assert evaluate(Interval("date", (inside, before_february)), VALUES)
    assert not evaluate(Interval("date", (inside, before_mid_january)), VALUES)
    assert not evaluate(Interval("issued", (inside,)), VALUES)


def test_an_interval_without_comparisons_asks_for_presence():
    assert evaluate(Interval("dose"), VALUES)
    assert not evaluate(Interval("issued"), VALUES)


def test_a_unit_must_be_one_of_the_quantitys_own():
    assert evaluate(Interval("dose", (), "|mg"), VALUES)
    assert not evaluate(Interval("dose", (), "|g"), VALUES)
    assert not evaluate(Interval("date", (), "|mg"), VALUES)


def test_always_never_and_not():
    assert evaluate(Always(), VALUES)
    assert not evaluate(Never(), VALUES)
    assert evaluate(Not(Never()), VALUES)


def test_all_and_any_cannot_be_empty():
    for node in (All, Any):
        with pytest.raises(ValueError, match="write Always"):
            node(())
    with pytest.raises(ValueError, match="write Always"):
        all_of([])


def test_a_disjunction_of_nothing_is_nothing():
    assert any_of([]) == Never()


def test_one_part_stands_for_itself_and_disjunctions_open():
    one, two, three = Equals("1"), Equals("2"), Equals("3")
    assert any_of([one]) == one
    assert all_of([one]) == one
    assert any_of([any_of([one, two]), three]) == Any((one, two, three))


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)


@given(prefix=TEXT.map(lambda text: "p\x1f" + text), atom=TEXT.map(lambda text: "p\x1f" + text))
def test_the_end_of_a_prefix_bounds_exactly_what_begins_with_it(prefix, atom):
    """In the order of UTF-8 bytes, which is the order of the database."""
    low, high, found = (text.encode() for text in (prefix, StartsWith(prefix).end, atom))
    assert (low <= found < high) is atom.startswith(prefix)


@pytest.mark.parametrize("last", ["\ud7ff", "\U0010ffff", "\U0010ffff\U0010ffff"])
def test_the_end_of_a_prefix_is_text_also_at_the_limits_of_unicode(last):
    end = StartsWith("p\x1f" + last).end
    assert ("p\x1f" + last + "z").encode() < end.encode()


@given(text=TEXT.filter(lambda text: "\n" not in text and "\r" not in text))
def test_a_pattern_finds_its_text_literally(text):
    assert re.match(Matches("p\x1f", text).pattern, f"p\x1fbefore{text}after")


LEAVES = st.sampled_from([Always(), Never(), Equals("code\x1fa|b"), Equals("other"), StartsWith("family\x1f")])
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, min_size=1, max_size=3).flatmap(
        lambda parts: st.sampled_from([All(tuple(parts)), Any(tuple(parts)), Not(parts[0])])
    ),
    max_leaves=8,
)


@given(parts=st.lists(TREES, min_size=1, max_size=4))
def test_simplifying_does_not_change_the_meaning(parts):
    assert evaluate(any_of(parts), VALUES) is any(evaluate(part, VALUES) for part in parts)
    assert evaluate(all_of(parts), VALUES) is all(evaluate(part, VALUES) for part in parts)
