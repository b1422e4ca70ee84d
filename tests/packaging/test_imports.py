"""The direction of imports (architecture contracts of pyproject.toml), and that a step the wrong way is found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.distribution import ROOT, copy_of_the_code

LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(LINT_IMPORTS), "--no-logo", "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path) -> Path:
    return copy_of_the_code(tmp_path)


def test_the_contracts_are_kept():
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout
    assert "0 broken" in result.stdout


@pytest.mark.parametrize(
    ("module", "statement", "contract"),
    [
        ("consent/request.py", "import resources", "fhirserver over (consent | resources) over terminology"),
        ("resources/declaration.py", "import fhirserver.errors", "fhirserver over (consent | resources)"),
        ("fhirserver/interactions/read.py", "import flask", "Flask stays in the blueprints"),
        ("fhirserver/interactions/read.py", "import pymongo", "MongoDB stays in the store"),
        ("fhirserver/search/parse.py", "import fhirserver.store", "The inner order of fhirserver"),
        ("resources/validation.py", "import fhir.resources.patient", "The release of fhir.resources"),
    ],
)
def test_an_import_the_wrong_way_breaks_its_contract(copy, module, statement, contract):
    path = copy / module
    path.write_text(path.read_text() + f"\n{statement}\n")
    result = lint(copy)
    assert result.returncode == 1
    (broken,) = (line for line in result.stdout.splitlines() if line.endswith("BROKEN"))
    assert broken.startswith(contract)


def test_a_new_module_must_be_given_its_place(copy):
    (copy / "fhirserver" / "newcomer.py").write_text('"""A module that no layer names."""\n')
    result = lint(copy)
    assert result.returncode == 1
    assert "newcomer" in result.stdout
