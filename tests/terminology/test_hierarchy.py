"""Subsumption in stored code systems."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminology.code_system import CodeSystem, above, below
from terminology.definitions import UnanswerableError
from terminology.hierarchy import Hierarchy


class Stored:
    def __init__(self, **resource):
        self.resource = {"resourceType": "CodeSystem", "url": "urn:s", "content": "complete", **resource}

    def value_set(self, canonical):
        raise AssertionError(canonical)

    def code_system(self, canonical):
        return self.resource if canonical == "urn:s" else None


NESTED = [{"code": "a", "concept": [{"code": "b", "concept": [{"code": "c"}]}]}, {"code": "d"}]


def related(code, value, name="parent"):
    return {"code": code, "property": [{"code": name, "valueCode": value}]}


@pytest.mark.parametrize(
    "concept",
    [
        NESTED,
        [{"code": "a"}, related("b", "a"), related("c", "b"), {"code": "d"}],
        [{"code": "a"}, related("b", "a", "subsumedBy"), related("c", "b", "subsumedBy"), {"code": "d"}],
        [related("a", "b", "child"), related("b", "c", "child"), {"code": "c"}, {"code": "d"}],
    ],
)
def test_nesting_and_properties_say_what_is_below_what(concept):
    stored = Stored(concept=concept)
    assert below("urn:s", "a", stored) == {"a", "b", "c"}
    assert below("urn:s", "d", stored) == {"d"}
    assert above("urn:s", "c", stored) == {"a", "b", "c"}
    assert above("urn:s", "a", stored) == {"a"}


def test_a_code_may_have_several_parents():
    stored = Stored(concept=[{"code": "a"}, {"code": "b", "concept": [related("c", "a")]}])
    assert above("urn:s", "c", stored) == {"a", "b", "c"}


@pytest.mark.parametrize("meaning", ["grouped-by", "part-of", "classified-with"])
def test_a_hierarchy_of_another_meaning_says_nothing_about_kinds(meaning):
    with pytest.raises(UnanswerableError) as raised:
        below("urn:s", "a", Stored(concept=NESTED, hierarchyMeaning=meaning))
    assert raised.value.code == "not-supported"


@pytest.mark.parametrize(("system", "code"), [("urn:other", "a"), ("urn:s", "z")])
def test_what_is_not_known_is_an_error(system, code):
    with pytest.raises(UnanswerableError) as raised:
        above(system, code, Stored(concept=NESTED))
    assert raised.value.code == "not-found"


def test_values_of_properties_are_read_as_text():
    system = CodeSystem(
        Stored(
            concept=[
                {
                    "code": "a",
                    "property": [
                        {"code": "n", "valueInteger": 4},
                        {"code": "n", "valueString": "four"},
                        {"code": "t", "valueBoolean": False},
                        {"code": "c", "valueCoding": {"system": "s", "code": "x"}},
                        {"code": "none"},
                    ],
                },
                {"display": "no code"},
            ]
        ).resource
    )
    assert system.require("a").properties == {"n": ("4", "four"), "t": ("false",), "c": ("x",), "none": ("",)}


CODES = st.sampled_from("abcdef")


@given(st.dictionaries(CODES, st.lists(CODES, max_size=3)), CODES, CODES)
def test_what_is_above_one_has_it_below_even_where_there_are_loops(parents, code, other):
    hierarchy = Hierarchy(parents)
    assert code in hierarchy.descendants(code)
    assert (other in hierarchy.ancestors(code)) == (code in hierarchy.descendants(other))
    assert all(code in hierarchy.children(parent) for parent in hierarchy.parents(code))
