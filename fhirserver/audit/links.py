"""Events of links that a person gave: Export of DICOM PS3.15 section A.5.3, with the lifecycle event of disclosing.

Each use is in the trail of the person whose exam it is, with whom the holder said they are; so is each attempt that a
link refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fhirserver.access import Access
from fhirserver.audit import codes, parts
from fhirserver.audit.caller import Caller, Moment
from fhirserver.audit.event import Event, event
from fhirserver.audit.hidden import labels_of_any
from fhirserver.audit.parts import Entity, Shape, frozen
from fhirserver.store.rows import Row

_EXPORT: Final = frozen(codes.EXPORT)
_DISCLOSE: Final = (frozen(codes.DISCLOSE),)


def link_events(
    access: Access,
    link: Mapping[str, Any],
    rows: Sequence[Row] = (),
    *,
    recipient: str,
    refused: str | None = None,
) -> list[Event]:
    """A link was used, and gave out `rows`; or `refused` says by a code why it did not."""
    shape = Shape(
        _EXPORT,
        "R",
        _DISCLOSE,
        outcome=codes.MINOR_FAILURE if refused else codes.SUCCESS,
        reason=refused,
    )
    versions = [f"{row.reference}/_history/{row.version}" for row in rows]
    entities: list[Entity] = [
        parts.patient(link["patient"]),
        *map(parts.data, versions or [link["target"]]),
        parts.data(link["consent"]),
        parts.link(link["_id"], (("recipient", recipient),)),
        parts.request(access.request_id),
    ]
    moment = Moment(access.now, access.request_id)
    return [
        event(
            shape,
            Caller.of(access),
            "read",
            moment,
            entities,
            patient=link["patient"],
            labels=labels_of_any(access, rows),
            about=tuple(dict.fromkeys([link["target"], *(row.reference for row in rows)])),
        )
    ]
