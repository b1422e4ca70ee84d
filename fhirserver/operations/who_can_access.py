"""`$who-can-access`: everybody who may read a resource now, by which rule, on what grounds, and until when.

People are asked about one by one, by the decision itself; organisations, roles, teams and groups stand for whoever
acts for them or is in them. A link stands for whoever holds it.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from consent.link import SYSTEM as LINKS
from consent.link import is_link
from fhirserver.explanation import Holder, epoch, holders
from fhirserver.interactions.context import Context
from fhirserver.operations.explained import explained, grounds, in_words
from fhirserver.operations.operation import Given, Made, Operation, Parameter, Target
from fhirserver.operations.parameters import parameters


def _perform(context: Context, target: Target, given: Given) -> Made:
    found = explained(context, target, target.address("who-can-access"), urlencode(given.pairs))
    row, listed = found.row, holders(context.store, context.access, found.facts)
    return Made(
        parameters(
            [
                {"name": "resource", "valueReference": {"reference": f"{row.reference}/_history/{row.version}"}},
                {"name": "instant", "valueInstant": context.access.now.isoformat(timespec="milliseconds")},
                {"name": "epoch", "valueString": epoch(context.access.policy)},
                *({"name": "holder", "part": _part(holder)} for holder in listed),
            ]
        )
    )


def _part(holder: Holder) -> list[dict[str, Any]]:
    named = _named(holder.reference) | ({"display": holder.name} if holder.name else {})
    parts: list[dict[str, Any]] = [{"name": "actor", "valueReference": named}]
    if holder.organization is not None and holder.organization != holder.reference:
        parts.append({"name": "organization", "valueReference": {"reference": holder.organization}})
    parts += in_words(holder.decision.code)
    if holder.until is not None:
        parts.append({"name": "until", "valueInstant": holder.until.isoformat(timespec="milliseconds")})
    return parts + grounds(source for reason in holder.decision.reasons for source in reason.sources)


def _named(reference: str) -> dict[str, Any]:
    """A reference; of a link, which is no resource, its identifier."""
    if is_link(reference):
        return {"identifier": {"system": LINKS, "value": reference.partition("/")[2]}}
    return {"reference": reference}


OPERATION = Operation(
    name="who-can-access",
    title="Who may read a resource now, and why (who-can-access).",
    about="Lists everybody who may read a resource now, with the rule that permits it and what it rests on.",
    definition="who-can-access",
    levels=("instance",),
    perform=_perform,
    gives=(
        Parameter("instant", "instant", "When it was decided.", 1),
        Parameter("epoch", "string", "Names the settings of the rules.", 1),
        Parameter(
            "holder", "BackboneElement", "Who, for whom they act, by what rule, on what grounds, until when.", 0, None
        ),
    ),
    is_hl7s=False,
)
