"""`$meta`: the tags, profiles and security labels of a resource, or those in use among what the caller may see.

Of a type or the system these are counted within the permission, like a total: a label that only hidden resources carry
is not among them.

https://hl7.org/fhir/R4/resource-operation-meta.html
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fhirserver import audit
from fhirserver.interactions.context import Context
from fhirserver.operations.operation import Given, Made, Operation, Parameter, Target
from fhirserver.operations.parameters import parameters
from fhirserver.search.stored import BAR
from resources import SUPPORTED
from resources.validation import parse

_TYPES = tuple(name for name in SUPPORTED if name != "AuditEvent")
"""Those of the system: the profiles of audit events are the server's own, and say which kinds of events there are."""


def _perform(context: Context, target: Target, _given: Given) -> Made:
    if target.id:
        return _of_resource(context, target)
    if target.type:
        context.access.admit("search", target.type)
    else:
        context.access.admit_any("search", _TYPES)
    found = context.store.labels_in_use([target.type] if target.type else _TYPES)
    context.note(audit.operation_events(context.access, target.type, target.address("meta"), ()))
    return Made(_answer(_in_use(found)))


def _of_resource(context: Context, target: Target) -> Made:
    context.access.admit("read", target.type)
    row = context.store.read(target.type, target.id)
    context.note(audit.operation_events(context.access, target.type, target.address("meta"), (row,)))
    return Made(_answer(parse(row.body).get("meta", {})))


def _answer(meta: Any) -> bytes:
    return parameters([{"name": "return", "valueMeta": meta}] if meta else [])


def _in_use(found: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """A Meta of search values: pairs of `_tag`, `_profile` or `_security` and what follows the name.

    A token with a system is kept without it too, which is then no label of its own.
    """
    meta: dict[str, Any] = {"profile": [], "security": [], "tag": []}
    for name, value in sorted(found):
        system, bar, code = value.partition("|")
        if name == "_profile":
            meta["profile"].append(value)
        elif bar:
            meta[name[1:]].append(_coding(system.replace(BAR, "|"), code.replace(BAR, "|")))
    return {name: values for name, values in meta.items() if values}


def _coding(system: str, code: str) -> dict[str, str]:
    return {"system": system, "code": code} if system else {"code": code}


OPERATION = Operation(
    name="meta",
    title="Tags, profiles and security labels of a resource, or those in use (meta).",
    about="Tags, profiles and security labels of a resource, or those in use among what the caller may see.",
    definition="Resource-meta",
    levels=("system", "type", "instance"),
    perform=_perform,
    gives=(Parameter("return", "Meta", "The metadata.", 1),),
)
