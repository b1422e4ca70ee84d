"""The load: a number of keep-alive connections, each sending its next request when its answer is complete.

One thread waits for all connections at once, so that what is measured is the server's delay and not the client's
scheduling.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from statistics import median

_STALLED = 120.0


@dataclass(slots=True)
class Outcome:
    """What came back: statuses, bytes and the seconds that each answer took."""

    statuses: Counter[int] = field(default_factory=Counter)
    received: int = 0
    delays: list[float] = field(default_factory=list)
    seconds: float = 0.0
    sample: bytes = b""

    @property
    def count(self) -> int:
        """Answers."""
        return len(self.delays)

    @property
    def p50(self) -> float:
        """The median delay, in milliseconds."""
        return median(self.delays) * 1_000


def request(
    method: str, target: str, *, host: str, headers: dict[str, str] | None = None, body: bytes | None = None
) -> bytes:
    """An HTTP/1.1 request as it goes over the wire."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + (body or b"")


class _Body:
    """How an answer's end is known (RFC 9112, 6.3): by its length, by its chunks, or by the connection's close."""

    def __init__(self, head: bytes) -> None:
        fields = dict(line.split(b":", 1) for line in head.lower().split(b"\r\n")[1:] if b":" in line)
        self.closes = b"close" in fields.get(b"connection", b"")
        self.received = 0
        self._chunked = b"chunked" in fields.get(b"transfer-encoding", b"")
        self._line = b""
        self._missing: float = float("inf")  # of the body, or of the chunk under way with its end of line
        if self._chunked or head[9:12] in {b"204", b"304"}:
            self._missing = 0
        elif b"content-length" in fields:
            self._missing = int(fields[b"content-length"])
        self.complete = not self._chunked and not self._missing

    def take(self, data: bytes) -> None:
        """Count what has come, and see whether it is all."""
        self.received += len(data)
        if self._chunked:
            self._take_chunks(data)
        else:
            self._missing -= len(data)
            self.complete = self._missing <= 0

    def _take_chunks(self, data: bytes) -> None:
        while data:
            if self._missing:
                taken = min(len(data), int(self._missing))
                self._missing -= taken
                data = data[taken:]
                continue
            line, found, data = (self._line + data).partition(b"\n")
            self._line = b"" if found else line
            if found:
                size = int(line, 16) if line.strip() else 0
                self.complete = not size
                self._missing = size + 2 if size else 0


class _Connection:
    """One socket with the request under way and what has come back of its answer."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self.outgoing = memoryview(b"")
        self.begun = 0.0
        self.head = b""
        self.body: _Body | None = None
        self.sample = b""
        self.connect()

    def connect(self) -> None:
        self.socket = socket.create_connection(self._address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)  # noqa: FBT003 (its only parameter)

    def begin(self, wire: bytes) -> None:
        if self.body is not None and self.body.closes:
            self.socket.close()
            self.connect()
        self.outgoing = memoryview(wire)
        self.head, self.body, self.sample = b"", None, b""
        self.begun = time.perf_counter()
        self.send()

    def send(self) -> None:
        try:
            while self.outgoing:
                self.outgoing = self.outgoing[self.socket.send(self.outgoing) :]
        except BlockingIOError:
            pass

    def receive(self) -> bool:
        """Take what has come; true when the answer is complete."""
        data = self.socket.recv(1 << 20)
        if not data:
            return self._closed()
        if self.body is None:
            head, found, data = (self.head + data).partition(b"\r\n\r\n")
            self.head = head
            if not found:
                return False
            self.body = _Body(head)
            self.sample = data[:1_000]
        self.body.take(data)
        return self.body.complete

    def _closed(self) -> bool:
        """A close ends the answers that say so, and is an error otherwise."""
        if self.body is None or not self.body.closes or self.body.complete:
            raise ConnectionError(f"closed after {self.head[:300]!r}")
        self.body.complete = True
        return True

    @property
    def status(self) -> int:
        return int(self.head[9:12])


def run(address: tuple[str, int], requests: Iterable[bytes], *, connections: int = 8) -> Outcome:
    """Send all `requests` over `connections` and wait for every answer.

    Raises ConnectionError where the server closes in mid-answer, TimeoutError where nothing comes for two minutes.
    """
    outcome = Outcome()
    waiting = iter(requests)
    opened = [_Connection(address) for _ in range(connections)]
    begun = time.perf_counter()
    try:
        with selectors.DefaultSelector() as selector:
            busy = sum(_next(connection, waiting, selector) for connection in opened)
            while busy:
                ready = selector.select(_STALLED)
                if not ready:
                    raise TimeoutError(f"{busy} answers did not come within {_STALLED:.0f} s")
                for key, events in ready:
                    busy -= _serve(key.data, events, waiting, selector, outcome)
    finally:
        for connection in opened:
            connection.socket.close()
    outcome.seconds = time.perf_counter() - begun
    return outcome


def _next(connection: _Connection, waiting: Iterator[bytes], selector: selectors.BaseSelector) -> bool:
    """Begin the next request on an idle connection; false when there is none left."""
    wire = next(waiting, None)
    if wire is None:
        return False
    connection.begin(wire)
    selector.register(connection.socket, _interest(connection), connection)
    return True


def _serve(
    connection: _Connection, events: int, waiting: Iterator[bytes], selector: selectors.BaseSelector, outcome: Outcome
) -> bool:
    """Go on with one connection; true when it has nothing more to do."""
    if events & selectors.EVENT_WRITE:
        connection.send()
        if not connection.outgoing:
            selector.modify(connection.socket, selectors.EVENT_READ, connection)
    if not events & selectors.EVENT_READ or not connection.receive():
        return False
    outcome.delays.append(time.perf_counter() - connection.begun)
    outcome.statuses[connection.status] += 1
    outcome.received += connection.body.received if connection.body else 0
    outcome.sample = outcome.sample or connection.sample
    selector.unregister(connection.socket)
    return not _next(connection, waiting, selector)


def _interest(connection: _Connection) -> int:
    return selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.outgoing else 0)
