"""Small resources of our own, one for each type with behaviour, and the official ones when their folder is given."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def samples() -> dict[str, dict[str, Any]]:
    """One valid resource per type, by type."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted((HERE / "samples").glob("*.json"))}


@pytest.fixture(scope="session")
def official_examples() -> list[Path]:
    """The example files of HL7's R4 package below $FHIR_CASES/r4-examples; none when the folder is not given."""
    folder = os.environ.get("FHIR_CASES")
    if folder is None:
        print("FHIR_CASES is not given: only the samples of tests/resources are used.")
        return []
    return sorted((Path(folder) / "r4-examples").rglob("*.json"))
