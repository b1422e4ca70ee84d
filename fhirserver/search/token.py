"""Token parameters (https://hl7.org/fhir/R4/search.html#token): `[code]`, `[system]|[code]`, `|[code]`, `[system]|`.

Codes and identifiers are compared as they are written, case included; strings and contact points without case, and a
telephone number without its separators.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from fhirserver.errors import BadRequest
from fhirserver.search.escape import split, unescape
from fhirserver.search.expression import Equals, Expression, StartsWith, any_of
from fhirserver.search.stored import SEPARATOR, Collector, Context, Extracted, token_part
from fhirserver.search.string import folded, normalise
from resources.declaration import SearchParameter

MODIFIERS = frozenset({"not", "text", "of-type"})

_Set: TypeAlias = dict[str, None]
"""A set that keeps its order: the same resource always has the same values in the same order."""

_IMPLIED_SYSTEMS = ("http://hl7.org/fhir/", "urn:ietf:bcp:13", "urn:ietf:bcp:47", "urn:iso:std:iso:")
"""Where the systems of elements of type code begin: FHIR's own, media types, languages, countries and currencies."""

_FOLDED_TYPES = frozenset({"string", "markdown"})
_SEPARATORS_OF_NUMBERS = str.maketrans("", "", " .-()/\t\u00a0\u202f")


def add(name: str, extracted: Iterable[Extracted], into: Collector) -> None:
    """Add the atoms of each code, Coding, CodeableConcept, Identifier, ContactPoint, boolean, uri or string."""
    atoms, head = into.tk, name + SEPARATOR
    codes: _Set = {}
    previous: dict[str, Any] | None = None
    for value, fhir_type in extracted:
        if isinstance(value, str):
            if fhir_type in _FOLDED_TYPES:
                atoms[_fold_atom(name, value)] = None
            else:
                atoms[f"{head}|{token_part(value) if '|' in value else value}"] = None
            codes[value] = None
        elif isinstance(value, dict):
            if value != previous:  # the twenty instances of a series repeat one SOP class
                _WRITERS.get(fhir_type, _coding)(name, value, atoms, codes)
                previous = value
        elif isinstance(value, bool):
            code = "true" if value else "false"
            atoms[f"{head}|{code}"] = None
            codes[code] = None
    if codes:
        into.sort(name, min(codes), max(codes))


def _coding(name: str, coding: Mapping[str, Any], atoms: _Set, codes: _Set) -> None:
    if code := coding.get("code"):
        _add_code(name, coding.get("system"), code, atoms)
        codes[code] = None
    if display := coding.get("display"):
        _add_text(name, display, atoms)


def _concept(name: str, concept: Mapping[str, Any], atoms: _Set, codes: _Set) -> None:
    for coding in concept.get("coding") or ():
        _coding(name, coding, atoms, codes)
    if text := concept.get("text"):
        _add_text(name, text, atoms)


def _identifier(name: str, identifier: Mapping[str, Any], atoms: _Set, codes: _Set) -> None:
    value = identifier.get("value")
    if value:
        _add_code(name, identifier.get("system"), value, atoms)
        codes[value] = None
    identifier_type = identifier.get("type")
    if not identifier_type:
        return
    if text := identifier_type.get("text"):
        _add_text(name, text, atoms)
    if value:
        for coding in identifier_type.get("coding") or ():
            atoms[_of_type(name, coding.get("system") or "", coding.get("code") or "", value)] = None


def _contact_point(name: str, contact: Mapping[str, Any], atoms: _Set, codes: _Set) -> None:
    if value := contact.get("value"):
        atoms[_fold_atom(name, value)] = None
        codes[value] = None


_WRITERS: dict[str, Callable[[str, Mapping[str, Any], _Set, _Set], None]] = {
    "Coding": _coding,
    "CodeableConcept": _concept,
    "Identifier": _identifier,
    "ContactPoint": _contact_point,
}


def _add_code(name: str, system: str | None, code: str, atoms: _Set) -> None:
    """Keep a coded value with its system and without, or as having none."""
    code = token_part(code)
    if system:
        atoms[f"{name}{SEPARATOR}{token_part(system)}|{code}"] = None
        atoms[name + SEPARATOR + code] = None
    else:
        atoms[f"{name}{SEPARATOR}|{code}"] = None


def _add_text(name: str, text: str, atoms: _Set) -> None:
    atoms[f"{name}:text{SEPARATOR}{normalise(text)}"] = None


def _fold_atom(name: str, text: str) -> str:
    folded_text = text.casefold()
    plain = folded_text.translate(_SEPARATORS_OF_NUMBERS)
    is_telephone = plain.lstrip("+").isdigit()
    return f"{name}:fold{SEPARATOR}{plain if is_telephone else folded_text}"


def _of_type(name: str, system: str, code: str, value: str) -> str:
    return f"{name}:of-type{SEPARATOR}{'|'.join(token_part(part) for part in (system, code, value))}"


def expression(parameter: SearchParameter, modifier: str | None, value: str, _context: Context) -> Expression:
    """The comparison of one token. `:not` compares as if it were not there; the parser negates the whole list."""
    name = parameter.name
    if modifier == "text":
        return folded(name, f"{name}:text{SEPARATOR}", unescape(value, name))
    if modifier == "of-type":
        return Equals(_of_type(name, *_three_parts(name, value)))
    return compare(name, value)


def compare(name: str, value: str) -> Expression:
    """The comparison of a token with the atoms under a name."""
    system, code = parts(name, value)
    if system is None and name != "_id":  # an id has no system, and is "always case sensitive"
        return any_of(
            (*(Equals(name + SEPARATOR + form) for form in forms(None, code)), Equals(_fold_atom(name, code)))
        )
    if code:
        return any_of(Equals(name + SEPARATOR + form) for form in forms(system or "", code))
    return StartsWith(f"{name}{SEPARATOR}{token_part(system or '')}|")


def forms(system: str | None, code: str) -> tuple[str, ...]:
    """The stored forms any of which answers a token asked without system (None), with one, or with the empty one.

    An element of type code has a system too, the one of its value set, which is not written in the resource. So
    `gender=http://hl7.org/fhir/administrative-gender|male` is also answered by a code that stands alone.
    """
    code = token_part(code)
    if system is None:
        return code, f"|{code}"
    exact = f"{token_part(system)}|{code}"
    return (exact, f"|{code}") if system.startswith(_IMPLIED_SYSTEMS) else (exact,)


def parts(name: str, value: str) -> tuple[str | None, str]:
    """System and code of a token asked; the system is None without a bar and empty when nothing stands before it."""
    match [unescape(part, name) for part in split(value, "|")]:
        case [code] if code:
            return None, code
        case [system, code] if system or code:
            return system, code
        case _:
            raise BadRequest(
                rf"{name}: write code, system|code, |code or system|, and a bar inside one of them as \|",
                expression=name,
            )


def _three_parts(name: str, value: str) -> list[str]:
    found = [unescape(part, name) for part in split(value, "|")]
    if len(found) != 3 or not all(found):
        raise BadRequest(f"{name}:of-type: write system|code|value, all three", expression=name)
    return found
