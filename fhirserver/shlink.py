"""SMART Health Links as such: the link itself, what keeps its secret, and the files that only its key opens.

A link has two secrets of 32 random bytes each. That of its address is never stored: two values are derived from it, one
by which the link is found, and one that seals the key of the files. So the key can be opened while somebody shows the
address, and not from what is stored (docs/adr/0028-links.md).

https://hl7.org/fhir/uv/smart-health-cards-and-links/STU1/links-specification.html
"""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import orjson
from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from joserfc import jwe
from joserfc.jwk import OctKey

PATH: Final = "/shl"
"""The path below the base under which links are answered."""

LONGEST_URL: Final = 128
LONGEST_LABEL: Final = 80
SECRET_LENGTH: Final = 43
"""Characters of 32 bytes in base64url."""

_BYTES = 32
_FINDS, _SEALS = b"fhirserver share link", b"fhirserver share link key"
_HEADER = {"alg": "dir", "enc": "A256GCM"}

# 32 MB and a third of a second for each guess: https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html
_COST = {"length": _BYTES, "n": 2**15, "r": 8, "p": 3}
_SALT = 16


@dataclass(frozen=True, slots=True)
class Secret:
    """What the address of a link derives: `digest` finds the link, `_wrapping` opens its key."""

    digest: str
    _wrapping: bytes

    @classmethod
    def of(cls, text: str) -> Secret | None:
        """The secret of an address; None for a text that no link of this server has."""
        if len(text) != SECRET_LENGTH or not text.isascii():
            return None
        try:
            raw = urlsafe_b64decode(text + "=")
        except NotBase64:
            return None
        if encoded(raw) != text:
            return None
        return cls._of_bytes(raw)

    @classmethod
    def drawn(cls) -> tuple[str, Secret]:
        """The text of a new address, and its secret."""
        raw = secrets.token_bytes(_BYTES)
        return encoded(raw), cls._of_bytes(raw)

    @classmethod
    def _of_bytes(cls, raw: bytes) -> Secret:
        return cls(_derived(raw, _FINDS).hex(), _derived(raw, _SEALS))

    def sealed(self, key: str) -> str:
        """The key of the files, for the store to keep."""
        return jwe.encrypt_compact(_HEADER, key.encode("ascii"), OctKey.import_key(self._wrapping))

    def opened(self, sealed: str) -> str:
        """The key of the files."""
        opened = jwe.decrypt_compact(sealed, OctKey.import_key(self._wrapping))
        return (opened.plaintext or b"").decode("ascii")


def new_secret() -> str:
    """32 random bytes in base64url."""
    return encoded(secrets.token_bytes(_BYTES))


def encoded(raw: bytes) -> str:
    """Base64url without padding (RFC 7515)."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def digest_of(text: str) -> str:
    """By what the short-lived address of a file is found; empty for what is none."""
    secret = Secret.of(text)
    return "" if secret is None else secret.digest


def _derived(raw: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), length=_BYTES, salt=None, info=purpose).derive(raw)


def uri(address: str, key: str, *, until: datetime, flag: str, label: str | None) -> str:
    """The link as it is handed on: `shlink:/` and the payload."""
    payload: dict[str, str | int] = {"url": address, "exp": int(until.timestamp()), "key": key}
    if flag:
        payload["flag"] = flag
    if label:
        payload["label"] = label
    return f"shlink:/{encoded(orjson.dumps({**payload, 'v': 1}))}"


def encrypted(content: bytes, content_type: str, key: str) -> str:
    """A file as a JWE that the key of the link opens; the nonce is drawn anew for each."""
    header = {**_HEADER, "zip": "DEF", "cty": content_type}
    return jwe.encrypt_compact(header, content, OctKey.import_key(urlsafe_b64decode(key + "=")))


def kept(passcode: str) -> bytes:
    """What is stored of a passcode: a salt, and what scrypt makes of both (RFC 7914)."""
    salt = secrets.token_bytes(_SALT)
    return salt + Scrypt(salt=salt, **_COST).derive(passcode.encode())


def is_passcode(passcode: str, stored: bytes) -> bool:
    """Whether it is the passcode; the comparison takes the same time wherever the two differ."""
    try:
        Scrypt(salt=stored[:_SALT], **_COST).verify(passcode.encode(), stored[_SALT:])
    except InvalidKey:
        return False
    return True
