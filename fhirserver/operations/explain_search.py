"""`$explain-search`: how the database would answer a search, and by which index; for operators.

It takes the parameters of a search and tells the plan of each query that it sends. No resource is given, and of
resources that the operator may not read nothing is counted. Everybody else is refused by the token alone.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from fhirserver import audit
from fhirserver.interactions.context import Context
from fhirserver.operations.operation import Given, Made, Operation, Parameter, Target
from fhirserver.operations.parameters import parameters
from fhirserver.store.explain import Explained


def _perform(context: Context, target: Target, given: Given) -> Made:
    context.access.admit_operator("search", target.type)
    query = context.query(target.type, given.pairs)
    steps = context.store.explain(query)
    address, asked = target.address("explain-search"), urlencode(given.pairs)
    context.note(audit.operation_events(context.access, target.type, address, (), asked))
    return Made(parameters(_part(step) for step in steps))


def _part(step: Explained) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [
        *({"name": "type", "valueCode": name} for name in step.types),
        {"name": "filter", "valueString": step.filter},
        {"name": "order", "valueString": step.order},
        *({"name": "index", "valueString": name} for name in step.indexes),
        {"name": "chosen", "valueBoolean": step.is_chosen},
    ]
    if step.keys is not None:
        parts.append({"name": "keysExamined", "valueInteger": step.keys})
    if step.documents is not None:
        parts.append({"name": "documentsExamined", "valueInteger": step.documents})
    return {"name": "query", "part": parts}


OPERATION = Operation(
    name="explain-search",
    title="How the database would answer a search (explain-search); operators only.",
    about="Tells the plan of a search, and the index that it goes by. For operators only.",
    definition="explain-search",
    levels=("type",),
    perform=_perform,
    gives=(
        Parameter("query", "BackboneElement", "A query: types, filter, order, indexes, what was examined.", 1, None),
    ),
    is_hl7s=False,
    searches=True,
)
