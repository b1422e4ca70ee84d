"""Every setting of the server, once: its name, environment variable, default and meaning.

`docs/settings.md` has an entry for each; a test compares the two. Values come from the environment, command-line
options override them, and nothing else is read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo

MOST_PORTS = 65_535

_ORGANIZATION = re.compile(r"Organization/[A-Za-z0-9.-]{1,64}", re.ASCII)
_ORIGIN = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?", re.ASCII)


class Networks(tuple[IPv4Network | IPv6Network, ...]):
    """Networks and single addresses, separated by commas or spaces. Raises ValueError where one is none."""

    __slots__ = ()

    def __new__(cls, text: str = "") -> Self:
        """Read the text of the setting."""
        return super().__new__(cls, (ip_network(one) for one in text.replace(",", " ").split()))

    def __str__(self) -> str:
        """The text from which they are read again, by a worker process."""
        return ", ".join(str(one) for one in self)

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        """From the same text when another process takes them over."""
        return type(self), (str(self),)


class Origins(frozenset[str]):
    """Origins of browser applications (scheme, host and port), or `*` for all. Raises ValueError where one is none."""

    __slots__ = ()

    def __new__(cls, text: str = "") -> Self:
        """Read the text of the setting."""
        origins = text.replace(",", " ").lower().split()
        for origin in origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(f"not an origin (scheme, host and port, nothing after them): {origin}")
        return super().__new__(cls, origins)

    def __str__(self) -> str:
        """The text from which they are read again, by a worker process."""
        return ", ".join(sorted(self))

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        """From the same text when another process takes them over."""
        return type(self), (str(self),)


class Switch(StrEnum):
    """What is either kept to or not."""

    ON = "on"
    OFF = "off"


class Zone(str):
    """A time zone of the IANA database. Raises ValueError for the name of none."""

    __slots__ = ()

    def __new__(cls, name: str) -> Self:
        """Read the text of the setting."""
        try:
            ZoneInfo(name)
        except (KeyError, OSError) as error:  # a folder of the database is an OSError
            raise ValueError(f"not a time zone: {name}") from error
        return super().__new__(cls, name)


class Some(int):
    """A number of what there must be at least one of. Raises ValueError for fewer."""

    __slots__ = ()

    def __new__(cls, text: str | int) -> Self:
        """Read the text of the setting."""
        number = super().__new__(cls, text)
        if number < 1:
            raise ValueError(f"at least 1 is needed, not {number}")
        return number


class Port(int):
    """A TCP port. Raises ValueError for a number that is none."""

    __slots__ = ()

    def __new__(cls, text: str | int) -> Self:
        """Read the text of the setting."""
        number = super().__new__(cls, text)
        if not 1 <= number <= MOST_PORTS:
            raise ValueError(f"not a port: {number}")
        return number


class Network(str):
    """The organisation that a network is, `Organization/id`, or nothing. Raises ValueError for anything else."""

    __slots__ = ()

    def __new__(cls, text: str = "") -> Self:
        """Read the text of the setting."""
        if text and not _ORGANIZATION.fullmatch(text):
            raise ValueError(f"not an organisation, Organization/id: {text}")
        return super().__new__(cls, text)


class TreatingSpan(StrEnum):
    """How much of a record treating opens."""

    RECORD = "record"
    EXAM = "exam"


class ProxyHeader(StrEnum):
    """Which header a listed proxy writes."""

    FORWARDED = "forwarded"
    X_FORWARDED = "x-forwarded"


def _setting(default: Any, variable: str, meaning: str) -> Any:
    return field(default=default, metadata={"variable": variable, "meaning": meaning, "kind": type(default)})


@dataclass(frozen=True, slots=True)
class Config:
    """The settings in force for one process."""

    data: Path = _setting(Path("data"), "FHIRSERVER_DATA", "Folder of keys, objects and the embedded database.")
    host: str = _setting("127.0.0.1", "FHIRSERVER_HOST", "Address to listen on.")
    port: int = _setting(Port(8080), "FHIRSERVER_PORT", "Port to listen on.")
    workers: int = _setting(Some(2), "FHIRSERVER_WORKERS", "Worker processes.")
    threads: int = _setting(Some(8), "FHIRSERVER_THREADS", "Requests that one worker answers at once.")
    public_base: str = _setting(
        "", "FHIRSERVER_PUBLIC_BASE", "Address by which clients reach the server, scheme and path included."
    )
    proxies: Networks = _setting(
        Networks(), "FHIRSERVER_PROXIES", "Networks of the reverse proxies whose header is believed."
    )
    proxy_header: ProxyHeader = _setting(
        ProxyHeader.X_FORWARDED, "FHIRSERVER_PROXY_HEADER", "Which header they write: 'x-forwarded' or 'forwarded'."
    )
    cors_origins: Origins = _setting(
        Origins(), "FHIRSERVER_CORS_ORIGINS", "Origins of browser applications that may ask, or '*'."
    )
    mongodb_uri: str = _setting(
        "", "FHIRSERVER_MONGODB_URI", "Replica set to use; empty starts the embedded one under the data folder."
    )
    database: str = _setting("fhirserver", "FHIRSERVER_DATABASE", "Name of the MongoDB database.")
    zone: str = _setting(Zone("Europe/Paris"), "FHIRSERVER_ZONE", "Zone of dates that carry none.")
    objects_uri: str = _setting(
        "",
        "FHIRSERVER_OBJECTS_URI",
        "Object store of DICOM and Binary content (file:// or s3://); empty is data/objects.",
    )
    audit_witness_uri: str = _setting(
        "",
        "FHIRSERVER_AUDIT_WITNESS_URI",
        "Where seals and heads of the audit trail are told (s3://, https:// or file://); empty: nowhere.",
    )
    audit_witness_seconds: int = _setting(
        Some(60), "FHIRSERVER_AUDIT_WITNESS_SECONDS", "Seconds after which the head of a log is told again."
    )
    max_body: int = _setting(16_000_000, "FHIRSERVER_MAX_BODY", "Largest FHIR body, in bytes.")
    max_instance: int = _setting(
        4_000_000_000, "FHIRSERVER_MAX_INSTANCE", "Largest DICOM instance taken in a STOW-RS part, in bytes."
    )
    max_entries: int = _setting(1_000, "FHIRSERVER_MAX_ENTRIES", "Most entries of a batch or transaction.")
    delete_max: int = _setting(
        1,
        "FHIRSERVER_DELETE_MAX",
        "Most resources that one conditional delete removes; 1: a condition that several meet is refused.",
    )
    page_default: int = _setting(20, "FHIRSERVER_PAGE_DEFAULT", "Entries of a page when _count is absent.")
    page_max: int = _setting(1_000, "FHIRSERVER_PAGE_MAX", "Most entries of a page.")
    include_max: int = _setting(1_000, "FHIRSERVER_INCLUDE_MAX", "Most included rows of a page; the rest is linked.")
    linked_max: int = _setting(
        10_000, "FHIRSERVER_LINKED_MAX", "Most resources that one reference of a chain or _has may lead to."
    )
    page_lifetime: int = _setting(3_600, "FHIRSERVER_PAGE_LIFETIME", "Seconds for which a page link answers.")
    token_lifetime: int = _setting(300, "FHIRSERVER_TOKEN_LIFETIME", "Seconds for which an access token is good.")
    token_cache: int = _setting(5, "FHIRSERVER_TOKEN_CACHE", "Seconds for which verified claims are kept.")
    referential_integrity: Switch = _setting(
        Switch.OFF,
        "FHIRSERVER_REFERENTIAL_INTEGRITY",
        "Whether what a resource refers to must be here, and stay while it does: 'on' or 'off'.",
    )
    network: Network = _setting(
        Network(),
        "FHIRSERVER_NETWORK",
        "The organisation (Organization/id) whose members alone may send; empty: every registered establishment.",
    )
    organization_parts: Switch = _setting(
        Switch.OFF,
        "FHIRSERVER_ORGANIZATION_PARTS",
        "Whether what is said of an organisation is said of its parts (Organization.partOf): 'on' or 'off'.",
    )
    break_glass_minutes: int = _setting(
        60, "FHIRSERVER_BREAK_GLASS_MINUTES", "Minutes after which a session of break-glass ends by itself."
    )
    treating_days: int = _setting(
        90, "FHIRSERVER_TREATING_DAYS", "Days after an exam during which who performed it sees the whole record."
    )
    treating_span: str = _setting(
        TreatingSpan.RECORD,
        "FHIRSERVER_TREATING_SPAN",
        "What treating opens: the whole 'record', or the performed 'exam' only.",
    )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Config:
        """Settings from `environ` (the process's own by default), then from `overrides` that are not None.

        Raises ValueError where a number is not one or out of bounds, a choice none of those offered, or a zone unknown.
        """
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for setting in fields(cls):
            text = environ.get(setting.metadata["variable"])
            if text is not None:
                values[setting.name] = setting.metadata["kind"](text)
        values.update({name: value for name, value in overrides.items() if value is not None})
        return cls(**values)

    @property
    def keeps_references(self) -> bool:
        """Whether referential integrity is wanted."""
        return self.referential_integrity is Switch.ON

    @property
    def base(self) -> str:
        """The public base without a trailing slash, for example `http://127.0.0.1:8080`."""
        return (self.public_base or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def fhir_base(self) -> str:
        """The FHIR base: every absolute link and the audience of access tokens."""
        return f"{self.base}/fhir"

    @property
    def dicomweb_base(self) -> str:
        """The base of the DICOMweb Studies service."""
        return f"{self.base}/dicomweb"
