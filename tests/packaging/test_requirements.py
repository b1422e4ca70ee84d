"""What is imported is what setup.cfg requires: of the code no less and no more, of tests and tools no less."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement

from tests.packaging.distribution import PACKAGES, ROOT, canonical, lines, setup_cfg

# Folders beside the packages whose programs run from a clone.
BESIDE = ("benchmarks", "fuzz", "tests", "tools")
PROVIDERS = {module: {canonical(name) for name in given} for module, given in packages_distributions().items()}

# Required though no module of ours imports them, and why.
USED_BY_OTHERS: dict[str, str] = {
    "numpy": "pydicom gives pixels with it, which the demo's story compares",
}


def imported_modules(folder: Path) -> Iterator[str]:
    """Top-level names that the modules below `folder` import, at any depth of their code."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module.partition(".")[0]


def third_party(folders: Iterable[str]) -> set[str]:
    own = {*PACKAGES, *BESIDE}
    imported = {module for folder in folders for module in imported_modules(ROOT / folder)}
    return imported - set(sys.stdlib_module_names) - own


def names(text: str) -> set[str]:
    return {canonical(Requirement(line).name) for line in lines(text)}


def required() -> set[str]:
    return names(setup_cfg()["options"]["install_requires"])


def unmet(folders: Iterable[str], requirements: set[str]) -> set[str]:
    """The imported modules that no requirement provides; one that is not installed (atheris) is its own package."""
    return {module for module in third_party(folders) if not PROVIDERS.get(module, {module}) & requirements}


def test_every_import_of_the_code_is_required():
    assert unmet(PACKAGES, required()) == set()


def test_every_import_of_tests_and_tools_is_required_by_an_extra():
    extras = setup_cfg()["options.extras_require"].values()
    assert unmet(BESIDE, required().union(*map(names, extras))) == set()


def test_every_requirement_is_imported():
    imported = {name for module in third_party(PACKAGES) for name in PROVIDERS.get(module, ())}
    assert required() - imported - set(USED_BY_OTHERS) == set()


def test_nothing_is_excused_that_is_not_required():
    assert set(USED_BY_OTHERS) - required() == set()
