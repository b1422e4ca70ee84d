"""SIGINT and SIGTERM that come at a bad moment.

Python runs a signal handler between any two instructions of the main thread. One that raises there, as Ctrl-C does by
default, can come after a lock was taken and before anybody is bound to give it back, or between the birth of a process
and the note of its number (https://docs.python.org/3/library/signal.html#note-on-signal-handlers-and-exceptions).
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Self

STOP_SIGNALS = signal.SIGINT, signal.SIGTERM


class HeldSignals:
    """A block through which SIGINT and SIGTERM do not cut: they take their effect when it ends.

    Long work asks `is_pending` and ends early. Outside the main thread, which alone gets signals, nothing is held.
    """

    def __init__(self) -> None:
        """Nothing is held before the block begins."""
        self._pending: list[int] = []
        self._before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
        self._is_over = threading.current_thread() is not threading.main_thread()

    @property
    def is_pending(self) -> bool:
        """Whether a signal waits for the end of the block."""
        return bool(self._pending)

    def __enter__(self) -> Self:
        """Hold."""
        if not self._is_over:
            for number in STOP_SIGNALS:
                signal.signal(number, self._keep)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the signals back to those who had them, the first one that came included."""
        if self._is_over:
            return
        for number in STOP_SIGNALS:
            signal.signal(number, self._before[number])
        self._is_over = True
        if self._pending:
            signal.raise_signal(self._pending[0])

    def _keep(self, number: int, _frame: FrameType | None) -> None:
        self._pending.append(number)


def interrupt_once() -> None:
    """From here on the first of SIGINT and SIGTERM raises KeyboardInterrupt; the way out is not cut short by a second.

    To be called in the main thread.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
