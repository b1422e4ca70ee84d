"""The header of a DICOM file (PS3.10), read without its pixels.

A reader of our own and not pydicom's, for two reasons: it runs on every stored instance and must cost a fraction of a
millisecond, and it meets bytes from outside, so every length is checked against what is there and nesting is bounded.
Values stay bytes; `dicom_json` interprets them. The tests compare both with pydicom on every file that it ships.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from pydicom.datadict import DicomDictionary, dictionary_VR  # type: ignore[attr-defined]  # documented

Buffer: TypeAlias = bytes | mmap.mmap

IMPLICIT: Final = "1.2.840.10008.1.2"
EXPLICIT: Final = "1.2.840.10008.1.2.1"
DEFLATED: Final = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"
NATIVE: Final = frozenset({IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN})
"""The transfer syntaxes whose pixels are not encapsulated (PS3.5 A.1 to A.5)."""

BULK: Final = 1024
"""A binary value of more bytes than this is bulk data: named by a URI rather than written out."""

DEPTH: Final = 32
"""Sequences nested deeper than this are refused; no SOP class comes near."""

INFLATED: Final = 16 << 20
"""So much of a deflated data set is inflated; what lies behind it is not looked at."""

UNDEFINED: Final = 0xFFFFFFFF
_PIECE: Final = 1 << 18
_ITEM: Final = 0xFFFEE000
_ITEM_END: Final = 0xFFFEE00D
_SEQUENCE_END: Final = 0xFFFEE0DD
_PIXELS: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_PREAMBLE: Final = 128

# PS3.5 7.1.2: these have two reserved bytes and a length of four.
_LONG = frozenset([b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"])
_SHORT = frozenset([b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH"])
_SHORT |= {b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"}
_NAMES = {vr: vr.decode() for vr in _LONG | _SHORT}
_BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
# PS3.6 lists some attributes under a choice of representations; without the pixels' own attributes this one is meant.
_CHOICES = {"US or SS": "US", "OB or OW": "OW", "US or OW": "OW", "US or SS or OW": "OW"}
_DICTIONARY = {tag: _CHOICES.get(entry[0], entry[0]) for tag, entry in DicomDictionary.items()}
_SIGNED = frozenset(tag for tag, entry in DicomDictionary.items() if entry[0].startswith("US or SS"))


class NotDicom(ValueError):
    """The bytes are not a DICOM file, or break its encoding."""


class Truncated(NotDicom):
    """The bytes end inside an element: more of the file may help."""


class Bulk(NamedTuple):
    """A long binary value, by its place in the (inflated) file."""

    offset: int
    length: int


Items: TypeAlias = "list[list[Element]]"


class Element(NamedTuple):
    """One data element. The value is bytes, a list of items, or a place."""

    tag: int
    vr: str
    value: bytes | Bulk | Items


class PixelData(NamedTuple):
    """Where the pixels are: `length` is None where they are encapsulated (PS3.5 A.4)."""

    tag: int
    vr: str
    offset: int
    length: int | None


@dataclass(slots=True)
class Header:
    """A file's elements up to its pixels, and how they were encoded."""

    transfer_syntax: str
    meta: dict[int, bytes]
    elements: list[Element]
    pixels: PixelData | None
    little_endian: bool = True
    values: dict[int, bytes] = field(init=False)

    def __post_init__(self) -> None:
        """Index the plain top-level values."""
        self.values = {tag: value for tag, _, value in self.elements if isinstance(value, bytes)}

    def text(self, tag: int) -> str:
        """The first value of a top-level attribute of the default repertoire (UIDs, dates, codes); "" where absent."""
        value = self.values.get(tag, b"")
        return value.split(b"\\", 1)[0].decode("ascii", "replace").strip(" \0")

    def integer(self, tag: int) -> int | None:
        """The value of a top-level IS attribute; None where it is absent or no integer."""
        try:
            return int(self.text(tag))
        except ValueError:
            return None

    def short(self, tag: int) -> int:
        """The first value of a top-level US attribute; 0 where it is absent."""
        return int.from_bytes(self.values.get(tag, b"")[:2], "little" if self.little_endian else "big")


def read_header(buffer: Buffer) -> Header:
    """The header of a file of which `buffer` holds the beginning.

    Raises Truncated where it ends before the pixels (or inside an element), NotDicom for everything else.
    """
    if buffer[_PREAMBLE : _PREAMBLE + 4] != b"DICM":
        if len(buffer) < _PREAMBLE + 4:
            raise Truncated("shorter than a preamble")
        raise NotDicom("no DICM after the preamble")
    meta, start = _file_meta(buffer)
    syntax = meta.get(0x00020010, b"").decode("ascii", "replace").strip(" \0")
    if not syntax:
        raise NotDicom("no transfer syntax")
    buffer, start = dataset(buffer, start, syntax)
    scanner = _Scanner(buffer, explicit=syntax != IMPLICIT, little=syntax != BIG_ENDIAN)
    elements = scanner.top(start)
    return Header(syntax, meta, elements, scanner.pixels, syntax != BIG_ENDIAN)


