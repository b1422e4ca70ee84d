"""Part of a resource: `_summary` and `_elements`, marked SUBSETTED.

The only place where a stored resource is taken apart on its way out, and only because the caller asked. Numbers keep
the digits that they were stored with.

https://hl7.org/fhir/R4/search.html#summary, https://hl7.org/fhir/R4/search.html#elements
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from resources import SUPPORTED, Declaration

# Kept in any case: they say what the rest means, or that the rest is incomplete.
_ALWAYS = frozenset({"resourceType", "id", "meta", "implicitRules", "modifierExtension"})
_SUBSETTED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
    "display": "subsetted",
}
_DECODER = msgspec.json.Decoder(float_hook=lambda literal: msgspec.Raw(literal.encode()))


def subset(body: bytes, type_: str, summary: str | None, elements: Iterable[str]) -> bytes:
    """The resource as `_summary` or `_elements` wants it; the bytes themselves where neither asks for less."""
    wanted = tuple(elements)
    if summary in {None, "false", "count"} and not wanted:
        return body
    resource = _DECODER.decode(body)
    kept = _kept(resource, SUPPORTED[type_], summary, wanted)
    kept["meta"] = _marked(resource.get("meta", {}))
    return msgspec.json.encode(kept)


def _kept(
    resource: Mapping[str, Any], declaration: Declaration, summary: str | None, elements: tuple[str, ...]
) -> dict[str, Any]:
    if summary == "data":
        return {name: value for name, value in resource.items() if name != "text"}
    if summary == "text":
        names = {"text", *_top(declaration.type)}
        return {name: value for name, value in resource.items() if _bare(name) in names | _ALWAYS}
    if summary == "true":
        return _only(resource, declaration.summary_elements | _ALWAYS | _mandatory(declaration.type), "")
    top = {name.removeprefix(f"{declaration.type}.").partition(".")[0] for name in elements}
    names = top | _ALWAYS | _top(declaration.type)
    return {name: value for name, value in resource.items() if _bare(name) in names}


def _only(node: Mapping[str, Any], paths: frozenset[str], prefix: str) -> dict[str, Any]:
    """The members on one of the paths; one that has paths below it is looked into, a data type is kept whole."""
    kept: dict[str, Any] = {}
    for name, value in node.items():
        path = prefix + _bare(name)
        if path not in paths:
            continue
        below = f"{path}."
        if any(other.startswith(below) for other in paths):
            kept[name] = _within(value, paths, below)
        else:
            kept[name] = value
    return kept


def _within(value: Any, paths: frozenset[str], prefix: str) -> Any:
    if isinstance(value, list):
        return [_within(one, paths, prefix) for one in value]
    return _only(value, paths, prefix) if isinstance(value, dict) else value


def _bare(name: str) -> str:
    """The element that a member belongs to: `_birthDate` carries the extensions of `birthDate`."""
    return name.removeprefix("_")


@lru_cache(maxsize=256)
def _mandatory(type_: str) -> frozenset[str]:
    return SUPPORTED[type_].mandatory_elements


@lru_cache(maxsize=256)
def _top(type_: str) -> frozenset[str]:
    """The mandatory elements of the resource itself."""
    return frozenset(path for path in SUPPORTED[type_].mandatory_elements if "." not in path)


def _marked(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata with the tag that says: do not take this for the whole, nor write it back."""
    return {**meta, "tag": [*meta.get("tag", ()), _SUBSETTED]}
