"""Expansion: all of a ValueSet's concepts, or an error that says why not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminology.definitions import UnanswerableError
from terminology.value_set import expand

SYSTEM = "http://x.example/animals"
OTHER = "http://x.example/colours"


def concept(code, *children, display="", **properties):
    named = [{"code": name, **value} for name, value in properties.items()]
    return {
        "code": code,
        **({"display": display} if display else {}),
        **({"property": named} if named else {}),
        **({"concept": list(children)} if children else {}),
    }


ANIMALS = {
    "resourceType": "CodeSystem",
    "url": SYSTEM,
    "content": "complete",
    "concept": [
        concept(
            "animal",
            concept(
                "mammal",
                concept("cat", display="House cat", legs={"valueInteger": 4}),
                concept("whale", legs={"valueInteger": 0}),
            ),
            concept(
                "bird", concept("duck", legs={"valueInteger": 2}), concept("dodo", inactive={"valueBoolean": True})
            ),
        ),
        concept("platypus", parent={"valueCode": "mammal"}, legs={"valueInteger": 4}),
        concept("unicorn", status={"valueCode": "retired"}),
    ],
}
COLOURS = {
    "resourceType": "CodeSystem",
    "url": OTHER,
    "content": "complete",
    "concept": [concept("red"), concept("blue")],
}
MAMMALS = frozenset({"mammal", "cat", "whale", "platypus"})
ALL = MAMMALS | {"animal", "bird", "duck", "dodo", "unicorn"}


class Stored:
    def __init__(self, *resources):
        self.resources = {resource["url"]: resource for resource in (ANIMALS, COLOURS, *resources)}

    def value_set(self, canonical):
        return self.resources.get(canonical)

    def code_system(self, canonical):
        return self.resources.get(canonical)


def value_set(url="http://x.example/vs", **content):
    return {"resourceType": "ValueSet", "url": url, **content}


def composed(*include, exclude=(), url="http://x.example/vs", **more):
    return value_set(url, compose={"include": list(include), **({"exclude": list(exclude)} if exclude else {}), **more})


def codes(*value_sets, limit=100, system=SYSTEM):
    found = expand(value_sets[0]["url"], Stored(*value_sets), limit=limit)
    assert all(one == system for one, _ in found)
    return {code for _, code in found}


def filtered(property_, op, value):
    return composed({"system": SYSTEM, "filter": [{"property": property_, "op": op, "value": value}]})


def test_listed_concepts_need_no_code_system():
    listed = composed({"system": "http://nowhere.example", "concept": [{"code": "a"}, {"code": "b"}]})
    assert codes(listed, system="http://nowhere.example") == {"a", "b"}


def test_a_whole_system_is_every_concept_of_it():
    assert codes(composed({"system": SYSTEM})) == ALL


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [
        (("concept", "is-a", "mammal"), MAMMALS),
        (("concept", "descendent-of", "mammal"), MAMMALS - {"mammal"}),
        (("concept", "is-not-a", "mammal"), ALL - MAMMALS),
        (("concept", "generalizes", "cat"), {"cat", "mammal", "animal"}),
        (("concept", "=", "cat"), {"cat"}),
        (("code", "in", "cat, duck"), {"cat", "duck"}),
        (("concept", "not-in", "cat,duck"), ALL - {"cat", "duck"}),
        (("code", "regex", "[dw].*k|whale"), {"duck", "whale"}),
        (("code", "regex", "d"), set()),
        (("display", "=", "House cat"), {"cat"}),
        (("display", "regex", "House.*"), {"cat"}),
        (("legs", "=", "4"), {"cat", "platypus"}),
        (("legs", "in", "0,2"), {"whale", "duck"}),
        (("legs", "exists", "true"), {"cat", "whale", "duck", "platypus"}),
        (("legs", "exists", "false"), ALL - {"cat", "whale", "duck", "platypus"}),
        (("parent", "=", "mammal"), {"cat", "whale", "platypus"}),
        (("child", "=", "duck"), {"bird"}),
    ],
)
def test_a_filter_keeps_what_it_says(filter_, expected):
    assert codes(filtered(*filter_)) == expected


def test_all_filters_of_an_include_hold_and_any_of_the_includes():
    legs = {"property": "legs", "op": "=", "value": "4"}
    under = {"property": "concept", "op": "is-a", "value": "animal"}
    assert codes(composed({"system": SYSTEM, "filter": [legs, under]})) == {"cat", "platypus"}
    assert codes(composed({"system": SYSTEM, "filter": [legs]}, {"system": SYSTEM, "concept": [{"code": "duck"}]})) == {
        "cat",
        "platypus",
        "duck",
    }


def test_what_is_excluded_is_not_in_it():
    birds = {"system": SYSTEM, "filter": [{"property": "concept", "op": "is-a", "value": "bird"}]}
    assert codes(composed({"system": SYSTEM}, exclude=[birds])) == ALL - {"bird", "duck", "dodo"}


def test_inactive_concepts_are_left_out_where_the_set_says_so():
    assert codes(composed({"system": SYSTEM}, inactive=False)) == ALL - {"dodo", "unicorn"}
    listed = {"system": SYSTEM, "concept": [{"code": "dodo"}, {"code": "duck"}]}
    assert codes(composed(listed, inactive=False)) == {"duck"}
    assert codes(composed(listed)) == {"duck", "dodo"}


def test_imported_sets_are_met_all_together_with_the_system():
    mammals = composed(
        {"system": SYSTEM, "filter": [{"property": "concept", "op": "is-a", "value": "mammal"}]}, url="urn:m"
    )
    legged = composed(
        {"system": SYSTEM, "filter": [{"property": "legs", "op": "exists", "value": "true"}]}, url="urn:l"
    )
    assert codes(composed({"valueSet": ["urn:m"]}), mammals) == MAMMALS
    assert codes(composed({"valueSet": ["urn:m", "urn:l"]}), mammals, legged) == {"cat", "whale", "platypus"}
    assert codes(
        composed({"valueSet": ["urn:m"], "system": SYSTEM, "concept": [{"code": "cat"}, {"code": "duck"}]}), mammals
    ) == {"cat"}
    assert codes(composed({"valueSet": ["urn:m"]}, {"valueSet": ["urn:l"]}), mammals, legged) == MAMMALS | {"duck"}


def test_a_stored_expansion_is_the_answer_if_it_is_whole():
    contains = [
        {"system": SYSTEM, "code": "animal", "abstract": True, "contains": [{"system": SYSTEM, "code": "cat"}]},
        {"display": "a heading only", "contains": [{"system": SYSTEM, "code": "duck"}]},
    ]
    assert codes(value_set(expansion={"contains": contains})) == {"cat", "duck"}
    with pytest.raises(UnanswerableError):
        codes(value_set(expansion={"contains": contains, "total": 900}))
    with pytest.raises(UnanswerableError):
        codes(value_set(expansion={"contains": contains, "offset": 10}))
    part = value_set(expansion={"contains": contains, "total": 900}, compose={"include": [{"system": SYSTEM}]})
    assert codes(part) == ALL


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (composed({"system": "http://nowhere.example"}), "not-found"),
        (composed({"system": SYSTEM, "version": "9"}), "not-found"),
        (composed({"valueSet": ["urn:nowhere"]}), "not-found"),
        (composed({"valueSet": ["http://x.example/vs"]}), "not-supported"),
        (composed({}), "not-supported"),
        (value_set(), "not-found"),
        (filtered("concept", "is-a", "dragon"), "not-found"),
        (filtered("concept", "resembles", "cat"), "not-supported"),
        (filtered("code", "regex", "(cat"), "not-supported"),
        (filtered("code", "regex", "a)|(b"), "not-supported"),
        (filtered("code", "regex", r"(.)\1"), "not-supported"),
    ],
)
def test_what_cannot_be_expanded_is_an_error_never_an_empty_set(asked, code):
    with pytest.raises(UnanswerableError) as raised:
        codes(asked)
    assert raised.value.code == code


def test_a_set_that_is_not_here_is_an_error():
    with pytest.raises(UnanswerableError) as raised:
        expand("urn:nowhere", Stored(), limit=1)
    assert raised.value.code == "not-found"


@pytest.mark.parametrize("content", ["fragment", "not-present", "example", "supplement"])
def test_a_code_system_that_is_not_complete_is_not_taken_for_one(content):
    fragment = {"resourceType": "CodeSystem", "url": "urn:f", "content": content, "concept": [concept("a")]}
    with pytest.raises(UnanswerableError):
        codes(composed({"system": "urn:f"}), fragment)
    assert codes(composed({"system": "urn:f", "concept": [{"code": "a"}]}), fragment, system="urn:f") == {"a"}


def test_a_set_of_too_many_concepts_is_too_costly():
    with pytest.raises(UnanswerableError) as raised:
        codes(composed({"system": SYSTEM}), limit=5)
    assert raised.value.code == "too-costly"


def test_sets_that_import_one_another_end():
    first = composed({"valueSet": ["urn:second"]}, url="urn:first")
    second = composed({"valueSet": ["urn:first"]}, url="urn:second")
    with pytest.raises(UnanswerableError):
        codes(first, second)


def test_an_expression_made_to_run_for_ever_does_not():
    long = {"resourceType": "CodeSystem", "url": "urn:a", "content": "complete", "concept": [concept("a" * 5000)]}
    asked = composed({"system": "urn:a", "filter": [{"property": "code", "op": "regex", "value": "(a+)+b"}]})
    assert codes(asked, long) == set()


CODES = sorted(ALL)


@given(st.lists(st.sampled_from(CODES)), st.lists(st.sampled_from(CODES)))
def test_including_and_excluding_lists_is_the_difference_of_sets(included, excluded):
    listed = [{"code": code} for code in included]
    unlisted = {"system": SYSTEM, "concept": [{"code": code} for code in excluded]}
    assert codes(composed({"system": SYSTEM, "concept": listed}, exclude=[unlisted])) == set(included) - set(excluded)
