"""`$document`: a Composition and all that it refers to, as one document.

Whatever the Composition refers to here must be there and readable by the caller, or there is no document: one with a
hole would be another document than the author signed. What those resources refer to is added as far as it may be read.

https://hl7.org/fhir/R4/composition-operation-document.html, https://hl7.org/fhir/R4/documents.html
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from fhirserver import audit
from fhirserver.errors import BadRequest, NotSupported
from fhirserver.interactions.context import Context
from fhirserver.operations.operation import Given, Made, Operation, Parameter, Target
from fhirserver.store.rows import Row
from fhirserver.store.search_values import fhir_instant
from resources import SUPPORTED
from resources.exact import encode

_TYPES = frozenset(SUPPORTED) - {"AuditEvent", "Binary"}


def _perform(context: Context, target: Target, given: Given) -> Made:
    if given.one("persist", default=False):
        raise NotSupported(
            "A document is not kept: what it holds is decided for each caller anew. Send it as a Bundle to keep it.",
            expression="persist",
        )
    context.access.admit("read", "Composition")
    composition = context.store.read("Composition", _id(target, given))
    parts = context.store.parts_of(composition)
    known = {composition.reference, *(row.reference for row in parts)}
    more = [
        row
        for row in context.store.referred([composition, *parts], _TYPES, composition.patients)
        if row.reference not in known
    ]
    rows = [composition, *parts, *more]
    context.note(audit.operation_events(context.access, "Composition", target.address("document"), rows))
    return Made(_bundle(context, rows))


def _id(target: Target, given: Given) -> str:
    id_ = target.id or str(given.one("id", "")).removeprefix("Composition/")
    if not id_:
        raise BadRequest("Name the Composition.", code="required", expression="id")
    if target.id and given.all("id"):
        raise BadRequest("The address names the Composition already.", expression="id")
    return id_


def _bundle(context: Context, rows: Sequence[Row]) -> bytes:
    """A document has its own identity and instant; the resources are the stored bytes."""
    identity = uuid.uuid4()
    head = {
        "resourceType": "Bundle",
        "id": identity.hex,
        "identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{identity}"},
        "type": "document",
        "timestamp": fhir_instant(context.access.now),
    }
    base = context.config.fhir_base
    entries = (f'{{"fullUrl":"{base}/{row.reference}","resource":'.encode() + row.body + b"}" for row in rows)
    return encode(head)[:-1] + b',"entry":[' + b",".join(entries) + b"]}"


OPERATION = Operation(
    name="document",
    title="A Composition and what it refers to, as a document (document).",
    about="A document Bundle of a Composition and all that it refers to.",
    definition="Composition-document",
    levels=("type", "instance"),
    types=("Composition",),
    perform=_perform,
    takes=(
        Parameter("id", "uri", "The Composition, where the address does not name it."),
        Parameter("persist", "boolean", "Whether the document is kept; true is refused."),
    ),
    gives=(Parameter("return", "Bundle", "The document.", 1),),
)
