"""The access tokens of the measured requests, obtained as an operator obtains them."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from benchmarks import data
from benchmarks.programs import COMMANDS, ROOT

# A turn is done well within this; a token that lives no longer is renewed before the turn begins.
LEFT_FOR_A_TURN = 180.0

SYSTEM_CLIENT = "bench-his"
_ORGANIZATION = f"Organization/{data.ESTABLISHMENT}"

Who = Literal["doctor", "system"]

_ASKED: Mapping[Who, tuple[str, ...]] = {
    "doctor": ("--as", f"Practitioner/{data.DOCTOR}", "--organization", _ORGANIZATION),
    "system": ("--as", f"client:{SYSTEM_CLIENT}"),
}


def _command(*arguments: str) -> str:
    command = [str(COMMANDS / "fhirserver"), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
    return done.stdout


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


class Tokens:
    """A doctor's token for reading and a hospital system's for writing, renewed between what is measured.

    The server gives none for more than five minutes, and a run takes longer than that.
    """

    def __init__(self, folder: Path) -> None:
        """Register the system with the server of that data folder; tokens are made when they are asked for."""
        self._folder = folder
        self._kept: dict[Who, tuple[str, float]] = {}
        _register(folder)

    def of(self, who: Who) -> str:
        """A token that lives long enough for a turn."""
        token, ends = self._kept.get(who, ("", 0.0))
        if ends - time.monotonic() < LEFT_FOR_A_TURN:
            begun = time.monotonic()
            answer = json.loads(_command("token", "--data", str(self._folder), "--json", *_ASKED[who]))
            token, ends = str(answer["access_token"]), begun + answer["expires_in"]
            self._kept[who] = token, ends
        return token
