"""Every error this server answers with, as one tree.

Modules raise the error that names the situation; each carries its HTTP status and its FHIR issue code
(https://hl7.org/fhir/R4/valueset-issue-type.html). One renderer per wire format turns it into an answer:
OperationOutcome under the FHIR base, DICOM status under the DICOMweb base, an OAuth error under the OAuth base.

    FhirError
    ├── BadRequest              400 invalid
    │   ├── NotSupported        400 not-supported
    │   └── TooCostly           400 too-costly
    ├── Unauthenticated         401 login
    ├── Forbidden               403 forbidden
    ├── NotFound                404 not-found        absent and refused alike
    ├── MethodNotAllowed        405 not-supported
    ├── NotAcceptable           406 not-supported
    ├── Conflict                409 conflict
    ├── Gone                    410 deleted
    ├── PreconditionFailed      412 conflict
    ├── ContentTooLarge         413 too-long
    ├── UnsupportedMediaType    415 not-supported
    ├── Unprocessable           422 processing
    └── Unavailable             503 transient
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Issue:
    """One issue of an OperationOutcome: severity, FHIR issue code, text, and where (a FHIRPath expression).

    `coding` is a code that says more, as system and code.
    """

    severity: str
    code: str
    diagnostics: str
    expression: str | None = None
    coding: tuple[str, str] | None = None


class FhirError(Exception):
    """An answer that is not a success; `diagnostics` tells the caller no more than the caller may know."""

    status: ClassVar[int] = 500
    code: str = "exception"

    def __init__(
        self,
        diagnostics: str,
        *,
        expression: str | None = None,
        code: str | None = None,
        issues: tuple[Issue, ...] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        """Keep the text; `code` overrides the class's issue code, `issues` replaces the single issue by several."""
        super().__init__(diagnostics)
        self.diagnostics = diagnostics
        self.expression = expression
        self.code = code or type(self).code
        self.issues = issues or (Issue("error", self.code, diagnostics, expression),)
        self.headers = headers or {}


class BadRequest(FhirError):
    """The request cannot be understood."""

    status = 400
    code = "invalid"


class NotSupported(BadRequest):
    """The request is understood, and this server does not offer it."""

    code = "not-supported"


class TooCostly(BadRequest):
    """The request would cost more than one caller may ask for."""

    code = "too-costly"


class Unauthenticated(FhirError):
    """No token, or one that is expired, foreign, unsigned or revoked (RFC 6750)."""

    status = 401
    code = "login"


class Forbidden(FhirError):
    """Refused from the token alone, so that nothing about the data is said."""

    status = 403
    code = "forbidden"


class NotFound(FhirError):
    """Absent, or refused: the two look the same from outside."""

    status = 404
    code = "not-found"


class MethodNotAllowed(FhirError):
    """The route exists, this method of it does not."""

    status = 405
    code = "not-supported"


class NotAcceptable(FhirError):
    """No representation that the caller accepts."""

    status = 406
    code = "not-supported"


class Conflict(FhirError):
    """The write contradicts the present state."""

    status = 409
    code = "conflict"


class Gone(FhirError):
    """Deleted, said only to those who could have read it; or a page link past its lifetime."""

    status = 410
    code = "deleted"


class PreconditionFailed(FhirError):
    """If-Match or a conditional criterion did not hold."""

    status = 412
    code = "conflict"


class ContentTooLarge(FhirError):
    """The body is over the limit."""

    status = 413
    code = "too-long"


class UnsupportedMediaType(FhirError):
    """The body is of a type that this route does not take."""

    status = 415
    code = "not-supported"


class Unprocessable(FhirError):
    """The content breaks FHIR or a rule of this server."""

    status = 422
    code = "processing"


class Unavailable(FhirError):
    """The server cannot answer now, the audit included: nothing is disclosed."""

    status = 503
    code = "transient"
