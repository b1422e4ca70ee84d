"""Small administrative records, as mongoengine documents: clients, keys, used assertions, revoked tokens.

`database.connect` joins mongoengine to the one client of the process; nothing here opens another. Resources are not
here: their bytes and facts go through `resource_store`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from mongoengine import (
    BooleanField,
    DateTimeField,
    DictField,
    Document,
    IntField,
    NotUniqueError,
    StringField,
)
from mongoengine.errors import ValidationError as InvalidRecordError
from pymongo.errors import PyMongoError as DatabaseError

# The two errors are here so that the layers above, which do not know MongoDB, can catch them.
__all__ = [
    "CATEGORIES",
    "Client",
    "DatabaseError",
    "InvalidRecordError",
    "add_client",
    "add_signing_key",
    "create_indexes",
    "get_client",
    "is_revoked",
    "known_base",
    "list_clients",
    "remember_base",
    "remove_client",
    "revoke_token",
    "signing_keys",
    "use_assertion",
]

CATEGORIES = ("care", "payer", "employer", "operator", "auditor")
"""What a client is to the region: a care establishment, a payer, an employer, the region's operator, or its auditor.

Operator and auditor are two: who keeps the directory does not read the trail.
"""

# Far more than the clients of a region: only a flood of made-up ids would reach it.
_MOST_KEPT = 1_000


class Client(Document):
    """A system registered to obtain tokens by `private_key_jwt`; it acts for one establishment.

    `jwks` is its public key set (RFC 7517). `scopes` bounds what it may ask for. `patient_id_system` is the identifier
    system of the patient numbers in what it sends (DICOM Patient ID without an issuer). A client that was removed is
    kept, marked as not active.
    """

    client_id = StringField(primary_key=True, regex=r"[A-Za-z0-9][A-Za-z0-9.-]{0,63}\Z")
    name = StringField(required=True)
    organization = StringField(regex=r"Organization/[A-Za-z0-9.-]{1,64}\Z")
    category = StringField(required=True, choices=CATEGORIES)
    jwks = DictField(required=True)
    scopes = StringField(required=True)
    patient_id_system = StringField()
    active = BooleanField(default=True)
    created = DateTimeField(required=True)

    meta: ClassVar[dict[str, Any]] = {"collection": "clients", "auto_create_index": False}


class RevokedToken(Document):
    """An access token that was taken back before its end; MongoDB lets go of the record after it."""

    token_id = StringField(primary_key=True)
    until = DateTimeField(required=True)

    meta: ClassVar[dict[str, Any]] = {
        "collection": "revoked_tokens",
        "auto_create_index": False,
        "indexes": [{"fields": ["until"], "expireAfterSeconds": 0}],
    }


class UsedAssertion(Document):
    """A client assertion that was accepted once and must not be again (RFC 7523, `jti`)."""

    assertion = StringField(primary_key=True)
    until = DateTimeField(required=True)

    meta: ClassVar[dict[str, Any]] = {
        "collection": "used_assertions",
        "auto_create_index": False,
        "indexes": [{"fields": ["until"], "expireAfterSeconds": 0}],
    }


class SigningKey(Document):
    """A key that signs access tokens, private part included, shared by every node of the region.

    It is as safe as the database is, which holds everything that a token could open.
    """

    number = IntField(primary_key=True)
    jwk = DictField(required=True)
    created = DateTimeField(required=True)

    meta: ClassVar[dict[str, Any]] = {"collection": "signing_keys", "auto_create_index": False}


class Deployment(Document):
    """What the command line needs to know of the server whose database this is: the address that tokens are for."""

    name = StringField(primary_key=True, default="server")
    base = StringField(required=True)

    meta: ClassVar[dict[str, Any]] = {"collection": "deployment", "auto_create_index": False}


def create_indexes() -> None:
    """Create the indexes that let expired records go; run once at start-up."""
    for document in (RevokedToken, UsedAssertion):
        document.ensure_indexes()


# Clients

_kept: dict[str, tuple[float, Client | None]] = {}


def get_client(client_id: str, *, age: float = 0.0) -> Client | None:
    """The client of this id, None where there is none; inactive ones too, for the caller to refuse.

    `age` is how old the answer may be, in seconds: the hot path need not ask the database each time.
    """
    now = time.monotonic()
    if age and (kept := _kept.get(client_id)) is not None and now - kept[0] < age:
        return kept[1]
    client: Client | None = Client.objects(client_id=client_id).first()
    if len(_kept) >= _MOST_KEPT:
        _kept.clear()
    _kept[client_id] = (now, client)
    return client


def list_clients() -> list[Client]:
    """Every client, removed ones included, by id."""
    return list(Client.objects.order_by("client_id"))


def add_client(
    client_id: str,
    *,
    name: str,
    category: str,
    organization: str | None,
    jwks: Mapping[str, Any],
    scopes: str,
    patient_id_system: str | None = None,
    replace: bool = False,
) -> Client:
    """Register a client. `replace` overwrites one of the same id, which is how keys and scopes are changed.

    Raises ValueError where the id is taken, and InvalidRecordError where a value has not its form.
    """
    client = Client(
        client_id=client_id,
        name=name,
        category=category,
        organization=organization,
        jwks=dict(jwks),
        scopes=scopes,
        patient_id_system=patient_id_system,
        created=datetime.now(UTC),
    )
    present = Client.objects(client_id=client_id).first()
    try:
        client.save(force_insert=present is None or (present.active and not replace))
    except NotUniqueError:
        raise ValueError(f"client {client_id} is registered already") from None
    _kept.pop(client_id, None)
    return client


def remove_client(client_id: str) -> bool:
    """Mark a client as no longer active; False where there was no active one."""
    removed = Client.objects(client_id=client_id, active=True).update(set__active=False)
    _kept.pop(client_id, None)
    return bool(removed)


# Tokens and assertions


def revoke_token(token_id: str, until: datetime) -> None:
    """Take a token back; the record is needed until the token would have ended by itself."""
    RevokedToken.objects(token_id=token_id).update_one(set__until=until, upsert=True)


def is_revoked(token_id: str) -> bool:
    """Whether the token was taken back."""
    return RevokedToken.objects(token_id=token_id).limit(1).count() > 0


def use_assertion(client_id: str, assertion_id: str, until: datetime) -> bool:
    """Note the one use of an assertion; False where it was used before. Two at the same moment cannot both succeed."""
    try:
        UsedAssertion(assertion=f"{client_id} {assertion_id}", until=until).save(force_insert=True)
    except NotUniqueError:
        return False
    return True


# Keys and address


def signing_keys() -> Sequence[Mapping[str, Any]]:
    """The private keys as JWKs, the one that signs first."""
    return [key.jwk for key in SigningKey.objects.order_by("-number")]


def add_signing_key(number: int, jwk: Mapping[str, Any]) -> bool:
    """Keep a key; False where another process was quicker with a key of this number."""
    try:
        SigningKey(number=number, jwk=dict(jwk), created=datetime.now(UTC)).save(force_insert=True)
    except NotUniqueError:
        return False
    return True


def remember_base(base: str) -> None:
    """Keep the public base of the server, for commands that make tokens for it."""
    Deployment.objects(name="server").update_one(set__base=base, upsert=True)


def known_base() -> str | None:
    """The public base of the server that last started on this database."""
    deployment = Deployment.objects(name="server").first()
    return deployment.base if deployment else None
