"""Cross-origin resource sharing: which pages of other origins a browser lets read our answers.

What is public anyway is open to every origin, as SMART App Launch asks
(https://hl7.org/fhir/smart-app-launch/conformance.html): the statements of what is offered, and public keys. Everything
else is for the listed origins only. There are no cookies, so credentials are never allowed: an application brings its
token in a header.

https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from __future__ import annotations

from collections.abc import Callable

from flask import Response, request

from fhirserver.config import Config

PUBLIC = frozenset({"/fhir/metadata", "/fhir/.well-known/smart-configuration", "/oauth/jwks", "/openapi.json"})
LINKS = "/shl/"
"""Links are shown by viewers of any origin: SMART Health Links ask for it, and no token is sent there."""
_ENDPOINTS = frozenset({"/fhir", "/oauth/token", "/oauth/revoke"})
_BASES = ("/fhir/", "/dicomweb/")

_SENT = (
    "Accept, Accept-Language, Authorization, Content-Encoding, Content-Language, Content-Type, If-Match, "
    "If-Modified-Since, If-None-Exist, If-None-Match, Prefer, X-Request-Id, X-Security-Context"
)
"""The request headers that something here reads."""

_EXPOSED = (
    "Allow, Content-Disposition, Content-Location, ETag, Last-Modified, Location, Retry-After, Warning, "
    "WWW-Authenticate, X-Progress, X-Request-Id, X-Security-Context"
)
_MAX_AGE = "600"


def sharing(config: Config) -> Callable[[Response], Response]:
    """The function that adds to each answer what the setting allows the asking page."""
    origins = config.cors_origins

    def share(response: Response) -> Response:
        allowed = _allowed(response)
        if allowed is None:
            return response
        headers = response.headers
        headers["Access-Control-Allow-Origin"] = allowed
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            headers["Access-Control-Allow-Methods"] = headers.get("Allow", "")
            headers["Access-Control-Allow-Headers"] = _SENT
            headers["Access-Control-Max-Age"] = _MAX_AGE
        else:
            headers["Access-Control-Expose-Headers"] = _EXPOSED
        return response

    def _allowed(response: Response) -> str | None:
        """The origin whose pages may read the answer, `*` for all; what depends on who asks says so to caches."""
        path = request.path
        if path in PUBLIC or path.startswith(LINKS) or ("*" in origins and _is_shared(path)):
            return "*"  # whoever asks, also without an Origin: so a cache has one answer for all
        if not origins or not _is_shared(path):
            return None
        response.vary.add("Origin")
        origin = request.headers.get("Origin")
        return origin if origin is not None and origin.lower() in origins else None

    return share


def _is_shared(path: str) -> bool:
    return path in _ENDPOINTS or path.startswith(_BASES)
