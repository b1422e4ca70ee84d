from __future__ import annotations

import gzip
import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_definitions", ROOT / "tools" / "generate_definitions.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_checked_in_definitions_are_what_the_packages_say(generator: ModuleType) -> None:
    folder = Path(os.environ.get("FHIR_CASES", "")) / "npm"
    if "FHIR_CASES" not in os.environ or not folder.is_dir():
        print("No npm packages below FHIR_CASES: comparing with them is left to tools/generate_definitions.py --check.")
        files = sorted((ROOT / "resources" / "definitions").glob("*.json.gz"))
        assert [path.name.partition(".")[0] for path in files] == [
            "compartments",
            "invariants",
            "schema",
            "search_parameters",
            "structures",
        ]
        return
    assert generator.main(["--check", str(folder)]) == 0


def test_the_output_is_the_same_every_time(generator: ModuleType) -> None:
    first, second = generator.zipped({"b": 1, "a": "é"}), generator.zipped({"a": "é", "b": 1})
    assert first == second
    assert gzip.decompress(first) == '{"a":"é","b":1}'.encode()


def test_a_stale_file_is_noticed(generator: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "x.json.gz"
    assert not generator.is_current(path, generator.zipped(1))
    path.write_bytes(gzip.compress(b"1", mtime=5))
    assert generator.is_current(path, generator.zipped(1))
    assert not generator.is_current(path, generator.zipped(2))
