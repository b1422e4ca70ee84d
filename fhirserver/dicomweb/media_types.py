"""Media types of requests and responses, quoted or not.

PS3.18 8.7 (https://dicom.nema.org/medical/dicom/current/output/chtml/part18/sect_8.7.html) writes the type parameter
of multipart/related in quotes, as RFC 2387 asks; many clients leave the quotes out, and both are understood.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from fhirserver.errors import NotAcceptable

DICOM = "application/dicom"
DICOM_JSON = "application/dicom+json"
OCTETS = "application/octet-stream"
MULTIPART = "multipart/related"

# A client sends the same few headers over and over; one of more characters than this is parsed each time.
_KEPT: Final = 512


@dataclass(frozen=True, slots=True)
class MediaType:
    """One media type with its parameters, names in lower case; `quality` is RFC 9110's weight."""

    name: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    quality: float = 1.0

    @property
    def is_multipart(self) -> bool:
        """Whether parts are asked for."""
        return self.name == MULTIPART

    @property
    def content(self) -> str:
        """What is inside: the type parameter of multipart/related, else the type itself."""
        return self.parameters.get("type", "*/*").lower() if self.is_multipart else self.name


def parse(text: str) -> MediaType:
    """One media type. Never fails: what makes no sense names a type that nobody offers."""
    name, *rest = _split(text, ";")
    parameters: dict[str, str] = {}
    quality = 1.0
    for item in rest:
        key, equals, value = item.partition("=")
        key, value = key.strip().lower(), _unquoted(value.strip())
        if key == "q":
            quality = _quality(value)
        elif key and equals:
            parameters.setdefault(key, value)
    return MediaType(name.strip().lower(), parameters, quality)


def accepted(header: str | None) -> Sequence[MediaType]:
    """The media types of an Accept header (or query parameter), best first; everything where there is none."""
    text = header or "*/*"
    return _ranked(text) if len(text) <= _KEPT else _ranked.__wrapped__(text)


@lru_cache(maxsize=256)
def _ranked(text: str) -> tuple[MediaType, ...]:
    types = [parse(item) for item in _split(text, ",") if item.strip()]
    wanted = [item for item in types if item.quality > 0]
    return tuple(sorted(wanted, key=lambda item: -item.quality))


def json_accepted(header: str | None) -> str:
    """The spelling of DICOM JSON that the caller accepts. Raises NotAcceptable (DICOM XML is not offered)."""
    for item in accepted(header):
        if item.name in {DICOM_JSON, "application/json"}:
            return item.name
        if item.name in {"*/*", "application/*"}:
            return DICOM_JSON
    raise NotAcceptable(f"This resource is offered as {DICOM_JSON}.")


def matches(wanted: str, offered: str) -> bool:
    """Whether the media range `wanted` covers the type `offered`."""
    if wanted in {"*/*", offered}:
        return True
    major, _, minor = wanted.partition("/")
    return minor == "*" and offered.startswith(f"{major}/")


def choose(header: str | None, offered: Sequence[str]) -> MediaType | None:
    """The best media range of the header of which one of `offered` is the content, or None."""
    for item in accepted(header):
        if any(matches(item.content, offer) for offer in offered):
            return item
    return None


def _split(text: str, separator: str) -> list[str]:
    """Split outside quotes."""
    if '"' not in text:
        return text.split(separator)
    parts, start, quoted, escaped = [], 0, False, False
    for at, character in enumerate(text):
        if escaped:
            escaped = False
        elif quoted and character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif character == separator and not quoted:
            parts.append(text[start:at])
            start = at + 1
    parts.append(text[start:])
    return parts


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return value[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return value


def _quality(value: str) -> float:
    try:
        return min(max(float(value), 0.0), 1.0)
    except ValueError:
        return 0.0
