"""The application factory: wiring only.

`create_app` joins one process's database, audit log and settings to the blueprints, and gives every answer its
request id and its safety headers.
"""

from __future__ import annotations

import atexit
import sys
from functools import partial

import structlog
from flask import Flask, Response, request

from fhirserver import audit, errors
from fhirserver.config import Config
from fhirserver.dicomweb import routes as dicomweb
from fhirserver.forwarded import Forwarded
from fhirserver.oauth import bearer, share_link
from fhirserver.oauth import server as oauth
from fhirserver.operations import erase
from fhirserver.rest import compression, cors, error_handlers, health, openapi, options, outcome, routes
from fhirserver.rest.page_keys import page_keys
from fhirserver.rest.service import Service
from fhirserver.shl import routes as shl
from fhirserver.store.audit_log import AuditLog
from fhirserver.store.audit_witness import reporter
from fhirserver.store.database import Database, connect
from fhirserver.store.reindex import resume
from fhirserver.unread import Unread


def application() -> Flask:
    """The WSGI application of one worker, configured from the environment (granian calls this after the fork)."""
    _log_as_json()
    return create_app(Config.from_environment())


def create_app(config: Config, database: Database | None = None) -> Flask:
    """The application over `database`; without one it connects and opens an audit log of its own."""
    if database is None:
        database = _open(config)
    app = Flask(__name__, static_folder=None)
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    options.install(app)
    app.register_blueprint(
        health.blueprint({"database": partial(_check_database, database), "audit": partial(_check_audit, database)})
    )
    app.register_blueprint(oauth.blueprint(config, database))
    holders: bearer.Bearer = app.extensions[bearer.EXTENSION]
    app.register_blueprint(
        shl.blueprint(
            config,
            database,
            lambda: bearer.request_id(request),
            partial(share_link.access_of, holders),
            partial(share_link.token_of, holders),
        )
    )
    app.register_blueprint(dicomweb.blueprint(config, database, lambda: bearer.authenticate(request)))
    service = Service(database, config, page_keys(oauth.shared_secrets()))
    openapi.install(app, service.parameters, routes.blueprint(service, lambda: bearer.authenticate(request)))
    error_handlers.install(
        app,
        {
            "/fhir": outcome.render_error,
            "/dicomweb": dicomweb.render_error,
            "/oauth": oauth.render_error,
            "/shl": shl.render_error,
        },
        bearer.request_id,
    )
    # The last one registered is the first to see an answer.
    app.after_request(compression.compress)
    app.after_request(cors.sharing(config))
    app.after_request(_finish)
    roots = {rule.rule.split("/")[1] for rule in app.url_map.iter_rules()}
    app.wsgi_app = Unread(Forwarded(app.wsgi_app, config, roots))  # type: ignore[method-assign] # Flask's own way to wrap
    return app


def _log_as_json() -> None:
    """One JSON object a line on standard error, for whoever collects the logs."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _open(config: Config) -> Database:
    database = connect(config.mongodb_uri, config)
    log = AuditLog(database, config.data / "audit-checkpoint", reporter(database, config))
    database.sealer = log
    audit.use(log)
    atexit.register(log.close)
    atexit.register(database.in_flight.close)
    resume(database, config)
    erase.resume(database, config)
    return database


def _check_database(database: Database) -> None:
    """Raise unless a member answers that takes writes."""
    if not database.command("hello", 1)["isWritablePrimary"]:
        raise errors.Unavailable("The database takes no writes.")


def _check_audit(database: Database) -> None:
    """Raise unless the audit log of this process is open: without it nothing is disclosed."""
    if database.sealer is None:
        raise errors.Unavailable("The audit log is not open.")


def _finish(response: Response) -> Response:
    headers = response.headers
    headers["X-Request-Id"] = bearer.request_id(request)
    headers["X-Content-Type-Options"] = "nosniff"
    if "Cache-Control" not in headers:
        headers["Cache-Control"] = "no-store"
    return response
