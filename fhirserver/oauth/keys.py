"""The keys that sign access tokens, and the public keys of clients.

Ours are ES256 keys in the database, shared by every node; the first process to need one makes it. Clients bring RSA
keys (RS384) or P-384 keys (ES384), the two algorithms of SMART Backend Services
(https://hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, KeySet, RSAKey, import_key

from fhirserver.store import documents

SIGNING_ALGORITHM = "ES256"
CLIENT_ALGORITHMS = ("RS384", "ES384")

_SMALLEST_RSA = 2_048  # RFC 7518 section 3.3


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """The keys, newest first, and the set of their public parts, which verifies tokens of every key."""

    private: tuple[ECKey, ...]
    verifying: KeySet

    @classmethod
    def load(cls) -> SigningKeys:
        """Read the keys from the database; make the first where there is none."""
        stored = documents.signing_keys()
        if not stored:
            key = ECKey.generate_key("P-256", parameters={"use": "sig", "alg": SIGNING_ALGORITHM}, auto_kid=True)
            documents.add_signing_key(1, key.as_dict(private=True))
            stored = documents.signing_keys()
        keys = [ECKey.import_key(dict(jwk)) for jwk in stored]
        public = [ECKey.import_key(key.as_dict(private=False)) for key in keys]
        return cls(private=tuple(keys), verifying=KeySet(list(public)))

    @property
    def signing(self) -> ECKey:
        """The key that signs new tokens."""
        return self.private[0]

    def as_jwks(self) -> dict[str, Any]:
        """The public part, for `/oauth/jwks`."""
        return cast("dict[str, Any]", self.verifying.as_dict(private=False))

    def secrets(self) -> list[bytes]:
        """A secret for each key, the newest first, from which other keys that all nodes share may be derived."""
        return [str(key.as_dict(private=True)["d"]).encode("ascii") for key in self.private]


class ClientKeyError(ValueError):
    """A key that cannot be registered for a client; the message says why."""


def client_key_set(jwks: Mapping[str, Any]) -> dict[str, Any]:
    """A client's JWKS as it will be stored: public signing keys only, each with a `kid`.

    Raises ClientKeyError for a private key, a key of another kind, and a set without a key.
    """
    keys = jwks.get("keys")
    if not isinstance(keys, list) or not keys:
        raise ClientKeyError("a JWKS has an array `keys` with at least one key")
    return _as_stored([_key_of_jwk(jwk) for jwk in keys])


def client_key_set_of_pem(pem: bytes) -> dict[str, Any]:
    """The JWKS of one public key in PEM; its `kid` is its thumbprint (RFC 7638). Raises ClientKeyError likewise."""
    for kind in (ECKey, RSAKey):
        try:
            key = kind.import_key(pem)
        except (JoseError, ValueError, TypeError):
            continue
        return _as_stored([key])
    raise ClientKeyError("not a key that can be read")


def _key_of_jwk(jwk: Any) -> Key:
    if not isinstance(jwk, dict):
        raise ClientKeyError("not a key that can be read")
    try:
        return import_key(jwk)
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise ClientKeyError("not a key that can be read") from error


def _as_stored(keys: Sequence[Key]) -> dict[str, Any]:
    for key in keys:
        _check(key)
    return cast("dict[str, Any]", KeySet(list(keys)).as_dict(private=False))


def _check(key: Key) -> None:
    if not isinstance(key, RSAKey | ECKey) or (isinstance(key, ECKey) and key.curve_name != "P-384"):
        raise ClientKeyError("a client signs with an RSA key (RS384) or a P-384 key (ES384)")
    if isinstance(key, RSAKey) and key.raw_value.key_size < _SMALLEST_RSA:
        raise ClientKeyError(f"an RSA key has at least {_SMALLEST_RSA} bits")
    if key.is_private:
        raise ClientKeyError("this is a private key; register the public key and keep the private one to the client")
