"""Where the frames of an instance lie in its file, found once when it is stored.

Native pixels are frames of equal length, one after the other. Encapsulated ones (PS3.5 A.4) are fragments: one a frame,
or all of one frame, or as the basic or extended offset table groups them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fhirserver.dicomweb.part10 import BIG_ENDIAN, DEFLATED, Buffer, Header, Truncated, fragments

_TABLE_ENTRY = struct.Struct("<QQL")

# Attributes of the Image Pixel module and the tables of PS3.3 C.7.6.3.1.8.
_SAMPLES, _FRAMES, _ROWS, _COLUMNS, _ALLOCATED = 0x00280002, 0x00280008, 0x00280010, 0x00280011, 0x00280100
_PHOTOMETRIC = 0x00280004
_EXTENDED_OFFSETS = 0x7FE00001

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Frames:
    """The frames of one instance, each as spans (offset, length) of its file.

    `spans` has one entry per frame when `size` is 0; otherwise frames are `size` bytes long and start at `offset`.
    """

    count: int
    offset: int = 0
    size: int = 0
    spans: Sequence[Sequence[Span]] = ()
    word: int = 1

    def of(self, number: int) -> Sequence[Span]:
        """The spans of frame `number`, counted from one. Raises IndexError where there is none."""
        if not 1 <= number <= self.count:
            raise IndexError(number)
        return [(self.offset + (number - 1) * self.size, self.size)] if self.size else self.spans[number - 1]

    def to_document(self) -> dict[str, Any]:
        """As it is kept in the instance's row."""
        if self.size:
            return {"count": self.count, "offset": self.offset, "size": self.size, "word": self.word}
        packed = b"".join(_TABLE_ENTRY.pack(at, *span) for at, spans in enumerate(self.spans) for span in spans)
        return {"count": self.count, "spans": packed}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Frames:
        """The same back."""
        if "spans" not in document:
            return cls(**document)
        spans: list[list[Span]] = [[] for _ in range(document["count"])]
        for at, offset, length in _TABLE_ENTRY.iter_unpack(document["spans"]):
            spans[at].append((offset, length))
        return cls(document["count"], spans=spans)


def locate(header: Header, file: Buffer) -> Frames | None:
    """The frames of a whole file; None where it has no pixels, or none that can be told apart.

    Raises Truncated where the pixels are longer than the file, NotDicom where their encapsulation is broken.
    """
    pixels = header.pixels
    if pixels is None or header.transfer_syntax == DEFLATED:
        return None
    count = max(header.integer(_FRAMES) or 1, 1)
    if pixels.length is None:
        return _encapsulated(header, file, pixels.offset, count)
    if pixels.offset + pixels.length > len(file):
        raise Truncated("the pixels are longer than the file")
    return _native(header, pixels.offset, pixels.length, count)


def _native(header: Header, offset: int, length: int, count: int) -> Frames | None:
    allocated = header.short(_ALLOCATED)
    bits = header.short(_ROWS) * header.short(_COLUMNS) * max(header.short(_SAMPLES), 1) * allocated
    if header.text(_PHOTOMETRIC) == "YBR_FULL_422":
        bits = bits * 2 // 3  # two pixels share their colour
    size, rest = divmod(bits, 8)
    if not size or (rest and count > 1) or size * count > length:
        return None
    word = 2 if header.transfer_syntax == BIG_ENDIAN and header.pixels and header.pixels.vr == "OW" else 1
    return Frames(count, offset, size + (1 if rest else 0), word=word)


def _encapsulated(header: Header, file: Buffer, offset: int, count: int) -> Frames | None:
    marked = [(place, size) for _, size, place in fragments(file, offset, len(file))][:-1]
    if not marked:
        raise Truncated("no offset table")
    (table_at, table_size), *parts = marked
    if len(parts) == count:
        return Frames(count, spans=[[part] for part in parts])
    if count == 1:
        return Frames(1, spans=[parts])
    starts = _offsets(header, file[table_at : table_at + table_size])
    if len(starts) != count or not parts:
        return None
    first = parts[0][0] - 8  # offsets count from the first fragment's item tag
    grouped: list[list[Span]] = [[] for _ in range(count)]
    for place, size in parts:
        at = sum(start <= place - 8 - first for start in starts) - 1
        if at < 0:
            return None
        grouped[at].append((place, size))
    return Frames(count, spans=grouped) if all(grouped) else None


def _offsets(header: Header, basic: bytes) -> Sequence[int]:
    extended = header.values.get(_EXTENDED_OFFSETS, b"")
    if extended:
        return struct.unpack(f"<{len(extended) // 8}Q", extended[: len(extended) // 8 * 8])
    return struct.unpack(f"<{len(basic) // 4}L", basic[: len(basic) // 4 * 4])
