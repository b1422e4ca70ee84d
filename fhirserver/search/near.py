"""`Location?near=[latitude]|[longitude]|[distance]|[units]` (https://hl7.org/fhir/R4/location.html#search).

A place is near when the great circle to it is no longer than the distance. Units are UCUM codes of length, kilometres
where none is said, and `DEFAULT` is the distance where none is said. A position is kept apart from the other search
values, since an index of places holds both coordinates.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from fhirserver.errors import BadRequest
from fhirserver.search.escape import split, unescape
from fhirserver.search.expression import Expression, Near
from fhirserver.search.stored import SEPARATOR, Collector, Context, Extracted
from resources.declaration import SearchParameter
from terminology import ucum

MODIFIERS: frozenset[str] = frozenset()

DEFAULT = Decimal(50)
"""Kilometres, where the distance is not said: "left to the server's discretion"."""

_NUMBER = re.compile(r"[+-]?\d{1,9}(\.\d{1,20})?", re.ASCII)


def add(name: str, extracted: Iterable[Extracted], into: Collector) -> None:
    """Keep the position, if it is one on Earth, and that there is one."""
    for value, _fhir_type in extracted:
        if not isinstance(value, dict):
            continue
        latitude, longitude = _coordinate(value.get("latitude"), 90), _coordinate(value.get("longitude"), 180)
        if latitude is not None and longitude is not None:
            into.place = (longitude, latitude)
            into.tk[f"{name}:present{SEPARATOR}"] = None


def _coordinate(value: Any, most: int) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    return float(value) if -most <= value <= most else None


def expression(parameter: SearchParameter, _modifier: str | None, value: str, _context: Context) -> Expression:
    """The comparison of one place; refuses what is none, and a unit that is none of length."""
    name = parameter.name
    parts = [unescape(part, name) for part in split(value, "|")]
    if not 2 <= len(parts) <= 4:
        raise BadRequest(f"{name}: write latitude|longitude, perhaps with |distance and |units", expression=name)
    latitude, longitude = _degrees(name, parts[0], 90), _degrees(name, parts[1], 180)
    distance = DEFAULT if len(parts) < 3 or not parts[2] else _number(name, parts[2])
    if distance < 0:
        raise BadRequest(f"{name}: a distance is not negative", expression=name)
    length = _length(name, parts[3] if len(parts) == 4 and parts[3] else "km")
    return Near(latitude, longitude, float(length.convert(distance)))


def _degrees(name: str, text: str, most: int) -> float:
    number = _number(name, text)
    if abs(number) > most:
        raise BadRequest(f"{name}: {text} is not from -{most} to {most}; the latitude comes first", expression=name)
    return float(number)


def _number(name: str, text: str) -> Decimal:
    if not _NUMBER.fullmatch(text):
        raise BadRequest(f"{name}: '{text[:40]}' is not a decimal number", expression=name)
    return Decimal(text)


def _length(name: str, code: str) -> ucum.Unit:
    """The unit of a UCUM code of length; the brackets of `[mi_us]` may be left out."""
    for form in (code, f"[{code}]"):
        unit = ucum.unit(form)
        if unit is not None and unit.canonical == "m":
            return unit
    raise BadRequest(f"{name}: '{code[:40]}' is no UCUM unit of length, such as km or [mi_us]", expression=name)
