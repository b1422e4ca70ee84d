"""Page links: where a search stands, sealed so that only this server can read or make one.

A cursor carries no authority: the next page is decided afresh for whoever asks. It is bound to the caller by the
authenticated data of AES-GCM (https://csrc.nist.gov/pubs/sp/800/38/d/final), so that another caller's link cannot be
told from one that was tampered with. Its plain form is JSON, in which instants and infinities are marked; a new field
may be added with a default, and a change of meaning takes a new `_VERSION`, after which older links no longer open.
"""

from __future__ import annotations

import json
import math
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from secrets import token_bytes
from typing import Any, Literal, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fhirserver.errors import BadRequest, Gone
from fhirserver.search.query import Pair

Direction: TypeAlias = Literal["next", "previous"]
Key: TypeAlias = bytes
"""32 random bytes."""

_VERSION = b"fhirserver page link 1"
_NONCE_BYTES = 12
_LONGEST = 65_536


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a search stands.

    `pairs` are the parameters of the search; `caller` names who asked; `snapshot` is the database's timestamp
    (seconds, increment) at which every page is read; `after` holds the sort keys and the id of the row next to
    which the page begins, in the `direction`; `rest` is where the included rows go on that the page at this place
    could not hold; `count` is the size of a page; `issued` the instant at which the link was made.
    """

    pairs: tuple[Pair, ...]
    caller: str
    snapshot: tuple[int, int] | None
    after: tuple[Any, ...]
    count: int
    issued: datetime
    direction: Direction = "next"
    rest: tuple[int, str] | None = None


def seal(cursor: Cursor, key: Key) -> str:
    """The cursor as URL-safe text."""
    nonce = token_bytes(_NONCE_BYTES)
    sealed = AESGCM(key).encrypt(nonce, _plain(cursor), _bound_to(cursor.caller))
    return urlsafe_b64encode(nonce + sealed).rstrip(b"=").decode()


def unseal(text: str, keys: Sequence[Key], *, caller: str, now: datetime, lifetime: timedelta) -> Cursor:
    """The cursor in a link, opened by any of the keys in force.

    Raises BadRequest for text that this server did not make for this caller, and Gone once the lifetime has passed.
    """
    cursor = _cursor(_opened(text, keys, caller), caller)
    if now - cursor.issued > lifetime:
        raise Gone("this page link has expired; search again", code="expired")
    return cursor


def _bound_to(caller: str) -> bytes:
    return _VERSION + b"\x00" + caller.encode()


def _opened(text: str, keys: Sequence[Key], caller: str) -> bytes:
    """The authenticated plain text."""
    if len(text) <= _LONGEST and text.isascii():
        try:
            sealed = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except NotBase64:
            sealed = b""
        for key in keys:
            try:
                return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _bound_to(caller))
            except (InvalidTag, ValueError):  # ValueError: too short to hold a nonce
                continue
    raise BadRequest("this page link was not made by this server for you; search again")


def _plain(cursor: Cursor) -> bytes:
    fields = {
        "p": cursor.pairs,
        "s": cursor.snapshot,
        "a": [_marked(value) for value in cursor.after],
        "c": cursor.count,
        "i": _milliseconds(cursor.issued),
        "d": cursor.direction,
        **({} if cursor.rest is None else {"r": cursor.rest}),
    }
    return json.dumps(fields, separators=(",", ":"), allow_nan=False).encode()


def _cursor(plain: bytes, caller: str) -> Cursor:
    fields = json.loads(plain)
    return Cursor(
        pairs=tuple((name, value) for name, value in fields["p"]),
        caller=caller,
        snapshot=(fields["s"][0], fields["s"][1]) if fields["s"] else None,
        after=tuple(_unmarked(value) for value in fields["a"]),
        count=fields["c"],
        issued=_instant(fields["i"]),
        direction=fields["d"],
        rest=(fields["r"][0], fields["r"][1]) if "r" in fields else None,
    )


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _milliseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(milliseconds=1)


def _instant(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


def _marked(value: Any) -> Any:
    """A sort key as JSON can hold it: strings, finite numbers and None as they are, the rest with a mark."""
    if isinstance(value, datetime):
        return {"t": _milliseconds(value)}
    if isinstance(value, float) and math.isinf(value):
        return {"f": "inf" if value > 0 else "-inf"}
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"a sort key cannot be a {type(value).__name__}")


def _unmarked(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return _instant(value["t"]) if "t" in value else float(value["f"])
