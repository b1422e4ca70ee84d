"""JSON and XML at the edge: what is stored and made is JSON, and XML is made from it, or read into it, here only.

https://hl7.org/fhir/R4/http.html#mime-type, https://hl7.org/fhir/R4/formats.html
"""

from __future__ import annotations

from urllib.parse import parse_qsl

import msgspec
from flask import Request

from fhirserver.errors import NotAcceptable
from fhirserver.interactions.context import refusal
from fhirserver.rest.negotiation import Format, negotiated
from resources.issues import Invalid
from resources.xml import NotXmlError, to_json, to_xml

_FORMAT_KEY = "fhirserver.format"
_READING = frozenset({"GET", "HEAD"})


def formatted(body: bytes, format_: Format, *, is_pretty: bool, method: str) -> tuple[bytes, Format]:
    """A resource in JSON as it is to be sent, and the format that it is in; numbers keep their digits.

    Where XML has no way to say what the resource holds, a reader is told so (NotAcceptable, 406); who wrote gets JSON
    instead, since what was done is done.
    """
    if format_ == "xml":
        try:
            return to_xml(body, is_pretty=is_pretty), "xml"
        except NotXmlError as error:
            if method in _READING:
                raise NotAcceptable(str(error)) from error
    return msgspec.json.format(body, indent=2) if is_pretty else body, "json"


def as_json(body: bytes, format_: Format) -> bytes:
    """What was sent, as JSON for the gate. Raises BadRequest or Unprocessable where XML is no FHIR."""
    if format_ == "json":
        return body
    try:
        return to_json(body)
    except Invalid as invalid:
        raise refusal(invalid.issues) from invalid


def note_format(request: Request, format_: Format) -> None:
    """Let an error of this request be answered in a format that only its body named."""
    request.environ[_FORMAT_KEY] = format_


def format_asked(request: Request) -> Format:
    """The format in which an error is told: the one asked for, JSON where that is none of ours or cannot be read."""
    noted: Format | None = request.environ.get(_FORMAT_KEY)
    if noted is not None:
        return noted
    named = next(
        (value for name, value in parse_qsl(request.query_string.decode("latin-1")) if name == "_format"), None
    )
    try:
        return negotiated(request.headers.get("Accept", ""), named)
    except NotAcceptable:
        return "json"
