"""Leaks that are known and not mended: each is expected to fail, and the suite fails when one no longer does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_TRAIL: Final = (
    "An AuditEvent about an exam that is hidden from the patient names the exam and is shown to the patient: "
    "events carry no label of what they tell of (FAQ 19)."
)

KNOWN: Final[Mapping[tuple[str, str], str]] = {
    ("search of the audit trail", "hidden-from-patient"): _TRAIL,
    ("search of the trail of a study", "hidden-from-patient"): _TRAIL,
}
"""By the names of edge and outcome: why."""
