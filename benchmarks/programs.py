"""The programs under measurement, each with a database of its own: started, waited for, and stopped."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import data, floor
from fhirserver.store.embedded import EmbeddedMongo

WORKERS = 2
THREADS = 8
ROOT = Path(__file__).resolve().parents[1]
COMMANDS = Path(sys.executable).parent

_ORTHANC_DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")

_READY = 120.0
_STOP = 60.0


@dataclass(frozen=True, slots=True)
class Program:
    """A running program: where it listens, whose processor time it takes, how long it took to be ready."""

    name: str
    port: int
    roots: tuple[int, ...]
    started: float
    folder: Path

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return "127.0.0.1", self.port

    @property
    def host(self) -> str:
        """Value of the Host header."""
        return f"127.0.0.1:{self.port}"

    @property
    def base(self) -> str:
        """URL without a path."""
        return f"http://{self.host}"


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    command: list[str], log: Path, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A child with its output in a file; on exit it is asked to stop, and killed when it does not within a minute."""
    with log.open("wb") as output:
        child = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT, env={**os.environ, **(environment or {})}
        )
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(_STOP)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def wait_for(url: str, child: subprocess.Popen[bytes], log: Path) -> None:
    """Return when `url` answers with any success or a 404. Raises RuntimeError when the child ends or nothing comes."""
    deadline = time.monotonic() + _READY
    while time.monotonic() < deadline:
        if child.poll() is not None:
            break
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return
        except OSError:
            pass
        else:
            return
        time.sleep(0.02)
    raise RuntimeError(f"{url} does not answer:\n{log.read_text(errors='replace')[-2_000:]}")


@contextmanager
def floor_program(folder: Path, region: data.Region) -> Iterator[Program]:
    """The floor, over a database that holds the region."""
    begun = time.perf_counter()
    with EmbeddedMongo(folder) as mongo:
        floor.fill(mongo.uri, region)
        port = free_port()
        command = [str(COMMANDS / "granian"), "--interface", "wsgi", "--factory", "benchmarks.floor:make_app"]
        command += ["--host", "127.0.0.1", "--port", str(port), "--workers", str(WORKERS), "--no-ws"]
        command += ["--blocking-threads", str(THREADS), "--log-level", "warning"]
        log = folder / "floor.log"
        with running(command, log, {"FLOOR_MONGODB_URI": mongo.uri}) as child:
            wait_for(f"http://127.0.0.1:{port}/fhir/Patient/nobody", child, log)
            if mongo.pid is None:
                raise RuntimeError("the floor's mongod has ended")
            yield Program("floor", port, (child.pid, mongo.pid), time.perf_counter() - begun, folder)


@contextmanager
def server_program(folder: Path) -> Iterator[Program]:
    """The server over its embedded database, as an operator starts it."""
    port = free_port()
    command = [str(COMMANDS / "fhirserver"), "serve", "--data", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", str(WORKERS)]
    log = folder / "server.log"
    begun = time.perf_counter()
    with running(command, log) as child:
        wait_for(f"http://127.0.0.1:{port}/readyz", child, log)
        yield Program("server", port, (child.pid,), time.perf_counter() - begun, folder)


def orthanc_binary() -> Path | None:
    """Debian's Orthanc, if it is installed (packages orthanc and orthanc-dicomweb)."""
    found = shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    return Path(found) if found and _ORTHANC_DICOMWEB.exists() else None


@contextmanager
def orthanc_program(folder: Path, binary: Path) -> Iterator[Program]:
    """Orthanc with its DICOMweb plugin, as Debian builds it, without a password and without DICOM's own protocol."""
    port = free_port()
    configuration = {
        "Name": "bench",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomServerEnabled": False,
        "Plugins": [str(_ORTHANC_DICOMWEB)],
        "DicomWeb": {"Enable": True, "Root": "/dicomweb/"},
    }
    path, log = folder / "orthanc.json", folder / "orthanc.log"
    path.write_text(json.dumps(configuration))
    begun = time.perf_counter()
    with running([str(binary), str(path)], log) as child:
        wait_for(f"http://127.0.0.1:{port}/system", child, log)
        yield Program("orthanc", port, (child.pid,), time.perf_counter() - begun, folder)
