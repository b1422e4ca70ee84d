"""Client authentication by a signed assertion, `private_key_jwt`.

RFC 7523 section 2.2 as profiled by SMART,
https://hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html#authenticating-to-the-token-endpoint.
Every description in a refusal is a fixed text: nothing that the client sent comes back.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

from authlib.oauth2.rfc6749 import ClientMixin, InvalidClientError
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from fhirserver.oauth.keys import CLIENT_ALGORITHMS
from fhirserver.oauth.scopes import narrow
from fhirserver.store import documents

METHOD = "private_key_jwt"

_LONGEST_LIFETIME = 300  # "no more than five minutes in the future"
_CLOCK_SKEW = 5  # by which a client's clock may run ahead when it asks for the whole five minutes
_LONGEST_ID = 256


class RegisteredClient(ClientMixin):
    """A registered client as Authlib asks about it."""

    def __init__(self, record: documents.Client) -> None:
        """Wrap the stored record."""
        self.record = record

    @classmethod
    def of(cls, client_id: str) -> RegisteredClient | None:
        """The active client of this id."""
        record = documents.get_client(client_id)
        return cls(record) if record is not None and record.active else None

    def get_client_id(self) -> str:
        """Its id."""
        return str(self.record.client_id)

    def get_allowed_scope(self, scope: str | None) -> str:
        """What it is granted of what it asks; a system acts by system scopes only."""
        return narrow(scope, self.record.scopes, context="system")

    def check_endpoint_auth_method(self, method: str, _endpoint: str) -> bool:
        """No client has a secret, at any endpoint."""
        return method == METHOD

    def check_grant_type(self, grant_type: str) -> bool:
        """The one grant of systems."""
        return grant_type == "client_credentials"


class ClientAssertion(JWTBearerClientAssertion):
    """Verifies the assertion; with Authlib's defaults RS384 and ES384, the two that SMART asks for, are refused."""

    CLIENT_AUTH_METHOD = METHOD

    def __init__(self, token_url: str) -> None:
        """Accept assertions made for the token endpoint at `token_url`."""
        super().__init__(validate_jti=False)  # used up below, after everything else is known to be good
        self._token_url = token_url

    def get_audiences(self) -> list[str]:
        """The token endpoint's own URL, and no other."""
        return [self._token_url]

    def resolve_client_public_key(self, client: RegisteredClient) -> KeySet:
        """The keys registered with the client; none is fetched from anywhere."""
        return KeySet.import_key_set(cast("Any", client.record.jwks))

    def extract_assertion(self, assertion: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Header and claims before verification, the header being one that SMART allows."""
        try:
            header, claims = super().extract_assertion(assertion)
        except (InvalidClientError, JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise InvalidClientError(description="The assertion is not a JWT.") from error
        if header.get("alg") not in CLIENT_ALGORITHMS:
            raise InvalidClientError(description=f"The assertion is signed by {' or '.join(CLIENT_ALGORITHMS)}.")
        if not isinstance(header.get("kid"), str):
            raise InvalidClientError(description="The assertion names its key by kid.")
        if "jku" in header:
            raise InvalidClientError(description="Keys are registered here; jku is not followed.")
        return header, claims

    def process_assertion_claims(self, assertion: str, resolve_key: KeySet) -> dict[str, Any]:
        """The claims, once signature, names, times and single use are verified."""
        try:
            token = jwt.decode(assertion, resolve_key, algorithms=list(CLIENT_ALGORITHMS))
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise InvalidClientError(description="The signature is not that of a key of this client.") from error
        self.verify_claims(token.claims)
        return token.claims

    def verify_claims(self, claims: Mapping[str, Any]) -> None:
        """Authlib's checks (iss = sub, aud, exp), then SMART's: at most five minutes, and once."""
        try:
            super().verify_claims(claims)
        except (JoseError, ValueError, TypeError) as error:
            raise InvalidClientError(description="The claims are not of their form.") from error
        expires = claims["exp"]
        now = time.time()
        if expires <= now:
            raise InvalidClientError(description="The assertion has expired.")
        if expires > now + _LONGEST_LIFETIME + _CLOCK_SKEW:
            raise InvalidClientError(description="The assertion lives for more than five minutes.")
        assertion_id = claims.get("jti")
        if not isinstance(assertion_id, str) or not 0 < len(assertion_id) <= _LONGEST_ID:
            raise InvalidClientError(description="The assertion has no jti.")
        if not documents.use_assertion(claims["sub"], assertion_id, datetime.fromtimestamp(expires, UTC)):
            raise InvalidClientError(description="The assertion was used before.")
