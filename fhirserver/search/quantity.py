"""Quantity parameters (https://hl7.org/fhir/R4/search.html#quantity): `[prefix][number]|[system]|[code]`.

Units are compared as written, without conversion: 1 g is not 1000 mg.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import inf
from typing import Any

from fhirserver.errors import BadRequest
from fhirserver.search import number
from fhirserver.search.escape import split, unescape
from fhirserver.search.expression import Expression
from fhirserver.search.prefix import Alternatives, intervals
from fhirserver.search.stored import Collector, Context, Extracted, token_part
from resources.declaration import SearchParameter

MODIFIERS: frozenset[str] = frozenset()

_CURRENCIES = "urn:iso:std:iso:4217"


def add(name: str, extracted: Iterable[Extracted], into: Collector) -> None:
    """Add the interval and the units of each Quantity, Money and Range."""
    for low, high, units in measured(extracted):
        into.rg.append({"n": name, "lo": low, "hi": high, "u": units})
        into.sort(name, low, high)


def measured(extracted: Iterable[Extracted]) -> Iterator[tuple[float, float, list[str]]]:
    """The ends and the units of each value that has a number."""
    for value, _fhir_type in extracted:
        if not isinstance(value, dict):
            continue
        ends = _range_ends(value) if "low" in value or "high" in value else _quantity_ends(value)
        if ends is not None:
            yield *ends, _units(value.get("low") or value.get("high") or value)


def _quantity_ends(quantity: Mapping[str, Any]) -> tuple[float, float] | None:
    """A number, open to one side when a comparator says that the true value lies there."""
    value = number.stored(quantity.get("value"))
    if value is None:
        return None
    match quantity.get("comparator"):
        case "<" | "<=":
            return -inf, value
        case ">" | ">=":
            return value, inf
        case _:
            return value, value


def _range_ends(quantities: Mapping[str, Any]) -> tuple[float, float] | None:
    low, high = (number.stored((quantities.get(end) or {}).get("value")) for end in ("low", "high"))
    if low is None and high is None:
        return None
    return (-inf if low is None else low), (inf if high is None else high)


def _units(quantity: Mapping[str, Any]) -> list[str]:
    """The names by which the unit may be asked: system and code, code alone, the human unit alone."""
    if "currency" in quantity:
        return [f"{_CURRENCIES}|{quantity['currency']}", f"|{quantity['currency']}"]
    system, code, unit = (quantity.get(name) for name in ("system", "code", "unit"))
    units = [f"{token_part(system)}|{token_part(code)}"] if system and code else []
    units.extend(f"|{token_part(name)}" for name in dict.fromkeys((code, unit)) if name)
    return units


def expression(parameter: SearchParameter, _modifier: str | None, value: str, _context: Context) -> Expression:
    """The comparison of a prefixed number, with a unit if one is named."""
    comparisons, unit = ways(parameter.name, value)
    return intervals(parameter.name, comparisons, unit)


def ways(name: str, value: str) -> tuple[Alternatives, str | None]:
    """How one stored interval may match, and the unit it must have; refuses any other form of value."""
    amount, *unit = (unescape(part, name) for part in split(value, "|"))
    comparisons = number.ways(name, amount)
    match unit:
        case [] | ["", ""]:
            return comparisons, None
        case [system, code] if code:
            return comparisons, f"{token_part(system)}|{token_part(code)}"
        case _:
            raise BadRequest(
                f"{name}: write [prefix]number, [prefix]number|system|code or [prefix]number||code", expression=name
            )
