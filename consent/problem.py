"""One reason to refuse a resource at write."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """Where, as a FHIRPath, and why, in a sentence."""

    expression: str
    message: str
