"""Measure the server, print the figures, and say by the exit code whether every goal was reached."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import bulk, compare, data, decision, dicom, processes, programs, tokens, workloads
from benchmarks.compare import Comparison, Figure
from benchmarks.programs import Program

PARTS = ("decision", "floor", "across", "formats", "feed", "links", "dicom", "growth")
RESULTS = Path(__file__).parent / "results" / "latest.json"
FOLLOWED = 10_000
GROWN = (10_000, 1_000_000)
RESOURCES_PER_PATIENT = 5.9  # one Patient, one CareTeam, and a study with its report 1.95 times
READY_SECONDS, WORKER_BYTES = 5.0, 150_000_000

console = Console()
console.width = max(console.width, 110)  # the table is read in logs, too


@dataclass(slots=True)
class Results:
    """What was measured, for the table and for the file."""

    comparisons: list[Comparison] = field(default_factory=list)
    timings: list[decision.Timing] = field(default_factory=list)
    quantities: list[Quantity] = field(default_factory=list)

    @property
    def met(self) -> bool:
        """Whether every goal that was measured was reached."""
        measured: list[Comparison | decision.Timing | Quantity] = [*self.comparisons, *self.timings, *self.quantities]
        return all(result.met for result in measured)

    def as_dict(self) -> dict[str, Any]:
        """For the results file."""
        return {
            "comparisons": [comparison.as_dict() for comparison in self.comparisons],
            "timings": [{**asdict(timing), "met": timing.met} for timing in self.timings],
            "quantities": [{**asdict(quantity), "met": quantity.met} for quantity in self.quantities],
        }


@dataclass(frozen=True, slots=True)
class Quantity:
    """One figure that must not be more than its goal."""

    name: str
    value: float
    goal: float
    unit: str

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return self.value <= self.goal


def main() -> int:
    """Run what was asked for. 0 when every goal was reached, 1 otherwise."""
    options = _options()
    results = Results()
    with tempfile.TemporaryDirectory(prefix="fhirserver-bench-", dir=options.folder) as name, ExitStack() as stack:
        folder = Path(name)
        if "decision" in options.parts:
            results.timings += decision.timings()
        if {"floor", "across", "formats", "feed", "links", "dicom"} & set(options.parts):
            _beside_each_other(folder, options, results, stack)
        if "growth" in options.parts:
            _growth(folder, options, results)
    _show(results)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results.as_dict(), indent=2))
    return 0 if results.met else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all but growth if none")
    parser.add_argument("--patients", type=int, default=FOLLOWED, help="patients of the region, two studies each")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each workload, after one for warmth")
    parser.add_argument(
        "--grown", type=int, default=GROWN[1], help="resources to which the search's growth is measured"
    )
    parser.add_argument("--folder", type=Path, help="where the databases of the run are made (the temporary folder)")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    options.parts = options.parts or PARTS[:-1]
    return options


def _beside_each_other(folder: Path, options: argparse.Namespace, results: Results, stack: ExitStack) -> None:
    """The server beside the floor, and beside Orthanc."""
    region = data.Region(options.patients)
    server = stack.enter_context(_server(folder / "server", region))
    granted = tokens.tokens(server.folder)
    results.quantities.append(Quantity("ready after start", server.started, READY_SECONDS, "s"))
    if {"floor", "across"} & set(options.parts):
        floor = stack.enter_context(_floor(folder / "floor", region))
        if "floor" in options.parts:
            results.comparisons += [
                _workload(one, region, floor, server, granted, options.rounds) for one in workloads.WORKLOADS
            ]
        if "across" in options.parts:
            results.comparisons.append(_across(region, server, granted, options.rounds))
    if "formats" in options.parts:
        results.comparisons.append(_formats(region, server, granted["doctor"], options.rounds))
    if "links" in options.parts:
        results.comparisons += [
            _linked(plain, workload, region, server, granted["doctor"], options.rounds)
            for plain, workload in workloads.LINKED
        ]
    if "dicom" in options.parts:
        binary = programs.orthanc_binary()
        if binary is None:
            console.print("Orthanc is not installed: no DICOMweb figures (apt-get install orthanc orthanc-dicomweb)")
        else:
            (folder / "orthanc").mkdir()
            orthanc = stack.enter_context(programs.orthanc_program(folder / "orthanc", binary))
            results.comparisons += dicom.beside(orthanc, server, granted, options.rounds, patient_number=0)
    memory = max(processes.resident(worker) for worker in processes.workers(server.roots))
    results.quantities.append(Quantity("memory of a worker", memory / 1e6, WORKER_BYTES / 1e6, "MB"))
    # Last, since answers of five megabytes are no measure of what a worker takes.
    if "feed" in options.parts:
        results.comparisons.append(_feed(region, server, tokens.system(server.folder), options.rounds))


def _server(folder: Path, region: data.Region) -> AbstractContextManager[Program]:
    folder.mkdir()
    console.print(f"Writing {region.studies:,} studies of {region.patients:,} patients through the store")
    bulk.fill(folder, region)
    return programs.server_program(folder, tokens.ENVIRONMENT)


def _floor(folder: Path, region: data.Region) -> AbstractContextManager[Program]:
    folder.mkdir()
    return programs.floor_program(folder, region)


def _turn(workload: workloads.Workload, region: data.Region, program: Program, token: str | None, seed: int) -> Figure:
    queries = workload.queries(region, seed, workload.count)
    return compare.measure(program, [workloads.wire(query, program.host, token) for query in queries], workload.status)


def _workload(
    workload: workloads.Workload,
    region: data.Region,
    floor: Program,
    server: Program,
    granted: dict[str, str | None],
    times: int,
) -> Comparison:
    token = granted["system" if workload.writes else "doctor"]
    with console.status(workload.name):
        figures = compare.rounds(
            times,
            {
                "floor": partial(_turn, workload, region, floor, None),
                "server": partial(_turn, workload, region, server, token),
            },
        )
    ratio = figures["server"].cpu / figures["floor"].cpu
    console.print(f"{workload.name}: {ratio:.2f} x floor")
    return Comparison(workload.name, figures["floor"], figures["server"], ratio, workload.goal)


def _across(region: data.Region, server: Program, granted: dict[str, str | None], times: int) -> Comparison:
    """The latest twenty studies of all patients whom the doctor follows, beside those of one patient."""
    one = next(workload for workload in workloads.WORKLOADS if workload.name == "search20")
    every = workloads.Workload("across", 3.0, one.count, 200, workloads.latest_across_patients)
    turns = {
        "one": partial(_turn, one, region, server, granted["doctor"]),
        "every": partial(_turn, every, region, server, granted["doctor"]),
    }
    figures = compare.rounds(times, turns)
    ratio = figures["every"].cpu / figures["one"].cpu
    return Comparison(f"latest 20 of {region.patients:,} patients", figures["one"], figures["every"], ratio, 3.0)


def _formats(region: data.Region, server: Program, token: str | None, times: int) -> Comparison:
    """The read of a study in XML beside that in JSON."""
    in_json = workloads.Workload("json", 10.0, 1_000, 200, workloads.study_in_json)
    in_xml = workloads.Workload("xml", 10.0, 1_000, 200, workloads.study_in_xml)
    turns = {one.name: partial(_turn, one, region, server, token) for one in (in_json, in_xml)}
    figures = compare.rounds(times, turns)
    ratio = figures["xml"].cpu / figures["json"].cpu
    return Comparison("read in XML", figures["json"], figures["xml"], ratio, 10.0)


def _feed(region: data.Region, server: Program, token: str | None, times: int) -> Comparison:
    """The latest thousand versions of studies, half of them past ones, beside the latest thousand studies."""
    changes = [workloads.wire(query, server.host, token) for query in workloads.changes(region)]
    compare.measure(server, changes, 200, connections=1)
    search = workloads.Workload("studies", 3.0, 20, 200, workloads.latest_studies)
    history = workloads.Workload("versions", 3.0, 20, 200, workloads.latest_versions)
    turns = {one.name: partial(_turn, one, region, server, token) for one in (search, history)}
    figures = compare.rounds(times, turns)
    ratio = figures["versions"].cpu / figures["studies"].cpu
    return Comparison("history feed of 1,000", figures["studies"], figures["versions"], ratio, 3.0)


def _linked(
    plain: str, workload: workloads.Workload, region: data.Region, server: Program, token: str | None, times: int
) -> Comparison:
    """A search that follows references, beside a plain one of as many rows."""
    beside = next(one for one in workloads.WORKLOADS if one.name == plain)
    beside = replace(beside, count=workload.count)
    turns = {
        "plain": partial(_turn, beside, region, server, token),
        "linked": partial(_turn, workload, region, server, token),
    }
    with console.status(workload.name):
        figures = compare.rounds(times, turns)
    ratio = figures["linked"].cpu / figures["plain"].cpu
    return Comparison(f"{workload.name} / {plain}", figures["plain"], figures["linked"], ratio, workload.goal)


def _growth(folder: Path, options: argparse.Namespace, results: Results) -> None:
    """The search of one patient's studies in a small region and in a large one, in alternation."""
    search = next(workload for workload in workloads.WORKLOADS if workload.name == "search20")
    with ExitStack() as stack:
        servers = {}
        for size in (GROWN[0], options.grown):
            region = data.Region(round(size / RESOURCES_PER_PATIENT))
            servers[str(size)] = region, stack.enter_context(_server(folder / f"grown-{size}", region))
        # A token lives for five minutes, and the large region takes longer than that to write.
        turns = {
            size: partial(_turn, search, region, server, tokens.tokens(server.folder)["doctor"])
            for size, (region, server) in servers.items()
        }
        small, large = compare.rounds(options.rounds, turns).values()
    name = f"search20, p50, {GROWN[0]:,} to {options.grown:,}"
    results.comparisons.append(Comparison(name, small, large, large.p50 / small.p50, 1.3))


def _show(results: Results) -> None:
    table = Table("workload", "cpu ms", "beside", "p50 ms", "beside", "ratio", "goal", "")
    for result in results.comparisons:
        goal = f"{'≥' if result.faster_is_more else '≤'} {result.goal}"
        table.add_row(
            result.workload,
            *(f"{value:.2f}" for value in (result.ours.cpu, result.base.cpu, result.ours.p50, result.base.p50)),
            f"{result.ratio:.2f}",
            goal,
            _mark(result.met),
        )
    for timing in results.timings:
        value = f"{timing.microseconds:.1f} µs"
        table.add_row(timing.name, "", "", "", "", value, f"≤ {timing.goal:g}", _mark(timing.met))
    for quantity in results.quantities:
        value = f"{quantity.value:.1f} {quantity.unit}"
        table.add_row(quantity.name, "", "", "", "", value, f"≤ {quantity.goal:g}", _mark(quantity.met))
    console.print(table)


def _mark(met: bool) -> str:  # noqa: FBT001 (one word for one question)
    return "[green]met[/]" if met else "[red]missed[/]"


if __name__ == "__main__":
    sys.exit(main())
