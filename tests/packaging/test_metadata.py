"""What the distribution says of itself, and what its files say of each other (ADR 0002)."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import fhirserver
from tests.packaging.distribution import PACKAGES, ROOT, canonical, lines, setup_cfg

PINS = {
    canonical(name): Version(version)
    for name, _, version in (
        line.partition("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    )
}


def requirements() -> list[Requirement]:
    parsed = setup_cfg()
    texts = lines(parsed["options"]["install_requires"])
    for extra in parsed["options.extras_require"].values():
        texts += lines(extra)
    return [Requirement(text) for text in texts if not text.startswith(("fhirserver[", "#"))]


def changelog_versions() -> list[str]:
    return re.findall(r"^## \[([^]]+)\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)


def test_pyproject_describes_no_project():
    assert "project" not in tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_setup_cfg_names_the_four_packages_and_what_is_below_them():
    expected = {pattern for package in PACKAGES for pattern in (package, f"{package}.*")}
    assert set(lines(setup_cfg()["options.packages.find"]["include"])) == expected


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_a_requirement_is_pinned_to_a_version_that_it_admits(requirement):
    pin = PINS.get(canonical(requirement.name))
    assert pin is not None, f"constraints.txt has no {requirement.name}: make constraints"
    assert requirement.specifier.contains(pin, prereleases=True)


def test_a_pin_is_one_exact_version_and_the_list_is_in_order():
    entries = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.+!]+", entry) for entry in entries)
    assert entries == sorted(entries, key=str.upper)
    assert len(PINS) == len(entries)


def test_the_changelog_is_open_for_the_version_under_work():
    newest, *released = changelog_versions()
    assert newest == "Unreleased"
    announced = re.search(r"^This becomes (\S+)\.$", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    version = announced.group(1) if announced else released[0]
    assert version == fhirserver.__version__


def test_released_versions_stand_in_falling_order():
    released = [Version(version) for version in changelog_versions()[1:]]
    assert released == sorted(released, reverse=True)


def test_the_image_is_built_under_the_same_constraints_and_runs_as_an_ordinary_user():
    dockerfile = (ROOT / "Dockerfile").read_text()
    installs = re.findall(r"pip install [^\n]*", dockerfile)
    assert installs
    assert all("--constraint" in install for install in installs)
    last_stage = dockerfile.rsplit("\nFROM ", maxsplit=1)[1]
    assert re.search(r"^USER fhirserver$", last_stage, flags=re.MULTILINE)
    assert "HEALTHCHECK" in last_stage
