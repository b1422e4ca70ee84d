"""The operator's commands, one after another in one process: to begin one costs more than what it does.

A line in is the arguments of a command, as JSON; a line out is its exit status and what it printed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

from typer.testing import CliRunner

from fhirserver.cli import app
from fhirserver.demo.credentials import Operator
from fhirserver.demo.http import UnexpectedAnswer


class Commands(Operator):
    """The operator at the command line, who does not leave it between two commands."""

    def __init__(self, data: Path) -> None:
        """`data` is the data folder of the server. Nothing is begun yet."""
        super().__init__(data)
        self._turn = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def run(self, *arguments: str) -> str:
        """What one command prints. Raises UnexpectedAnswer where it fails."""
        with self._turn:
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps([*arguments, "--data", str(self._data)]) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        status, said = json.loads(answer or '[-1, "it ended"]')
        if status != 0:
            raise UnexpectedAnswer(f"fhirserver {' '.join(arguments[:2])}: exit {status}\n{said}")
        return str(said).strip()

    def close(self) -> None:
        """Leave the command line."""
        if self._process is not None:
            self._process.communicate()


def main() -> None:
    """Run the commands that come."""
    runner = CliRunner()
    for line in sys.stdin:
        done = runner.invoke(app, json.loads(line))
        print(json.dumps([done.exit_code, done.stdout if done.exit_code == 0 else done.output]), flush=True)


if __name__ == "__main__":
    main()
