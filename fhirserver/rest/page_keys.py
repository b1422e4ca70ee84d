"""The keys that seal page links, derived from the secrets that every node of the region shares.

Derivation (HKDF, RFC 5869) lets one secret serve two uses without either telling anything about the other.
"""

from __future__ import annotations

from collections.abc import Iterable

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_PURPOSE = b"fhirserver page links"


def page_keys(secrets: Iterable[bytes]) -> list[bytes]:
    """One key of 32 bytes for each secret, in the same order: the first seals, all of them open."""
    return [HKDF(SHA256(), length=32, salt=None, info=_PURPOSE).derive(secret) for secret in secrets]
