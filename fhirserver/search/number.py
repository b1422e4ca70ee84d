"""Number parameters (https://hl7.org/fhir/R4/search.html#number).

The number searched has the range that its digits imply: 100 is [99.5, 100.5), 100.00 is [99.995, 100.005). The number
stored is exact. Both are compared as IEEE 754 doubles, so numbers that differ after the fifteenth digit are equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from math import inf
from typing import Any

from fhirserver.errors import BadRequest
from fhirserver.search.escape import unescape
from fhirserver.search.expression import Expression
from fhirserver.search.prefix import IMPRECISE, Alternatives, Range, alternatives, intervals, split_prefix
from fhirserver.search.stored import Collector, Context, Extracted
from resources.declaration import SearchParameter

MODIFIERS: frozenset[str] = frozenset()

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d{1,3})?", re.ASCII)
_MOST_CHARACTERS = 64


def add(name: str, extracted: Iterable[Extracted], into: Collector) -> None:
    """Add the interval of each number and Range."""
    for value, _fhir_type in extracted:
        if isinstance(value, dict):
            low, high = stored(_value(value.get("low"))), stored(_value(value.get("high")))
            if low is not None or high is not None:
                into.interval(name, -inf if low is None else low, inf if high is None else high)
        elif (number := stored(value)) is not None:
            into.interval(name, number, number)


def _value(quantity: Any) -> Any:
    return quantity.get("value") if isinstance(quantity, dict) else None


def stored(value: Any) -> float | None:
    """A decimal or integer as it is stored; None if it is neither. Beyond a double, it is infinite."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        return float(value)
    except OverflowError:
        return inf if value > 0 else -inf


def expression(parameter: SearchParameter, _modifier: str | None, value: str, _context: Context) -> Expression:
    """The comparison of a prefixed number."""
    return intervals(parameter.name, ways(parameter.name, unescape(value, parameter.name)))


def ways(name: str, value: str, convert: Callable[[Decimal], float] = float) -> Alternatives:
    """How one stored interval may match the prefixed number; refuses what is not a number.

    `convert` gives a number as it is stored: for a quantity, in the canonical unit.
    """
    prefix, text = split_prefix(value)
    return alternatives(prefix, _range(prefix, _decimal(name, text), text, convert))


def _decimal(name: str, text: str) -> Decimal:
    if len(text) > _MOST_CHARACTERS or not _NUMBER.fullmatch(text):
        raise BadRequest(f"{name}: '{text[:_MOST_CHARACTERS]}' is not a number", expression=name)
    return Decimal(text)


def _range(prefix: str, number: Decimal, text: str, convert: Callable[[Decimal], float]) -> Range:
    """The range of the number: exact for the comparing prefixes, implied by its digits or a tenth for the others."""
    if prefix not in IMPRECISE:
        exact = convert(number)
        return Range(exact, exact)
    margin = _half_of_last_digit(number, text)
    if prefix == "ap":
        margin = max(margin, abs(number) / 10)
    return Range(convert(number - margin), convert(number + margin), is_open=prefix != "ap")


def _half_of_last_digit(number: Decimal, text: str) -> Decimal:
    """Half of the last significant digit.

    The specification's own example reads 1e2 as [95, 105), one digit finer than its digits say; so does this.
    """
    last_digit = Decimal(1).scaleb(int(number.as_tuple().exponent))
    mantissa, _, exponent = text.lower().lstrip("+-").partition("e")
    if exponent and len(mantissa) == 1:
        last_digit /= 10
    return last_digit / 2
