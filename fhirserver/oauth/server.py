"""The OAuth routes, and Authlib's authorization server put together with what the other modules bring.

POST /oauth/token                             client_credentials with private_key_jwt
POST /oauth/revoke                            RFC 7009
GET  /oauth/jwks                              the public keys of access tokens
GET  /fhir/.well-known/smart-configuration    what is offered
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from threading import BoundedSemaphore, Semaphore
from typing import Any

import orjson
from authlib.integrations.flask_oauth2 import AuthorizationServer as FlaskAuthorizationServer
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import InvalidRequestError
from flask import Blueprint, Response, request

from fhirserver import audit
from fhirserver.config import Config
from fhirserver.errors import FhirError, Unavailable
from fhirserver.oauth.access_token import issuer
from fhirserver.oauth.bearer import EXTENSION, Bearer, request_id
from fhirserver.oauth.client_assertion import METHOD, ClientAssertion, RegisteredClient
from fhirserver.oauth.discovery import smart_configuration
from fhirserver.oauth.keys import SigningKeys
from fhirserver.oauth.revoke import Revocation
from fhirserver.oauth.token import BackendServicesGrant
from fhirserver.store.database import Database

# An assertion is about a kilobyte; nobody needs to send more than this.
_LARGEST_FORM = 64_000

_ERROR_OF_STATUS = {401: "invalid_client", 503: "temporarily_unavailable"}


class AuthorizationServer(FlaskAuthorizationServer):
    """Authlib's server with our grant, our client authentication, and an audit entry for every refusal."""

    def __init__(self, config: Config, bearer: Bearer) -> None:
        """Put the endpoints together."""
        super().__init__(query_client=RegisteredClient.of)
        self.config = config
        self.bearer = bearer
        self.keys = bearer.keys
        self.register_client_auth_method(METHOD, ClientAssertion(f"{issuer(config)}/token"))
        self.register_grant(BackendServicesGrant)
        self.register_endpoint(Revocation)

    def handle_error_response(self, oauth_request: Any, error: OAuth2Error) -> Response:
        """Note the refusal, then answer it. Who failed to prove itself is named by what it claimed to be."""
        client = getattr(oauth_request, "client", None)
        audit.flush(
            None,
            audit.token_events(
                "refused",
                now=datetime.now(UTC),
                client_id=client.get_client_id() if client else None,
                request_id=self.request_id(),
                address=self.address(),
                reason=error.error,
            ),
        )
        response: Response = super().handle_error_response(oauth_request, error)
        return response

    @staticmethod
    def request_id() -> str:
        """What names this request in answer and audit."""
        return request_id(request)

    @staticmethod
    def address() -> str | None:
        """Where the request comes from."""
        return request.remote_addr


def blueprint(config: Config, database: Database) -> Blueprint:
    """The OAuth routes. Registering the blueprint also lets `bearer.authenticate` work in that application."""
    bearer = Bearer(config, database, SigningKeys.load())
    # Who sends a form slowly holds a thread, and needs no token for it: half of them stay for those who have one.
    places = BoundedSemaphore(max(1, config.threads // 2))
    server = AuthorizationServer(config, bearer)
    routes = Blueprint("oauth", __name__)
    routes.record(lambda state: state.app.extensions.update({EXTENSION: bearer}))

    @routes.post("/oauth/token")
    def token() -> Response:
        return _answered(server, places, server.create_token_response)

    @routes.post("/oauth/revoke")
    def revoke() -> Response:
        return _answered(server, places, lambda: server.create_endpoint_response(Revocation.ENDPOINT_NAME))

    jwks = orjson.dumps(bearer.keys.as_jwks())
    discovery = orjson.dumps(smart_configuration(config))

    @routes.get("/oauth/jwks")
    def keys() -> Response:
        return _public(jwks)

    @routes.get("/fhir/.well-known/smart-configuration")
    def configuration() -> Response:
        return _public(discovery)

    return routes


def shared_secrets() -> list[bytes]:
    """Secrets that every node of the region shares, the newest first; for deriving keys, never for use as they are."""
    return SigningKeys.load().secrets()


def render_error(error: FhirError) -> Response:
    """An error under the OAuth base in OAuth form (RFC 6749 section 5.2)."""
    code = _ERROR_OF_STATUS.get(error.status, "invalid_request" if error.status < 500 else "server_error")
    body = orjson.dumps({"error": code, "error_description": error.diagnostics})
    headers = {"Cache-Control": "no-store", **error.headers}
    return Response(body, status=error.status, headers=headers, content_type="application/json")


def _answered(server: AuthorizationServer, places: Semaphore, endpoint: Callable[[], Response]) -> Response:
    if not places.acquire(blocking=False):
        return render_error(Unavailable("Too many at once.", headers={"Retry-After": "1"}))
    try:
        try:
            _check_form()
            response = endpoint()
        except OAuth2Error as error:
            response = server.handle_error_response(None, error)
    except Unavailable as error:  # the audit cannot be written: no token, and no reason either
        response = render_error(error)
    finally:
        places.release()
    response.headers["Cache-Control"] = "no-store"
    return response


def _check_form() -> None:
    """RFC 6749 section 3.2: parameters in the body, form-encoded, none of them twice."""
    request.max_content_length = _LARGEST_FORM
    if request.mimetype != "application/x-www-form-urlencoded":
        raise InvalidRequestError("The body is application/x-www-form-urlencoded.")
    if request.args:
        raise InvalidRequestError("Parameters belong in the body.")
    if any(len(values) > 1 for _, values in request.form.lists()):
        raise InvalidRequestError("A parameter stands twice.")
    if request.path.endswith("/token") and not request.form.get("grant_type"):
        raise InvalidRequestError("grant_type is missing.")


def _public(body: bytes) -> Response:
    return Response(body, content_type="application/json", headers={"Cache-Control": "public, max-age=300"})
