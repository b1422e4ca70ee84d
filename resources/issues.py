"""What validation finds: issues with FHIR issue codes, and the error that carries them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["fatal", "error", "warning", "information"]


@dataclass(frozen=True, slots=True)
class Issue:
    """One finding; ``expression`` is the FHIRPath of the element, ``code`` an issue type.

    https://hl7.org/fhir/R4/valueset-issue-type.html
    """

    severity: Severity
    code: str
    expression: str
    diagnostics: str


class Invalid(ValueError):
    """The resource is refused, for all the reasons in ``issues``."""

    def __init__(self, issues: list[Issue]) -> None:
        """Keep the issues; the message is the first of them."""
        super().__init__(f"{issues[0].expression}: {issues[0].diagnostics}")
        self.issues = issues
