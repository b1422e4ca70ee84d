"""Published cases, played against the whole application by callers with real tokens."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from tests.fhirserver.conftest import app, token_of  # noqa: F401 - fixtures of the folder beside this one
from tests.fhirserver.rest.conftest import Caller


@pytest.fixture
def cases(tell: Callable[[str], None]) -> Path | None:
    """The folder of published cases; None, said plainly at the end of the run, where it is not given."""
    folder = os.environ.get("FHIR_CASES")
    if folder is None:
        tell("FHIR_CASES is not set: no published case was played.")
        return None
    return Path(folder)


@pytest.fixture(scope="module")
def caller(app: Flask, token_of: Callable[..., str]) -> Callable[..., Caller]:  # noqa: F811
    """Make a caller: a system of an establishment, or a person."""
    return lambda *who, **options: Caller(app.test_client(), token_of(*who, **options))
