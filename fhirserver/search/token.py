"""Token parameters (https://hl7.org/fhir/R4/search.html#token): `[code]`, `[system]|[code]`, `|[code]`, `[system]|`.

Codes and identifiers are compared as they are written, case included; strings and contact points without case, and a
telephone number without its separators.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from fhirserver.errors import BadRequest
from fhirserver.search.escape import split, unescape
from fhirserver.search.expression import Equals, Expression, StartsWith, any_of
from fhirserver.search.stored import SEPARATOR, Collector, Context, Extracted, token_part
from fhirserver.search.string import folded, normalise
from resources.declaration import SearchParameter

MODIFIERS = frozenset({"not", "text", "of-type"})

_FOLDED_TYPES = frozenset({"string", "markdown"})
_SEPARATORS_OF_NUMBERS = str.maketrans("", "", " .-()/\t\u00a0\u202f")


def add(name: str, extracted: Iterable[Extracted], into: Collector) -> None:
    """Add the atoms of each code, Coding, CodeableConcept, Identifier, ContactPoint, boolean, uri or string."""
    atoms = into.tk
    codes: list[str] = []
    for value, fhir_type in extracted:
        if isinstance(value, Mapping):
            codes.extend(_WRITERS.get(fhir_type, _coding)(name, value, atoms))
        elif isinstance(value, bool):
            atoms[f"{name}{SEPARATOR}|{'true' if value else 'false'}"] = None
            codes.append("true" if value else "false")
        elif isinstance(value, str):
            atom = _fold_atom(name, value) if fhir_type in _FOLDED_TYPES else f"{name}{SEPARATOR}|{token_part(value)}"
            atoms[atom] = None
            codes.append(value)
    if codes:
        into.sort(name, min(codes), max(codes))


def _coding(name: str, coding: Mapping[str, Any], atoms: dict[str, None]) -> Iterator[str]:
    code = coding.get("code")
    if code:
        for form in _forms(coding.get("system"), code):
            atoms[name + SEPARATOR + form] = None
        yield code
    if display := coding.get("display"):
        _add_text(name, display, atoms)


def _concept(name: str, concept: Mapping[str, Any], atoms: dict[str, None]) -> Iterator[str]:
    for coding in concept.get("coding") or ():
        yield from _coding(name, coding, atoms)
    if text := concept.get("text"):
        _add_text(name, text, atoms)


def _identifier(name: str, identifier: Mapping[str, Any], atoms: dict[str, None]) -> Iterator[str]:
    value = identifier.get("value")
    if value:
        for form in _forms(identifier.get("system"), value):
            atoms[name + SEPARATOR + form] = None
        yield value
    identifier_type = identifier.get("type")
    if not identifier_type:
        return
    if text := identifier_type.get("text"):
        _add_text(name, text, atoms)
    if value:
        for coding in identifier_type.get("coding") or ():
            atoms[_of_type(name, coding.get("system") or "", coding.get("code") or "", value)] = None


def _contact_point(name: str, contact: Mapping[str, Any], atoms: dict[str, None]) -> Iterator[str]:
    if value := contact.get("value"):
        atoms[_fold_atom(name, value)] = None
        yield value


_WRITERS: dict[str, Callable[[str, Mapping[str, Any], dict[str, None]], Iterator[str]]] = {
    "Coding": _coding,
    "CodeableConcept": _concept,
    "Identifier": _identifier,
    "ContactPoint": _contact_point,
}


def _forms(system: str | None, code: str) -> tuple[str, ...]:
    """The forms under which a coded value is stored: with its system and without, or as having none."""
    code = token_part(code)
    return (f"{token_part(system)}|{code}", code) if system else (f"|{code}",)


def _add_text(name: str, text: str, atoms: dict[str, None]) -> None:
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
    if system is None:
        return any_of((*(Equals(name + SEPARATOR + form) for form in forms(system, code)), *_folded(name, code)))
    if code:
        return Equals(name + SEPARATOR + forms(system, code)[0])
    return StartsWith(f"{name}{SEPARATOR}{token_part(system)}|")


def _folded(name: str, code: str) -> tuple[Expression, ...]:
    """The comparison with strings and contact points; `_id` is "always case sensitive"."""
    return () if name == "_id" else (Equals(_fold_atom(name, code)),)


def forms(system: str | None, code: str) -> tuple[str, ...]:
    """The stored forms any of which answers a token asked without system (None), with one, or with the empty one."""
    code = token_part(code)
    return (code, f"|{code}") if system is None else (f"{token_part(system)}|{code}",)


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
