"""multipart/related bodies (RFC 2046 5.1, RFC 2387), read and written part by part.

Reading never holds a whole part: its content is an iterator of chunks over the request's stream. A body that ends
before its closing delimiter raises, so that a client which disconnects halfway is not taken for one that had finished.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fhirserver.dicomweb.media_types import MULTIPART, parse
from fhirserver.errors import BadRequest, UnsupportedMediaType

READ: Final = 1 << 18
"""Bytes asked of the stream at a time."""

HEADERS: Final = 1 << 14
"""The most that the headers of one part may take."""

# RFC 2046 5.1.1: one to seventy characters of a small alphabet, the last one not a space.
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_PADDING = b" \t"


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its headers, names in lower case, and its content, to be read before the next part."""

    headers: Mapping[str, str]
    content: Iterator[bytes]

    @property
    def content_type(self) -> str:
        """As written by the client; empty where it wrote none."""
        return self.headers.get("content-type", "")


def boundary_of(content_type: str | None, expected: str) -> bytes:
    """The boundary of a multipart/related content type whose parts are `expected`.

    Raises UnsupportedMediaType for another type, BadRequest where the boundary is missing or malformed.
    """
    media = parse(content_type or "")
    if media.name != MULTIPART or media.content != expected:
        raise UnsupportedMediaType(f'This route takes {MULTIPART}; type="{expected}".')
    boundary = media.parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise BadRequest("The boundary of the multipart body is missing or malformed.", code="structure")
    return boundary.encode("ascii")


def parts(read: Callable[[int], bytes], boundary: bytes) -> Iterator[Part]:
    """The parts of the body that `read(size)` gives, until the closing delimiter.

    Content that the caller leaves unread is passed over. Raises BadRequest where the body is malformed or ends early.
    """
    reader = _Reader(read, boundary)
    reader.pass_over()  # the preamble, which RFC 2046 gives no meaning
    while reader.next_part():
        yield Part(reader.headers(), reader.content())
        reader.pass_over()


class _Reader:
    """A window over the stream: `_buffer` holds what was read and not yet handed on."""

    def __init__(self, read: Callable[[int], bytes], boundary: bytes) -> None:
        self._read = read
        self._delimiter = b"\r\n--" + boundary
        # A delimiter starts with the line break before it, which the first one of a body may lack.
        self._buffer = b"\r\n"
        self._inside = True

    def _more(self) -> None:
        chunk = self._read(READ)
        if not chunk:
            raise BadRequest("The multipart body ends before its closing delimiter.", code="structure")
        self._buffer += chunk

    def content(self) -> Iterator[bytes]:
        """Chunks up to the next delimiter, which is consumed."""
        keep = len(self._delimiter) - 1
        while self._inside:
            at = self._buffer.find(self._delimiter)
            if at >= 0:
                chunk, self._buffer = self._buffer[:at], self._buffer[at + len(self._delimiter) :]
                self._inside = False
            else:
                # The end of the window may be the beginning of a delimiter.
                cut = max(len(self._buffer) - keep, 0)
                chunk, self._buffer = self._buffer[:cut], self._buffer[cut:]
            if chunk:
                yield chunk
            if self._inside:
                self._more()

    def pass_over(self) -> None:
        for _ in self.content():
            pass

    def next_part(self) -> bool:
        """After a delimiter: whether a part follows, rather than the end."""
        while len(self._buffer) < 2:
            self._more()
        if self._buffer.startswith(b"--"):
            return False
        while b"\n" not in self._buffer:
            if len(self._buffer) > HEADERS:
                raise BadRequest("A multipart delimiter is followed by something else.", code="structure")
            self._more()
        padding, _, self._buffer = self._buffer.partition(b"\n")
        if padding.rstrip(b"\r").strip(_PADDING) or not padding.endswith(b"\r"):
            raise BadRequest("A multipart delimiter is followed by something else.", code="structure")
        self._inside = True
        return True

    def headers(self) -> dict[str, str]:
        """The headers of a part; the empty line after them is consumed."""
        self._buffer = b"\r\n" + self._buffer  # a part without headers starts with the empty line itself
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > HEADERS:
                raise BadRequest("The headers of a part are too long, or not closed.", code="structure")
            self._more()
        text, self._buffer = self._buffer[2:end], self._buffer[end + 2 :]
        if self._delimiter in b"\r\n" + text:
            raise BadRequest("The headers of a part are not closed.", code="structure")
        # The empty line's own break stays: an empty part is followed by its delimiter, which begins with that break.
        # The window may hold the beginning of it only.
        while len(self._buffer) < len(self._delimiter) and self._delimiter.startswith(self._buffer):
            self._more()
        self._buffer = self._buffer if self._buffer.startswith(self._delimiter) else self._buffer[2:]
        return dict(_header(line) for line in text.split(b"\r\n") if line)


def _header(line: bytes) -> tuple[str, str]:
    name, colon, value = line.decode("latin-1").partition(":")
    if not colon or not name.strip():
        raise BadRequest("A header of a part is not a name and a value.", code="structure")
    return name.strip().lower(), value.strip()


def new_boundary() -> str:
    """A boundary that no content can contain by chance."""
    return secrets.token_hex(16)


def head(headers: Mapping[str, str]) -> bytes:
    """The headers of a part, with the empty line that ends them."""
    return "".join([*(f"{name}: {value}\r\n" for name, value in headers.items()), "\r\n"]).encode("latin-1")


def envelope(boundary: str, heads: Sequence[bytes]) -> list[bytes]:
    """What stands before the content of each part, and after the last one."""
    delimiter = f"--{boundary}".encode("ascii")
    opening, closing = b"\r\n" + delimiter + b"\r\n", b"\r\n" + delimiter + b"--\r\n"
    pieces = [opening + one for one in heads] + [closing]
    pieces[0] = pieces[0].removeprefix(b"\r\n")  # the line break belongs to the content before it
    return pieces


def write(envelope: Sequence[bytes], contents: Iterable[Iterable[bytes]]) -> Iterator[bytes]:
    """The body of these contents, chunk by chunk."""
    *openings, closing = envelope
    for opening, chunks in zip(openings, contents, strict=True):
        yield opening
        yield from chunks
    yield closing
