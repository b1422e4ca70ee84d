"""A real server for whole stories: started by its command line, asked over HTTP, ended by signals, never patched."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import urllib3

from fhirserver import demo
from fhirserver.demo.build import Demo
from fhirserver.demo.http import Caller

READY_WITHIN = 60.0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _descendants(pid: int) -> list[int]:
    """Process ids below `pid`, from /proc."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += [int(child), *_descendants(int(child))]
    return found


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except FileNotFoundError:
        return ""


@dataclass(slots=True)
class Running:
    """A server with a data folder and a port that outlive its process."""

    data: Path
    port: int = field(default_factory=_free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def base(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def demo(self) -> Demo:
        """Everybody who can ask it something."""
        return Demo.at(self.base, self.data)

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        with (self.data.parent / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fhirserver", "serve", "--data", self.data, "--port", str(self.port)],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=os.environ | {"FHIRSERVER_WORKERS": "2"},
            )
        wait_until(self.is_ready, READY_WITHIN, lambda: f"the server is not ready:\n{self.said()}")

    def stop(self) -> int:
        """End it as an operator does, and return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=60)
        self.process = None
        return code

    def kill(self) -> None:
        """Kill -9 of the server and its workers; mongod is left alone."""
        assert self.process is not None
        for pid in [self.process.pid, *_descendants(self.process.pid)]:
            if _name(pid) != "mongod":
                os.kill(pid, signal.SIGKILL)
        self.process.wait(timeout=30)
        self.process = None

    def kill_mongod(self) -> None:
        """Kill -9 of the embedded database."""
        assert self.process is not None
        (pid,) = (each for each in _descendants(self.process.pid) if _name(each) == "mongod")
        os.kill(pid, signal.SIGKILL)

    def is_ready(self) -> bool:
        """Whether /readyz says so."""
        try:
            return urllib3.request("GET", f"{self.base}/readyz", retries=False, timeout=5.0).status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def said(self) -> str:
        """The end of its log."""
        return (self.data.parent / "server.log").read_text("utf-8", "replace")[-3_000:]


def wait_until(
    condition: Callable[[], bool], seconds: float, otherwise: Callable[[], str] = lambda: "it did not happen"
) -> None:
    """Ask again until the condition holds."""
    until = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() > until:
            pytest.fail(otherwise())
        pause.wait(0.05)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Running]:
    """A server of this test's own, empty, which may be killed."""
    running = Running(tmp_path / "data")
    try:
        running.start()
        yield running
    finally:
        if running.process is not None:
            running.stop()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The server of the demo region; tests add to it and take nothing away."""
    running = Running(tmp_path_factory.mktemp("journeys") / "data")
    try:
        running.start()
        demo.build(running.base, running.data)
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="session")
def professional(server: Running) -> Callable[[str], Caller]:
    """A professional of the region, with one token for all tests."""
    known: dict[str, Caller] = {}

    def ask(id_: str) -> Caller:
        if id_ not in known:
            known[id_] = server.demo.professional(id_)
        return known[id_]

    return ask
