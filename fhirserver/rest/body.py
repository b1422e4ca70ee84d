"""Reading a request body within its limit.

The limit is kept while reading and unpacking, so a chunked body of unknown length cannot pass it; a body that ends
before its Content-Length is refused rather than taken for the whole.
"""

from __future__ import annotations

from flask import Request
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from fhirserver.errors import BadRequest, ContentTooLarge
from fhirserver.rest.compression import decompressed, is_compressed


def read_body(request: Request, limit: int) -> bytes:
    """The whole body, unpacked where it comes in gzip.

    Raises ContentTooLarge over `limit` bytes, BadRequest where the body is cut short or no gzip, UnsupportedMediaType
    for any other Content-Encoding.
    """
    is_packed = is_compressed(request)
    # Werkzeug ends a chunked body at its limit without a word, so one byte more than the limit is let through and seen.
    request.max_content_length = limit + 1
    too_large = ContentTooLarge(f"The body is over the limit of {limit} bytes.")
    try:
        body = request.stream.read()
    except RequestEntityTooLarge as error:
        raise too_large from error
    except (ClientDisconnected, OSError) as error:
        raise BadRequest("The body ended before its Content-Length.") from error
    if len(body) > limit:
        raise too_large
    if request.content_length is not None and len(body) != request.content_length:
        raise BadRequest("The body ended before its Content-Length.")
    return decompressed(body, limit) if is_packed else body
