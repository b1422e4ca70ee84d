"""SIGINT and SIGTERM that come at a bad moment.

Python runs a signal handler between any two instructions of the main thread. One that raises there, as Ctrl-C does by
default, can come after a lock was taken and before anybody is bound to give it back, or between the birth of a process
and the note of its number (https://docs.python.org/3/library/signal.html#note-on-signal-handlers-and-exceptions).
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

_Handler = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None

STOP_SIGNALS = signal.SIGINT, signal.SIGTERM


class HeldSignals:
    """A block through which SIGINT and SIGTERM do not cut: they take their effect when it ends.

    Long work asks `is_pending` and ends early. Outside the main thread, which alone gets signals, nothing is held.
    """

    def __init__(self) -> None:
        """Nothing is held before the block begins."""
        self._pending: list[int] = []
        self._before: dict[int, _Handler] = {}

    @property
    def is_pending(self) -> bool:
        """Whether a signal waits for the end of the block."""
        return bool(self._pending)

    def __enter__(self) -> Self:
        """Hold."""
        if threading.current_thread() is threading.main_thread():
            with _blocked():
                for number in STOP_SIGNALS:
                    before = signal.getsignal(number)
                    if before != signal.SIG_IGN:  # what is ignored, as by a script in the background, stays so
                        self._before[number] = before
                        signal.signal(number, self._keep)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the signals back to those who had them, the first one that came included."""
        with _blocked():
            for number, before in self._before.items():
                signal.signal(number, before)
            pending, self._pending = self._pending, []
            if pending:
                signal.raise_signal(pending[0])  # which takes its effect when the block of both ends

    def _keep(self, number: int, _frame: FrameType | None) -> None:
        self._pending.append(number)


@contextmanager
def _blocked() -> Iterator[None]:
    """Neither signal reaches this thread meanwhile, so handlers change together or not at all."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def interrupt_once() -> None:
    """From here on the first of SIGINT and SIGTERM raises KeyboardInterrupt; the way out is not cut short by a second.

    To be called in the main thread. What is ignored stays so.
    """
    for number in STOP_SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
