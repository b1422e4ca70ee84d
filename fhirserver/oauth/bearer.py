"""From a bearer token to an Access (RFC 6750): who acts, for whom, for what purpose, by which scopes.

A token is verified once; what was verified is kept for a few seconds, by the hash of the token, and dropped when this
process revokes it. Who a person is now (roles, teams, still active) is looked up at every request, so that a change
counts from the next one.
"""

from __future__ import annotations

import hashlib
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from flask import Request, current_app

from consent.eligibility import PURPOSE
from consent.link import is_link
from consent.request import DEFAULT_PURPOSE, Actor, ActorKind, Scope, parse_scopes
from fhirserver import audit
from fhirserver.access import SHARE_LINK, Access, actor_of, actor_of_link, policy_of
from fhirserver.config import Config
from fhirserver.errors import Unauthenticated
from fhirserver.oauth.access_token import Claims, InvalidAccessTokenError, Verifier
from fhirserver.oauth.keys import SigningKeys
from fhirserver.oauth.scopes import narrow
from fhirserver.store import actors, documents, emergencies, share_links
from fhirserver.store.database import Database
from fhirserver.store.standing import Standing

EXTENSION = "fhirserver.bearer"

# The client id of tokens that an operator makes on the command line; no client can be registered under a name with "_".
COMMAND_LINE = "command_line"

_KINDS: Mapping[str, ActorKind] = {
    "Practitioner": "professional",
    "Patient": "patient",
    "RelatedPerson": "representative",
}
# What kind of actor a client is by its category; a client of an establishment is a system.
SYSTEM_KINDS: Mapping[str, ActorKind] = {"operator": "operator", "auditor": "auditor"}
_REFERENCE = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_REQUEST_ID_KEY = "fhirserver.request_id"

# Tokens live for five minutes; this many at once would be a busy region on one process.
_MOST_KEPT = 20_000


@dataclass(slots=True)
class _Verified:
    """What is kept of a token: its claims, and what they amount to with the client as it was registered then.

    `last` is the actor that it was at the last request, and in what standing.
    """

    claims: Claims
    kind: ActorKind
    reference: str
    organization: str | None
    category: str
    scopes: tuple[Scope, ...]
    display: str | None
    fresh_until: float
    last: tuple[Standing, Actor] | None = None


