"""Reference parameters (https://hl7.org/fhir/R4/search.html#reference): `[id]`, `[type]/[id]`, `[url]`, canonicals.

A URL below this server's base is the same reference as its relative form, on both sides. A reference to a version is
also found without the version, and an include can still tell which of the two it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from fhirserver.errors import BadRequest, NotSupported, TooCostly
from fhirserver.search import token
from fhirserver.search.escape import unescape
from fhirserver.search.expression import Equals, Expression, StartsWith, any_of
from fhirserver.search.stored import SEPARATOR, VERSION, Collector, Context, Extracted
from fhirserver.search.uri import canonical_forms
from resources.declaration import SearchParameter

MODIFIERS = frozenset({"identifier", "above", "below"})
"""Beside these, the name of each resource type is a modifier."""

HIERARCHIES = {"DeviceDefinition": "parent", "Encounter": "part-of", "Location": "partof", "Organization": "partof"}
"""The types whose resources form a strict hierarchy, each with at most one parent, and the parameter that names it.

https://hl7.org/fhir/R4/search.html#recursive
"""

MOST_RELATED = 2000
_DEEPEST = 50

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_RELATIVE = re.compile(r"([A-Za-z]+)/([A-Za-z0-9\-.]{1,64})(/_history/[A-Za-z0-9\-.]{1,64})?")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+")


def add(name: str, extracted: Iterable[Extracted], into: Collector) -> None:
    """Add each Reference, canonical, uri, or resource inside a Bundle, and the identifiers of References."""
    versioned, unversioned = set[str](), dict[str, None]()
    for value, _fhir_type in extracted:
        text, identifier = _parts(value)
        found = list(stored_forms(text, into.context))
        if found and VERSION in found[-1]:
            versioned.add(found[0])
        elif found:
            unversioned[found[0]] = None
        for form in found:
            into.tk[name + SEPARATOR + form] = None
        if found:
            into.sort(name, found[0], found[0])
        elif not identifier:
            into.tk[f"{name}:present{SEPARATOR}"] = None
        if identifier:
            token.add(f"{name}:identifier", [(identifier, "Identifier")], into)
            into.so.pop(f"{name}:identifier", None)
    for form in unversioned:
        if form in versioned:
            into.tk[f"{name}:unversioned{SEPARATOR}{form}"] = None


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
    unversioned, _, version = relative.partition(VERSION)
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
    if modifier in {"above", "below"}:
        return _related(parameter, modifier, value, context)
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


def _related(parameter: SearchParameter, modifier: str, value: str, context: Context) -> Expression:
    """`:above` and `:below`: through a hierarchy of resources, or for a canonical by its version."""
    name = parameter.name
    text = context.relative(unescape(value, name))
    if _ABSOLUTE.fullmatch(text):
        return _versions(name, modifier, text)
    if _ID.fullmatch(text):
        if len(parameter.targets) != 1:
            raise BadRequest(f"{name}:{modifier}: write the type before the id", expression=name)
        text = f"{next(iter(parameter.targets))}/{text}"
    match = _RELATIVE.fullmatch(text)
    if match is None or match[1] not in HIERARCHIES or (parameter.targets and match[1] not in parameter.targets):
        offered = ", ".join(target for target in HIERARCHIES if target in parameter.targets) or "canonicals only"
        raise NotSupported(f"{name}:{modifier} is not offered for '{text}', but for {offered}", expression=name)
    if context.lookup is None:
        raise NotSupported(f"{name}:{modifier} cannot be asked here", expression=name)
    start = f"{match[1]}/{match[2]}"
    walk = context.lookup.referring if modifier == "below" else context.lookup.referred
    return any_of(
        Equals(name + SEPARATOR + one) for one in _reached(name, start, partial(walk, match[1], HIERARCHIES[match[1]]))
    )


def _reached(name: str, start: str, step: Callable[[Sequence[str]], Sequence[str]]) -> list[str]:
    """The resource and all that further steps lead to, level by level; a loop ends by itself."""
    found, level = {start: None}, [start]
    for _ in range(_DEEPEST):
        level = [one for one in dict.fromkeys(step(level)) if one not in found]
        if not level:
            return list(found)
        found |= dict.fromkeys(level)
        if len(found) > MOST_RELATED:
            break
    raise TooCostly(
        f"{name}: the hierarchy has more than {MOST_RELATED} resources or {_DEEPEST} levels", expression=name
    )


def _versions(name: str, modifier: str, canonical: str) -> Expression:
    """`url` with any version, or `url|1` with 1, 1.0 and 1.1 (https://hl7.org/fhir/R4/search.html#versions)."""
    if modifier == "above":
        raise NotSupported(f"{name}:above is not offered for a canonical", expression=name)
    head = name + SEPARATOR + canonical
    if "|" not in canonical:
        return Equals(head)  # a canonical is also kept without its version
    return any_of((Equals(head), StartsWith(f"{head}.")))
