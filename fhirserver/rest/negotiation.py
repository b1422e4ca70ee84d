"""What the caller wants back and what the caller sent: Accept, `_format`, Content-Type, Prefer.

https://hl7.org/fhir/R4/http.html#mime-type, https://hl7.org/fhir/R4/http.html#return,
https://hl7.org/fhir/R4/search.html#errors (handling), RFC 9110 section 12, RFC 7240.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeVar

from fhirserver.errors import BadRequest, NotAcceptable, UnsupportedMediaType
from fhirserver.interactions.patch import MEDIA_TYPES, Form
from fhirserver.search.query import Handling

Format = Literal["json", "xml"]
Return = Literal["minimal", "representation", "OperationOutcome"]
_Value = TypeVar("_Value")

CONTENT_TYPES: Mapping[Format, str] = {
    "json": "application/fhir+json; charset=utf-8",
    "xml": "application/fhir+xml; charset=utf-8",
}
"""What an answer in each format calls itself, by whichever of its names it was asked for."""

PATCH_FORMATS = (*MEDIA_TYPES, "application/fhir+json", "application/fhir+xml")
"""The media types of patches; FHIR's own are those of a FHIRPath Patch."""

FORMATS = ("application/fhir+json", "application/fhir+xml")

# In the order of preference where a caller takes both alike.
_TYPES: Mapping[Format, frozenset[str]] = {
    "json": frozenset({"application/fhir+json", "application/json", "text/json"}),
    "xml": frozenset({"application/fhir+xml", "application/xml", "text/xml"}),
}
_FORMAT_OF: Mapping[str, Format] = {name: format_ for format_, names in _TYPES.items() for name in (*names, format_)}
_CHARSETS = frozenset({"utf-8", "utf8"})
_FHIR_VERSIONS = frozenset({"4.0", "4.0.1"})
_RETURNS: dict[str, Return] = {
    "minimal": "minimal",
    "representation": "representation",
    "operationoutcome": "OperationOutcome",
}
_HANDLINGS: dict[str, Handling] = {"strict": "strict", "lenient": "lenient"}


@dataclass(frozen=True, slots=True)
class Preferences:
    """The Prefer header as far as FHIR gives it meaning; `returns` is None where the caller did not say."""

    returns: Return | None = None
    handling: Handling = "strict"
    is_async: bool = False


@lru_cache(maxsize=256)
def negotiated(accept: str, format_: str | None) -> Format:
    """The format of the answer: what `_format` says, otherwise what Accept likes best, JSON where it likes both alike.

    A range counts as far as no narrower one speaks of the same format (RFC 9110, 12.5.1), and of ranges of one weight
    the narrower one wins. Raises NotAcceptable (406) for any other format, and for another release of FHIR.
    """
    if format_ is not None:
        return _format_named(format_)
    if not accept or accept == "*/*":
        return "json"
    liked = [(*_liking(accept, format_), format_) for format_ in _TYPES]
    weight, _, best = max(liked, key=lambda found: found[:2])  # the first of equals
    if weight == 0:
        raise NotAcceptable(f"This server answers {' or '.join(FORMATS)} (fhirVersion 4.0), not: {accept}")
    return best


def _format_named(text: str) -> Format:
    # A plus sign that was not escaped in the query string arrives as a space.
    name, parameters = _media_type(text.replace("fhir ", "fhir+"))
    if name not in _FORMAT_OF or not _is_ours(parameters):
        raise NotAcceptable(f"_format offers json and xml (fhirVersion 4.0), not: {text}", expression="_format")
    return _FORMAT_OF[name]


def _liking(accept: str, format_: Format) -> tuple[float, int]:
    """How much a format is liked, from 0 to 1, and how narrow the range is that says so."""
    liked: list[tuple[int, float]] = [(0, 0.0)]
    for part in accept.split(","):
        name, parameters = _media_type(part)
        narrowness = 3 if name in _TYPES[format_] else {"application/*": 2, "text/*": 2, "*/*": 1}.get(name, 0)
        if narrowness and _is_ours(parameters):
            liked.append((narrowness, _weight(parameters)))
    narrowness, weight = max(liked)
    return weight, narrowness


def _is_ours(parameters: Mapping[str, str]) -> bool:
    """Whether what stands beside a media type lets it mean FHIR R4 in UTF-8."""
    return parameters.get("fhirversion", "4.0") in _FHIR_VERSIONS and parameters.get("charset", "utf-8") in _CHARSETS


def _weight(parameters: Mapping[str, str]) -> float:
    """The q of a range; one that is no number between 0 and 1 counts as 0."""
    try:
        weight = float(parameters.get("q", "1"))
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0