def dataset(buffer: Buffer, start: int, syntax: str) -> tuple[Buffer, int]:
    """Where the data set can be read: in the file itself, or inflated (PS3.5 A.5).

    Offsets of Bulk and PixelData count from there. Raises NotDicom where it does not inflate.
    """
    if syntax != DEFLATED:
        return buffer, start
    inflating = zlib.decompressobj(-zlib.MAX_WBITS)
    out = bytearray()
    try:
        for at in range(start, len(buffer), _PIECE):
            out += inflating.decompress(buffer[at : at + _PIECE], INFLATED - len(out))
            if len(out) >= INFLATED or inflating.eof:
                break
    except zlib.error as error:
        raise NotDicom("the data set does not inflate") from error
    return bytes(out), 0


def inflated(buffer: Buffer) -> Buffer:
    """The buffer that a deflated file's offsets count in."""
    _, start = _file_meta(buffer)
    return dataset(buffer, start, DEFLATED)[0]


def _file_meta(buffer: Buffer) -> tuple[dict[int, bytes], int]:
    """Group 0002, always explicit little endian (PS3.10 7.1), and where the data set starts."""
    meta: dict[int, bytes] = {}
    scanner = _Scanner(buffer, explicit=True, little=True)
    at = _PREAMBLE + 4
    while buffer[at : at + 2] == b"\x02\x00":
        tag, _, value, at = scanner.element(at, len(buffer), 0)
        if isinstance(value, bytes):
            meta[tag] = value
    if at + 2 > len(buffer):
        raise Truncated("ends in the file meta information")
    return meta, at


