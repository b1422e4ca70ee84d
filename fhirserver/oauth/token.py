"""The token endpoint: access tokens for registered systems (SMART Backend Services).

https://hl7.org/fhir/smart-app-launch/STU2.2/backend-services.html, RFC 6749 section 4.4.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from authlib.oauth2.rfc6749 import InvalidScopeError
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant

from consent.request import DEFAULT_PURPOSE
from fhirserver import audit
from fhirserver.oauth import access_token
from fhirserver.oauth.access_token import Claims
from fhirserver.oauth.bearer import SYSTEM_KINDS
from fhirserver.oauth.client_assertion import METHOD, RegisteredClient


class BackendServicesGrant(ClientCredentialsGrant):
    """A client that proved itself by its key is given a short-lived token, and no refresh token."""

    TOKEN_ENDPOINT_AUTH_METHODS = (METHOD,)

    def create_token_response(self) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
        """Issue the token. It leaves only when the audit of it is durable."""
        client: RegisteredClient = self.request.client
        scope = client.get_allowed_scope(self.request.payload.scope)
        if not scope:
            raise InvalidScopeError("None of the scopes asked for is registered for this client.")
        now = datetime.now(UTC)
        token, claims = access_token.issue(self.server.keys, self.server.config, claims_of(client, scope), now)
        audit.flush(
            None,
            audit.token_events(
                "issued",
                now=now,
                client_id=claims.client_id,
                organization=claims.organization,
                token_id=claims.token_id,
                request_id=self.server.request_id(),
                address=self.server.address(),
            ),
        )
        body = {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": claims.expires - int(now.timestamp()),
            "scope": scope,
        }
        return 200, body, self.TOKEN_RESPONSE_HEADER


def claims_of(client: RegisteredClient, scope: str, *, purpose: str | None = None) -> Claims:
    """What a token of this system says."""
    return Claims(
        subject=client.get_client_id(),
        client_id=client.get_client_id(),
        scope=scope,
        purpose=purpose or DEFAULT_PURPOSE[SYSTEM_KINDS.get(client.record.category, "system")],
        organization=client.record.organization,
    )
