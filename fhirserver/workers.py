"""The worker processes of `fhirserver serve`: started, started anew where one dies, and ended where one cannot start.

granian starts every worker anew that ends, and sees a loop only where the same one ends twice in a row: two that cannot
start would take turns for ever. So each worker says that it has started; one that ends before that, by an error or by a
signal, ends the server.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Sequence
from functools import partial
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server.mp import MPServer

from fhirserver.config import Config

if TYPE_CHECKING:
    from flask import Flask

_STOP_TIMEOUT = 15  # seconds for requests under way
_PR_SET_PDEATHSIG = 1  # prctl(2)


class CannotStartError(Exception):
    """A worker ended before it could take a request."""


def run(config: Config) -> None:
    """Serve until a signal ends it; a worker that dies is replaced. Raises CannotStartError where one cannot start."""
    # A fork would copy the threads' locks and the lock on the data folder.
    multiprocessing.set_start_method("spawn", force=True)
    said, saying = multiprocessing.Pipe(duplex=False)
    server = _Server(
        "fhirserver.workers",
        address=config.host,
        port=config.port,
        interface=Interfaces.WSGI,
        workers=config.workers,
        blocking_threads=config.threads,
        websockets=False,
        log_level=LogLevels.error,
        respawn_failed_workers=True,
        workers_kill_timeout=_STOP_TIMEOUT,
    )
    server.said = said
    try:
        server.serve(target_loader=partial(_application, saying), wrap_loader=False)
    finally:
        if server.failure:
            raise CannotStartError(server.failure)


class _Server(MPServer):
    """granian, but that a worker which could not start is not started anew."""

    said: Connection
    failure = ""
    _started: frozenset[int] = frozenset()

    def _respawn_workers(self, workers: Sequence[int], *args: Any, **options: Any) -> None:
        """Start these workers anew, by number: those that have died, or all of them after SIGHUP."""
        self._hear()
        for worker in (self.wrks[number] for number in workers):
            process = worker.inner
            if not worker.interrupt_by_parent and not process.is_alive() and process.pid not in self._started:
                self.failure = _failure(process.exitcode)
                self.signal_handler_interrupt()
                return
        super()._respawn_workers(workers, *args, **options)

    def _hear(self) -> None:
        """Take in which processes have started; of those that are no workers any more the numbers may come again."""
        said = set()
        while self.said.poll():
            said.add(self.said.recv())
        self._started = (self._started | said) & {worker.inner.pid for worker in self.wrks}


def _failure(status: int | None) -> str:
    if status is not None and status < 0:
        return f"a worker was ended by {signal.Signals(-status).name} while it was starting"
    return "a worker could not start; what it said is above"


def _application(saying: Connection) -> Flask:
    """The application of one worker process, which ends with the process that started it.

    A main process that is killed outright cannot stop its workers; left alone, they would keep the port. Ctrl-C in the
    terminal is for the main process, which then ends its workers by SIGTERM: of SIGINT and SIGTERM that come at almost
    the same moment, granian's workers miss both, and would be waited for in vain.
    """
    os.setsid()
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit("the main process has ended")
    from fhirserver.app import application

    made = application()
    saying.send(os.getpid())
    return made