class Bearer:
    """Authenticates requests to one server; safe to use from all threads of a process."""

    def __init__(self, config: Config, database: Database, keys: SigningKeys) -> None:
        """Nothing is kept yet."""
        self.keys = keys
        self.config = config
        self.verifier = Verifier(keys, config)
        self._policy = policy_of(config)
        self._cache_seconds = config.token_cache
        self._database = database
        self._kept: dict[bytes, _Verified] = {}

    def authenticate(self, request: Request) -> Access:
        """The access of a request. Raises Unauthenticated (401) with a WWW-Authenticate header, after its audit."""
        now = datetime.now(UTC)
        try:
            verified = self._verified(_token_of(request), now)
            access = self._access(verified, now, request_id(request))
        except InvalidAccessTokenError as error:
            self._note_refusal(request, now, str(error))
            raise Unauthenticated(str(error), headers=_challenge(error)) from error
        access.transport = _transport(request)
        access.client_address = request.remote_addr
        return access

    def access_of(self, claims: Claims, now: datetime, name: str) -> Access:
        """The access that a token with these claims would give; `name` stands for the id of a request.

        Raises InvalidAccessTokenError for claims that no token of this server has.
        """
        return self._access(self._amounting_to(claims), now, name)

    def access_of_link(self, link: Mapping[str, Any], claims: Claims, now: datetime, name: str) -> Access:
        """The access of whoever shows a link, by the claims that its token would have."""
        actor = actor_of_link(link, parse_scopes(claims.scope), claims.recipient)
        return Access(actor, claims.purpose or DEFAULT_PURPOSE["link"], now, name, policy=self._policy)

    def _access(self, verified: _Verified, now: datetime, name: str) -> Access:
        actor = self._holder(verified, now) if verified.kind == "link" else self._actor(verified, now)
        purpose = verified.claims.purpose or DEFAULT_PURPOSE[verified.kind]
        sessions: dict[str, str] = {}
        if purpose == PURPOSE and actor.kind == "professional":
            sessions = emergencies.active(self._database, actor.reference, actor.organization, now)
            if sessions:
                actor = replace(actor, emergencies=frozenset(sessions))
        return Access(
            actor,
            purpose,
            now,
            name,
            token_id=verified.claims.token_id,
            policy=self._policy,
            sessions=sessions,
        )

    def forget(self, token_id: str) -> None:
        """Drop what is kept of a token that was revoked."""
        for digest, verified in list(self._kept.items()):
            if verified.claims.token_id == token_id:
                self._kept.pop(digest, None)

    def _verified(self, token: str, now: datetime) -> _Verified:
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        kept = self._kept.get(digest)
        if kept is not None and time.monotonic() < kept.fresh_until:
            if kept.claims.expires <= now.timestamp():
                raise InvalidAccessTokenError("The token has expired.")
            return kept
        self._kept.pop(digest, None)
        verified = self._verify(token)
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        self._kept[digest] = verified
        return verified

    def _verify(self, token: str) -> _Verified:
        claims = self.verifier.verify(token)
        if documents.is_revoked(claims.token_id):
            raise InvalidAccessTokenError("The token was revoked.")
        return self._amounting_to(claims)

    def _amounting_to(self, claims: Claims) -> _Verified:
        fresh_until = time.monotonic() + self._cache_seconds
        if is_link(claims.subject) and claims.client_id == SHARE_LINK:
            return _Verified(
                claims, "link", claims.subject, None, "care", parse_scopes(claims.scope), claims.recipient, fresh_until
            )
        return self._of_person(claims, fresh_until) if claims.person else self._of_system(claims, fresh_until)

    def _of_system(self, claims: Claims, fresh_until: float) -> _Verified:
        client = _active_client(claims.client_id)
        kind = SYSTEM_KINDS.get(client.category, "system")
        reference = f"Client/{client.client_id}"
        scopes = parse_scopes(narrow(claims.scope, client.scopes, context="system"))
        return _Verified(
            claims, kind, reference, client.organization, client.category, scopes, client.name, fresh_until
        )

    def _of_person(self, claims: Claims, fresh_until: float) -> _Verified:
        reference = claims.person or ""
        kind = _KINDS.get(reference.partition("/")[0])
        if kind is None or not _REFERENCE.fullmatch(reference) or claims.subject != reference:
            raise InvalidAccessTokenError("The token is not an access token.")
        category = "care" if claims.client_id == COMMAND_LINE else _active_client(claims.client_id).category
        return _Verified(
            claims,
            kind,
            reference,
            claims.organization,
            category,
            parse_scopes(claims.scope),
            None,
            fresh_until,
        )

    def _actor(self, verified: _Verified, now: datetime) -> Actor:
        """Looked up at every request; while nothing changes it stays the same object, which is quicker to decide on."""
        standing = actors.standing(self._database, verified.reference, verified.organization, now)
        last = verified.last
        if last is not None and last[0] == standing:
            return last[1]
        actor = self._person(verified, standing) if verified.claims.person else _system(verified, standing)
        verified.last = (standing, actor)
        return actor

    def _person(self, verified: _Verified, standing: Standing) -> Actor:
        claims = verified.claims
        return actor_of(
            verified.kind,
            verified.reference,
            verified.organization,
            standing,
            self._policy,
            scopes=verified.scopes,
            category=verified.category,
            launch_patient=f"Patient/{claims.patient}" if claims.patient else None,
            client_id=claims.client_id,
        )

    def _holder(self, verified: _Verified, now: datetime) -> Actor:
        """Who holds a link, which is looked up at every request: it may have ended since."""
        link = share_links.by_name(self._database, verified.reference.partition("/")[2])
        if link is None or share_links.refusal(link, now) is not None:
            raise InvalidAccessTokenError("The token was revoked.")
        return actor_of_link(link, verified.scopes, verified.display)

    def _note_refusal(self, request: Request, now: datetime, reason: str) -> None:
        """A request without any token is a question, not an attempt, and is not audited."""
        if "Authorization" in request.headers:
            audit.flush(
                None,
                audit.token_events(
                    "refused",
                    now=now,
                    client_id=None,
                    request_id=request_id(request),
                    address=request.remote_addr,
                    reason=reason,
                ),
            )


def _system(verified: _Verified, standing: Standing) -> Actor:
    return Actor(
        verified.kind,
        verified.reference,
        organization=verified.organization,
        keys=standing.keys,
        client_category=verified.category,
        organization_types=standing.organization_types,
        networks=standing.networks,
        scopes=verified.scopes,
        client_id=verified.claims.client_id,
        display=verified.display,
    )


def authenticate(request: Request) -> Access:
    """The access of a request to the current application. Raises Unauthenticated (401)."""
    bearer: Bearer = current_app.extensions[EXTENSION]
    return bearer.authenticate(request)


def request_id(request: Request) -> str:
    """The X-Request-Id that the caller sent, if it is of a harmless form, or one of ours; the same at each call."""
    known: str | None = request.environ.get(_REQUEST_ID_KEY)
    if known is None:
        sent = request.headers.get("X-Request-Id", "")
        known = sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
        request.environ[_REQUEST_ID_KEY] = known
    return known


def _token_of(request: Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if not scheme:
        raise _NoTokenError("An access token is needed.")
    if scheme.lower() != "bearer" or not token.strip():
        raise InvalidAccessTokenError("The token is sent as: Authorization: Bearer (token).")
    return token.strip()


class _NoTokenError(InvalidAccessTokenError):
    """There is no token at all: the challenge then carries no error code (RFC 6750 section 3.1)."""


def _challenge(error: InvalidAccessTokenError) -> dict[str, str]:
    if isinstance(error, _NoTokenError):
        return {"WWW-Authenticate": 'Bearer realm="fhir"'}
    return {"WWW-Authenticate": f'Bearer realm="fhir", error="invalid_token", error_description="{error}"'}


def _active_client(client_id: str) -> documents.Client:
    client = documents.get_client(client_id)
    if client is None or not client.active:
        raise InvalidAccessTokenError("The client of the token is not registered.")
    return client


def _transport(request: Request) -> Literal["FHIR", "DICOMweb"]:
    return "DICOMweb" if request.path.startswith("/dicomweb") else "FHIR"
