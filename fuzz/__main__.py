"""Let atheris look for inputs that a parser ends on otherwise than with a value or its refusal.

    python -m fuzz                        every target, a minute each
    python -m fuzz search xml -s 600      two of them, ten minutes each

Each target is a process of its own, since libFuzzer ends the one that it runs in. What reached something new is kept
below `build/fuzz/` and is where the next run begins; an input that fails is left there as `crash-…`, `timeout-…` or
`oom-…`, and `python -m fuzz search -i FILE` plays it again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "build" / "fuzz"
LIMITS = ("-timeout=10", "-rss_limit_mb=2048", "-max_len=20000", "-print_final_stats=1")


def main() -> int:
    """Run the targets in turn; the exit code is that of the first that failed, or 0."""
    wanted = _arguments()
    if wanted.inside:
        _look(wanted.targets[0], wanted.seconds)
    if wanted.input:
        _play(wanted.targets[0], wanted.input)
        return 0
    codes = [
        subprocess.run(
            [sys.executable, "-m", "fuzz", name, "-s", str(wanted.seconds), "--inside"], check=False
        ).returncode
        for name in wanted.targets or _names()
    ]
    return next((code for code in codes if code), 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fuzz", description="Fuzz what reads bytes from outside.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"one of {', '.join(_names())}; without one, all")
    parser.add_argument("-s", "--seconds", type=int, default=60, help="how long each of them runs (60)")
    parser.add_argument("-i", "--input", type=Path, help="play this file once, without atheris")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if unknown := set(wanted.targets) - set(_names()):
        parser.error(f"there is no target {', '.join(sorted(unknown))}")
    if wanted.input and len(wanted.targets) != 1:
        parser.error("an input is played on one target")
    return wanted


def _names() -> tuple[str, ...]:
    """The targets, without importing what atheris has yet to instrument."""
    return (
        "search", "filter", "page-link", "entry", "bundle", "search-parameter", "json", "resource", "xml", "path",
        "patch", "header", "token", "graphql", "multipart", "part10", "qido",
    )  # fmt: skip


def _play(name: str, file: Path) -> None:
    from fuzz.targets import TARGETS

    TARGETS[name](file.read_bytes())


def _look(name: str, seconds: int) -> None:
    """Fuzz one target. Does not return: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["fhirserver", "resources", "terminology"]):
        from fuzz.targets import TARGETS
    from fuzz.seeds import SEEDS

    corpus = FOLDER / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[name]):
        (corpus / f"seed-{number}").write_bytes(seed)
    print(f"\n== {name}, {seconds} s", file=sys.stderr, flush=True)
    atheris.Setup(
        [sys.argv[0], f"-max_total_time={seconds}", f"-artifact_prefix={FOLDER}/{name}-", *LIMITS, str(corpus)],
        TARGETS[name],
    )
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
