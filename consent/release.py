"""When the person concerned may see a resource that is kept from them until then: delayed release.

The instant stands in an extension of the resource (docs/adr/0023-release-and-the-trail.md). It binds the person and
whoever sees through their eyes, and nobody else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from consent.period import OPEN_END, interval
from consent.problem import Problem

EXTENSION = "urn:fhirserver:extension:release"
"""The URL of the extension, with a `valueInstant`."""

_UTC = ZoneInfo("UTC")
_INSTANT = re.compile(r".+T[0-9:]+(?:\.\d{1,3}(?P<cut>\d*))?(?:Z|[+-]\d\d:\d\d)")


def is_release(extension: object) -> bool:
    """Say whether this is our extension."""
    return isinstance(extension, Mapping) and extension.get("url") == EXTENSION


def released(extensions: Iterable[Mapping[str, Any]]) -> datetime | None:
    """Return the instant from which the person may see the resource with these extensions; None where none is stated.

    Of several the last counts. One that cannot be read is never reached: unknown is refused.
    """
    stated = [_instant(each.get("valueInstant")) for each in extensions if is_release(each)]
    return max(stated, default=None)


def _instant(text: object) -> datetime:
    """Read an instant to the millisecond, as stores keep them: never an earlier one than is written."""
    found = _INSTANT.fullmatch(text) if isinstance(text, str) else None
    if found is None or not isinstance(text, str):
        return OPEN_END
    try:
        spent = interval(text, _UTC)
    except (ValueError, OverflowError):
        return OPEN_END
    return min(spent.until if (found["cut"] or "").strip("0") else spent.start, OPEN_END)


def problems(resource: Mapping[str, Any]) -> list[Problem]:
    """Return every reason to refuse a resource for how it states its release: it would be kept back for good."""
    type_ = resource.get("resourceType", "Resource")
    stated = [each for each in resource.get("extension", ()) if is_release(each)]
    found: list[Problem] = []
    if any("valueInstant" not in each for each in stated):
        found.append(Problem(f"{type_}.extension", "The instant of a release is a valueInstant."))
    if len(stated) > 1:
        found.append(Problem(f"{type_}.extension", "A resource is released once."))
    if any(is_release(each) for each in resource.get("modifierExtension", ())):
        found.append(Problem(f"{type_}.modifierExtension", "The instant of a release stands in an extension."))
    return found


def as_label(instant: datetime) -> str:
    """Return a release as a label, `system|code`, for those who tell apart what is hidden and from whom."""
    return f"{EXTENSION}|{instant.isoformat()}"


def of_labels(labels: Iterable[str]) -> tuple[list[str], datetime | None]:
    """Return labels without the releases among them, and the last of these."""
    kept: list[str] = []
    instants: list[datetime] = []
    for label in labels:
        system, _, code = label.partition("|")
        if system == EXTENSION:
            instants.append(datetime.fromisoformat(code))
        else:
            kept.append(label)
    return kept, max(instants, default=None)
