"""Two answers, compared byte for byte after what each question itself had put into them is taken out."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fhirserver.demo.http import Answer
from tests.leaks.world import Record

# What a search asked, as an AuditEvent tells it.
_ASKED: Final = re.compile(rb'(?<="query":")[A-Za-z0-9+/=]+(?=")')

# What the clock decides; and whether the connection is kept, which depends on how much of a body had arrived.
_BY_CHANCE: Final = frozenset({"date", "connection"})
# Characters shown on each side of a difference.
_AROUND: Final = 1_500

_CHANGES: Final = (
    # A Bundle that answers has an id of its own.
    (re.compile(rb'("resourceType":"Bundle","id":")[0-9a-f]{32}'), rb"\1{bundle}"),
    # What both worlds hold was written at different instants.
    (re.compile(rb'("(?:lastUpdated|lastModified|recorded|valueDateTime)":")[^"]*'), rb"\1{instant}"),
    (re.compile(rb"\d{1,2} [^ ]+ \d{4}, \d\d:\d\d:\d\d (?=\(UTC)"), b"{instant} "),
    # Page links are sealed with a random nonce.
    (re.compile(rb"_page=[\w-]+"), b"_page={sealed}"),
    # Each caller has a token of their own.
    (re.compile(rb"(urn:ietf:params:oauth:jti:)[\w-]+"), rb"\1{token}"),
    # What the server itself names.
    (re.compile(rb"\b[0-9a-f]{32}\b"), b"{server-id}"),
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a caller can see of an answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def seen(answer: Answer, record: Record) -> Seen:
    """The answer without the names of the record that was asked about, and without what the clock decides.

    Lengths count: the names of a record and its twin are equally long, save UIDs, whose answers give their length
    after the change.
    """
    body = _without_names(answer.body, record)
    headers = tuple(
        sorted(
            (name.lower(), _header(name.lower(), value, answer, body, record)) for name, value in _all(answer.headers)
        )
    )
    return Seen(answer.status, tuple(each for each in headers if each[0] not in _BY_CHANCE), body)


def difference(refused: Seen, absent: Seen) -> str:
    """Where two answers part: the text around the first character that differs, of each; short enough for a log."""
    one, other = str(refused), str(absent)
    at = next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
    part = slice(max(0, at - _AROUND), at + _AROUND)
    return f"at {at} of {len(one)} and {len(other)} characters\nrefused …{one[part]}…\nabsent  …{other[part]}…"


def _header(name: str, value: str, answer: Answer, body: bytes, record: Record) -> str:
    if name == "content-length" and answer.body and int(value) == len(answer.body):
        return str(len(body))
    if name == "last-modified":
        return "{instant}"
    return _without_names(value.encode(), record).decode()


def _all(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    return list(headers.items())


def _without_names(text: bytes, record: Record) -> bytes:
    text = _ASKED.sub(lambda asked: base64.b64decode(asked[0]), text)
    for name, placeholder in record.names.items():
        text = text.replace(name.encode(), placeholder.encode())
    for pattern, replacement in _CHANGES:
        text = pattern.sub(replacement, text)
    return text
