"""JSON read and written without losing what a client's numbers looked like.

FHIR says that 1.50 is not 1.5 (https://hl7.org/fhir/R4/datatypes.html#decimal), so decimals are read as
`decimal.Decimal`, and text that is only passed on is never re-encoded. Two functions change a body on purpose: `splice`
gives a resource its id and version, `rewrite_references` replaces a transaction's temporary addresses. A patch changes
values that `parse_literally` has read (`resources.patch`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, Self

import msgspec

from resources.structure import Structure, structures


class MalformedError(ValueError):
    """The text is not JSON, or JSON that cannot be kept; the message says why in words for the client."""


class Literal(Decimal):
    """A number that is written as it was read, 1e2 as 1e2, and compares as the number that it is."""

    __slots__ = ("text",)

    text: str

    def __new__(cls, text: str) -> Self:
        """Read a number as JSON has it. Raises decimal.InvalidOperation."""
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __deepcopy__(self, memo: object) -> Self:
        """The same: it cannot change."""
        return self


def _written(value: Any) -> msgspec.Raw:
    if isinstance(value, Literal):
        return msgspec.Raw(value.text.encode())
    raise TypeError(f"{type(value).__name__} is no JSON value")


_decoder = msgspec.json.Decoder(float_hook=Decimal)
_members_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_verbatim_decoder = msgspec.json.Decoder(float_hook=lambda literal: msgspec.Raw(literal.encode()))
_literal_decoder = msgspec.json.Decoder(float_hook=Literal)
_encoder = msgspec.json.Encoder(decimal_format="number", enc_hook=_written)
_TOO_DEEP = "The JSON is nested too deeply"
_NEGATIVE_ZERO = re.compile(rb"-0(?![0-9.eE])")


def parse(body: bytes) -> Any:
    """The JSON value with exact decimals. Raises MalformedError, also for nesting too deep to read."""
    return _guarded(_decoder.decode, body)


def verbatim(body: bytes) -> Any:
    """The JSON value with decimals as ``msgspec.Raw``, the client's own text. Raises MalformedError.

    -0 has a literal too, which only the slower reader can keep.
    """
    value = _guarded(_verbatim_decoder.decode, body)
    if _NEGATIVE_ZERO.search(body):
        raw = lambda literal: msgspec.Raw(literal.encode())  # noqa: E731 - twice the same argument
        return _guarded(lambda text: json.loads(text, parse_float=raw, parse_int=raw), body)
    return value


def parse_literally(body: bytes) -> Any:
    """The JSON value with numbers that `encode` writes as they were. Raises MalformedError as `parse` does.

    A whole number is an ``int``, all others (and -0) are ``Literal``.
    """
    value = _guarded(_literal_decoder.decode, body)
    if _NEGATIVE_ZERO.search(body):  # which only the slower reader can keep
        return _guarded(lambda text: json.loads(text, parse_float=Literal, parse_int=_whole), body)
    return value


def _whole(literal: str) -> int | Literal:
    return Literal(literal) if literal == "-0" else int(literal)


def encode(value: Any) -> bytes:
    """Compact JSON.

    ``Decimal`` becomes a number with its digits as they are, ``Literal`` and ``msgspec.Raw`` become themselves.
    """
    return _encoder.encode(value)


def members_of(body: bytes) -> dict[str, msgspec.Raw]:
    """The top-level members of a JSON object, each value as the client's own text. Raises MalformedError."""
    members: dict[str, msgspec.Raw] = _guarded(_members_decoder.decode, body)
    return members


def splice(body: bytes, id: str, version: int, last_updated: str) -> bytes:
    """The resource with ``id``, ``meta.versionId`` and ``meta.lastUpdated`` set and every other value verbatim.

    ``resourceType``, ``id`` and ``meta`` come first; the other members keep their order. Raises MalformedError.
    """
    members = members_of(body)
    meta = members_of(bytes(members["meta"])) if "meta" in members else {}
    stamped: dict[str, Any] = {
        **meta,
        "versionId": str(version),
        "lastUpdated": last_updated,
    }
    head = {"resourceType": members["resourceType"]} if "resourceType" in members else {}
    return encode({**head, "id": id, "meta": stamped, **{k: v for k, v in members.items() if k not in _STAMPED}})


_STAMPED = frozenset({"resourceType", "id", "meta"})


