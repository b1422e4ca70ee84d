"""Leaks that are known and not mended: each is expected to fail, and the suite fails when one no longer does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_BEFORE: Final = (
    "An AuditEvent from before an exam was hidden names it and stays in the trail of the patient, who could see the "
    "exam then: labels of an event are those of its instant (FAQ 19)."
)

KNOWN: Final[Mapping[tuple[str, str], str]] = {
    ("search of the audit trail", "hidden-later"): _BEFORE,
    ("search of the whole audit trail", "hidden-later"): _BEFORE,
    ("search of the trail of a study", "hidden-later"): _BEFORE,
}
"""By the names of edge and outcome: why."""
