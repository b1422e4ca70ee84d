"""Work in the background of which a process has one thread at most, however often it is asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable


class OneThread:
    """The thread, while there is something to do. Safe to use from all threads."""

    def __init__(self, name: str) -> None:
        """No thread is started before there is work."""
        self._name = name
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def begin(self, work: Callable[[], None], is_left: Callable[[], bool]) -> threading.Thread:
        """Let a thread do `work` while something `is_left`: the one that is at it, or else a new one.

        What was ordered before this call is done, since the thread looks for it once more before it ends.
        """
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, args=(work, is_left), name=self._name, daemon=True)
                self._thread.start()
            return self._thread

    def _run(self, work: Callable[[], None], is_left: Callable[[], bool]) -> None:
        try:
            while not self._is_over(is_left):
                work()
        except BaseException:
            with self._lock:
                self._thread = None
            raise

    def _is_over(self, is_left: Callable[[], bool]) -> bool:
        with self._lock:
            if is_left():
                return False
            self._thread = None  # who asks from now on begins another
            return True