def has_duplicate_names(body: bytes, parsed: Any) -> bool:
    """Whether some object of ``body``, which parsed to ``parsed``, names a member twice.

    Every member has a colon, and a colon inside a text is in the body as often as in ``parsed`` written out again; so a
    member lost in parsing shows as a difference in the number of colons. Only a difference, or a Unicode escape that
    could hide one, needs the slow, exact reading. Raises RecursionError for nesting that the slow reader cannot follow.
    """
    if b"\\u" not in body and body.count(b":") == encode(parsed).count(b":"):
        return False
    repeated = False

    def read(pairs: list[tuple[str, Any]]) -> None:
        nonlocal repeated
        repeated = repeated or len({name for name, _ in pairs}) != len(pairs)

    json.loads(body, object_pairs_hook=read, parse_int=str, parse_float=str)
    return repeated


def _guarded(decode: Callable[[bytes], Any], body: bytes) -> Any:
    try:
        return decode(body)
    except RecursionError as error:
        raise MalformedError(_TOO_DEEP) from error
    except InvalidOperation as error:
        raise MalformedError("A number of the JSON has an exponent that no decimal can hold") from error
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise MalformedError(f"The body is not valid JSON: {error}") from error


# -- references -------------------------------------------------------------------------------------------------------

ADDRESSES = frozenset({"uri", "url", "canonical", "oid", "uuid"})
"""The primitive types in which a temporary address may stand, https://hl7.org/fhir/R4/http.html#trules."""

_LINK = re.compile(r"""((?:href|src)\s*=\s*)("[^"]*"|'[^']*')""")


def rewrite_references(body: bytes, mapping: Mapping[str, str]) -> bytes:
    """The resource with every address that ``mapping`` knows replaced by the one it gives.

    Addresses stand in ``Reference.reference``, in elements of the types in `ADDRESSES`, and in ``href`` and ``src`` of
    narratives; a string that merely equals one (``Identifier.value``) is left alone. Decimals keep their literals. A
    body that mentions no key is returned as it is. Raises MalformedError.
    """
    if not any(key.encode() in body for key in mapping):
        return body
    resource = verbatim(body)
    try:
        _rewrite_resource(resource, mapping)
    except RecursionError as error:  # the body is yet to pass the gate, which has a limit
        raise MalformedError(_TOO_DEEP) from error
    return encode(resource)


def _rewrite_resource(node: Any, mapping: Mapping[str, str]) -> None:
    name = node.get("resourceType") if isinstance(node, dict) else None
    if isinstance(name, str) and name in structures():
        _rewrite(node, name, mapping)


def _rewrite(node: dict[str, Any], type_name: str, mapping: Mapping[str, str]) -> None:
    kinds = _address_members(type_name)
    for name, value in node.items():
        kind = kinds.get(name)
        if kind is None:
            continue
        if isinstance(value, list):
            node[name] = [_rewritten(entry, kind, mapping) for entry in value]
        else:
            node[name] = _rewritten(value, kind, mapping)


def _rewritten(value: Any, kind: str, mapping: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        if kind == "xhtml":
            return _LINK.sub(lambda link: _relinked(link, mapping), value)
        return value if kind in structures() else mapping.get(value, value)
    if isinstance(value, dict):
        if kind == "Resource":
            _rewrite_resource(value, mapping)
        else:
            _rewrite(value, kind, mapping)
    return value


def _relinked(link: re.Match[str], mapping: Mapping[str, str]) -> str:
    quote, address = link[2][0], link[2][1:-1]
    return f"{link[1]}{quote}{mapping.get(address, address)}{quote}"


@cache
def _address_members(type_name: str) -> Mapping[str, str]:
    """JSON names of the elements in which an address may stand, each with the type to look into."""
    structure: Structure = structures()[type_name]
    found: dict[str, str] = {}
    for name, element in structure.elements.items():
        for json_name, member_type in element.json_names(name):
            is_reference = type_name == "Reference" and name == "reference"
            if (
                is_reference
                or member_type in ADDRESSES
                or member_type in ("xhtml", "Resource")
                or member_type in structures()
            ):
                found[json_name] = member_type
            if member_type not in structures() and not element.plain and member_type != "Resource":
                found[f"_{json_name}"] = "Element"
    return found
