"""The demo story, as `fhirserver demo --story` plays it."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fhirserver.demo import story
from fhirserver.demo.story import Difference, Narrator


def test_the_story_comes_as_expected_and_can_be_told_again(server: Any) -> None:
    for _ in range(2):
        told = Console(file=io.StringIO(), width=160)
        assert story(server.base, server.data, told) == 0, told.file.getvalue()  # type: ignore[attr-defined]


def test_the_command_line_tells_the_story_and_exits_zero(server: Any) -> None:
    command = [sys.executable, "-m", "fhirserver", "demo", "--story", "--data", server.data, "--base", server.base]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "expected:" in done.stdout
    assert "came:" in done.stdout


def test_a_story_without_a_server_ends_with_one_sentence_and_a_failure(tmp_path: Path) -> None:
    told = Console(file=io.StringIO(), width=160)

    assert story("http://127.0.0.1:9", tmp_path, told) == 1
    assert "cannot be told" in told.file.getvalue()  # type: ignore[attr-defined]


def test_the_first_difference_ends_the_story() -> None:
    told = Console(file=io.StringIO(), width=160)
    narrator = Narrator(told)
    narrator.step("one and one", 2, lambda: 1 + 1)

    with pytest.raises(Difference, match="one and one again"):
        narrator.step("one and one again", 3, lambda: 1 + 1)
    assert "expected: 3" in told.file.getvalue()  # type: ignore[attr-defined]
