"""Access tokens: JWTs by RFC 9068, signed ES256, for the FHIR base of this server alone.

iss        the OAuth base                sub      the client id, or the person (`Practitioner/d`),
                                         or the link (`Link/l`)
aud        the FHIR base                 scope    SMART scopes
client_id  who obtained it               jti      its name in audit and revocation
iat, exp   at most 300 s apart           purpose  the one purpose of use, a v3-ActReason code
organization  `Organization/h`, for whom the person acts
fhirUser   the person, as an absolute URL; absent for a system
patient    the id of the patient in context
recipient  who the holder of a link says they are
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from authlib.oauth2.rfc6750.errors import InvalidTokenError
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from fhirserver.config import Config
from fhirserver.oauth.keys import SIGNING_ALGORITHM, SigningKeys

TYPE = "at+jwt"
LONGEST_LIFETIME = 300  # SMART Backend Services: "SHALL NOT exceed five minutes"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says; the names are those of the module's table."""

    subject: str
    client_id: str
    scope: str
    purpose: str | None = None
    organization: str | None = None
    person: str | None = None
    patient: str | None = None
    recipient: str | None = None
    token_id: str = ""
    expires: int = 0


class InvalidAccessTokenError(Exception):
    """The token is not one of ours, or no longer; the message is fit for `error_description`."""


def issuer(config: Config) -> str:
    """The issuer identifier: the OAuth base."""
    return f"{config.base}/oauth"


def issue(keys: SigningKeys, config: Config, claims: Claims, now: datetime) -> tuple[str, Claims]:
    """A signed token and its claims, `token_id` and `expires` included."""
    lifetime = min(config.token_lifetime, LONGEST_LIFETIME)
    issued_at = int(now.timestamp())
    payload = {
        "iss": issuer(config),
        "sub": claims.subject,
        "aud": config.fhir_base,
        "client_id": claims.client_id,
        "scope": claims.scope,
        "jti": secrets.token_urlsafe(16),
        "iat": issued_at,
        "exp": issued_at + lifetime,
        "purpose": claims.purpose,
        "organization": claims.organization,
        "fhirUser": f"{config.fhir_base}/{claims.person}" if claims.person else None,
        "patient": claims.patient,
        "recipient": claims.recipient,
    }
    payload = {name: value for name, value in payload.items() if value is not None}
    header = {"alg": SIGNING_ALGORITHM, "typ": TYPE, "kid": keys.signing.kid}
    token = jwt.encode(header, payload, keys.signing, algorithms=[SIGNING_ALGORITHM])
    return token, _claims(payload, config)


def expiry(claims: Claims) -> datetime:
    """When the token ends."""
    return datetime.fromtimestamp(claims.expires, UTC)


class Verifier(JWTBearerTokenValidator):
    """Verifies tokens of this server: signature, type, issuer, audience and end, by Authlib's RFC 9068 validator."""

    def __init__(self, keys: SigningKeys, config: Config) -> None:
        """Hold the public keys; a node that joins later shares the same."""
        super().__init__(issuer=issuer(config), resource_server=config.fhir_base)
        self._keys = keys
        self._config = config

    def get_jwks(self) -> KeySet:
        """The keys to verify with, as Authlib asks for them."""
        return self._keys.verifying

    def verify(self, token: str) -> Claims:
        """The claims of a good token. Raises InvalidAccessTokenError for every other string."""
        try:
            claims = self.authenticate_token(token)
            self.validate_token(claims, [], None)
        except (InvalidTokenError, JoseError, ValueError, TypeError, KeyError) as error:
            raise InvalidAccessTokenError(_told(error)) from error
        # Authlib lets a token without a type pass; ours always carry it, so one without is made for something else.
        if claims.header.get("typ") != TYPE or claims.header.get("alg") != SIGNING_ALGORITHM:
            raise InvalidAccessTokenError("The token is not an access token.")
        return _claims(claims, self._config)


def _told(error: BaseException) -> str:
    cause = error.__cause__ or error
    return (
        "The token has expired." if getattr(cause, "error", "") == "expired_token" else "The token is not valid here."
    )


def _claims(payload: Mapping[str, Any], config: Config) -> Claims:
    texts = {name: payload.get(name) for name in ("sub", "client_id", "scope", "jti")}
    optional = {name: payload.get(name) for name in ("purpose", "organization", "fhirUser", "patient", "recipient")}
    if not all(isinstance(text, str) for text in texts.values()) or not all(
        value is None or isinstance(value, str) for value in optional.values()
    ):
        raise InvalidAccessTokenError("The token is not an access token.")
    person = optional["fhirUser"]
    return Claims(
        subject=texts["sub"] or "",
        client_id=texts["client_id"] or "",
        scope=texts["scope"] or "",
        purpose=optional["purpose"],
        organization=optional["organization"],
        person=person.removeprefix(f"{config.fhir_base}/") if person else None,
        patient=optional["patient"],
        recipient=optional["recipient"],
        token_id=texts["jti"] or "",
        expires=int(payload["exp"]),
    )
