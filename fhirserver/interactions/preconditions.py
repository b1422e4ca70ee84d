"""Conditional requests: ETag, If-Match, If-None-Match, If-Modified-Since, Last-Modified.

A version id is a whole number, and its entity tag is weak: `W/"3"`. Authorisation comes first: nothing here is asked
about a resource that the caller may not see.

https://hl7.org/fhir/R4/http.html#concurrency, https://hl7.org/fhir/R4/http.html#cread, RFC 9110 section 13.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Final, Literal

from fhirserver.errors import BadRequest
from fhirserver.store.rows import version_of

ANY_VERSION: Final = "*"
Versions = tuple[int, ...] | Literal["*"]

_TAGS = re.compile(r'\s*(?:W/)?"([^"]*)"\s*(?:,|$)')


def etag(version: int) -> str:
    """The entity tag of a version."""
    return f'W/"{version}"'


def http_date(instant: datetime) -> str:
    """An instant as HTTP writes it: whole seconds, GMT."""
    return format_datetime(instant.astimezone(UTC), usegmt=True)


def parse_http_date(header: str | None) -> datetime | None:
    """The instant of a date header; None where it is absent or unreadable (RFC 9110 section 13.1.3: pass it over)."""
    if header is None:
        return None
    try:
        instant = parsedate_to_datetime(header)
    except ValueError:
        return None
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)


def parse_versions(header: str | None, name: str) -> Versions | None:
    """The versions that If-Match or If-None-Match lists; None where the header is absent.

    `*` is ANY_VERSION. A well-formed tag that is none of ours names no version, so it matches nothing.
    Raises BadRequest where the header is not a list of entity tags.
    """
    if header is None:
        return None
    if header.strip() == "*":
        return ANY_VERSION
    tags: list[str] = []
    position = 0
    while position < len(header):
        match = _TAGS.match(header, position)
        if match is None:
            raise BadRequest(f'{name} takes entity tags such as W/"3", or *, not: {header}')
        tags.append(match[1])
        position = match.end()
    if not tags:
        raise BadRequest(f"{name} is empty.")
    return tuple(version for tag in tags if (version := version_of(tag)) is not None)


def is_not_modified(
    version: int, last_updated: datetime, *, if_none_match: Versions | None, if_modified_since: datetime | None
) -> bool:
    """Whether a read may be answered with 304; If-None-Match, where present, decides alone (RFC 9110 section 13.2.2).

    HTTP dates have whole seconds, so the last update is cut to the second before it is compared.
    """
    if if_none_match is not None:
        return if_none_match == ANY_VERSION or version in if_none_match
    return if_modified_since is not None and last_updated.replace(microsecond=0) <= if_modified_since
