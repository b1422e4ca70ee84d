"""The parameters of an operation: read from an address or a Parameters resource, and made into one.

What is not declared is refused, as is what cannot be read; an address carries primitive values only.

https://hl7.org/fhir/R4/operations.html#executing, https://hl7.org/fhir/R4/parameters.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from fhirserver.errors import BadRequest, NotSupported, Unprocessable
from fhirserver.interactions.context import PAGE, Context, Pairs
from fhirserver.interactions.entries import parse_target
from fhirserver.operations.operation import Given, Operation, Parameter
from fhirserver.search.cursor import Cursor
from resources.exact import encode

WRITING = frozenset({"_format", "_pretty"})
"""Parameters of every request that say how the answer is written."""

_TEXTS = frozenset({"string", "code", "id", "uri", "url", "canonical", "date", "dateTime", "instant", "markdown"})


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len("2147483647")):
        raise ValueError(text)
    return int(text)


def _positive(text: str) -> int:
    if number := _whole(text):
        return number
    raise ValueError(text)


_READERS: Mapping[str, Callable[[str], Any]] = {
    **dict.fromkeys(_TEXTS, str),
    "integer": _whole,
    "positiveInt": _positive,
    "unsignedInt": _whole,
    "boolean": {"true": True, "false": False}.__getitem__,
}
IN_ADDRESS = frozenset(_READERS)
"""The types of which an address can carry values."""


def read(context: Context, operation: Operation, pairs: Pairs, body: bytes, after: Cursor | None) -> Given:
    """The parameters of a call: `pairs` of its address, or of the call that a page link continues, and its body.

    Raises NotSupported for a parameter that is not declared, BadRequest for one that is missing, comes too often or
    cannot be read, Unprocessable where the body is no valid Parameters resource.
    """
    values: dict[str, list[Any]] = {}
    kept: list[tuple[str, str]] = []
    for name, text in pairs:
        if name in WRITING or name == PAGE:
            continue
        parameter = _declared(operation, name)
        kept.append((name, text))
        if parameter is not None:
            values.setdefault(name, []).append(_from_text(parameter, text))
    for name, member, value in _parts(context, body) if body else ():
        parameter = _declared(operation, name)
        if parameter is None:
            kept.append((name, _text(name, value)))
            continue
        values.setdefault(name, []).append(_from_json(parameter, member, value))
        if not isinstance(value, dict | list):
            kept.append((name, _text(name, value)))
    for parameter in operation.takes:
        _check_number(parameter, len(values.get(parameter.name, ())))
    return Given(values, tuple(kept), after)


def parameters(parts: Iterable[Mapping[str, Any]]) -> bytes:
    """A Parameters resource of these parts, in order."""
    found = list(parts)
    return encode({"resourceType": "Parameters", **({"parameter": found} if found else {})})


def reference_of(context: Context, text: str, name: str, types: Sequence[str]) -> str:
    """The value of a parameter that names a resource of one of the types, `Type/id`. Raises BadRequest for another."""
    address = parse_target(text, context.config.fhir_base)
    is_whole = address.id is not None and address.version_id is None and not address.is_history
    if not is_whole or address.type not in types or address.query or address.operation:
        raise BadRequest(f"{name} is {' or '.join(f'{type_}/id' for type_ in types)}.", expression=name)
    return f"{address.type}/{address.id}"


def _declared(operation: Operation, name: str) -> Parameter | None:
    parameter = operation.parameter(name)
    if parameter is None and not operation.searches:
        raise NotSupported(f"${operation.name} takes no parameter {name}.", expression=name)
    return parameter


def _from_text(parameter: Parameter, text: str) -> Any:
    reader = _READERS.get(parameter.type)
    if reader is None:
        raise BadRequest(
            f"{parameter.name} is a {parameter.type}: send it in a Parameters resource.", expression=parameter.name
        )
    try:
        return _said(parameter, reader(text))
    except (ValueError, KeyError) as error:
        raise _unreadable(parameter, text) from error


def _from_json(parameter: Parameter, member: str, value: Any) -> Any:
    """The value of a part; types that are texts may stand for each other, as in an address."""
    stated = member.removeprefix("value")
    is_text = parameter.type in _TEXTS and stated[:1].lower() + stated[1:] in _TEXTS
    number = parameter.type in {"integer", "positiveInt", "unsignedInt"}
    least = 1 if parameter.type == "positiveInt" else 0
    is_number = number and stated in {"Integer", "PositiveInt", "UnsignedInt"} and value >= least
    if is_text or is_number or stated.lower() == parameter.type.lower():
        return _said(parameter, value)
    raise _unreadable(parameter, member)


def _said(parameter: Parameter, value: Any) -> Any:
    if value == "":
        raise _unreadable(parameter, "nothing")
    return value


def _unreadable(parameter: Parameter, given: str) -> BadRequest:
    return BadRequest(f"{parameter.name} is of type {parameter.type}, not: {given}", expression=parameter.name)


def _check_number(parameter: Parameter, given: int) -> None:
    if given < parameter.min:
        raise BadRequest(f"The parameter {parameter.name} is needed.", code="required", expression=parameter.name)
    if parameter.max is not None and given > parameter.max:
        raise BadRequest(f"The parameter {parameter.name} may be given once.", expression=parameter.name)


def _parts(context: Context, body: bytes) -> Iterable[tuple[str, str, Any]]:
    """Name, member and value of each parameter of a Parameters resource."""
    resource = context.check("Parameters", body).resource
    for index, part in enumerate(resource.get("parameter", ())):
        value = [(member, value) for member, value in part.items() if member.startswith("value")]
        if not value:
            raise Unprocessable(
                f"The parameter {part['name']} has no value.", expression=f"Parameters.parameter[{index}]"
            )
        yield part["name"], *value[0]


def _text(name: str, value: Any) -> str:
    """A primitive value as an address has it. Raises BadRequest for another."""
    match value:
        case bool():
            return "true" if value else "false"
        case str() | int() | Decimal():
            return str(value)
        case _:
            raise BadRequest(f"{name} takes a primitive value.", expression=name)
