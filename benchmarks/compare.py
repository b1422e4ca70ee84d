"""Two programs side by side: rounds that alternate between them, and the median of what the rounds say.

What disturbs the machine disturbs both; a single bad round does not move a median.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from benchmarks import load, processes
from benchmarks.programs import Program


@dataclass(frozen=True, slots=True)
class Figure:
    """One program in one workload: processor milliseconds and median delay of a request, and requests a second."""

    cpu: float
    p50: float
    rate: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """One workload: what each program took, and their ratio held against the goal."""

    workload: str
    base: Figure
    ours: Figure
    ratio: float
    goal: float
    faster_is_more: bool = False

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return self.ratio >= self.goal if self.faster_is_more else self.ratio <= self.goal

    def as_dict(self) -> dict[str, Any]:
        """For the results file."""
        return {**asdict(self), "met": self.met}


def measure(program: Program, requests: Iterable[bytes], status: int, connections: int = 8) -> Figure:
    """Send the requests. Raises RuntimeError where an answer is not what it should be: a refusal is quick, too."""
    before = processes.cpu_seconds(program.roots)
    outcome = load.run(program.address, requests, connections=connections)
    cpu = processes.cpu_seconds(program.roots) - before
    if set(outcome.statuses) != {status}:
        raise RuntimeError(f"{program.name} answered {dict(outcome.statuses)}: {outcome.sample[:600]!r}")
    return Figure(cpu * 1_000 / outcome.count, outcome.p50, outcome.count / outcome.seconds)


def rounds(times: int, turns: Mapping[str, Callable[[int], Figure]]) -> dict[str, Figure]:
    """Each turn `times` times, in alternation, after one round for warmth; the medians of each."""
    figures: dict[str, list[Figure]] = {name: [] for name in turns}
    for number in range(times + 1):
        for name, turn in turns.items():
            figure = turn(number)
            if number:
                figures[name].append(figure)
    return {
        name: Figure(
            median(figure.cpu for figure in taken),
            median(figure.p50 for figure in taken),
            median(figure.rate for figure in taken),
        )
        for name, taken in figures.items()
    }
