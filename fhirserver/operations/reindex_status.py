"""`$reindex-status`: how far the reindexing is, and which of the added search parameters may be used.

While it is under way the status is 202 and `X-Progress` says how far it is, as of an asynchronous request
(https://hl7.org/fhir/R4/async.html).
"""

from __future__ import annotations

from fhirserver import audit
from fhirserver.interactions.context import Context
from fhirserver.operations.operation import Given, Made, Operation, Target
from fhirserver.operations.reindex import GIVES, added, told


def _perform(context: Context, target: Target, _given: Given) -> Made:
    context.access.admit_operator("update", "SearchParameter")
    job = context.store.reindex.job()
    one = added(context.store.parameters(), target) if target.id else None
    context.note(audit.operation_events(context.access, "SearchParameter", target.address("reindex-status"), ()))
    return told(context, job, one)


OPERATION = Operation(
    name="reindex-status",
    title="How far the reindexing is, and the states of the added search parameters (reindex-status).",
    about="Says how far the reindexing is, and which of the added search parameters may be used; for operators.",
    definition="reindex-status",
    levels=("system", "instance"),
    perform=_perform,
    types=("SearchParameter",),
    gives=GIVES,
    is_hl7s=False,
)
