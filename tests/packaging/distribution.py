"""Where the distribution's own files are, and a copy of the code in which a test may do harm."""

from __future__ import annotations

import configparser
import re
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("consent", "fhirserver", "resources", "terminology")
DESCRIPTION = ("setup.cfg", "pyproject.toml", "constraints.txt", "README.md", "LICENSE", "NOTICE")


def copy_of_the_code(destination: Path) -> Path:
    """The four packages and the files that describe them, without anything that a build or a run has left."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, destination / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in DESCRIPTION:
        shutil.copy2(ROOT / name, destination / name)
    return destination


def setup_cfg() -> configparser.RawConfigParser:
    """setup.cfg as setuptools reads it."""
    parser = configparser.RawConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def lines(text: str) -> list[str]:
    """The entries of a multi-line value of setup.cfg."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def canonical(name: str) -> str:
    """A distribution's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
