"""The routes of SMART Health Links: Flask ends here. Nobody shows a token; who has the address holds the link.

POST /shl/(secret)         the manifest
GET  /shl/(secret)         the one file of a link with the flag U
GET  /shl/file/(ticket)    a file of a manifest, once

https://hl7.org/fhir/uv/smart-health-cards-and-links/STU1/links-specification.html
"""

from __future__ import annotations

from collections.abc import Callable
from threading import BoundedSemaphore
from typing import Any, Final

import orjson
from flask import Blueprint, Response, request

from fhirserver.config import Config
from fhirserver.errors import BadRequest, FhirError, MethodNotAllowed, Unavailable, UnsupportedMediaType
from fhirserver.forwarded import BASE_KEY
from fhirserver.shl.opening import AccessOf, Asked, Opening, TokenOf, WrongPasscode, cleaned
from fhirserver.shlink import PATH
from fhirserver.store.database import Database

JOSE: Final = "application/jose"
# A request has a name, a passcode and a number.
_LARGEST: Final = 16_000


def blueprint(
    config: Config,
    database: Database,
    request_id: Callable[[], str],
    access_of: AccessOf,
    token_of: TokenOf,
) -> Blueprint:
    """The routes; `access_of` and `token_of` make the access and the token of a link."""
    opening = Opening(config, database, access_of, token_of)
    # Nobody needs a token for these, and a passcode costs memory and time: half of the threads stay for others.
    places = BoundedSemaphore(max(1, config.threads // 2))
    routes = Blueprint("shl", __name__, url_prefix=PATH)

    def answered(answer: Callable[[], Response]) -> Response:
        if request.method == "HEAD":  # it would use up what it does not give
            allowed = "GET, OPTIONS" if "ticket" in (request.view_args or {}) else "GET, OPTIONS, POST"
            raise MethodNotAllowed("A link is not asked by HEAD.", headers={"Allow": allowed})
        if not places.acquire(blocking=False):
            raise Unavailable("Too many at once.", headers={"Retry-After": "1"})
        try:
            return answer()
        finally:
            places.release()

    def asked(secret: str, recipient: str, **more: Any) -> Asked:
        base = request.environ.get(BASE_KEY) or config.base
        return Asked(secret, recipient, request_id(), request.remote_addr, base, **more)

    @routes.post("/<secret>")
    def manifest(secret: str) -> Response:
        return answered(lambda: _json(opening.manifest(asked(secret, **_sent()))))

    @routes.get("/<secret>")
    def direct(secret: str) -> Response:
        return answered(lambda: _jose(opening.direct(asked(secret, _recipient(request.args.getlist("recipient"))))))

    @routes.get("/file/<ticket>")
    def file(ticket: str) -> Response:
        return answered(lambda: _jose(opening.file(asked(ticket, ""))))

    return routes


def render_error(error: FhirError) -> Response:
    """An error as JSON; of a wrong passcode, how many more there may be."""
    body: dict[str, object] = {"error": error.diagnostics}
    if isinstance(error, WrongPasscode):
        body = {"remainingAttempts": error.remaining}
    return Response(orjson.dumps(body), status=error.status, headers=error.headers, content_type="application/json")


def _sent() -> dict[str, Any]:
    """What a manifest request says. Raises BadRequest, UnsupportedMediaType, ContentTooLarge."""
    request.max_content_length = _LARGEST
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("A manifest is asked for in application/json.")
    try:
        sent = orjson.loads(request.get_data())
    except orjson.JSONDecodeError as error:
        raise BadRequest("The body is no JSON.") from error
    if not isinstance(sent, dict):
        raise BadRequest("The body is a JSON object.")
    passcode, most = sent.get("passcode"), sent.get("embeddedLengthMax")
    if passcode is not None and not isinstance(passcode, str):
        raise BadRequest("passcode is a string.")
    if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 0):
        raise BadRequest("embeddedLengthMax is a number of characters.")
    named = sent.get("recipient")
    return {"recipient": _recipient([named]), "passcode": passcode, "most_embedded": most}


def _recipient(named: list[Any]) -> str:
    """Who the holder says they are. Raises BadRequest where they say nothing that can be seen."""
    if len(named) != 1 or not isinstance(named[0], str) or not cleaned(named[0]):
        raise BadRequest("recipient says who asks.")
    return named[0]


def _json(body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body), content_type="application/json")


def _jose(body: str) -> Response:
    return Response(body, content_type=JOSE)
