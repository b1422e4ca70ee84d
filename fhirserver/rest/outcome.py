"""OperationOutcome: how every answer under the FHIR base that is not a success looks.

https://hl7.org/fhir/R4/operationoutcome.html
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from flask import Response, request

from fhirserver.errors import FhirError, Issue
from fhirserver.rest.formats import format_asked, formatted
from fhirserver.rest.negotiation import CONTENT_TYPES


def operation_outcome(issues: Iterable[Issue]) -> bytes:
    """The JSON of an OperationOutcome with these issues, in order."""
    return msgspec.json.encode({"resourceType": "OperationOutcome", "issue": [_issue(issue) for issue in issues]})


def _issue(issue: Issue) -> dict[str, object]:
    element: dict[str, object] = {"severity": issue.severity, "code": issue.code}
    if issue.coding:
        element["details"] = {"coding": [dict(zip(("system", "code"), issue.coding, strict=True))]}
    element["diagnostics"] = issue.diagnostics
    if issue.expression:
        element["expression"] = [issue.expression]
    return element


def render_error(error: FhirError) -> Response:
    """The answer to a request under the FHIR base that ended in `error`, in the format that was asked for."""
    body, format_ = formatted(operation_outcome(error.issues), format_asked(request), is_pretty=False, method="")
    response = Response(body, status=error.status, content_type=CONTENT_TYPES[format_])
    response.headers.extend(error.headers)
    return response
