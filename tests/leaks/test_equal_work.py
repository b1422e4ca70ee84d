"""What is absent costs the server the same steps as what is refused: the time of an answer tells no more than its text.

A refusal is decided and its audit made durable before the answer leaves, which takes longer than all the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fhirserver.errors import NotFound
from fhirserver.store.resource_store import ResourceStore
from fhirserver.store.versions import Span

ASKED: dict[str, Callable[[ResourceStore, str], Any]] = {
    "read": lambda store, id_: store.read("Patient", id_),
    "vread": lambda store, id_: store.vread("Patient", id_, 1),
    "history": lambda store, id_: store.history("Patient", id_, Span(1)),
}


@pytest.mark.parametrize("interaction", ASKED)
def test_what_is_absent_is_decided_on_as_what_is_refused(region: Any, interaction: str) -> None:
    region.put({"resourceType": "Patient", "id": "work-here", "active": True})
    noted = []
    for id_ in ("work-here", "work-none"):
        store = region.store("Practitioner/stranger")
        with pytest.raises(NotFound):
            ASKED[interaction](store, id_)
        noted.append([(one.interaction, one.type, one.decision.effect) for one in store._access.decisions])

    assert noted[0] == noted[1] == [(interaction, "Patient", "deny")]
