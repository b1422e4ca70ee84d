"""The OperationDefinition of an operation that is this server's own.

Those of HL7 are published by HL7, and `/metadata` names them by their own address.

https://hl7.org/fhir/R4/operationdefinition.html
"""

from __future__ import annotations

from typing import Any

from fhirserver.operations.operation import Operation, Parameter


def operation_definition(operation: Operation, base: str, date: str) -> dict[str, Any]:
    """The resource, for a server with this FHIR base; `date` is when what it says last changed."""
    return {
        "resourceType": "OperationDefinition",
        "id": operation.definition,
        "url": operation.canonical(base),
        "name": "".join(word.capitalize() for word in operation.definition.split("-")),
        "title": operation.title,
        "status": "active",
        "kind": "operation",
        "date": date,
        "description": operation.about,
        "affectsState": operation.changes,
        "code": operation.name,
        **({"resource": list(operation.types or ("Resource",))} if operation.levels != ("system",) else {}),
        **{level: level in operation.levels for level in ("system", "type", "instance")},
        "parameter": [
            *(_parameter(one, "in") for one in operation.takes),
            *(_parameter(one, "out") for one in operation.gives),
        ],
    }


def _parameter(parameter: Parameter, use: str) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "use": use,
        "min": parameter.min,
        "max": "*" if parameter.max is None else str(parameter.max),
        "documentation": parameter.about,
        "type": parameter.type,
    }
