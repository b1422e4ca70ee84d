"""Who stands in for whom: a professional counts as the one they replace while a recorded substitution lasts.

The record is a PractitionerRole of the substitute, in the organisation in which they stand in, with an extension that
names the replaced practitioner and a period with both ends (docs/adr/0026-substitution.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from consent.problem import Problem
from consent.reference import literal, type_of

EXTENSION = "urn:fhirserver:extension:replaces"
"""The URL of the extension, with a `valueReference` to a Practitioner."""


def is_substitution(role: Mapping[str, Any]) -> bool:
    """Say whether a PractitionerRole names somebody who is replaced, well or badly."""
    return any(True for _ in _stated(role))


def replaced(role: Mapping[str, Any]) -> str | None:
    """Return whom the holder of a role replaces, "Practitioner/d"; None where it is not stated as it must be."""
    if not is_substitution(role) or any(True for _ in problems(role)):
        return None
    return literal(next(_stated(role))["valueReference"])


def problems(role: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield every reason why a role with the extension is no substitution; nothing for one without it."""
    stated = list(_stated(role))
    if not stated:
        return
    named = literal(stated[0].get("valueReference"))
    if any(stated[0] is each for each in role.get("modifierExtension", ())):
        yield Problem("PractitionerRole.modifierExtension", "Who is replaced stands in an extension.")
    if len(stated) > 1:
        yield Problem("PractitionerRole.extension", "A role replaces one practitioner.")
    elif named is None or type_of(named) != "Practitioner":
        yield Problem("PractitionerRole.extension", "Who is replaced is a valueReference to a Practitioner.")
    elif named == literal(role.get("practitioner")):
        yield Problem("PractitionerRole.extension", "Nobody replaces themselves.")
    for element in ("practitioner", "organization"):
        if literal(role.get(element)) is None:
            yield Problem(
                f"PractitionerRole.{element}", "A substitution says who stands in, and in which organisation."
            )
    for end in ("start", "end"):
        if end not in (role.get("period") or {}):
            yield Problem(f"PractitionerRole.period.{end}", "A substitution has a beginning and an end.")


def _stated(role: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for name in ("extension", "modifierExtension"):
        for each in role.get(name, ()):
            if isinstance(each, Mapping) and each.get("url") == EXTENSION:
                yield each
