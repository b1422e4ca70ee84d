"""The decision on one stored document, and for a Binary that on the resource it hangs on.

A Binary carries no label or patient of its own; whoever may read its securityContext now may read it
(https://hl7.org/fhir/R4/binary.html#security).
"""

from __future__ import annotations

from collections.abc import Callable

from consent.request import Interaction
from fhirserver.store.database import Document
from fhirserver.store.guard import Guard


def is_permitted(
    guard: Guard, interaction: Interaction, document: Document, fetch: Callable[[str], Document | None]
) -> bool:
    """Whether the present facts permit. `fetch` gives the document of a reference."""
    facts = document["facts"]
    if guard.decide(interaction, facts).effect != "permit":
        return False
    if facts["type"] != "Binary":
        return True
    contexts = [fetch(reference) for reference in facts["related"]]
    return all(
        context is not None
        and not context.get("del")
        and guard.decide(interaction, context["facts"]).effect == "permit"
        for context in contexts
    )
