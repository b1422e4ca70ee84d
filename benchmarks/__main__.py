"""Measure the server, print the figures, and say by the exit code whether every goal was reached."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import bulk, data, decision, dicom, erasure, processes, programs, turns, workloads
from benchmarks.compare import Comparison
from benchmarks.programs import Program
from benchmarks.tokens import Tokens
from benchmarks.turns import Side
from benchmarks.workloads import Workload

PARTS = ("decision", "floor", "across", "formats", "links", "pages", "patch", "dicom", "erase", "feed", "growth")
BESIDE = frozenset(PARTS) - {"decision", "growth"}
RESULTS = Path(__file__).parent / "results" / "latest.json"
FOLLOWED = 10_000
GROWN = (10_000, 1_000_000)
SMOKE_PATIENTS, SMOKE_PORTION, SMOKE_GROWN = 300, 0.03, (1_000, 1_500)
GROWTH = 1.3
ERASED_SECONDS, READ_MEANWHILE, LONGEST_READ = 60.0, 3.0, 1.0
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
        if BESIDE & set(options.parts):
            _beside_each_other(folder, options, results, stack)
        if "growth" in options.parts:
            _growth(folder, options, results)
    _show(results)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results.as_dict(), indent=2))
    return 0 if results.met or options.smoke else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all but growth if none")
    parser.add_argument("--patients", type=int, default=FOLLOWED, help="patients of the region, two studies each")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each workload, after one for warmth")
    parser.add_argument("--small", type=int, default=GROWN[0], help="resources from which growth is measured")
    parser.add_argument("--grown", type=int, default=GROWN[1], help="resources to which growth is measured")
    parser.add_argument("--portion", type=float, default=1.0, help="how much of each workload's requests is sent")
    parser.add_argument(
        "--smoke", action="store_true", help="a small region and few requests: does it run, whatever the figures"
    )
    parser.add_argument("--folder", type=Path, help="where the databases of the run are made (the temporary folder)")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if options.smoke:
        options.patients, options.rounds, options.portion = SMOKE_PATIENTS, 1, SMOKE_PORTION
        options.small, options.grown = SMOKE_GROWN
        options.parts = options.parts or PARTS
    options.parts = options.parts or PARTS[:-1]
    return options


def _beside_each_other(folder: Path, options: argparse.Namespace, results: Results, stack: ExitStack) -> None:
    """The server beside the floor, beside itself, and beside Orthanc."""
    region = data.Region(options.patients)
    program = stack.enter_context(_server(folder / "server", region))
    server = Side(program, region, Tokens(program.folder), options.portion)
    results.quantities.append(Quantity("ready after start", program.started, READY_SECONDS, "s"))
    if "floor" in options.parts:
        floor = Side(stack.enter_context(_floor(folder / "floor", region)), region, None, options.portion)
        for workload in workloads.WORKLOADS:
            _note(results, options, workload.name, (floor, workload), (server, workload))
    for part, compared in (("across", _across), ("formats", _formats), ("links", _links), ("pages", _pages)):
        if part in options.parts:
            compared(server, options, results)
    if "patch" in options.parts:
        _note(results, options, "JSON Patch / update", (server, workloads.UPDATE), (server, workloads.PATCH))
    if "dicom" in options.parts:
        _dicom(folder, server, options, results, stack)
    memory = max(processes.resident(worker) for worker in processes.workers(program.roots))
    results.quantities.append(Quantity("memory of a worker", memory / 1e6, WORKER_BYTES / 1e6, "MB"))
    # Last, since requests and answers of megabytes are no measure of what a worker takes.
    if "erase" in options.parts:
        _erase(server, results)
    if "feed" in options.parts:
        _feed(server, options, results)


def _server(folder: Path, region: data.Region) -> AbstractContextManager[Program]:
    folder.mkdir()
    console.print(f"Writing {region.studies:,} studies of {region.patients:,} patients through the store")
    begun = time.monotonic()
    bulk.fill(folder, region)
    taken, size = time.monotonic() - begun, sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    console.print(f"{region.resources / taken:,.0f} resources a second, {size / region.resources / 1e3:.1f} kB each")
    return programs.server_program(folder)


def _floor(folder: Path, region: data.Region) -> AbstractContextManager[Program]:
    folder.mkdir()
    return programs.floor_program(folder, region)


def _note(
    results: Results,
    options: argparse.Namespace,
    name: str,
    base: tuple[Side, Workload],
    ours: tuple[Side, Workload],
) -> None:
    """Measure two workloads beside each other; the goal is that of the second."""
    with console.status(name):
        result = turns.beside(name, base, ours, ours[1].goal, options.rounds)
    console.print(f"{name}: {result.ratio:.2f} x")
    results.comparisons.append(result)


def _across(server: Side, options: argparse.Namespace, results: Results) -> None:
    """The latest twenty studies of all patients whom the doctor follows, beside those of one patient."""
    one = next(workload for workload in workloads.WORKLOADS if workload.name == "search20")
    every = Workload("across", 3.0, one.count, 200, workloads.latest_across_patients)
    name = f"latest 20 of {server.region.patients:,} patients"
    _note(results, options, name, (server, one), (server, every))


def _formats(server: Side, options: argparse.Namespace, results: Results) -> None:
    """The read of a study in XML beside that in JSON."""
    in_json = Workload("json", 10.0, 1_000, 200, workloads.study_in_json)
    in_xml = Workload("xml", 10.0, 1_000, 200, workloads.study_in_xml)
    _note(results, options, "read in XML / in JSON", (server, in_json), (server, in_xml))


def _links(server: Side, options: argparse.Namespace, results: Results) -> None:
    """Searches that follow references, each beside a plain one of as many rows."""
    for plain, workload in workloads.LINKED:
        for one in (plain, workload):
            found = len(server.bundle(next(one.queries(server.region, 0, 1))).get("entry", ()))
            if one.rows is not None and found not in one.rows:
                raise RuntimeError(f"{one.name} found {found} rows")
        _note(results, options, f"{workload.name} / {plain.name}", (server, plain), (server, workload))


def _pages(server: Side, options: argparse.Namespace, results: Results) -> None:
    """A page far into a search beside its first one; the walk there is not measured."""
    first = workloads.first_page()
    number = min(workloads.FAR, server.region.patients // workloads.PAGE)
    far = server.page(first, number)
    _note(results, options, f"page {number:,} / page 1", (server, workloads.page(first)), (server, workloads.page(far)))


def _dicom(folder: Path, server: Side, options: argparse.Namespace, results: Results, stack: ExitStack) -> None:
    binary = programs.orthanc_binary()
    if binary is None or server.tokens is None:
        console.print("Orthanc is not installed: no DICOMweb figures (apt-get install orthanc orthanc-dicomweb)")
        return
    (folder / "orthanc").mkdir()
    orthanc = stack.enter_context(programs.orthanc_program(folder / "orthanc", binary))
    results.comparisons += dicom.beside(orthanc, server.program, server.tokens, options.rounds, patient_number=0)


def _erase(server: Side, results: Results) -> None:
    """A record of a hundred studies and ten thousand instances is erased while others read."""
    if server.tokens is None:
        return
    with console.status("erasure"):
        found = erasure.measure(server, server.tokens)
    console.print(
        f"erasure of {found.instances:,} instances: {found.erased:.1f} s, locked in {found.locked * 1_000:.0f} ms; "
        f"reads meanwhile {found.meanwhile * 1_000:.1f} ms, before {found.before * 1_000:.1f} ms"
    )
    results.quantities += [
        Quantity(f"erasure of {found.instances:,} instances", found.erased, ERASED_SECONDS, "s"),
        Quantity("median read meanwhile / before", found.meanwhile / found.before, READ_MEANWHILE, "x"),
        Quantity("longest read meanwhile", found.longest, LONGEST_READ, "s"),
    ]


def _feed(server: Side, options: argparse.Namespace, results: Results) -> None:
    """The latest thousand versions of studies, half of them past ones, beside the latest thousand studies."""
    server.turn(workloads.changes(server.region), 0)
    search = Workload("studies", 3.0, 20, 200, workloads.latest_studies)
    history = Workload("versions", 3.0, 20, 200, workloads.latest_versions)
    _note(results, options, "history feed of 1,000", (server, search), (server, history))


def _growth(folder: Path, options: argparse.Namespace, results: Results) -> None:
    """Reads and searches in a small region and in a large one, in alternation: their median delays."""
    with ExitStack() as stack:
        small, large = (_grown(folder, size, options.portion, stack) for size in (options.small, options.grown))
        for workload in workloads.GROWING:
            name = f"{workload.name}, p50, {options.small:,} to {options.grown:,}"
            with console.status(name):
                found = turns.beside(name, (small, workload), (large, workload), GROWTH, options.rounds)
            result = replace(found, ratio=found.ours.p50 / found.base.p50)
            console.print(f"{name}: {result.ratio:.2f} x")
            results.comparisons.append(result)


def _grown(folder: Path, size: int, portion: float, stack: ExitStack) -> Side:
    region = data.Region.of_resources(size)
    program = stack.enter_context(_server(folder / f"grown-{size}", region))
    return Side(program, region, Tokens(program.folder), portion)


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
