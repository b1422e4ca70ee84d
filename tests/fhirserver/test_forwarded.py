"""What a proxy says is believed of listed proxies only (RFC 7239)."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from fhirserver import cli
from fhirserver.config import Config, Networks, Origins, ProxyHeader
from fhirserver.forwarded import BASE_KEY, Forwarded, Hop, address_of, parse_forwarded

LISTED = Networks("10.0.0.0/8, 2001:db8::/32")
CLIENT = "192.0.2.7"
ROOTS = {"fhir", "dicomweb"}


def seen(
    remote: str = "10.0.0.1",
    *,
    proxies: Networks = LISTED,
    kind: str = "x-forwarded",
    public_base: str = "",
    path: str = "/fhir/Patient",
    **headers: str,
) -> dict[str, Any]:
    """The environment as the application sees it."""
    found: dict[str, Any] = {}

    def application(environ: dict[str, Any], start: object) -> list[bytes]:
        found.update(environ)
        return []

    config = Config(proxies=proxies, proxy_header=ProxyHeader(kind), public_base=public_base)
    environ = {"REMOTE_ADDR": remote, "PATH_INFO": path, **{f"HTTP_{name}": text for name, text in headers.items()}}
    Forwarded(application, config, ROOTS)(environ, lambda *_: lambda _: None)
    return found


def test_a_listed_proxy_says_who_the_client_is_and_how_it_came():
    environ = seen(
        X_FORWARDED_FOR=CLIENT,
        X_FORWARDED_PROTO="https",
        X_FORWARDED_HOST="fhir.example",
        X_FORWARDED_PREFIX="/imaging",
    )
    assert environ["REMOTE_ADDR"] == CLIENT
    assert environ[BASE_KEY] == "https://fhir.example/imaging"


def test_the_standard_header_says_the_same():
    environ = seen(kind="forwarded", FORWARDED=f'for="{CLIENT}:4711";proto=https;host="fhir.example:8443";by=_p')
    assert (environ["REMOTE_ADDR"], environ[BASE_KEY]) == (CLIENT, "https://fhir.example:8443")


@pytest.mark.parametrize("remote", [CLIENT, "", "unix", "10.0.0.1.example", "11.0.0.1"])
def test_nobody_else_is_believed(remote):
    environ = seen(remote, X_FORWARDED_FOR="203.0.113.9", X_FORWARDED_PROTO="https", X_FORWARDED_HOST="evil.example")
    assert environ["REMOTE_ADDR"] == remote
    assert BASE_KEY not in environ


def test_without_a_list_no_header_counts():
    environ = seen(proxies=Networks(), X_FORWARDED_FOR=CLIENT, X_FORWARDED_HOST="evil.example")
    assert (environ["REMOTE_ADDR"], BASE_KEY in environ) == ("10.0.0.1", False)


def test_the_header_that_the_proxies_do_not_write_means_nothing():
    environ = seen(FORWARDED="for=203.0.113.9;host=evil.example", X_FORWARDED_FOR=CLIENT)
    assert (environ["REMOTE_ADDR"], BASE_KEY in environ) == (CLIENT, False)
    environ = seen(kind="forwarded", X_FORWARDED_FOR="203.0.113.9", X_FORWARDED_HOST="evil.example")
    assert (environ["REMOTE_ADDR"], BASE_KEY in environ) == ("10.0.0.1", False)


@pytest.mark.parametrize(
    ("kind", "headers"),
    [
        (
            "x-forwarded",
            {"X_FORWARDED_FOR": f"203.0.113.9, {CLIENT}", "X_FORWARDED_HOST": "evil.example, fhir.example"},
        ),
        ("forwarded", {"FORWARDED": f"for=203.0.113.9;host=evil.example, for={CLIENT};host=fhir.example"}),
    ],
)
def test_a_client_that_lies_to_the_proxy_is_seen_through(kind, headers):
    environ = seen(kind=kind, **headers)
    assert (environ["REMOTE_ADDR"], environ[BASE_KEY]) == (CLIENT, "http://fhir.example")


def test_through_two_listed_proxies_the_outer_one_is_believed():
    environ = seen(
        kind="forwarded",
        FORWARDED=f"for=203.0.113.9;host=evil.example, for={CLIENT};proto=https;host=fhir.example, "
        'for="[2001:db8::1]";host=in',
    )
    assert (environ["REMOTE_ADDR"], environ[BASE_KEY]) == (CLIENT, "https://fhir.example")
    environ = seen(
        X_FORWARDED_FOR=f"203.0.113.9, {CLIENT}, 10.2.0.1",
        X_FORWARDED_HOST="evil.example, fhir.example, in",
        X_FORWARDED_PROTO="https",
    )
    assert (environ["REMOTE_ADDR"], environ[BASE_KEY]) == (CLIENT, "https://fhir.example")


@pytest.mark.parametrize("node", ["unknown", "_hidden", "nonsense", ""])
def test_beyond_a_hop_that_is_hidden_nobody_is_believed(node):
    environ = seen(X_FORWARDED_FOR=f"203.0.113.9, {node}, 10.0.0.9")
    assert environ["REMOTE_ADDR"] == "10.0.0.9"


@pytest.mark.parametrize(
    ("host", "scheme", "prefix"),
    [
        ("fhir.example/..", "https", ""),
        ("fhir.example\r\nX: y", "https", ""),
        ('fhir.example"', "https", ""),
        ("user@fhir.example", "https", ""),
        ("fhir.example", "javascript", ""),
        ("fhir.example", "https", "//evil.example"),
        ("fhir.example", "https", "/a?b"),
    ],
)
def test_an_address_that_is_none_makes_no_links(host, scheme, prefix):
    environ = seen(X_FORWARDED_FOR=CLIENT, X_FORWARDED_HOST=host, X_FORWARDED_PROTO=scheme, X_FORWARDED_PREFIX=prefix)
    assert BASE_KEY not in environ


def test_a_public_base_that_is_set_stands_against_any_header():
    environ = seen(public_base="https://fhir.example", X_FORWARDED_FOR=CLIENT, X_FORWARDED_HOST="other.example")
    assert (environ["REMOTE_ADDR"], BASE_KEY in environ) == (CLIENT, False)


@pytest.mark.parametrize(
    ("base", "path", "inner"),
    [
        ("https://x.example/imaging", "/imaging/fhir/Patient", "/fhir/Patient"),
        ("https://x.example/imaging/", "/fhir/Patient", "/fhir/Patient"),
        ("https://x.example/fhir", "/fhir/fhir/Patient", "/fhir/Patient"),
        ("https://x.example/fhir", "/fhir/Patient", "/fhir/Patient"),
        ("https://x.example/imaging", "/imaging2/fhir/Patient", "/imaging2/fhir/Patient"),
        ("https://x.example/imaging", "/imaging", "/imaging"),
        ("https://x.example/imaging", "/imaging/other", "/imaging/other"),
        ("https://x.example", "/fhir", "/fhir"),
    ],
)
def test_the_public_path_may_arrive_with_its_prefix_or_without(base, path, inner):
    assert seen(public_base=base, path=path)["PATH_INFO"] == inner


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        (" 192.0.2.7:80 ", "192.0.2.7"),
        ("[2001:db8::1]:80", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("unknown", None),
        ("", None),
    ],
)
def test_an_address_is_read_with_or_without_its_port(text, address):
    assert str(address_of(text)) == str(address)


@pytest.mark.parametrize(
    ("header", "hops"),
    [
        ("for=a;proto=HTTPS;by=b;host=c", [Hop("a", "https", "c")]),
        ('For="[::1]:1", for=b', [Hop("[::1]:1"), Hop("b")]),
        (r'for="a\"b"', [Hop('a"b')]),
        ("proto=http", [Hop("", "http")]),
        ("for=a;for=b", []),
        ("for=a;", []),
        ("for", []),
        ("for=a b", []),
        (",", []),
        ("", []),
    ],
)
def test_a_header_that_is_not_well_formed_says_nothing(header, hops):
    assert parse_forwarded(header) == hops


def test_settings_of_another_form_are_refused():
    for variable, text in (
        ("FHIRSERVER_PROXIES", "10.0.0.1/8"),
        ("FHIRSERVER_PROXIES", "proxy.example"),
        ("FHIRSERVER_PROXY_HEADER", "x-real-ip"),
        ("FHIRSERVER_CORS_ORIGINS", "app.example"),
        ("FHIRSERVER_CORS_ORIGINS", "https://app.example/"),
        ("FHIRSERVER_CORS_ORIGINS", "null"),
    ):
        with pytest.raises(ValueError, match=r"."):
            Config.from_environment({variable: text})
    config = Config.from_environment(
        {"FHIRSERVER_PROXIES": "10.0.0.0/8 ::1", "FHIRSERVER_CORS_ORIGINS": "https://App.example:8443,*"}
    )
    assert [str(network) for network in config.proxies] == ["10.0.0.0/8", "::1/128"]
    assert config.cors_origins == Origins("https://app.example:8443 *")


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {
            "FHIRSERVER_PROXIES": "10.0.0.0/8, 2001:db8::5",
            "FHIRSERVER_CORS_ORIGINS": "https://app.example, *",
            "FHIRSERVER_PROXY_HEADER": "forwarded",
            "FHIRSERVER_REFERENTIAL_INTEGRITY": "on",
        },
    ],
)
def test_a_worker_process_reads_the_settings_as_they_were(environ, tmp_path):
    config = Config.from_environment(environ, data=tmp_path)
    assert Config.from_environment(cli._environment(config)) == config
    assert deepcopy(config) == config
