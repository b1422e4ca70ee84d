"""What the tests of the rules share."""

from __future__ import annotations

import sys

import pytest

import consent

_CACHES = [
    value
    for name, module in sys.modules.items()
    if name.partition(".")[0] == consent.__name__
    for value in vars(module).values()
    if hasattr(value, "cache_clear")
]


@pytest.fixture(autouse=True)
def _nothing_is_prepared() -> None:
    """Each test prepares its questions anew: a mutant of a rule is asked, and not what was prepared before it."""
    for cache in _CACHES:
        cache.cache_clear()
