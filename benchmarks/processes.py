"""Processor time and memory of programs and all their children, as the kernel counts them (proc(5))."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Process:
    """One line of /proc/PID/stat: who, whose child, and the seconds that it had a processor."""

    pid: int
    parent: int
    name: str
    cpu: float


def _read(pid: int) -> Process | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None  # it ended while we looked
    name, _, rest = text.partition("(")[2].rpartition(")")
    fields = rest.split()
    return Process(pid, int(fields[1]), name, (int(fields[11]) + int(fields[12])) / _TICK)


def tree(roots: Iterable[int]) -> list[Process]:
    """The processes `roots` and everything that they started, directly or not."""
    numbers = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    everything = [process for number in numbers if (process := _read(number))]
    children: dict[int, list[Process]] = {}
    for process in everything:
        children.setdefault(process.parent, []).append(process)
    wanted = set(roots)
    found = [process for process in everything if process.pid in wanted]
    for process in found:  # grows while it is walked
        found += [child for child in children.get(process.pid, ()) if child not in found]
    return found


def cpu_seconds(roots: Iterable[int]) -> float:
    """Processor seconds, user and system, of the programs so far."""
    return sum(process.cpu for process in tree(roots))


def resident(pid: int) -> int:
    """Bytes of memory that belong to the process: its own pages, and its share of those it has in common."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/{pid}/smaps_rollup has no Pss")


def workers(roots: Iterable[int]) -> list[int]:
    """The processes below `roots` that answer requests: those that start none and are not the database."""
    processes = [process for process in tree(roots) if not process.name.startswith(("mongod", "forkserver"))]
    parents = {process.parent for process in processes}
    return [process.pid for process in processes if process.pid not in parents]
