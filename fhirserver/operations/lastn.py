"""`$lastn`: the latest observations of a subject, some of each code.

Which they are is asked by the parameters of a search; observations that share a coding are of one code. What the caller
may not see takes no place among the latest.

https://hl7.org/fhir/R4/observation-operation-lastn.html
"""

from __future__ import annotations

from urllib.parse import urlencode

from fhirserver import audit
from fhirserver.errors import BadRequest, NotSupported
from fhirserver.interactions.context import Context
from fhirserver.operations.operation import Given, Operation, Page, Parameter, Target

_SUBJECTS = frozenset({"patient", "subject"})
_KINDS = frozenset({"category", "code", "combo-code", "component-code"})


def _perform(context: Context, target: Target, given: Given) -> Page:
    context.access.admit("search", "Observation")
    criteria = [(name, value) for name, value in given.pairs if name != "max"]
    names = {name.partition(":")[0] for name, _ in criteria}
    if not names & _SUBJECTS:
        raise BadRequest("$lastn needs a patient or subject.", code="required", expression="patient")
    if not names & _KINDS:
        raise BadRequest("$lastn needs a category or a code.", code="required", expression="category")
    query = context.query("Observation", criteria)
    if query.sort or query.includes or query.total or query.summary or query.elements or "_count" in names:
        raise NotSupported("$lastn takes criteria and max, and nothing that shapes a page.")
    found = context.store.latest(query, "code", given.one("max", 1))
    address, asked = target.address("lastn"), urlencode(given.pairs)
    context.note(
        audit.operation_events(
            context.access, "Observation", address, found.rows, asked, found.labels, named=found.named
        )
    )
    return Page(address, given.pairs, found.rows, total=found.total)


OPERATION = Operation(
    name="lastn",
    title="The latest observations of each code (lastn).",
    about="The latest observations of a subject, up to a number of each code.",
    definition="Observation-lastn",
    levels=("type",),
    types=("Observation",),
    perform=_perform,
    takes=(Parameter("max", "positiveInt", "How many of each code; 1 if not given."),),
    gives=(Parameter("return", "Bundle", "A searchset, by code and the latest first.", 1),),
    searches=True,
)