@lru_cache(maxsize=256)
def other_form(accept: str, format_: str | None, offered: tuple[str, ...]) -> str | None:
    """Which of the media types that are `offered` beside FHIR is asked for by name, and no less liked than FHIR.

    `_format` may give the name of its subtype alone. None where FHIR is wanted, or nothing that can be given.
    """
    if format_ is not None:
        name = format_.strip().lower()
        return next((one for one in offered if name in {one, one.partition("/")[2]}), None)
    fhir = max(_liking(accept, one)[0] for one in _TYPES) if accept else 1.0
    named = [(name, _weight(parameters)) for name, parameters in map(_media_type, accept.split(","))]
    return next((name for name, weight in named if name in offered and weight > 0 and weight >= fhir), None)


@lru_cache(maxsize=256)
def prefers_content(accept: str, media_type: str) -> bool:
    """Whether a Binary whose content is of this media type is answered as that: unless FHIR is asked for by name.

    Raises NotAcceptable (406) where the caller takes neither. https://hl7.org/fhir/R4/binary.html#rest
    """
    wanted = {name for name, parameters in map(_media_type, accept.split(",")) if name and _weight(parameters) > 0}
    if wanted.isdisjoint(FORMATS):
        name, _ = _media_type(media_type)
        if not accept or not {name, f"{name.partition('/')[0]}/*", "*/*"}.isdisjoint(wanted):
            return True
    negotiated(accept, None)
    return False


@lru_cache(maxsize=256)
def fhir_format(content_type: str) -> Format | None:
    """The format in which a body of this Content-Type may be a FHIR resource; None where it cannot be one."""
    name, _ = _media_type(content_type)
    return next((format_ for format_, names in _TYPES.items() if name in names), None)


@lru_cache(maxsize=256)
def resource_format(content_type: str | None) -> Format:
    """The format of a body of this Content-Type, which must be a FHIR resource.

    Raises UnsupportedMediaType (415), also where the header is missing.
    """
    format_ = fhir_format(content_type or "")
    if format_ is None:
        raise UnsupportedMediaType(f"A resource is sent as {' or '.join(FORMATS)}, not as: {content_type or 'no type'}")
    _, parameters = _media_type(content_type or "")
    if parameters.get("charset", "utf-8") not in _CHARSETS:
        raise UnsupportedMediaType("FHIR is sent in UTF-8.")
    if not _is_ours(parameters):
        raise UnsupportedMediaType("This server holds FHIR R4: fhirVersion is 4.0.")
    return format_


def patch_form(content_type: str | None) -> Form:
    """The form of a patch in a body of this Content-Type.

    Raises UnsupportedMediaType (415), with the types that are taken in Accept-Patch (RFC 5789 section 3.1).
    """
    name, parameters = _media_type(content_type or "")
    form = MEDIA_TYPES.get(name)
    try:
        if form is None:
            resource_format(content_type)
            return "fhirpath-patch"
        if parameters.get("charset", "utf-8") not in _CHARSETS:
            raise UnsupportedMediaType("A patch is sent in UTF-8.")
    except UnsupportedMediaType as error:
        raise UnsupportedMediaType(
            f"A patch is sent as {', '.join(PATCH_FORMATS)}, not as: {content_type or 'no type'}",
            headers={"Accept-Patch": ", ".join(PATCH_FORMATS)},
        ) from error
    return form


def check_form_content(content_type: str | None) -> None:
    """Pass when a `_search` body is a form. Raises UnsupportedMediaType (415)."""
    name, _ = _media_type(content_type or "")
    if name != "application/x-www-form-urlencoded":
        raise UnsupportedMediaType(
            f"Search by POST takes application/x-www-form-urlencoded, not: {content_type or 'no type'}"
        )


@lru_cache(maxsize=256)
def preferences(header: str) -> Preferences:
    """The preferences that FHIR defines; others are passed over, as RFC 7240 asks.

    Raises BadRequest where `return` or `handling` has a value that FHIR does not know.
    """
    returns: Return | None = None
    handling: Handling = "strict"
    is_async = False
    for part in header.replace(";", ",").split(","):
        name, _, value = part.strip().partition("=")
        token = value.strip().strip('"').lower()
        match name.strip().lower():
            case "return":
                returns = _known("return", token, _RETURNS)
            case "handling":
                handling = _known("handling", token, _HANDLINGS)
            case "respond-async":
                is_async = True
    return Preferences(returns, handling, is_async)


def _known(name: str, token: str, table: Mapping[str, _Value]) -> _Value:
    if token not in table:
        raise BadRequest(f"Prefer: {name}= takes {', '.join(table)}, not: {token}")
    return table[token]


def _media_type(text: str) -> tuple[str, dict[str, str]]:
    name, *parameters = text.split(";")
    pairs = (parameter.partition("=") for parameter in parameters)
    return name.strip().lower(), {key.strip().lower(): value.strip().strip('"').lower() for key, _, value in pairs}
