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
from fhirserver.search.query import Handling

CONTENT_TYPE = "application/fhir+json; charset=utf-8"

Return = Literal["minimal", "representation", "OperationOutcome"]
_Value = TypeVar("_Value")

_JSON_TYPES = frozenset({"application/fhir+json", "application/json", "text/json"})
_JSON_FORMATS = _JSON_TYPES | {"json"}
_JSON_RANGES = _JSON_TYPES | {"application/*", "text/*", "*/*"}
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


@lru_cache(maxsize=256)
def check_acceptable(accept: str, format_: str | None) -> None:
    """Pass when the caller takes FHIR JSON of release R4; `_format` overrides Accept.

    Raises NotAcceptable (406): XML and Turtle are not offered, nor another release of FHIR.
    """
    if format_ is not None:
        _check_format(format_)
    elif accept and not any(_takes_json(part) for part in accept.split(",")):
        raise NotAcceptable(f"This server answers application/fhir+json (fhirVersion 4.0) only, not: {accept}")


def _check_format(format_: str) -> None:
    # A plus sign that was not escaped in the query string arrives as a space.
    name, parameters = _media_type(format_.replace("fhir json", "fhir+json"))
    if name not in _JSON_FORMATS or parameters.get("fhirversion", "4.0") not in _FHIR_VERSIONS:
        raise NotAcceptable(f"_format offers json (fhirVersion 4.0) only, not: {format_}", expression="_format")


def _takes_json(media_range: str) -> bool:
    name, parameters = _media_type(media_range)
    if name not in _JSON_RANGES or parameters.get("fhirversion", "4.0") not in _FHIR_VERSIONS:
        return False
    return _is_wanted(parameters)


def _is_wanted(parameters: Mapping[str, str]) -> bool:
    try:
        return float(parameters.get("q", "1")) > 0
    except ValueError:
        return False


@lru_cache(maxsize=256)
def prefers_content(accept: str, media_type: str) -> bool:
    """Whether a Binary whose content is of this media type is answered as that: unless FHIR JSON is asked for by name.

    Raises NotAcceptable (406) where the caller takes neither. https://hl7.org/fhir/R4/binary.html#rest
    """
    wanted = [name for part in accept.split(",") if _is_wanted((media := _media_type(part))[1]) and (name := media[0])]
    if "application/fhir+json" not in wanted:
        name, _ = _media_type(media_type)
        if not accept or not {name, f"{name.partition('/')[0]}/*", "*/*"}.isdisjoint(wanted):
            return True
    check_acceptable(accept, None)
    return False


@lru_cache(maxsize=256)
def is_fhir_json(content_type: str) -> bool:
    """Whether a body of this Content-Type may be a FHIR resource."""
    return _media_type(content_type)[0] in _JSON_TYPES


@lru_cache(maxsize=256)
def check_resource_content(content_type: str | None) -> None:
    """Pass when a body of this Content-Type can hold a FHIR resource in JSON.

    Raises UnsupportedMediaType (415), also where the header is missing.
    """
    name, parameters = _media_type(content_type or "")
    if name not in _JSON_TYPES:
        raise UnsupportedMediaType(f"A resource is sent as application/fhir+json, not as: {content_type or 'no type'}")
    if parameters.get("charset", "utf-8") not in {"utf-8", "utf8"}:
        raise UnsupportedMediaType("FHIR JSON is sent in UTF-8.")
    if parameters.get("fhirversion", "4.0") not in _FHIR_VERSIONS:
        raise UnsupportedMediaType("This server holds FHIR R4: fhirVersion is 4.0.")


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
    for part in header.replace(";", ",").split(","):
        name, _, value = part.strip().partition("=")
        token = value.strip().strip('"').lower()
        match name.strip().lower():
            case "return":
                returns = _known("return", token, _RETURNS)
            case "handling":
                handling = _known("handling", token, _HANDLINGS)
    return Preferences(returns, handling)


def _known(name: str, token: str, table: Mapping[str, _Value]) -> _Value:
    if token not in table:
        raise BadRequest(f"Prefer: {name}= takes {', '.join(table)}, not: {token}")
    return table[token]


def _media_type(text: str) -> tuple[str, dict[str, str]]:
    name, *parameters = text.split(";")
    pairs = (parameter.partition("=") for parameter in parameters)
    return name.strip().lower(), {key.strip().lower(): value.strip().strip('"').lower() for key, _, value in pairs}
