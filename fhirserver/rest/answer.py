"""The HTTP answer of a FHIR interaction, whose headers are complete as they are.

Werkzeug looks through the headers of each answer for relative addresses and missing lengths. Ours are absolute and
known, so that work, a good part of a small answer, is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from flask import Response

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

    from werkzeug.datastructures import Headers


class Answer(Response):
    """An answer of ready bytes."""

    def __init__(self, body: bytes, status: int, headers: Mapping[str, str] | None, content_type: str) -> None:
        """`headers` hold absolute addresses in ASCII; the length follows from the body."""
        super().__init__(body, status=status, headers=headers, content_type=content_type)
        self.headers["Content-Length"] = str(len(body))

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:  # noqa: ARG002 - nothing depends on the request
        """The headers as they are."""
        return self.headers
