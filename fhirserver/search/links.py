"""References that a search follows: the steps of a parameter's name, and the nodes of the expression that they become.

    patient.organization.name                   a chain: the part after each dot is asked of what the reference leads to
    subject:Patient.name                        the same, of one type only
    _has:Observation:patient:code               a reverse chain: asked of Observations that refer to the resource
    patient._has:Observation:patient:code       both, in any order and depth

https://hl7.org/fhir/R4/search.html#chaining, https://hl7.org/fhir/R4/search.html#has
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from fhirserver.errors import BadRequest
from fhirserver.search.expression import All, Any, Expression, Never, Not, ReferredBy, Refers, any_of


@dataclass(frozen=True, slots=True)
class Chain:
    """Follow the reference of a parameter, to one type if it is said; `rest` is asked there."""

    param: str
    type: str | None
    rest: str


@dataclass(frozen=True, slots=True)
class Has:
    """Look for resources of the type that refer here under the parameter; `rest` is asked there."""

    type: str
    param: str
    rest: str


@dataclass(frozen=True, slots=True)
class Last:
    """A parameter and perhaps its modifier: nothing more is followed."""

    name: str
    modifier: str | None


Step: TypeAlias = Chain | Has | Last

_HAS = "_has"


def first_step(path: str) -> Step:
    """The first step of a parameter's name. Raises BadRequest where a step is not whole."""
    if path == _HAS or path.startswith(f"{_HAS}:"):
        parts = path.split(":", 3)
        if len(parts) < 4 or not all(parts):
            raise BadRequest(f"{path}: write _has:Type:reference:parameter", expression=path)
        return Has(*parts[1:])
    head, dot, rest = path.partition(".")
    name, _, modifier = head.partition(":")
    if not dot:
        return Last(name, modifier or None)
    if not name or not rest:
        raise BadRequest(f"{path}: a chain has a parameter on each side of its dots", expression=path)
    return Chain(name, modifier or None, rest)


def followed(expression: Expression) -> Iterator[tuple[str, ...]]:
    """The types that each reference followed may lead to."""
    match expression:
        case Refers(_, types, part):
            yield types
            yield from followed(part)
        case ReferredBy(type_, _, _, part):
            yield (type_,)
            yield from followed(part)
        case All(parts) | Any(parts):
            for part in parts:
                yield from followed(part)
        case Not(part):
            yield from followed(part)
        case _:
            return


def of_contained(expression: Expression) -> Expression:
    """What is asked of a contained resource: nothing outside of its container can refer to it."""
    match expression:
        case ReferredBy():
            return Never()
        case All(parts):
            return All(tuple(of_contained(part) for part in parts))
        case Any(parts):
            return any_of(of_contained(part) for part in parts)
        case Not(part):
            return Not(of_contained(part))
        case _:
            return expression


def replaced(expression: Expression, answer: Callable[[Refers | ReferredBy], Expression]) -> Expression:
    """The expression with each reference followed replaced by its `answer`, the innermost first."""
    match expression:
        case Refers() | ReferredBy():
            return answer(replace(expression, part=replaced(expression.part, answer)))
        case All(parts):
            return All(tuple(replaced(part, answer) for part in parts))
        case Any(parts):
            return any_of(replaced(part, answer) for part in parts)
        case Not(part):
            return Not(replaced(part, answer))
        case _:
            return expression
