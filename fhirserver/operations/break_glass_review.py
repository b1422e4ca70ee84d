"""`$break-glass-review`: an auditor says whether a session of break-glass was justified, and closes its Task.

https://hl7.org/fhir/R4/task.html, docs/policy.md.
"""

from __future__ import annotations

from typing import Any, Final

from fhirserver.errors import BadRequest, Conflict, NotFound
from fhirserver.interactions.context import Context
from fhirserver.operations.break_glass import LONGEST_REASON, SHORTEST_REASON, TASKS
from fhirserver.operations.operation import Given, Operation, Parameter, Target
from fhirserver.operations.relabel import check_version
from fhirserver.store.rows import Row
from fhirserver.store.search_values import fhir_instant
from fhirserver.store.unit import Unit
from resources.exact import encode
from resources.validation import parse

OUTCOMES: Final = ("justified", "unjustified")


def _perform(context: Context, target: Target, given: Given) -> Row:
    access = context.access
    access.admit("read", "Task")
    access.admit("update", "Task")
    outcome, text = given.one("outcome"), given.one("text").strip()
    if outcome not in OUTCOMES:
        raise BadRequest(f"outcome is {' or '.join(OUTCOMES)}.", expression="outcome")
    if not SHORTEST_REASON <= len(text) <= LONGEST_REASON:
        raise BadRequest(f"text has {SHORTEST_REASON} to {LONGEST_REASON} characters.", expression="text")

    def work(unit: Unit) -> Row:
        row = unit.read("Task", target.id)
        if row.facts["kind"] != "audit":  # a Task of care, which no auditor reads, and nobody closes here
            raise NotFound(f"{row.reference} is not known.")
        context.note_read(row)
        check_version(context, unit, row, given)
        task = parse(row.body)
        if task["status"] != "requested":
            raise Conflict(f"{row.reference} is {task['status']} already.", expression="Task.status")
        closed = context.check("Task", encode(_closed(context, task, outcome, text)))
        stated = {name: row.facts[name] for name in ("kind", "subjects")}
        written = unit.update(closed, row.id, facts=stated).row
        context.record_write(unit, "update", written)
        return written

    return context.transact(work)


def _closed(context: Context, task: dict[str, Any], outcome: str, text: str) -> dict[str, Any]:
    """The Task, completed: what was found as its business status, and why as a note in the auditor's name."""
    actor, now = context.access.actor, fhir_instant(context.access.now)
    found = {"coding": [{"system": TASKS, "code": outcome}]}
    note = {"authorString": actor.display or actor.reference, "time": now, "text": text}
    return {**task, "status": "completed", "businessStatus": found, "lastModified": now, "note": [note]}


OPERATION = Operation(
    name="break-glass-review",
    title="Say whether a session of break-glass was justified (break-glass-review); auditors only.",
    about="Closes the Task that asks for the review of a session of break-glass, with what was found.",
    definition="fhirserver-break-glass-review",
    is_hl7s=False,
    levels=("instance",),
    types=("Task",),
    perform=_perform,
    takes=(
        Parameter("outcome", "code", "justified or unjustified.", 1),
        Parameter("text", "string", f"Why, in {SHORTEST_REASON} to {LONGEST_REASON} characters.", 1),
    ),
    gives=(Parameter("return", "Task", "The Task as it now stands.", 1),),
    changes=True,
)
