"""Quantity parameters (https://hl7.org/fhir/R4/search.html#quantity): `[prefix][number]|[system]|[code]`.

A quantity in a UCUM unit is kept a second time in the canonical unit, by exact arithmetic, so that `1 g` finds 1000 mg.
Every other unit, and one of UCUM that has no fixed ratio to others (pH), is compared as it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import inf
from typing import Any

from fhirserver.errors import BadRequest
from fhirserver.search import number
from fhirserver.search.escape import split, unescape
from fhirserver.search.expression import Expression, Interval, any_of
from fhirserver.search.prefix import Alternatives
from fhirserver.search.stored import SEPARATOR, Collector, Context, Extracted, token_part
from resources.declaration import SearchParameter
from terminology import ucum

MODIFIERS: frozenset[str] = frozenset()

_CURRENCIES = "urn:iso:std:iso:4217"
_NUMBERS = (int, float, Decimal)
_MOST_DIGITS = 400


@dataclass(frozen=True, slots=True)
class Asked:
    """How one stored interval may match: the ways, the unit it must have, and what its name ends in (`canonical`)."""

    ways: Alternatives
    unit: str | None = None
    kind: str = ""


def canonical(unit: ucum.Unit) -> str:
    """What the name of an interval in this canonical unit ends in."""
    return f":ucum{SEPARATOR}{unit.canonical}"


def add(name: str, extracted: Iterable[Extracted], into: Collector) -> None:
    """Add the interval and the units of each Quantity, Money and Range, and the interval in the canonical unit.

    It sorts by the canonical one where there is one.
    """
    for value, _fhir_type in extracted:
        if not isinstance(value, dict):
            continue
        is_range = "low" in value or "high" in value
        ends = _range_ends(value) if is_range else _quantity_ends(value)
        if ends is None:
            continue
        low, high = (_stored(ends[0], -inf), _stored(ends[1], inf))
        named = value.get("low") or value.get("high") or value
        into.rg.append({"n": name, "lo": low, "hi": high, "u": _units(named)})
        units = [_ucum(one) for one in ((value.get("low"), value.get("high")) if is_range else (value, value))]
        found = _canonical_ends(ends, units)
        if found is not None:
            low, high, kind = found
            into.rg.append({"n": name + kind, "lo": low, "hi": high})
        into.sort(name, low, high)


_Ends = tuple["Decimal | int | float | None", "Decimal | int | float | None"]
"""The lower and the upper end as they are written; None where it is open."""


def _quantity_ends(quantity: Mapping[str, Any]) -> _Ends | None:
    """A number, open to one side when a comparator says that the true value lies there."""
    value = _number(quantity)
    if value is None:
        return None
    match quantity.get("comparator"):
        case "<" | "<=":
            return None, value
        case ">" | ">=":
            return value, None
        case _:
            return value, value


def _range_ends(quantities: Mapping[str, Any]) -> _Ends | None:
    low, high = (_number(quantities.get(end) or {}) for end in ("low", "high"))
    return None if low is None and high is None else (low, high)


def _number(quantity: Any) -> Decimal | int | float | None:
    value = quantity.get("value") if isinstance(quantity, dict) else None
    return value if isinstance(value, _NUMBERS) and not isinstance(value, bool) else None


def _stored(value: Decimal | float | None, otherwise: float) -> float:
    found = number.stored(value)
    return otherwise if found is None else found


def _units(quantity: Mapping[str, Any]) -> list[str]:
    """The names by which the unit may be asked: system and code, code alone, the human unit alone."""
    if "currency" in quantity:
        return [f"{_CURRENCIES}|{quantity['currency']}", f"|{quantity['currency']}"]
    system, code, unit = (quantity.get(name) for name in ("system", "code", "unit"))
    units = [f"{token_part(system)}|{token_part(code)}"] if system and code else []
    units.extend(f"|{token_part(name)}" for name in dict.fromkeys((code, unit)) if name)
    return units


def _ucum(quantity: Any) -> ucum.Unit | None:
    """The UCUM unit of a quantity, if it has one that can be converted."""
    if not isinstance(quantity, dict) or quantity.get("system") != ucum.UCUM:
        return None
    code = quantity.get("code")
    return ucum.unit(code) if isinstance(code, str) else None


def _canonical_ends(ends: _Ends, units: Iterable[ucum.Unit | None]) -> tuple[float, float, str] | None:
    """The ends in the canonical unit, and what the name ends in; None where they cannot be converted to one."""
    found = []
    kinds = set()
    for value, unit, otherwise in zip(ends, units, (-inf, inf), strict=True):
        if value is None:
            found.append(otherwise)
            continue
        if unit is None:
            return None
        exact = Decimal(value)
        if abs(exact.adjusted()) > _MOST_DIGITS:  # beyond a double, and an exact fraction would fill the memory
            return None
        try:
            found.append(float(unit.convert(exact)))
        except OverflowError:
            return None
        kinds.add(canonical(unit))
    return (found[0], found[1], kinds.pop()) if len(kinds) == 1 else None


def expression(parameter: SearchParameter, _modifier: str | None, value: str, _context: Context) -> Expression:
    """The comparison of a prefixed number, with a unit if one is named."""
    wanted = asked(parameter.name, value)
    return any_of(Interval(parameter.name + wanted.kind, way, wanted.unit) for way in wanted.ways)


def asked(name: str, value: str) -> Asked:
    """How one stored interval may match the prefixed number and its unit; refuses any other form of value."""
    amount, *named = (unescape(part, name) for part in split(value, "|"))
    match named:
        case [] | ["", ""]:
            return Asked(number.ways(name, amount))
        case [ucum.UCUM, code] if (unit := ucum.unit(code)) is not None:
            return Asked(number.ways(name, amount, _converter(name, unit)), None, canonical(unit))
        case [system, code] if code:
            return Asked(number.ways(name, amount), f"{token_part(system)}|{token_part(code)}")
        case _:
            raise BadRequest(
                f"{name}: write [prefix]number, [prefix]number|system|code or [prefix]number||code", expression=name
            )


def _converter(name: str, unit: ucum.Unit) -> Callable[[Decimal], float]:
    """How a number in the unit is stored in the canonical one; refuses one beyond what a double holds."""

    def convert(value: Decimal) -> float:
        try:
            return float(unit.convert(value))
        except OverflowError:
            raise BadRequest(f"{name}: the number is too large in this unit", expression=name) from None

    return convert
