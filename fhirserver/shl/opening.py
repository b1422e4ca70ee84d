"""Opening a link: who holds it is asked for the passcode, decided on, counted, audited, and then answered.

A link that was revoked, has ended, was used up or locked, opens what its giver may not show now, or never was: all of
these look the same from outside.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, NoReturn
from zoneinfo import ZoneInfo

from fhirserver import audit, shlink
from fhirserver.access import SHARE_LINK, Access
from fhirserver.config import Config
from fhirserver.errors import Gone, NotFound, Unauthenticated
from fhirserver.interactions.context import Context
from fhirserver.shl import files
from fhirserver.shl.files import API, FHIR, File
from fhirserver.store import share_links
from fhirserver.store.database import Database
from fhirserver.store.resource_store import ResourceStore
from fhirserver.store.rows import Row
from fhirserver.store.unit import Unit

AccessOf = Callable[[Mapping[str, Any], str, datetime, str], Access]
TokenOf = Callable[[Access, Mapping[str, Any], str], tuple[dict[str, Any], list[audit.Event]]]

FILE_LIFETIME: Final = timedelta(minutes=5)
"""For how long a file has an address of its own; the specification allows an hour."""
LONGEST_RECIPIENT: Final = 100
_FHIR_VERSION: Final = "4.0.1"


class WrongPasscode(Unauthenticated):
    """The passcode is missing or wrong; `remaining` is how many more may be."""

    def __init__(self, remaining: int) -> None:
        """Say how many are left."""
        super().__init__("The passcode is not that of this link.")
        self.remaining = remaining


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of somebody who holds a link, from `address`, which `request_id` names."""

    secret: str
    recipient: str
    request_id: str
    address: str | None
    base: str
    passcode: str | None = None
    most_embedded: int | None = None


@dataclass(frozen=True, slots=True)
class _Held:
    """A link that exists, with what its address opens, and how it was asked for."""

    link: Mapping[str, Any]
    secret: shlink.Secret
    asked: Asked
    recipient: str


