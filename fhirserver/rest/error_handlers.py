"""Every error becomes an answer here and nowhere else, in the form of the address at which it happened.

A FHIR path answers an OperationOutcome, whatever went wrong; a library's own error page never leaves. What was not
expected is logged with the request id, the rule and the place, and without anything that may be about a person.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping

import structlog
from flask import Flask, Request, Response, request
from werkzeug.exceptions import HTTPException

from fhirserver import errors
from fhirserver.errors import FhirError
from fhirserver.rest.routes import FHIR, refusal_of
from fhirserver.store.documents import DatabaseError

Renderer = Callable[[FhirError], Response]

_log = structlog.get_logger()

_BY_STATUS: Mapping[int, type[FhirError]] = {
    kind.status: kind
    for kind in (
        errors.BadRequest,
        errors.NotFound,
        errors.MethodNotAllowed,
        errors.NotAcceptable,
        errors.ContentTooLarge,
        errors.UnsupportedMediaType,
        errors.Unavailable,
    )
}


def install(app: Flask, renderers: Mapping[str, Renderer], request_id: Callable[[Request], str]) -> None:
    """Answer every error of the application; `renderers` gives the form for each prefix, plain text for the rest."""

    def render(error: FhirError) -> Response:
        for prefix, renderer in renderers.items():
            if _is_below(prefix):
                return renderer(error)
        return _render_plain(error)

    def handle_http(error: HTTPException) -> Response:
        if error.code in {404, 405} and _is_below(FHIR):
            return render(refusal_of(request.method, request.path.removeprefix(FHIR), _headers(error)))
        return render(_translated(error))

    def handle_database(error: Exception) -> Response:
        log("database", error)
        return render(errors.Unavailable("The database cannot answer now.", headers={"Retry-After": "5"}))

    def handle_unexpected(error: Exception) -> Response:
        log("unexpected", error)
        return render(FhirError("The server failed; the request id names this failure in its log."))

    def log(event: str, error: Exception) -> None:
        _log.error(event, request_id=request_id(request), route=_route(), **_described(error))

    app.register_error_handler(FhirError, render)
    app.register_error_handler(HTTPException, handle_http)
    app.register_error_handler(DatabaseError, handle_database)
    app.register_error_handler(Exception, handle_unexpected)


def _is_below(prefix: str) -> bool:
    return request.path == prefix or request.path.startswith(f"{prefix}/")


def _translated(error: HTTPException) -> FhirError:
    """Werkzeug's error as ours, with the headers that belong to it (Allow)."""
    kind = _BY_STATUS.get(error.code or 500, errors.BadRequest if (error.code or 500) < 500 else FhirError)
    return kind(error.description or error.name, headers=_headers(error))


def _headers(error: HTTPException) -> dict[str, str]:
    headers = {name: value for name, value in error.get_headers() if name not in {"Content-Type", "Content-Length"}}
    if "Allow" in headers:
        headers["Allow"] += ", OPTIONS"  # answered for all addresses alike, so the router does not know of it
    return headers


def _render_plain(error: FhirError) -> Response:
    text = f"{error.diagnostics}\n"
    return Response(text, status=error.status, headers=error.headers, content_type="text/plain; charset=utf-8")


def _route() -> str:
    """The rule, never the address: an address may name a patient."""
    return request.url_rule.rule if request.url_rule is not None else "none"


def _described(error: Exception) -> dict[str, object]:
    """Kind and place of a failure; its message may quote a resource, so it stays out of the log."""
    frames = traceback.extract_tb(error.__traceback__)
    return {
        "error": type(error).__name__,
        "trace": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-12:]],
    }
