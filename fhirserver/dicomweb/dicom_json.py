"""The DICOM JSON model (PS3.18 Annex F), from the elements that `part10` read.

https://dicom.nema.org/medical/dicom/current/output/chtml/part18/chapter_F.html. Written once, when an instance is
stored, and kept as bytes. Long binary values are named by a BulkDataURI below `BASE`, which stands for this server's
public base: `placed` puts the base in when the bytes are sent, so that stored metadata survive a change of address.
"""

from __future__ import annotations

import math
import struct
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson
from pydicom.charset import decode_bytes, python_encoding

from fhirserver.dicomweb.part10 import Bulk, Element, Header

BASE: Final = "@"
"""Stands for the DICOMweb base in stored metadata."""

_PLACEHOLDER = f'"BulkDataURI":"{BASE}/'.encode()
_CHARACTER_SET = 0x00080005
_AVAILABLE_TRANSFER_SYNTAX = 0x00083002
_DELIMITERS = {0x0A, 0x0C, 0x0D, 0x09, 0x5C}  # PS3.5 6.1.2.5.3: character sets are reset there
_NAME_DELIMITERS = _DELIMITERS | {0x5E, 0x3D}

_NUMBERS = {
    "FD": ("d", 8),
    "FL": ("f", 4),
    "SL": ("l", 4),
    "SS": ("h", 2),
    "SV": ("q", 8),
    "UL": ("L", 4),
    "US": ("H", 2),
    "UV": ("Q", 8),
}
_WORDS = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}

Decode = Callable[[bytes], str]
JsonElement = dict[str, Any]


class BulkPlace(NamedTuple):
    """A bulk value: the path that its URI ends with, and where it lies in the (inflated) file."""

    path: str
    vr: str
    offset: int
    length: int


