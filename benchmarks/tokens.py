"""The access tokens of the measured requests, obtained as an operator obtains them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from benchmarks import data
from benchmarks.programs import COMMANDS, ROOT

# Longer than any run: what a token costs is measured, not what its renewal costs.
LIFETIME = 6 * 3_600
ENVIRONMENT = {"FHIRSERVER_TOKEN_LIFETIME": str(LIFETIME)}

SYSTEM_CLIENT = "bench-his"
_ORGANIZATION = f"Organization/{data.ESTABLISHMENT}"


def _command(*arguments: str) -> str:
    command = [str(COMMANDS / "fhirserver"), *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
    return done.stdout


def _token(folder: Path, who: str, scope: str) -> str:
    answer = _command(
        *("token", "--data", str(folder), "--as", who, "--organization", _ORGANIZATION, "--scope", scope, "--json")
    )
    return str(json.loads(answer)["access_token"])


def tokens(folder: Path) -> dict[str, str | None]:
    """A doctor's token for reading, and a hospital system's for writing; the system is registered first."""
    _command("client", "add", SYSTEM_CLIENT, "--data", str(folder), "--organization", _ORGANIZATION)
    return {
        "doctor": _token(folder, f"Practitioner/{data.DOCTOR}", "user/*.rs"),
        "system": _token(folder, f"client:{SYSTEM_CLIENT}", "system/*.cruds"),
    }
