"""Client assertions, good ones and all kinds of bad ones, signed by real keys."""

from __future__ import annotations

import secrets
import time

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

TOKEN_URL = "http://fhir.example/oauth/token"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

EC = ECKey.generate_key("P-384", auto_kid=True)
RSA = RSAKey.generate_key(2048, auto_kid=True)
STRANGER = ECKey.generate_key("P-384", auto_kid=True)
ALGORITHM = {"EC": "ES384", "RSA": "RS384"}


def claims(**changes):
    now = int(time.time())
    good = {
        "iss": "his-e1",
        "sub": "his-e1",
        "aud": TOKEN_URL,
        "exp": now + 240,
        "jti": secrets.token_hex(8),
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def signed(payload=None, *, key=EC, header=None):
    head = {"alg": ALGORITHM[key.key_type], "kid": key.kid, "typ": "JWT"}
    head = {name: value for name, value in {**head, **(header or {})}.items() if value is not None}
    return jwt.encode(head, payload or claims(), key, algorithms=[head["alg"]])


def form(assertion=None, **changes):
    good = {
        "grant_type": "client_credentials",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion or signed(),
        "scope": "system/*.rs",
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}