class _Scanner:
    """Walks the elements of one buffer; `pixels` is set when `top` meets them."""

    def __init__(self, buffer: Buffer, *, explicit: bool, little: bool) -> None:
        order = "<" if little else ">"
        self._buffer = buffer
        self._explicit = explicit
        self._tag = struct.Struct(f"{order}HH").unpack_from
        self._short = struct.Struct(f"{order}H").unpack_from
        self._long = struct.Struct(f"{order}L").unpack_from
        self._little = little
        self._signed = False
        self.pixels: PixelData | None = None

    def top(self, at: int) -> list[Element]:
        """The data set's elements up to its pixels or the end of the file."""
        end = len(self._buffer)
        elements: list[Element] = []
        last = 0
        while at < end:
            if at + 8 > end and not any(self._buffer[at:end]):
                break  # a byte or two of trailing zeros, which some writers add
            tag, vr, value, at = self.element(at, end, 0)
            if tag <= last:
                raise NotDicom(f"element {tag:08X} is out of order")
            last = tag
            if self.pixels is not None:
                break
            if tag == 0x00280103:
                self._signed = value in {b"\x01\x00", b"\x00\x01"}
            if tag & 0xFFFF:  # group lengths are retired and say nothing of the data
                elements.append(Element(tag, vr, value))
        return elements

    def element(self, at: int, end: int, depth: int) -> tuple[int, str, bytes | Bulk | Items, int]:
        """The element at `at`, which must end by `end`, and where the next one starts."""
        buffer = self._buffer
        if at + 8 > end:
            raise Truncated("ends in an element")
        group, number = self._tag(buffer, at)
        tag = group << 16 | number
        if self._explicit:
            code = buffer[at + 4 : at + 6]
            if code in _SHORT:
                vr = _NAMES[code]
                length = self._short(buffer, at + 6)[0]
                at += 8
            else:
                # PS3.5 6.2.2: a representation this edition does not know is written like UN.
                vr = _NAMES.get(code) or _unknown(code, tag)
                if at + 12 > end:
                    raise Truncated("ends in an element")
                length = self._long(buffer, at + 8)[0]
                at += 12
                if vr == "UN":
                    vr = self._known(tag, length)
        else:
            vr = self.representation(tag)
            length = self._long(buffer, at + 4)[0]
            at += 8
        if depth == 0 and tag in _PIXELS:
            self.pixels = PixelData(tag, vr, at, None if length == UNDEFINED else length)
            return tag, vr, b"", at
        if vr == "SQ" or length == UNDEFINED:
            if vr in {"OB", "OW"}:
                return self._fragments(tag, vr, at, end)
            return self._sequence(tag, vr, at, end, length, depth)
        stop = at + length
        if stop > end:
            raise Truncated(f"element {tag:08X} is longer than what follows")
        if length > BULK and vr in _BINARY:
            return tag, vr, Bulk(at, length), stop
        return tag, vr, buffer[at:stop], stop

    def representation(self, tag: int) -> str:
        """The value representation of an element whose encoding does not say it (PS3.5 A.1)."""
        if self._signed and tag in _SIGNED and _DICTIONARY[tag] == "US":
            return "SS"
        known = _DICTIONARY.get(tag)
        if known is not None:
            return known
        if tag & 0x10000:
            return "LO" if 0x10 <= tag & 0xFFFF <= 0xFF else "UN"
        if not tag & 0xFFFF:
            return "UL"
        try:
            return _CHOICES.get(found := dictionary_VR(tag), found)  # repeating groups
        except KeyError:
            return "UN"

    def _known(self, tag: int, length: int) -> str:
        """PS3.5 6.2.2: a public element written as UN by one who did not know it."""
        if length == UNDEFINED or tag & 0x10000 or not self._little:
            return "UN"
        known = self.representation(tag)
        return "UN" if known == "SQ" else known

    def _sequence(self, tag: int, vr: str, at: int, end: int, length: int, depth: int) -> tuple[int, str, Items, int]:
        if depth >= DEPTH:
            raise NotDicom("sequences are nested too deeply")
        explicit = self._explicit
        if vr == "UN":
            self._explicit = False  # PS3.5 6.2.2 note 4: of undefined length, it is implicit inside
        items: Items = []
        try:
            stop = end if length == UNDEFINED else at + length
            if stop > end:
                raise Truncated(f"sequence {tag:08X} is longer than what follows")
            while at < stop:
                marker, size, at = self.marker(at, stop)
                if marker == _SEQUENCE_END and length == UNDEFINED:
                    return tag, "SQ", items, at
                if marker != _ITEM:
                    raise NotDicom(f"sequence {tag:08X} holds something else than items")
                elements, at = self._item(at, stop, size, depth + 1)
                items.append(elements)
            if length == UNDEFINED:
                raise Truncated(f"sequence {tag:08X} is not closed")
            return tag, "SQ", items, at
        finally:
            self._explicit = explicit

    def _item(self, at: int, end: int, length: int, depth: int) -> tuple[list[Element], int]:
        stop = end if length == UNDEFINED else at + length
        if stop > end:
            raise Truncated("an item is longer than what follows")
        elements: list[Element] = []
        while at < stop:
            if length == UNDEFINED and self._tag(self._buffer, min(at, stop - 4)) == (0xFFFE, 0xE00D):
                _, _, at = self.marker(at, stop)
                return elements, at
            tag, vr, value, at = self.element(at, stop, depth)
            if tag & 0xFFFF:
                elements.append(Element(tag, vr, value))
        if length == UNDEFINED:
            raise Truncated("an item is not closed")
        return elements, at

    def marker(self, at: int, end: int) -> tuple[int, int, int]:
        """An item, or the end of an item or a sequence: its tag and length, without a representation."""
        if at + 8 > end:
            raise Truncated("ends between items")
        group, number = self._tag(self._buffer, at)
        return group << 16 | number, self._long(self._buffer, at + 4)[0], at + 8

    def _fragments(self, tag: int, vr: str, at: int, end: int) -> tuple[int, str, Bulk, int]:
        """Encapsulated pixels inside a sequence (an icon): their place, delimiter included."""
        start = at
        for marker, size, place in fragments(self._buffer, at, end):
            at = place + size
            if marker == _SEQUENCE_END:
                return tag, vr, Bulk(start, at - start), at
        raise Truncated(f"element {tag:08X} is not closed")


def fragments(buffer: Buffer, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The items of encapsulated pixels (PS3.5 A.4): tag, length, offset; the last one is the sequence delimiter.

    Raises Truncated where the buffer ends before the delimiter, NotDicom where something else stands between.
    """
    scanner = _Scanner(buffer, explicit=True, little=True)
    while True:
        marker, size, at = scanner.marker(at, end)
        if marker == _SEQUENCE_END:
            yield marker, 0, at
            return
        if marker != _ITEM or size == UNDEFINED:
            raise NotDicom("encapsulated pixels hold something else than fragments")
        if at + size > end:
            raise Truncated("a fragment is longer than what follows")
        yield marker, size, at
        at += size


def _unknown(code: bytes, tag: int) -> str:
    if code.isalpha() and code.isupper():
        return "UN"
    raise NotDicom(f"element {tag:08X} has no value representation")
