"""Reads by id that come at once, answered by one command.

A command costs the driver and the database more than the document that it brings. Whoever comes first asks for all who
came meanwhile: nobody waits for company, and each read begins after it was asked for, as it would alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]
Find = Callable[[Sequence[str]], Mapping[str, Document]]


@dataclass(slots=True, eq=False)
class _Read:
    """One document that one caller waits for."""

    identity: str
    found: Document | None = None
    error: BaseException | None = None
    is_done: bool = False


class SharedRead:
    """Documents of one collection by id, for all threads of a process."""

    def __init__(self, find: Find) -> None:
        """`find` gives those of some documents that exist, by id; ids are not repeated."""
        self._find = find
        self._waiting: list[_Read] = []
        self._guard = threading.Lock()
        self._turn = threading.Lock()

    def get(self, identity: str) -> Document | None:
        """The document of that id, or None. Raises what `find` raises."""
        read = _Read(identity)
        with self._guard:
            self._waiting.append(read)
        with self._turn:
            if not read.is_done:
                self._answer(self._take())
        if read.error is not None:
            raise read.error
        return read.found

    def _take(self) -> list[_Read]:
        with self._guard:
            taken, self._waiting = self._waiting, []
        return taken

    def _answer(self, reads: Sequence[_Read]) -> None:
        """What is not known to be found or absent is an error for everybody who asked: never an absence."""
        try:
            found = self._find(list({read.identity: None for read in reads}))
        except BaseException as error:  # noqa: BLE001 - raised again for each who asked, the caller included
            for read in reads:
                read.error = error
        else:
            for read in reads:
                document = found.get(read.identity)
                read.found = None if document is None else dict(document)  # nobody's changes are another's
        finally:
            for read in reads:
                read.is_done = True
