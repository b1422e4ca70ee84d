"""Composite parameters (https://hl7.org/fhir/R4/search.html#combining): `[value]$[value]`, matched within one element.

Components that are compared for equality make a key: the forms of their values joined by U+001F. Without an ordered
component the key is an atom; with one, it is part of the name of an interval. R4 has one shape with two ordered
components (MolecularSequence: chromosome$start$end, both numbers): there `lo` keeps the first and `hi` the second, and
since each is a single number, every prefix can be asked of that one bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any, Literal

from fhirserver.errors import BadRequest
from fhirserver.search import date, number, quantity, reference, string, token
from fhirserver.search.escape import split, unescape
from fhirserver.search.expression import Comparison, Equals, Expression, Interval, StartsWith, any_of
from fhirserver.search.stored import SEPARATOR, Collector, Context, Extracted
from fhirserver.search.uri import add as add_uri
from resources.declaration import Component, SearchParameter
from resources.paths import compile_expression

MODIFIERS: frozenset[str] = frozenset()

_RESOURCE = "%resource."
_EXCHANGED = "http://hl7.org/fhir/SearchParameter/DocumentReference-relationship"
_compiled = cache(compile_expression)

_ORDERED = frozenset({"date", "number", "quantity"})
_ADD: dict[str, Callable[[str, Iterable[Extracted], Collector], None]] = {
    "date": date.add,
    "number": number.add,
    "quantity": quantity.add,
    "reference": reference.add,
    "string": string.add,
    "token": token.add,
    "uri": add_uri,
}


def add(
    parameter: SearchParameter, extracted: Iterable[Extracted], resource: Mapping[str, Any], into: Collector
) -> None:
    """Add one atom or interval for each combination of the components' forms within each element."""
    name = parameter.name
    for element in extracted:
        keys: list[list[str]] = []
        intervals: list[list[dict[str, Any]]] = []
        for component, path in zip(parameter.components, _paths(parameter), strict=True):
            found = _follow(path, element, resource)
            scratch = Collector(into.context)
            _ADD[component.type]("", found, scratch)
            if component.type in _ORDERED:
                intervals.append(scratch.rg)
            else:
                keys.append([atom[1:] for atom in scratch.tk if atom.startswith(SEPARATOR)])
        for forms in product(*keys):
            key = SEPARATOR.join((name, *forms))
            if not intervals:
                into.tk[key] = None
            for parts in product(*intervals):
                if parts:
                    into.rg.append({**_combined(parts), "n": key + "".join(part["n"] for part in parts)})


def _paths(parameter: SearchParameter) -> Sequence[str]:
    """Where each component is found. R4 publishes the two paths of one parameter in the order of the other's names."""
    paths = [component.expression for component in parameter.components]
    return paths[::-1] if parameter.url == _EXCHANGED else paths


def _follow(path: str, element: Extracted, resource: Mapping[str, Any]) -> list[Extracted]:
    """The values at a path below the composite's element, or below the whole resource where the path says so."""
    if path.startswith(_RESOURCE):
        return _compiled(path.removeprefix(_RESOURCE), resource["resourceType"])(resource)
    node, fhir_type = element
    return _compiled(path, fhir_type)(node)


def _combined(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One interval as it is, or of two numbers the first in `lo` and the second in `hi`."""
    return found[0] if len(found) == 1 else {"lo": found[0]["lo"], "hi": found[1]["hi"]}


def expression(parameter: SearchParameter, _modifier: str | None, value: str, context: Context) -> Expression:
    """The comparison of one value for each component, within one element."""
    name, texts = parameter.name, split(value, "$")
    if len(texts) != len(parameter.components) or not all(texts):
        wanted = "$".join(f"[{component.name}]" for component in parameter.components)
        raise BadRequest(rf"{name}: write {wanted}, and a dollar sign inside a value as \$", expression=name)
    asked = list(zip(parameter.components, texts, strict=True))
    keys = [
        SEPARATOR.join((name, *forms))
        for forms in product(*(_forms(name, *pair, context) for pair in asked if pair[0].type not in _ORDERED))
    ]
    ordered = [_ways(name, *pair, context) for pair in asked if pair[0].type in _ORDERED]
    if ordered:
        asked_of = _joined(ordered)
        return any_of(Interval(key + asked_of.kind, way, asked_of.unit) for key in keys for way in asked_of.ways)
    ends_in_text = parameter.components[-1].type == "string"
    return any_of(StartsWith(key) if ends_in_text else Equals(key) for key in keys)


def _forms(name: str, component: Component, text: str, context: Context) -> Sequence[str]:
    """The stored forms that answer a component compared for equality."""
    match component.type:
        case "token":
            system, code = token.parts(name, text)
            if not code:
                raise BadRequest(f"{name}: a token inside a composite has a code", expression=name)
            return token.forms(system, code)
        case "reference":
            return reference.asked_forms(name, (), text, context)
        case "string":
            return (string.wanted(name, unescape(text, name)),)
        case _:
            return (unescape(text, name),)


def _ways(name: str, component: Component, text: str, context: Context) -> quantity.Asked:
    """How an ordered component may match, and the unit it must have."""
    match component.type:
        case "date":
            return quantity.Asked(date.ways(name, text, context))
        case "quantity":
            return quantity.asked(name, text)
        case _:
            return quantity.Asked(number.ways(name, unescape(text, name)))


def _joined(ordered: Sequence[quantity.Asked]) -> quantity.Asked:
    """The ways of the only ordered component, or of both together, each asked of the bound in which it is kept."""
    if len(ordered) == 1:
        return ordered[0]
    first, second = ordered
    pairs = product(first.ways, second.ways)
    return quantity.Asked(tuple((*_at("lo", one), *_at("hi", other)) for one, other in pairs))


def _at(bound: Literal["lo", "hi"], way: Iterable[Comparison]) -> tuple[Comparison, ...]:
    return tuple(replace(comparison, bound=bound) for comparison in way)