class Opening:
    """The links of one server; `access_of` and `token_of` are those of the OAuth room."""

    def __init__(self, config: Config, database: Database, access_of: AccessOf, token_of: TokenOf) -> None:
        """Nothing is read yet."""
        self._config = config
        self._database = database
        self._access_of = access_of
        self._token_of = token_of

    def manifest(self, asked: Asked) -> dict[str, Any]:
        """The manifest, made anew. Raises NotFound, WrongPasscode."""
        held, context = self._found(asked)
        return context.settle(partial(self._manifest, context, held))

    def direct(self, asked: Asked) -> str:
        """The one file of a link with the flag U, encrypted. Raises NotFound."""
        held, context = self._found(asked)
        return context.settle(partial(self._direct, context, held))

    def file(self, asked: Asked) -> str:
        """A file of a manifest, encrypted; its address answers once. Raises NotFound."""
        digest, now = shlink.digest_of(asked.secret), datetime.now(UTC)
        file = share_links.take_file(self._database, digest, now)
        link = None if file is None else share_links.by_name(self._database, file.link)
        if file is None or link is None:
            self._refuse_unknown(asked, now)
        context = self._context(link, asked, file.recipient, now)
        return context.settle(partial(self._file, context, link, file))

    # Which link it is

    def _found(self, asked: Asked) -> tuple[_Held, Context]:
        now, secret = datetime.now(UTC), shlink.Secret.of(asked.secret)
        link = share_links.by_digest(self._database, "" if secret is None else secret.digest)
        if secret is None or link is None:
            self._refuse_unknown(asked, now)
        recipient = cleaned(asked.recipient)
        return _Held(link, secret, asked, recipient), self._context(link, asked, recipient, now)

    def _context(self, link: Mapping[str, Any], asked: Asked, recipient: str, now: datetime) -> Context:
        access = self._access_of(link, recipient, now, asked.request_id)
        access.client_address = asked.address
        store = ResourceStore(self._database, access, self._config)
        return Context(store, access, self._config, ZoneInfo(self._config.zone), ())

    def _refuse_unknown(self, asked: Asked, now: datetime) -> NoReturn:
        events = audit.token_events(
            "refused",
            now=now,
            client_id=SHARE_LINK,
            request_id=asked.request_id,
            address=asked.address,
            reason="link-unknown",
        )
        audit.flush(None, events)
        raise _unknown()

    # What it opens

    def _manifest(self, context: Context, held: _Held) -> dict[str, Any]:
        row = self._opened(context, held, is_direct=False)
        self._check_passcode(context, held)
        rows = files.rows_of(context, row)
        token, issued = self._token_of(context.access, held.link, held.recipient)
        exam = files.bundle(context, held.link, rows)
        key = held.secret.opened(held.link["sealed"])
        given: list[dict[str, Any]] = []
        kept: list[share_links.File] = []
        for file in (files.api_access(context, token, row), exam):
            content = shlink.encrypted(file.content, file.content_type, key)
            most = held.asked.most_embedded
            if most is None or len(content) <= most:
                place = {"embedded": content}
            else:
                ticket = shlink.new_secret()
                kept.append(_kept(ticket, held, content, rows, context.access.now))
                place = {"location": f"{held.asked.base}{shlink.PATH}/file/{ticket}"}
            given.append(_described(file) | place)
        self._use(context, held, rows, issued, kept)
        return {"files": given}

    def _direct(self, context: Context, held: _Held) -> str:
        row = self._opened(context, held, is_direct=True)
        rows = files.rows_of(context, row)
        exam = files.bundle(context, held.link, rows)
        key = held.secret.opened(held.link["sealed"])
        content = shlink.encrypted(exam.content, exam.content_type, key)
        self._use(context, held, rows, [], [])
        return content

    def _file(self, context: Context, link: Mapping[str, Any], file: share_links.File) -> str:
        """What was encrypted minutes ago is given if all that is in it may be seen now."""
        recipient = file.recipient
        reason = share_links.refusal(link, context.access.now)
        if reason is not None:
            context.note(audit.link_events(context.access, link, recipient=recipient, refused=reason))
            raise _unknown()
        row = _read(context, link)
        found = context.store.readable(file.references)
        if set(file.references) - found.keys():
            context.note(audit.link_events(context.access, link, recipient=recipient, refused="link-changed"))
            raise _unknown()
        others = [one for reference, one in found.items() if reference != row.reference]
        context.note(audit.link_events(context.access, link, [row, *others], recipient=recipient))
        return file.content

    def _opened(self, context: Context, held: _Held, *, is_direct: bool) -> Row:
        """The exam, if the link itself and the rules let its holder see it now."""
        reason = share_links.refusal(held.link, context.access.now)
        if reason is None and share_links.is_used_up(held.link):
            reason = "link-used-up"
        if reason is None and ("U" in held.link["flag"]) is not is_direct:
            reason = "link-other-method"
        if reason is not None:
            self._refuse(context, held, reason)
        return _read(context, held.link)

    def _check_passcode(self, context: Context, held: _Held) -> None:
        """Each attempt is taken before it is looked at; one that was right is given back."""
        link, asked = held.link, held.asked
        if link["passcode"] is None:
            return
        if asked.passcode is None:
            raise WrongPasscode(link["attempts"])
        remaining = share_links.take_attempt(self._database, link["_id"])
        if remaining is None:
            self._refuse(context, held, "link-locked")
        if shlink.is_passcode(asked.passcode, link["passcode"]):
            share_links.give_back_attempt(self._database, link["_id"])
            return
        context.note(audit.link_events(context.access, link, recipient=held.recipient, refused="link-wrong-passcode"))
        raise WrongPasscode(remaining)

    def _use(
        self,
        context: Context,
        held: _Held,
        rows: Sequence[Row],
        issued: Sequence[audit.Event],
        kept: Sequence[share_links.File],
    ) -> None:
        """Count the use, and write what is told of it, in one transaction."""
        events = [
            *issued,
            *audit.link_events(context.access, held.link, rows, recipient=held.recipient),
            *audit.consent_events(context.access, "read", rows[0], context.decision_on(rows[0])),
        ]

        def work(unit: Unit) -> bool:
            if not unit.use_link(held.link["_id"], kept):
                return False
            unit.record(event.document for event in events)
            return True

        if not context.transact(work):
            self._refuse(context, held, "link-used-up")

    def _refuse(self, context: Context, held: _Held, reason: str) -> NoReturn:
        context.note(audit.link_events(context.access, held.link, recipient=held.recipient, refused=reason))
        raise _unknown()


def cleaned(recipient: str) -> str:
    """Whom the holder of a link says they are, as the trail shows it: one line, of characters that can be seen.

    Nobody has checked it.
    """
    normal = unicodedata.normalize("NFC", recipient)
    seen = "".join(one if unicodedata.category(one)[0] != "C" else " " for one in normal)
    return " ".join(seen.split())[:LONGEST_RECIPIENT].rstrip()


def _read(context: Context, link: Mapping[str, Any]) -> Row:
    """The exam as the link opens it; a refusal is noted by the decision."""
    type_, _, id_ = link["target"].partition("/")
    try:
        return context.store.read(type_, id_)
    except (NotFound, Gone) as error:
        raise _unknown() from error


def _unknown() -> NotFound:
    return NotFound("There is no such link, or it opens nothing any more.")


def _described(file: File) -> dict[str, Any]:
    described = {"contentType": file.content_type, "lastUpdated": _instant(file.last_updated)}
    if file.content_type == API:
        return described
    return described | {"status": "can-change", "fhirVersion": _FHIR_VERSION}


def _instant(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _kept(ticket: str, held: _Held, content: str, rows: Sequence[Row], now: datetime) -> share_links.File:
    references = [row.reference for row in rows]
    return share_links.File(
        shlink.digest_of(ticket), held.link["_id"], held.recipient, content, references, now + FILE_LIFETIME
    )


__all__ = ["API", "FHIR", "Asked", "Opening", "WrongPasscode", "cleaned"]
