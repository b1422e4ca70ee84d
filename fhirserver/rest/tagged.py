"""Documents that are made once and kept as bytes: each with an entity tag by which a client knows it again.

RFC 9110 section 8.8.3
"""

from __future__ import annotations

import hashlib

from flask import Request


def tag_of(body: bytes) -> str:
    """The weak entity tag of a document."""
    return f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'


def is_known(request: Request, tag: str) -> bool:
    """Whether the client has the document of that tag already (If-None-Match)."""
    return request.if_none_match.contains_weak(tag.removeprefix('W/"').removesuffix('"'))
