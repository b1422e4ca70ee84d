"""What the code imports is what setup.cfg requires, no less and no more."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions

from packaging.requirements import Requirement

from tests.packaging.distribution import PACKAGES, ROOT, canonical, lines, setup_cfg

# Required though no module of ours imports them, and why.
USED_BY_OTHERS: dict[str, str] = {
    "marshmallow": "flask-smorest describes parameters with it",
}


def imported_modules() -> Iterator[str]:
    """Top-level names that the four packages import, at any depth of their code."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    yield from (alias.name.partition(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module:
                    yield node.module.partition(".")[0]


def third_party() -> set[str]:
    return set(imported_modules()) - set(sys.stdlib_module_names) - set(PACKAGES)


def required() -> set[str]:
    return {canonical(Requirement(text).name) for text in lines(setup_cfg()["options"]["install_requires"])}


def test_every_import_is_required():
    providers = packages_distributions()
    unmet = {
        module for module in third_party() if not {canonical(name) for name in providers.get(module, ())} & required()
    }
    assert unmet == set()


def test_every_requirement_is_imported():
    providers = packages_distributions()
    imported = {canonical(name) for module in third_party() for name in providers.get(module, ())}
    assert required() - imported - set(USED_BY_OTHERS) == set()


def test_nothing_is_excused_that_is_not_required():
    assert set(USED_BY_OTHERS) - required() == set()
