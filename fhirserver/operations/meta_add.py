"""`$meta-add`: put profiles, tags and security labels on a resource.

https://hl7.org/fhir/R4/resource-operation-meta-add.html
"""

from __future__ import annotations

from typing import Any

from fhirserver.interactions.context import Context
from fhirserver.operations.operation import Given, Made, Operation, Target
from fhirserver.operations.relabel import GIVES, TAKES, identity, relabel


def _perform(context: Context, target: Target, given: Given) -> Made:
    return relabel(context, target, given, _added)


def _added(present: list[Any], sent: list[Any]) -> list[Any]:
    """They are sets: what is there stays as it is, what is new comes once."""
    known: dict[Any, Any] = {}
    for value in (*present, *sent):
        known.setdefault(identity(value), value)
    return list(known.values())


OPERATION = Operation(
    name="meta-add",
    title="Add profiles, tags and security labels to a resource (meta-add).",
    about="Adds profiles, tags and security labels to a resource, as a new version of it.",
    definition="Resource-meta-add",
    levels=("instance",),
    perform=_perform,
    takes=TAKES,
    gives=GIVES,
    changes=True,
)
