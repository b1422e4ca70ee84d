"""A counter shared by the processes of one machine: whether what they keep of the directory is still what is stored.

A server with a database of its own is the only one to write to it, so its workers may keep what they looked up of an
actor as long as nobody has written to the directory. The counter lies in a small file that all of them map. A write is
counted when it begins and when it has ended; what was looked up meanwhile is not kept, and a process that dies between
the two leaves a count that keeps everybody asking the database. Several servers over one database share no memory, and
keep nothing.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_COUNTS = struct.Struct("<QQ")
_NAME = "generation"


class Generation:
    """The counts of begun and ended writes. Reading costs no system call."""

    def __init__(self, path: Path) -> None:
        """Map the file, which `begin_anew` made."""
        self._file = os.open(path, os.O_RDWR)
        self._counts = mmap.mmap(self._file, _COUNTS.size)

    @classmethod
    def begin_anew(cls, data: Path) -> None:
        """Make the counter of a server that is about to start, and that alone writes to its database."""
        (data / _NAME).write_bytes(_COUNTS.pack(1, 1))

    @classmethod
    def end(cls, data: Path) -> None:
        """Remove the counter: from now on others may write."""
        (data / _NAME).unlink(missing_ok=True)

    @classmethod
    def of(cls, data: Path) -> Generation | None:
        """The counter of the server that owns this data folder; None where none runs, or it shares its database."""
        try:
            return cls(data / _NAME)
        except FileNotFoundError:
            return None

    def stable(self) -> int | None:
        """The present generation; None while somebody writes."""
        begun, ended = _COUNTS.unpack_from(self._counts, 0)
        return begun if begun == ended else None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Count a write to the directory, from before its first statement until after its commit."""
        self._add(1, 0)
        try:
            yield
        finally:
            self._add(0, 1)

    def _add(self, begun: int, ended: int) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            counts = _COUNTS.unpack_from(self._counts, 0)
            _COUNTS.pack_into(self._counts, 0, counts[0] + begun, counts[1] + ended)
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)
