"""docs/clients.md, run as it stands against a server with the demo region."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "clients.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


def test_the_page_does_what_it_says(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, *others = (block.replace("http://127.0.0.1:8080", server.base) for block in blocks("python"))
    (command,) = blocks("sh")
    names: dict[str, Any] = {}

    exec(first, names)  # noqa: S102 - our own page
    program, *arguments = shlex.split(command.replace("\\\n", "").replace(".data", str(server.data)))
    assert program == "fhirserver"
    subprocess.run([sys.executable, "-m", "fhirserver", *arguments], check=True)
    for block in others:
        exec(block, names)  # noqa: S102

    assert names["patient"]["id"]
    assert names["imaging_study"]["subject"]["reference"] == f"Patient/{names['patient']['id']}"