class Converter:
    """Turns the elements of one file into the DICOM JSON model; `bulk` are the long values met on the way."""

    def __init__(self, header: Header, bulk_uri: str) -> None:
        """`bulk_uri` is what a bulk value's path is appended to, for example `@/studies/1/…/bulkdata`."""
        self._order = "<" if header.little_endian else ">"
        self._bulk_uri = bulk_uri
        self._header = header
        self.bulk: list[BulkPlace] = []

    def dataset(self) -> dict[str, JsonElement]:
        """The whole file, pixels left out: they are reached through the frames resource."""
        out = self._convert(self._header.elements, ["iso8859"], "")
        # PS3.18 F.2: the text is UTF-8 whatever the file used.
        if f"{_CHARACTER_SET:08X}" in out:
            out[f"{_CHARACTER_SET:08X}"] = {"vr": "CS", "Value": ["ISO_IR 192"]}
        out[f"{_AVAILABLE_TRANSFER_SYNTAX:08X}"] = {"vr": "UI", "Value": [self._header.transfer_syntax]}
        return dict(sorted(out.items()))

    def _convert(self, elements: Sequence[Element], encodings: list[str], path: str) -> dict[str, JsonElement]:
        out: dict[str, JsonElement] = {}
        decode, names = _decoder(encodings), _name_decoder(encodings)
        for tag, vr, value in elements:
            key = f"{tag:08X}"
            if isinstance(value, bytes):
                if tag == _CHARACTER_SET:
                    encodings = _encodings(value)
                    decode, names = _decoder(encodings), _name_decoder(encodings)
                if not value:
                    out[key] = {"vr": vr}
                elif vr in _TEXT:
                    out[key] = _valued(vr, _TEXT[vr](decode(value)))
                elif vr in _NUMBERS:
                    out[key] = {"vr": vr, "Value": self._numbers(vr, value)}
                elif vr == "PN":
                    out[key] = _valued(vr, [_person(name) for name in names(value).rstrip(" \0").split("\\")])
                elif vr == "AT":
                    out[key] = {"vr": vr, "Value": self._tags(value)}
                else:
                    out[key] = {"vr": vr, "InlineBinary": b64encode(self._little(vr, value)).decode("ascii")}
            elif isinstance(value, Bulk):
                out[key] = {"vr": vr, "BulkDataURI": f"{self._bulk_uri}/{path}{key}"}
                self.bulk.append(BulkPlace(f"{path}{key}", vr, *value))
            else:
                items = [self._convert(item, encodings, f"{path}{key}/{at}/") for at, item in enumerate(value)]
                out[key] = _valued("SQ", items)
        return out

    def _numbers(self, vr: str, value: bytes) -> list[Any]:
        letter, size = _NUMBERS[vr]
        count = len(value) // size
        numbers = struct.unpack(f"{self._order}{count}{letter}", value[: count * size])
        return [_finite(number) for number in numbers] if letter in "df" else list(numbers)

    def _tags(self, value: bytes) -> list[str]:
        pairs = struct.unpack(f"{self._order}{len(value) // 4 * 2}H", value[: len(value) // 4 * 4])
        return [f"{group:04X}{number:04X}" for group, number in zip(pairs[::2], pairs[1::2], strict=True)]

    def _little(self, vr: str, value: bytes) -> bytes:
        """PS3.18 F.2.7: binary values are little endian."""
        return value if self._order == "<" else little_endian(vr, value)


def _valued(vr: str, values: list[Any]) -> JsonElement:
    """An element with values, of which some may be empty; one with nothing but empty values has none."""
    if values.count(None) == len(values):
        return {"vr": vr}
    return {"vr": vr, "Value": values}


def _several(text: str) -> list[Any]:
    if "\\" not in text:
        return [text.strip(" \0") or None]
    return [item.strip(" \0") or None for item in text.split("\\")]


def _one(text: str) -> list[Any]:
    return [text.rstrip(" \0") or None]


def _decimals(text: str) -> list[Any]:
    return [_number(float, item) for item in text.split("\\")]


def _integers(text: str) -> list[Any]:
    return [_number(int, item) for item in text.split("\\")]


# PS3.5 6.2: values of LT, ST, UT and UR may not be several, so a backslash in them is a character.
_TEXT: Final[Mapping[str, Callable[[str], list[Any]]]] = {
    **dict.fromkeys(("AE", "AS", "CS", "DA", "DT", "LO", "SH", "TM", "UC", "UI"), _several),
    **dict.fromkeys(("LT", "ST", "UT", "UR"), _one),
    "DS": _decimals,
    "IS": _integers,
}


def little_endian(vr: str, value: bytes) -> bytes:
    """The words of a big endian binary value, turned."""
    size = _WORDS.get(vr, 1)
    if size == 1:
        return value
    words = len(value) // size * size
    return b"".join(value[at : at + size][::-1] for at in range(0, words, size)) + value[words:]


def encode(dataset: Mapping[str, Any]) -> bytes:
    """One JSON object."""
    return orjson.dumps(dataset)


def placed(metadata: bytes, base: str) -> bytes:
    """Stored metadata with this server's DICOMweb base put in.

    The placeholder cannot be forged by a value: inside a JSON string its quotes would be escaped.
    """
    return metadata.replace(_PLACEHOLDER, b'"BulkDataURI":"' + base.encode() + b"/")


def joined(objects: Iterable[bytes]) -> bytes:
    """A JSON array of encoded objects, joined and not parsed."""
    return b"[" + b",".join(objects) + b"]"


def element(vr: str, *values: Any) -> JsonElement:
    """One element of a dataset that we write ourselves."""
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}


def _encodings(value: bytes) -> list[str]:
    """The codecs of Specific Character Set (PS3.3 C.12.1.1.2); what is not a defined term is passed over."""
    names = [name.strip() for name in value.decode("latin-1").strip(" \0").split("\\")]
    return [python_encoding[name] for name in names if name in python_encoding] or ["iso8859"]


def _decoder(encodings: list[str], delimiters: set[int] = _DELIMITERS) -> Decode:
    """Text of these codecs as str. ASCII is ASCII in all of them, save for the escapes of ISO 2022."""
    if len(encodings) == 1 and encodings[0] in _SIMPLE:
        encoding = encodings[0]
        return lambda value: value.decode(encoding, "replace")
    return lambda value: _decoded(value, encodings, delimiters)


def _name_decoder(encodings: list[str]) -> Decode:
    """The same for person names, in which character sets are reset at more delimiters."""
    return _decoder(encodings, _NAME_DELIMITERS)


def _decoded(value: bytes, encodings: list[str], delimiters: set[int]) -> str:
    if value.isascii() and b"\x1b" not in value:
        return value.decode("ascii")
    try:
        return decode_bytes(value, encodings, delimiters)
    except (UnicodeError, LookupError):
        return value.decode("latin-1")


_SIMPLE = frozenset({"iso8859", "latin_1", "utf8", "cp1252", "ascii"})


def _person(name: str) -> dict[str, str] | None:
    """A person name by its component groups (PS3.18 F.2.2)."""
    groups = [group.strip(" \0") for group in name.split("=")]
    named = zip(("Alphabetic", "Ideographic", "Phonetic"), groups, strict=False)
    return {name: group for name, group in named if group} or None


def _number(kind: type[int | float], text: str) -> int | float | str | None:
    """A decimal or integer string as a number; as it is written where it is none (PS3.18 F.2.3.1 allows both)."""
    text = text.strip(" \0")
    if not text:
        return None
    try:
        number = kind(text)
    except ValueError:
        return text
    return number if math.isfinite(number) and abs(number) < 2**63 else text


def _finite(number: float) -> float | str:
    """JSON has no word for these; PS3.18 F.2.3.1 writes them as strings."""
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else ("Infinity" if number > 0 else "-Infinity")
