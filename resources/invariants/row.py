"""Rows of the table of invariants, and the rules that most of them are made of.

A rule is given the structure it is about and makes a predicate, so that a choice element (``value[x]``) is resolved
once to the JSON names it may have. An element exists, as in FHIRPath, when it has a value or, for a primitive,
extensions (``_x``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from resources.structure import structures

Node = Mapping[str, Any]
Predicate = Callable[[Node], bool]
Rule = Callable[[str], Predicate]


@dataclass(frozen=True, slots=True)
class Row:
    """The structure it guards, the published key, the rule."""

    structure: str
    key: str
    rule: Rule


@dataclass(frozen=True, slots=True)
class Invariant:
    """The published key and text, and whether it holds for an element."""

    key: str
    human: str
    holds: Predicate


# -- questions about an element ---------------------------------------------------------------------------------------


def has(node: Node, name: str) -> bool:
    """``exists()`` of an element that is no choice."""
    return name in node or f"_{name}" in node


def entries(node: Node, name: str) -> list[Any]:
    """The element as a list, empty when it is absent."""
    value = node.get(name, [])
    return value if isinstance(value, list) else [value]


def within(node: Node, *names: str) -> list[Any]:
    """Everything at a path of element names below the element."""
    found: list[Any] = [node]
    for name in names:
        found = [entry for parent in found for entry in entries(parent, name)]
    return found


def codes(concept: object, system: str) -> set[str]:
    """The codes of one system in a CodeableConcept."""
    codings = concept.get("coding", ()) if isinstance(concept, dict) else ()
    return {coding["code"] for coding in codings if coding.get("system") == system and "code" in coding}


def is_distinct(values: Collection[Any]) -> bool:
    """``isDistinct()``."""
    return len(values) == len(set(values))


# -- rules ------------------------------------------------------------------------------------------------------------


def holds(predicate: Predicate) -> Rule:
    """A rule in its own words."""
    return lambda _: predicate


def exists(name: str) -> Rule:
    """The element is there."""

    def rule(structure: str) -> Predicate:
        names = _json_names(structure, name)
        return lambda node: not names.isdisjoint(node)

    return rule


def is_code(name: str, *values: str) -> Rule:
    """The code is one of these."""
    return lambda _: lambda node: node.get(name) in values


def absent(name: str) -> Rule:
    """The element is not there."""
    return negated(exists(name))


def negated(rule: Rule) -> Rule:
    """The rule does not hold."""

    def made(structure: str) -> Predicate:
        predicate = rule(structure)
        return lambda node: not predicate(node)

    return made


def one_or_more(*names: str) -> Rule:
    """At least one of the elements is there."""
    return either(*(exists(name) for name in names))


def exactly_one(*names: str) -> Rule:
    """One of the elements is there and the others are not."""

    def rule(structure: str) -> Predicate:
        predicates = [exists(name)(structure) for name in names]
        return lambda node: sum(predicate(node) for predicate in predicates) == 1

    return rule


def not_both(first: str, second: str) -> Rule:
    """At most one of the two elements is there."""
    return implies(exists(first), absent(second))


def needs(name: str, *others: str) -> Rule:
    """Where the element is, at least one of the others is too."""
    return implies(exists(name), one_or_more(*others))


def implies(condition: Rule, consequence: Rule) -> Rule:
    """``implies``."""
    return either(negated(condition), consequence)


def either(*rules: Rule) -> Rule:
    """``or``."""

    def rule(structure: str) -> Predicate:
        predicates = tuple(made(structure) for made in rules)
        return lambda node: any(predicate(node) for predicate in predicates)

    return rule


def both(*rules: Rule) -> Rule:
    """``and``."""

    def rule(structure: str) -> Predicate:
        predicates = tuple(made(structure) for made in rules)
        return lambda node: all(predicate(node) for predicate in predicates)

    return rule


def _json_names(structure: str, name: str) -> frozenset[str]:
    """The JSON names by which an element may be present; a name that the structure lacks is a mistake in the table."""
    element = structures()[structure].elements[name.removesuffix("[x]")]
    names = [json_name for json_name, _ in element.json_names(name.removesuffix("[x]"))]
    return frozenset(names + [f"_{json_name}" for json_name in names])
