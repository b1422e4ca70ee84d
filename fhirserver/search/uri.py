"""Uri parameters (https://hl7.org/fhir/R4/search.html#uri): the whole URI, exactly; `:below` and `:above` by path."""

from __future__ import annotations

from collections.abc import Iterable

from fhirserver.errors import BadRequest, TooCostly
from fhirserver.search.escape import unescape
from fhirserver.search.expression import Equals, Expression, Matches, StartsWith, any_of
from fhirserver.search.stored import SEPARATOR, Collector, Context, Extracted
from fhirserver.search.string import Part
from resources.declaration import SearchParameter

MODIFIERS = frozenset({"above", "below"})

_DEEPEST = 40


def add(name: str, extracted: Iterable[Extracted], into: Collector) -> None:
    """Add each uri; a canonical also without its version."""
    for value, _fhir_type in extracted:
        if isinstance(value, str) and value:
            for form in canonical_forms(value):
                into.tk[name + SEPARATOR + form] = None
            into.sort(name, value, value)


def canonical_forms(value: str) -> tuple[str, ...]:
    """A canonical with its version and without; any other URI once."""
    url, bar, _version = value.partition("|")
    return (value, url) if bar and url else (value,)


def expression(parameter: SearchParameter, modifier: str | None, value: str, _context: Context) -> Expression:
    """The comparison of a URI; the modifiers refuse what is not a URL."""
    name, uri = parameter.name, unescape(value, parameter.name)
    if modifier is None:
        return Equals(name + SEPARATOR + uri)
    scheme, slashes, _rest = uri.partition("://")
    if not scheme or not slashes:
        raise BadRequest(f"{name}:{modifier} asks for a URL with a path, not for '{uri}'", expression=name)
    stem = uri.rstrip("/")
    if stem.count("/") > _DEEPEST:
        raise TooCostly(f"{name}:{modifier} asks for a URL with at most {_DEEPEST} slashes", expression=name)
    if modifier == "below":
        return any_of((Equals(name + SEPARATOR + stem), StartsWith(f"{name}{SEPARATOR}{stem}/")))
    return any_of(Equals(name + SEPARATOR + form) for form in _above(stem))


def part(name: str, where: Part, text: str) -> Expression:
    """A URI that has the text there."""
    before, after = where.value
    return Matches(name + SEPARATOR, text, before, after)


def _above(stem: str) -> list[str]:
    """The URL and every URL that contains it by path, each with and without a last slash."""
    scheme, _, rest = stem.partition("://")
    segments = rest.split("/")
    ancestors = [f"{scheme}://{'/'.join(segments[:depth])}" for depth in range(len(segments), 0, -1)]
    return [form for url in ancestors for form in (url, url + "/")]
