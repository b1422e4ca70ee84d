"""The heads of the audit logs outside the database, so that a tail or a whole log cut off inside it shows.

A log that is being written has a file of its own, `audit-checkpoint-LOG`, overwritten in place. When the log is closed
its head becomes a line of `audit-checkpoint`, and the file goes.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import NamedTuple

_LOG = re.compile(r"[0-9a-f]{32}")
_HEAD = re.compile(r"(\d{20}) ([0-9a-f]{64})\n")
_LINE = re.compile(r"([0-9a-f]{32}) (\d{20}) ([0-9a-f]{64})\n")


class Head(NamedTuple):
    """How far a log is known to go: the number of its last event, and the digest of that."""

    sequence: int
    digest: str


class Checkpoint:
    """The head of the log that one process writes. Used under the log's commit lock."""

    def __init__(self, book: Path, log: str) -> None:
        """Make the file of this log beside `book`, the file of those that are closed."""
        self._book, self._log = book, log
        self._path = _path_of(book, log)
        book.parent.mkdir(parents=True, exist_ok=True)
        self._file: int | None = os.open(self._path, os.O_CREAT | os.O_WRONLY, 0o600)
        self._head: Head | None = None

    def keep(self, head: Head) -> None:
        """Overwrite the head in place: one line of fixed length, one system call."""
        if self._file is not None:
            self._head = head
            os.pwrite(self._file, f"{head.sequence:020d} {head.digest}\n".encode("ascii"), 0)

    def close(self) -> None:
        """Move the head into the book; may be repeated."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
            if self._head is not None:
                _enter(self._book, self._log, self._head)
            self._path.unlink(missing_ok=True)


def heads(book: Path) -> dict[str, Head]:
    """The head of every log that was ever closed or is being written here, by the name of the log."""
    # Files first: one that goes meanwhile has its line in the book by then.
    found = {log: head for log in _open_logs(book) if (head := _read(book, log)) is not None}
    if book.exists():
        for log, sequence, digest in _LINE.findall(book.read_text("ascii", "replace")):
            head = Head(int(sequence), digest)
            found[log] = max(found.get(log, head), head)
    return found


def move_all(book: Path) -> None:
    """Move into the book what processes that were killed have left; for a start while no other process runs."""
    for log in _open_logs(book):
        head, path = _read(book, log), _path_of(book, log)
        if head is not None:
            _enter(book, log, head)
        if head is not None or path.stat().st_size == 0:  # one that is damaged stays, for somebody to look at
            path.unlink()


def _open_logs(book: Path) -> list[str]:
    found = (_LOG.fullmatch(path.name.removeprefix(f"{book.name}-")) for path in book.parent.glob(f"{book.name}-*"))
    return sorted(log[0] for log in found if log)


def _path_of(book: Path, log: str) -> Path:
    return book.parent / f"{book.name}-{log}"


def _read(book: Path, log: str) -> Head | None:
    """None for a log whose process was killed before its first event."""
    try:
        whole = _HEAD.fullmatch(_path_of(book, log).read_text("ascii", "replace"))
    except FileNotFoundError:  # its process closed it meanwhile
        return None
    return None if whole is None else Head(int(whole[1]), whole[2])


def _enter(book: Path, log: str, head: Head) -> None:
    """Add a line. It is on the disk before the log's own file goes, so that a crash leaves both rather than neither.

    The line begins a new one even after one that a loss of power cut short. Raises OSError where the disk does not take
    it whole.
    """
    line = f"\n{log} {head.sequence:020d} {head.digest}\n".encode("ascii")
    descriptor = os.open(book, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        if os.write(descriptor, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(book))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    folder = os.open(book.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
