"""gzip: answers for those who ask for it, and bodies that come so.

Only text is compressed, and only where it is worth it: pixel data and documents are compressed already. Tokens are
never in what is compressed, and nobody can make another's client ask here without that client's token, so that the
length of an answer tells a stranger nothing (BREACH).
"""

from __future__ import annotations

import gzip
import zlib

from flask import Request, Response, request

from fhirserver.errors import BadRequest, ContentTooLarge, UnsupportedMediaType

_TYPES = frozenset({"application/fhir+json", "application/fhir+xml", "application/dicom+json", "application/json"})
_BASES = ("/fhir", "/dicomweb", "/openapi.json")
_LEAST = 1_400  # bytes: what fits in one packet gains nothing
_LEVEL = 3  # a quarter larger than level 9, in a third of its time

_IDENTITY = frozenset({"", "identity"})
_GZIP = frozenset({"gzip", "x-gzip"})  # RFC 9110, 8.4.1.3
_PIECE = 65_536
_MOST_MEMBERS = 10_000  # a body may be a row of them (RFC 1952, 2.2), each of which costs, however little it holds


def compress(response: Response) -> Response:
    """The answer, in gzip where the caller takes that and it is text of some length."""
    if "gzip" not in request.headers.get("Accept-Encoding", ""):
        return response
    if response.mimetype not in _TYPES or not request.path.startswith(_BASES) or response.is_streamed:
        return response
    if "Content-Encoding" in response.headers or request.accept_encodings["gzip"] <= 0:
        return response
    body = response.get_data()
    if len(body) >= _LEAST:
        response.set_data(gzip.compress(body, _LEVEL, mtime=0))
        response.headers["Content-Encoding"] = "gzip"
        response.vary.add("Accept-Encoding")
    return response


def is_compressed(request: Request) -> bool:
    """Whether the body comes in gzip. Raises UnsupportedMediaType (415) for any other coding (RFC 7694)."""
    coding = request.headers.get("Content-Encoding", "").strip().lower()
    if coding in _IDENTITY:
        return False
    if coding not in _GZIP:
        raise UnsupportedMediaType(
            f"A body is sent as it is or in gzip, not in {coding}.", headers={"Accept-Encoding": "gzip, identity"}
        )
    return True


def decompressed(body: bytes, limit: int) -> bytes:
    """What was sent in gzip, never unpacked further than `limit` bytes.

    Raises ContentTooLarge over the limit, BadRequest where it is no gzip or ends early.
    """
    if not body:
        return body
    parts: list[bytes] = []
    left, at = limit, 0
    for _ in range(_MOST_MEMBERS):
        inflater, held = zlib.decompressobj(16 + zlib.MAX_WBITS), b""
        while not inflater.eof:
            if not held:  # by pieces, since zlib copies what it leaves over
                held = body[at : at + _PIECE]
                at += len(held)
            try:
                part = inflater.decompress(held, min(_PIECE, left + 1))
            except zlib.error as error:
                raise BadRequest("The body is not what its Content-Encoding says: gzip.") from error
            held = inflater.unconsumed_tail
            if len(part) > left:
                raise ContentTooLarge(f"The body, unpacked, is over the limit of {limit} bytes.")
            if not part and not held and at == len(body) and not inflater.eof:
                raise BadRequest("The compressed body ended early.")
            left -= len(part)
            parts.append(part)
        at -= len(inflater.unused_data)
        if at == len(body):
            return b"".join(parts)
    raise ContentTooLarge(f"The body has more than {_MOST_MEMBERS} members of gzip.")
