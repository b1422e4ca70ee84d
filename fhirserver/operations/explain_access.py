"""`$explain-access`: whether somebody may do something to a resource now, by which rule, and what that rests on.

The decision is made as it would be for that person with a token that covers everything, on what the caller may know
(`explained`).
"""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlencode

from consent.engine import decide_apart
from consent.request import LETTER_OF, Interaction
from fhirserver.access import Access
from fhirserver.errors import BadRequest
from fhirserver.explanation import epoch, imagined
from fhirserver.interactions.context import Context
from fhirserver.operations.explained import explained, grounds, in_words
from fhirserver.operations.operation import Given, Made, Operation, Parameter, Target
from fhirserver.operations.parameters import parameters, reference_of

_PEOPLE = ("Practitioner", "Patient", "RelatedPerson", "Organization")
# What creates something has no resource yet.
_INTERACTIONS = tuple(name for name in LETTER_OF if name not in {"create", "store"})


def _perform(context: Context, target: Target, given: Given) -> Made:
    interaction = given.one("interaction", "read")
    if interaction not in _INTERACTIONS:
        raise BadRequest(f"interaction is one of {', '.join(_INTERACTIONS)}.", expression="interaction")
    context.access.admit_explanation(target.type)
    asked = _asked(context, given)
    found = explained(context, target, target.address("explain-access"), urlencode(given.pairs))
    request = asked.request(cast("Interaction", interaction))
    decision = decide_apart(asked.actor, request, found.facts, policy=asked.policy)
    parts: list[dict[str, Any]] = [
        {"name": "resource", "valueReference": {"reference": f"{found.row.reference}/_history/{found.row.version}"}},
        {"name": "actor", "valueReference": {"reference": asked.actor.reference}},
        {"name": "interaction", "valueCode": interaction},
        {"name": "purpose", "valueCode": asked.purpose},
        {"name": "verdict", "valueCode": decision.effect},
        *in_words(decision.code),
        {"name": "instant", "valueInstant": decision.instant.isoformat(timespec="milliseconds")},
        {"name": "epoch", "valueString": epoch(asked.policy)},
    ]
    for reason in decision.reasons:
        inner = [{"name": "name", "valueCode": reason.rule}, *in_words(reason.code), *grounds(reason.sources)]
        parts.append({"name": "rule", "part": inner})
    parts += [{"name": "obligation", "valueCode": name} for name in decision.obligations]
    return Made(parameters(parts))


def _asked(context: Context, given: Given) -> Access:
    """The access of whom is asked about: the caller themselves where nobody is named."""
    named, organization, purpose = (given.one(name) for name in ("actor", "organization", "purpose"))
    if named is None:
        if context.access.actor.kind in {"operator", "auditor"}:
            raise BadRequest("The parameter actor is needed.", code="required", expression="actor")
        named = context.access.actor.reference
    reference = reference_of(context, named, "actor", _PEOPLE)
    acting_for = (
        None if organization is None else reference_of(context, organization, "organization", ("Organization",))
    )
    if reference.startswith("Organization/"):
        if acting_for not in {None, reference}:
            raise BadRequest("An organisation acts for itself.", expression="organization")
        acting_for = reference
    standing = context.store.standings([(reference, acting_for)])[reference, acting_for]
    return imagined(context.access, reference, standing, acting_for, purpose)


OPERATION = Operation(
    name="explain-access",
    title="Why somebody may do something to a resource, or may not (explain-access).",
    about="Says whether somebody may do something to a resource now, by which rules, and on what they rest.",
    definition="explain-access",
    levels=("instance",),
    perform=_perform,
    takes=(
        Parameter(
            "actor",
            "string",
            "Practitioner/id, Patient/id, RelatedPerson/id, or Organization/id for anybody who acts for it.",
        ),
        Parameter("organization", "string", "Organization/id for which a professional acts."),
        Parameter("purpose", "code", "Purpose of use; by default TREAT for professionals, as for tokens."),
        Parameter(
            "interaction", "code", "read if not given, search, vread, history, update, patch, delete or retrieve."
        ),
    ),
    gives=(
        Parameter("verdict", "code", "permit or deny.", 1),
        Parameter("code", "code", "The stable code of the reason.", 1),
        Parameter("text-fr", "string", "The reason in French.", 1),
        Parameter("text-en", "string", "The reason in English.", 1),
        Parameter("instant", "instant", "When it was decided.", 1),
        Parameter("epoch", "string", "Names the settings of the rules.", 1),
        Parameter(
            "rule",
            "BackboneElement",
            "A rule that spoke: name, code, sentences, and the versions it rests on.",
            0,
            None,
        ),
        Parameter("obligation", "code", "What goes with a permit.", 0, None),
    ),
    is_hl7s=False,
)
