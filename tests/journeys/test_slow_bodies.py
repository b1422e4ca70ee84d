"""Strangers who send a form slowly do not keep those with a token waiting."""

from __future__ import annotations

import socket
import urllib.request
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

# More than all threads of all workers.
_SLOW = 60


def test_sixty_slow_forms_leave_the_server_answering(server: Any) -> None:
    address = urlsplit(server.base)
    head = (
        f"POST /oauth/token HTTP/1.1\r\nHost: {address.netloc}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\ngrant_type=a"
    )
    with ExitStack() as open_:
        for _ in range(_SLOW):
            connection = open_.enter_context(socket.create_connection((address.hostname, address.port), timeout=30))
            connection.sendall(head.encode())
        for _ in range(20):
            with urllib.request.urlopen(f"{server.base}/fhir/metadata", timeout=10) as answer:
                assert answer.status == 200
