"""What is in the wheel (ADR 0001)."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.packaging.distribution import PACKAGES, copy_of_the_code


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return copy_of_the_code(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def names(wheel) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def read(wheel: Path, ending: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(f".dist-info/{ending}"))
        return archive.read(name).decode()


def test_the_wheel_has_exactly_the_four_top_level_packages(names):
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == set(PACKAGES)


def test_every_module_of_the_packages_is_in_the_wheel(source, names):
    modules = {str(path.relative_to(source)) for package in PACKAGES for path in (source / package).rglob("*.py")}
    assert modules - names == set()


def test_every_file_that_the_code_loads_is_in_the_wheel(source, names):
    data = {
        str(path.relative_to(source))
        for package in PACKAGES
        for path in (source / package).rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc", ".md"}
    }
    assert data - names == set()


def test_the_wheel_says_its_licence_and_carries_its_text(wheel, names):
    assert "License-Expression: Apache-2.0" in read(wheel, "METADATA")
    assert {Path(name).name for name in names if ".dist-info/licenses/" in name} == {"LICENSE", "NOTICE"}


def test_the_wheel_installs_the_command(wheel):
    assert read(wheel, "entry_points.txt").split() == ["[console_scripts]", "fhirserver", "=", "fhirserver.cli:main"]


def test_the_embedded_database_is_installed_only_on_request(wheel):
    requirements = [line for line in read(wheel, "METADATA").splitlines() if line.startswith("Requires-Dist: fiftyone")]
    assert requirements
    assert all('extra == "embedded"' in line for line in requirements)


def test_the_command_runs_from_the_wheel_alone(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import consent, fhirserver.cli, resources, terminology\n"
        "print(len(resources.SUPPORTED))\n"
        "print(*(module.__file__ for module in (consent, fhirserver.cli, resources, terminology)), sep='\\n')"
    )
    run = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False, cwd="/")
    assert run.returncode == 0, run.stderr
    types, *files = run.stdout.split("\n")[:5]
    assert int(types) > 140
    assert all(file.startswith(str(tmp_path)) for file in files)
