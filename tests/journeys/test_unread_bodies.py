"""Whoever is refused before their body was read is told that the connection ends."""

from __future__ import annotations

import http.client
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def ask(connection: socket.socket, head: str) -> bytes:
    connection.sendall(head.encode())
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65_536)
        if not chunk:
            break
        received += chunk
    return received.lower()


@pytest.mark.parametrize("framing", ["Content-Length: 10", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("path", ["/fhir", "/fhir/Patient", "/dicomweb/studies"])
def test_a_refusal_before_the_body_came_says_that_the_connection_ends(server: Any, path: str, framing: str) -> None:
    address = urlsplit(server.base)
    head = f"POST {path} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/fhir+json\r\n{framing}\r\n\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        answer = ask(connection, head)
        assert answer.startswith(b"http/1.1 401 ")
        assert b"\r\nconnection: close\r\n" in answer


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_connection_is_kept_where_the_body_was_read_also_when_the_answer_is_a_refusal(
    server: Any, is_chunked: bool
) -> None:
    address = urlsplit(server.base)
    connection = http.client.HTTPConnection(address.netloc, timeout=30)
    connection.connect()
    first = connection.sock
    for _ in range(3):
        body = [b"grant_type=", b"none"] if is_chunked else b"grant_type=none"
        connection.request("POST", "/oauth/token", body, _FORM, encode_chunked=is_chunked)
        answer = connection.getresponse()
        answer.read()
        assert (answer.status, answer.headers["Connection"]) == (400, None)
        assert connection.sock is first
    connection.close()


def test_a_request_without_a_body_keeps_its_connection(server: Any) -> None:
    address = urlsplit(server.base)
    connection = http.client.HTTPConnection(address.netloc, timeout=30)
    connection.request("GET", "/fhir/Patient/none")
    answer = connection.getresponse()
    answer.read()
    assert (answer.status, answer.headers["Connection"]) == (401, None)
    connection.close()
