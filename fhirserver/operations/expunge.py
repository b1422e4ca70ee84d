"""`$expunge`: remove for good what was deleted, or versions that are past. For operators only.

An operator keeps the machine and reads nothing clinical, so the answer is a number. Each patient concerned is told in
the audit how many versions of theirs went; the trail itself stays, and so do Consents, on which it rests.
"""

from __future__ import annotations

from urllib.parse import urlencode

from fhirserver import audit
from fhirserver.errors import BadRequest, NotSupported
from fhirserver.interactions.context import Context
from fhirserver.operations.operation import Given, Made, Operation, Parameter, Target
from fhirserver.operations.parameters import parameters
from fhirserver.store.expunge import MOST, Purge, require_removable
from fhirserver.store.rows import Row
from fhirserver.store.unit import Unit
from resources import SUPPORTED

_DEFAULT = 1_000


def _perform(context: Context, target: Target, given: Given) -> Made:
    context.access.admit_operator("delete", target.type or "*")
    deleted = given.one("expungeDeletedResources", default=False)
    require_removable(target.type, deleted=deleted)
    if given.if_match is not None:
        raise NotSupported("$expunge takes no If-Match.")
    purge = Purge(
        types=(target.type,) if target.type else tuple(SUPPORTED),
        id=target.id,
        deleted=deleted,
        previous=given.one("expungePreviousVersions", default=False),
        limit=given.one("limit", _DEFAULT),
    )
    if not (purge.deleted or purge.previous):
        raise BadRequest("Say what to remove: expungeDeletedResources, expungePreviousVersions.", code="required")
    if purge.limit > MOST:
        raise BadRequest(f"At most {MOST} versions at once.", expression="limit")
    address, asked = target.address("expunge"), urlencode(given.pairs)

    def record(unit: Unit, rows: list[Row]) -> None:
        events = audit.operation_events(context.access, target.type, address, rows, asked)
        unit.record(event.document for event in events)

    return Made(parameters([{"name": "count", "valueInteger": context.store.expunge(purge, record)}]))


OPERATION = Operation(
    name="expunge",
    title="Remove deleted resources or past versions for good (expunge); operators only.",
    about="Removes for good what was deleted, or versions that are past. For operators only.",
    definition="fhirserver-expunge",
    is_hl7s=False,
    levels=("system", "type", "instance"),
    perform=_perform,
    takes=(
        Parameter("expungeDeletedResources", "boolean", "Remove resources that were deleted, with all versions."),
        Parameter("expungePreviousVersions", "boolean", "Remove versions that are not the last."),
        Parameter("limit", "positiveInt", f"Versions at most; {_DEFAULT} if not given, {MOST} at the most."),
    ),
    gives=(Parameter("count", "integer", "How many versions were removed; as many as the limit: ask again.", 1),),
    changes=True,
)
