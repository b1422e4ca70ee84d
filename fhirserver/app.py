"""The application factory: wiring only.

`create_app` joins one process's database, audit log and settings to the blueprints, and gives every answer its
request id and its safety headers. Errors are turned into answers here and nowhere else, by the prefix of the address.
"""

from __future__ import annotations

import atexit
import traceback
from collections.abc import Callable, Mapping
from functools import partial

import structlog
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from fhirserver import audit, errors
from fhirserver.config import Config
from fhirserver.dicomweb import routes as dicomweb
from fhirserver.errors import FhirError
from fhirserver.oauth import bearer
from fhirserver.oauth import server as oauth
from fhirserver.rest import health, openapi, outcome, routes
from fhirserver.rest.page_keys import page_keys
from fhirserver.rest.service import Service
from fhirserver.store import documents
from fhirserver.store.audit_log import AuditLog
from fhirserver.store.database import Database, connect

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


def application() -> Flask:
    """The WSGI application of one worker, configured from the environment (granian calls this after the fork)."""
    return create_app(Config.from_environment())


def create_app(config: Config, database: Database | None = None) -> Flask:
    """The application over `database`; without one it connects and opens an audit log of its own."""
    if database is None:
        database = _open(config)
    app = Flask(__name__, static_folder=None)
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.register_blueprint(
        health.blueprint({"database": partial(_check_database, database), "audit": partial(_check_audit, database)})
    )
    app.register_blueprint(oauth.blueprint(config, database))
    app.register_blueprint(dicomweb.blueprint(config, database))
    service = Service(database, config, _page_keys())
    openapi.install(app, routes.blueprint(service, lambda: bearer.authenticate(request)))
    _install_errors(
        app,
        {"/fhir": outcome.render_error, "/dicomweb": dicomweb.render_error, "/oauth": oauth.render_error},
    )
    app.after_request(_finish)
    return app


def _open(config: Config) -> Database:
    database = connect(config.mongodb_uri, config)
    log = AuditLog(database, config.data / "audit-checkpoint")
    database.sealer = log
    audit.use(log)
    atexit.register(log.close)
    return database


def _page_keys() -> list[bytes]:
    """From the keys that sign tokens: made when the OAuth blueprint was, and shared by every node."""
    return page_keys(str(key["d"]).encode() for key in documents.signing_keys())


def _check_database(database: Database) -> None:
    """Raise unless a member answers that takes writes."""
    if not database.command("hello", 1)["isWritablePrimary"]:
        raise errors.Unavailable("The database takes no writes.")


def _check_audit(database: Database) -> None:
    """Raise unless the audit log of this process is open: without it nothing is disclosed."""
    if database.sealer is None:
        raise errors.Unavailable("The audit log is not open.")


# Every request


def _finish(response: Response) -> Response:
    headers = response.headers
    headers["X-Request-Id"] = bearer.request_id(request)
    headers["X-Content-Type-Options"] = "nosniff"
    if "Cache-Control" not in headers:
        headers["Cache-Control"] = "no-store"
    return response


# Errors


def _install_errors(app: Flask, renderers: Mapping[str, Renderer]) -> None:
    """Answer every error in the form of the address it happened at."""

    def render(error: FhirError) -> Response:
        path = request.path
        for prefix, renderer in renderers.items():
            if path == prefix or path.startswith(f"{prefix}/"):
                return renderer(error)
        return _render_plain(error)

    def handle_http(error: HTTPException) -> Response:
        path = request.path.removeprefix("/fhir")
        if error.code in {404, 405} and path != request.path and not path.strip("/").startswith("."):
            return render(routes.refusal_of(request.method, path, _headers(error)))
        return render(_translated(error))

    def handle_unexpected(error: Exception) -> Response:
        _log.error("unexpected", request_id=bearer.request_id(request), route=_route(), **_described(error))
        return render(FhirError("The server failed; the request id names this failure in its log."))

    def handle_database(error: Exception) -> Response:
        _log.error("database", request_id=bearer.request_id(request), route=_route(), **_described(error))
        return render(errors.Unavailable("The database cannot answer now.", headers={"Retry-After": "5"}))

    app.register_error_handler(FhirError, render)
    app.register_error_handler(documents.DatabaseError, handle_database)
    app.register_error_handler(HTTPException, handle_http)
    app.register_error_handler(Exception, handle_unexpected)


def _translated(error: HTTPException) -> FhirError:
    """Werkzeug's error as ours, with the headers that belong to it (Allow)."""
    kind = _BY_STATUS.get(error.code or 500, errors.BadRequest if (error.code or 500) < 500 else FhirError)
    return kind(error.description or error.name, headers=_headers(error))


def _headers(error: HTTPException) -> dict[str, str]:
    return {name: value for name, value in error.get_headers() if name not in {"Content-Type", "Content-Length"}}


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
