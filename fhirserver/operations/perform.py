"""Call an operation: find what is offered at an address, read its parameters, and let it answer.

https://hl7.org/fhir/R4/operations.html#executing
"""

from __future__ import annotations

from dataclasses import replace

from fhirserver.errors import MethodNotAllowed, NotSupported
from fhirserver.interactions.context import Context, Pairs
from fhirserver.interactions.preconditions import Versions
from fhirserver.interactions.search_type import continued
from fhirserver.operations import OFFERED
from fhirserver.operations.operation import Operation, Result, Target
from fhirserver.operations.parameters import read


def offered(method: str, name: str, target: Target) -> Operation:
    """The operation of that name at a target.

    Raises NotSupported where there is none, MethodNotAllowed where it is called by another method.
    """
    address = target.address(name)
    found = next((one for one in OFFERED if one.name == name and one.is_at(target)), None)
    if found is None:
        raise NotSupported(f"This server offers no operation at {address}.")
    if method not in found.methods:
        allowed = ", ".join(found.methods)
        raise MethodNotAllowed(f"{address} is called by {' or '.join(found.methods)}.", headers={"Allow": allowed})
    return found


def perform(
    context: Context,
    operation: Operation,
    target: Target,
    pairs: Pairs,
    body: bytes = b"",
    *,
    if_match: Versions | None = None,
    media_type: str | None = None,
    language: str = "",
) -> Result:
    """What the operation answers; `pairs` are the parameters of the address, `body` a Parameters resource or nothing.

    `media_type` and `language` are those of the answer, as `Given` has them.

    Raises what `parameters.read` and the operation raise.
    """
    after = continued(context, target.address(operation.name), pairs) if operation.paged else None
    given = read(context, operation, pairs if after is None else after.pairs, body, after)
    return operation.perform(
        context, target, replace(given, if_match=if_match, media_type=media_type, language=language)
    )
