"""The access tokens of the measured requests, obtained as an operator obtains them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

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


def _token(folder: Path, who: str, *options: str) -> str:
    answer = _command("token", "--data", str(folder), "--as", who, "--json", *options)
    return str(json.loads(answer)["access_token"])


def _register(folder: Path) -> None:
    """Register the hospital's system; the private half of its key is not needed, since the operator makes its token."""
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    path = folder / f"{SYSTEM_CLIENT}.pem"
    path.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    _command(
        *("client", "add", "--data", str(folder), "--id", SYSTEM_CLIENT, "--name", "Hospital system of the benchmark"),
        *("--organization", _ORGANIZATION, "--public-key", str(path)),
        *("--patient-id-system", data.IDENTIFIER_SYSTEM),
    )


def tokens(folder: Path) -> dict[str, str | None]:
    """A doctor's token for reading, and a hospital system's for writing; the system is registered first."""
    _register(folder)
    return {
        "doctor": _token(folder, f"Practitioner/{data.DOCTOR}", "--organization", _ORGANIZATION),
        "system": system(folder),
    }


def system(folder: Path) -> str:
    """A new token of the hospital's system, which is registered: the server gives none more than five minutes."""
    return _token(folder, f"client:{SYSTEM_CLIENT}")
