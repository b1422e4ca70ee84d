"""`$reindex`: bring the search values of what is stored up to the search parameters of now, in the background.

It is how a SearchParameter that an operator has added becomes usable, and how rows of an older release are brought up.
What it does and how far it is, is told by `$reindex-status`; the resources themselves do not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from fhirserver import audit
from fhirserver.errors import BadRequest, Unprocessable
from fhirserver.interactions.context import Context
from fhirserver.operations.operation import Given, Made, Operation, Parameter, Target
from fhirserver.operations.parameters import parameters
from fhirserver.store.reindex import TYPES, Job
from fhirserver.store.search_parameters import Added, Catalogue

ACCEPTED = 202


def _perform(context: Context, target: Target, given: Given) -> Made:
    context.access.admit_operator("update", "SearchParameter")
    types = _types_of(context, target, given)
    address, asked = target.address("reindex"), urlencode(given.pairs)
    context.note(audit.operation_events(context.access, "SearchParameter", address, (), asked))
    context.settle_now()
    job = context.store.reindex.begin(types, rebuild=given.one("rebuild", default=False))
    context.store.reindex.run_in_background()
    return told(context, job)


def _types_of(context: Context, target: Target, given: Given) -> Sequence[str]:
    """Those of the parameter that is named, or else those that were asked for; none means all."""
    types: Sequence[str] = given.all("type")
    if target.id and types:
        raise BadRequest("The types are those of the search parameter.", expression="type")
    if unknown := [name for name in types if name not in TYPES]:
        raise Unprocessable(f"{unknown[0]} is not a type that is indexed.", expression="type")
    return added(context.store.parameters(), target).definition.base if target.id else types


def added(catalogue: Catalogue, target: Target) -> Added:
    """The added parameter of that resource. Raises Unprocessable where it is none of this server."""
    reference = f"{target.type}/{target.id}"
    found = next((one for one in catalogue.added if one.reference == reference), None)
    if found is None:
        raise Unprocessable(f"{reference} is no search parameter that was added to this server.")
    return found


def told(context: Context, job: Job, one: Added | None = None) -> Made:
    """How far the job is, and the states of the added parameters, or of `one` of them."""
    catalogue = context.store.parameters()
    parts: list[dict[str, Any]] = [
        {"name": "status", "valueCode": job.status},
        {"name": "total", "valueUnsignedInt": job.total},
        {"name": "done", "valueUnsignedInt": job.done},
    ]
    if job.reason:
        parts.append({"name": "reason", "valueString": job.reason})
    parts += [_part(entry) for entry in (catalogue.added if one is None else (one,))]
    headers = {"Content-Location": f"{context.config.fhir_base}/$reindex-status"}
    is_running = job.status == "running"
    if is_running:
        headers["X-Progress"] = f"{job.percent} %"
    return Made(parameters(parts), ACCEPTED if is_running else 200, headers)


def _part(entry: Added) -> dict[str, Any]:
    return {
        "name": "parameter",
        "part": [
            {"name": "resource", "valueReference": {"reference": entry.reference}},
            {"name": "code", "valueCode": entry.definition.name},
            *({"name": "base", "valueCode": name} for name in entry.definition.base),
            {"name": "state", "valueCode": entry.state},
        ],
    }


GIVES = (
    Parameter("status", "code", "Of the job: none, running, done or failed.", 1),
    Parameter("total", "unsignedInt", "Rows that were behind when it was ordered.", 1),
    Parameter("done", "unsignedInt", "Rows that it has indexed.", 1),
    Parameter("reason", "string", "Why it failed."),
    Parameter("parameter", "BackboneElement", "An added parameter: its resource, code, base types and state.", 0, None),
)

OPERATION = Operation(
    name="reindex",
    title="Bring the search values of what is stored up to the search parameters (reindex).",
    about="Indexes anew the resources that are behind the search parameters; for operators.",
    definition="reindex",
    levels=("system", "instance"),
    perform=_perform,
    types=("SearchParameter",),
    takes=(
        Parameter("type", "code", "The resource types; all where none is named.", 0, None),
        Parameter("rebuild", "boolean", "Index every resource of them, also those that are up to date."),
    ),
    gives=GIVES,
    is_hl7s=False,
    changes=True,
)
