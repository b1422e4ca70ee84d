"""The revocation endpoint, RFC 7009: a client takes back a token of its own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from authlib.oauth2.rfc7009 import RevocationEndpoint

from fhirserver import audit
from fhirserver.oauth import access_token
from fhirserver.oauth.access_token import Claims, InvalidAccessTokenError
from fhirserver.oauth.client_assertion import METHOD, RegisteredClient
from fhirserver.store import documents


class IssuedToken:
    """A verified token as Authlib asks about it."""

    def __init__(self, claims: Claims) -> None:
        """Wrap its claims."""
        self.claims = claims

    def check_client(self, client: RegisteredClient) -> bool:
        """Whether it was issued to this client."""
        return self.claims.client_id == client.get_client_id()


class Revocation(RevocationEndpoint):
    """Answers 200 also for a token that is unknown or over, as section 2.2 asks."""

    SUPPORTED_TOKEN_TYPES = ("access_token",)
    CLIENT_AUTH_METHODS = (METHOD,)

    def query_token(self, token_string: str, _token_type_hint: str | None) -> IssuedToken | None:
        """The token if it is ours and still good."""
        try:
            return IssuedToken(self.server.bearer.verifier.verify(token_string))
        except InvalidAccessTokenError:
            return None

    def revoke_token(self, token: IssuedToken, _request: Any) -> None:
        """Take it back: here at once, on other processes when what they keep of it is a few seconds old."""
        claims = token.claims
        documents.revoke_token(claims.token_id, access_token.expiry(claims))
        self.server.bearer.forget(claims.token_id)
        audit.flush(
            None,
            audit.token_events(
                "revoked",
                now=datetime.now(UTC),
                client_id=claims.client_id,
                organization=claims.organization,
                token_id=claims.token_id,
                request_id=self.server.request_id(),
                address=self.server.address(),
            ),
        )
