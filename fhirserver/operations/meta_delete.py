"""`$meta-delete`: take profiles, tags and security labels from a resource.

https://hl7.org/fhir/R4/resource-operation-meta-delete.html
"""

from __future__ import annotations

from typing import Any

from fhirserver.interactions.context import Context
from fhirserver.operations.operation import Given, Made, Operation, Target
from fhirserver.operations.relabel import GIVES, TAKES, identity, relabel


def _perform(context: Context, target: Target, given: Given) -> Made:
    return relabel(context, target, given, _left)


def _left(present: list[Any], sent: list[Any]) -> list[Any]:
    """What is not there to be taken is no error."""
    taken = {identity(value) for value in sent}
    return [value for value in present if identity(value) not in taken]


OPERATION = Operation(
    name="meta-delete",
    title="Take profiles, tags and security labels from a resource (meta-delete).",
    about="Takes profiles, tags and security labels from a resource, as a new version of it.",
    definition="Resource-meta-delete",
    levels=("instance",),
    perform=_perform,
    takes=TAKES,
    gives=GIVES,
    changes=True,
)
