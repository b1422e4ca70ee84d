"""What a reverse proxy says of the request that it passed on, believed of listed proxies only.

A header says who the client is and by which address it came; anybody can send one. So the address from which a request
reaches this process is looked at first: if it lies in one of the listed networks, its header is read from the right,
hop by hop, as long as each hop is a listed proxy too. Everybody else's header means nothing.

The client's address goes into the audit. The address by which the client came makes the links of the answer where no
public base is set. Access tokens never follow either: issuer and audience are settings.

One header is read, the one that the proxies are set up to write. Reading any that comes would believe a client whose
`Forwarded` a proxy passed on unread while writing `X-Forwarded-For`.

RFC 7239 (Forwarded); X-Forwarded-For, -Proto, -Host and -Prefix have no standard.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fhirserver.config import Config, ProxyHeader

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

BASE_KEY = "fhirserver.base"
"""Where the address by which the client came stands in the environment, if a listed proxy said it and it counts."""

Address = IPv4Address | IPv6Address

_HOST = re.compile(r"([A-Za-z0-9]([A-Za-z0-9.-]{0,252})|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", re.ASCII)
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+", re.ASCII)
_PAIR = re.compile(r'\s*([A-Za-z]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s",;=]+)\s*', re.ASCII)
_MOST_HOPS = 16


@dataclass(frozen=True, slots=True)
class Hop:
    """What one proxy says of the request that it received: from whom, by which scheme, host and path prefix."""

    client: str = ""
    scheme: str = ""
    host: str = ""
    prefix: str = ""


class Forwarded:
    """WSGI middleware that puts what listed proxies say where the application looks for it."""

    def __init__(self, application: WSGIApplication, config: Config, roots: Collection[str]) -> None:
        """`roots` are the first segments of the addresses that the application answers."""
        self._application = application
        self._networks = config.proxies
        self._prefix = urlsplit(config.base).path
        self._roots = roots
        self._is_base_set = bool(config.public_base)
        self._hops = _READERS[config.proxy_header]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        if self._networks:
            self._believe(environ)
        path = environ.get("PATH_INFO", "")
        if self._prefix and path.startswith(f"{self._prefix}/"):
            # A proxy may pass the public path on as it is, or without the prefix that it serves us under.
            rest = path[len(self._prefix) :]
            if rest.split("/", 2)[1] in self._roots:
                environ["PATH_INFO"] = rest
        return self._application(environ, start_response)

    def _believe(self, environ: WSGIEnvironment) -> None:
        sender = address_of(environ.get("REMOTE_ADDR", ""))
        if sender is None or not self._is_listed(sender):
            return
        hops: list[Hop] = []
        for hop in reversed(self._hops(environ)[-_MOST_HOPS:]):
            hops.append(hop)
            client = address_of(hop.client)
            if client is None:
                break  # unknown or hidden on purpose: whoever is beyond is not to be believed
            environ["REMOTE_ADDR"] = str(client)
            if not self._is_listed(client):
                break
        if not self._is_base_set and (base := _base_of(hops)):
            environ[BASE_KEY] = base

    def _is_listed(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def address_of(text: str) -> Address | None:
    """The address of a node (RFC 7239, 6), without its port; None where it is unknown or hidden."""
    bare = text.strip()
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ip_address(bare)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def parse_forwarded(header: str) -> list[Hop]:
    """The elements of a Forwarded header, in its order; nothing of a header that is not well-formed."""
    hops: list[Hop] = []
    pairs: dict[str, str] = {}
    position = 0
    while position < len(header):
        found = _PAIR.match(header, position)
        if found is None:
            return []
        name, value = found[1].lower(), found[2]
        if name in pairs:
            return []
        pairs[name] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
        position = found.end()
        separator = header[position : position + 1]
        position += 1
        if separator == ";":
            continue
        if separator not in {"", ","}:
            return []
        hops.append(Hop(pairs.get("for", ""), pairs.get("proto", "").lower(), pairs.get("host", "")))
        pairs = {}
    return hops if not pairs else []


def _forwarded(environ: Mapping[str, Any]) -> list[Hop]:
    return parse_forwarded(environ.get("HTTP_FORWARDED", ""))


def _x_forwarded(environ: Mapping[str, Any]) -> list[Hop]:
    """One hop for each address of X-Forwarded-For; the other headers are matched to them from the right."""
    clients = _listed(environ, "FOR")
    schemes, hosts, prefixes = (_listed(environ, name) for name in ("PROTO", "HOST", "PREFIX"))
    return [
        Hop(client, _from_right(schemes, place).lower(), _from_right(hosts, place), _from_right(prefixes, place))
        for place, client in zip(range(len(clients), 0, -1), clients, strict=True)
    ]


def _listed(environ: Mapping[str, Any], name: str) -> list[str]:
    text = environ.get(f"HTTP_X_FORWARDED_{name}", "")
    return [one.strip() for one in text.split(",")] if text else []


def _from_right(values: Sequence[str], place: int) -> str:
    """The value of the hop that is at `place` from the right; a proxy that writes one value means all hops."""
    if len(values) == 1:
        return values[0]
    return values[-place] if place <= len(values) else ""


_READERS: Mapping[ProxyHeader, Callable[[Mapping[str, Any]], list[Hop]]] = {
    ProxyHeader.FORWARDED: _forwarded,
    ProxyHeader.X_FORWARDED: _x_forwarded,
}


def _base_of(hops: Sequence[Hop]) -> str:
    """The address by which the client came, as the proxy nearest to it says; empty where none says it well."""
    host = next((hop.host for hop in reversed(hops) if hop.host), "")
    scheme = next((hop.scheme for hop in reversed(hops) if hop.scheme), "http")
    prefix = next((hop.prefix for hop in reversed(hops) if hop.prefix), "").rstrip("/")
    if not _HOST.fullmatch(host) or scheme not in {"http", "https"} or (prefix and not _PREFIX.fullmatch(prefix)):
        return ""
    return f"{scheme}://{host}{prefix}"
