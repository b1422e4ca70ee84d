"""Reference parameters (https://hl7.org/fhir/R4/search.html#reference): `[id]`, `[type]/[id]`, `[url]`, canonicals.

A URL below this server's base is the same reference as its relative form, on both sides. A reference to a version is
also found without the version.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from fhirserver.errors import BadRequest
from fhirserver.search import token
from fhirserver.search.escape import unescape
from fhirserver.search.expression import Equals, Expression, any_of
from fhirserver.search.stored import SEPARATOR, Collector, Context, Extracted
from fhirserver.search.uri import canonical_forms
from resources.declaration import SearchParameter

MODIFIERS = frozenset({"identifier"})
"""Beside these, the name of each resource type is a modifier."""

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_RELATIVE = re.compile(r"([A-Za-z]+)/([A-Za-z0-9\-.]{1,64})(/_history/[A-Za-z0-9\-.]{1,64})?")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+")


def add(name: str, extracted: Iterable[Extracted], into: Collector) -> None:
    """Add each Reference, canonical, uri, or resource inside a Bundle, and the identifiers of References."""
    for value, _fhir_type in extracted:
        text, identifier = _parts(value)
        found = list(stored_forms(text, into.context))
        for form in found:
            into.tk[name + SEPARATOR + form] = None
        if found:
            into.sort(name, found[0], found[0])
        elif not identifier:
            into.tk[f"{name}:present{SEPARATOR}"] = None
        if identifier:
            token.add(f"{name}:identifier", [(identifier, "Identifier")], into)
            into.so.pop(f"{name}:identifier", None)


def _parts(value: Any) -> tuple[str, Mapping[str, Any] | None]:
    """The reference and the identifier of an extracted value."""
    if isinstance(value, str):
        return value, None
    if not isinstance(value, dict):
        return "", None
    if "resourceType" in value:
        return (f"{value['resourceType']}/{value['id']}" if "id" in value else ""), None
    return value.get("reference") or "", value.get("identifier")


def stored_forms(text: str, context: Context) -> Iterator[str]:
    """The forms under which a reference may be asked; none for one into the resource itself."""
    if not text or text.startswith("#"):
        return
    relative = context.relative(text)
    unversioned, _, version = relative.partition("/_history/")
    yield unversioned if version else relative
    if version:
        yield relative
    elif "|" in relative:
        yield canonical_forms(relative)[-1]


def expression(parameter: SearchParameter, modifier: str | None, value: str, context: Context) -> Expression:
    """The comparison of one reference; refuses what is no reference and a type that this server does not know."""
    name = parameter.name
    if modifier == "identifier":
        return token.compare(f"{name}:identifier", value)
    if modifier is not None:
        return Equals(name + SEPARATOR + _typed(name, modifier, context.relative(unescape(value, name))))
    return any_of(Equals(name + SEPARATOR + form) for form in asked_forms(name, parameter.targets, value, context))


def asked_forms(name: str, targets: Collection[str], value: str, context: Context) -> list[str]:
    """The stored forms any of which answers; an id alone may be of any target, or of any type if none is said."""
    text = context.relative(unescape(value, name))
    if _ID.fullmatch(text):
        return [f"{target}/{text}" for target in sorted(targets or context.types)]
    if (match := _RELATIVE.fullmatch(text)) is not None and match[1] in context.types:
        return [text]
    if _ABSOLUTE.fullmatch(text):
        return [text]
    raise BadRequest(f"{name}: '{text}' is not an id, a type and id of this server, or a URL", expression=name)


def _typed(name: str, resource_type: str, text: str) -> str:
    """`subject:Patient=23`; the type may be said again, but not another."""
    bare = text.removeprefix(f"{resource_type}/")
    if not _ID.fullmatch(bare):
        raise BadRequest(f"{name}:{resource_type}: '{text}' is not an id", expression=name)
    return f"{resource_type}/{bare}"
