"""Leaks that are known and not mended: each is expected to fail, and the suite fails when one no longer does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

KNOWN: Final[Mapping[tuple[str, str], str]] = {}
"""By the names of edge and outcome: why."""
