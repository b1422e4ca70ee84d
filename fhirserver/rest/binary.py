"""A Binary on the wire: as its content in its own media type, or as a resource.

https://hl7.org/fhir/R4/binary.html#rest
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

import msgspec
from flask import Response

from fhirserver.errors import NotAcceptable
from fhirserver.rest.negotiation import fhir_format
from fhirserver.store.rows import Row
from resources.validation import MalformedError, parse
from resources.xml import root_of

OCTETS = "application/octet-stream"

_AROUND = 4_096  # bytes for the other elements: headers are shorter

# RFC 9110, 8.3.1, for what may stand in a header.
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(; ?[\w-]+=([\w.+:/-]+|\"[\w .+:/-]*\"))*", re.ASCII)

# Content is what somebody sent, and this server's address is trusted: nothing of it runs there.
_GUARDS = {"Content-Disposition": "attachment", "Content-Security-Policy": "default-src 'none'; sandbox"}


class _Binary(msgspec.Struct):
    contentType: str = OCTETS  # noqa: N815 - the name of the element
    data: str = ""
    securityContext: dict[str, Any] = {}  # noqa: N815 - the name of the element


class Content:
    """What a Binary holds, ready to be sent."""

    def __init__(self, row: Row) -> None:
        """Read the stored resource; the content is decoded when it is asked for."""
        self._binary = msgspec.json.decode(row.body, type=_Binary)

    @property
    def media_type(self) -> str:
        """Its contentType; octets where that is none which a header may carry."""
        given = self._binary.contentType
        return given if _MEDIA_TYPE.fullmatch(given) else OCTETS

    def answer(self, headers: dict[str, str]) -> Response:
        """The content, to be kept and not shown, with the resource that guards it in X-Security-Context.

        Raises NotAcceptable where `data` is no base64 from which content could be made.
        """
        context = self._binary.securityContext.get("reference")
        named = {"X-Security-Context": context} if context and context.isascii() and context.isprintable() else {}
        try:
            body = base64.b64decode("".join(self._binary.data.split()), validate=True)  # R4 allows white space
        except binascii.Error as error:
            raise NotAcceptable("The data of this Binary is no base64: it is given as a resource only.") from error
        return Response(body, headers={**headers, **_GUARDS, **named}, content_type=self.media_type)


def content_limit(limit: int) -> int:
    """The most bytes of content whose Binary, in base64 and with its other elements, is within `limit` bytes."""
    return max(limit - _AROUND, 0) * 3 // 4


def is_resource(content_type: str, body: bytes) -> bool:
    """Whether what was sent is a Binary resource rather than content: only what may be FHIR can be one.

    What calls itself JSON or FHIR XML and cannot be read counts as a resource, and is refused where resources are
    checked. XML by its general names is content unless it says otherwise: clinical documents are sent so.
    """
    format_ = fhir_format(content_type)
    if format_ is None:
        return False
    if format_ == "xml":
        root = root_of(body)
        return root == "Binary" or (root is None and content_type.lower().startswith("application/fhir+xml"))
    try:
        sent = parse(body)
    except (MalformedError, RecursionError):
        return True
    return isinstance(sent, dict) and sent.get("resourceType") == "Binary"


def resource_of(content_type: str, content: bytes, security_context: str | None, id_: str | None) -> bytes:
    """The Binary that holds this content; `security_context` is a reference, as the header of that name carries it."""
    binary: dict[str, Any] = {"resourceType": "Binary"}
    if id_ is not None:
        binary["id"] = id_
    binary["contentType"] = content_type
    if security_context:
        binary["securityContext"] = {"reference": security_context}
    if content:
        binary["data"] = base64.b64encode(content).decode("ascii")
    return msgspec.json.encode(binary)
