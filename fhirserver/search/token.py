"""Token parameters (https://hl7.org/fhir/R4/search.html#token): `[code]`, `[system]|[code]`, `|[code]`, `[system]|`.

Codes and identifiers are compared as they are written, case included; strings and contact points without case, and a
telephone number without its separators.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar

from fhirserver.errors import BadRequest, NotSupported, TooCostly
from fhirserver.search.escape import split, unescape
from fhirserver.search.expression import Equals, Expression, Matches, StartsWith, any_of
from fhirserver.search.stored import SEPARATOR, Collector, Context, Extracted, Lookup, token_part
from fhirserver.search.string import Part, folded, normalise
from resources.declaration import SearchParameter
from terminology import code_system
from terminology.definitions import Concept, UnanswerableError
from terminology.value_set import expand

MODIFIERS = frozenset({"not", "text", "of-type", "in", "not-in", "above", "below"})

NEGATIVE = {"not": None, "not-in": "in"}
"""The modifiers that negate the whole list of values, and the one that is compared; a value alone is never negated."""

MOST_CONCEPTS = 5000
"""Concepts of a value set, or codes above or below one, that a search compares with."""

_Set: TypeAlias = dict[str, None]
"""A set that keeps its order: the same resource always has the same values in the same order."""

_IMPLIED_SYSTEMS = ("http://hl7.org/fhir/", "urn:ietf:bcp:13", "urn:ietf:bcp:47", "urn:iso:std:iso:")
"""Where the systems of elements of type code begin: FHIR's own, media types, languages, countries and currencies."""

_MEDIA_TYPES = "urn:ietf:bcp:13"
_MEDIA_TYPE = re.compile(r"[a-z]+(/[A-Za-z0-9.+\-]+)?", re.ASCII)
_OF_MEDIA_TYPES = (".contentType", "CapabilityStatement.format")
"""How the expressions of those parameters end whose codes are media types."""
_Answer = TypeVar("_Answer")

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


def expression(parameter: SearchParameter, modifier: str | None, value: str, context: Context) -> Expression:
    """The comparison of one token. A negative modifier compares as if it were positive; the parser negates the list."""
    name = parameter.name
    match modifier:
        case "text":
            return folded(name, f"{name}:text{SEPARATOR}", unescape(value, name))
        case "of-type":
            return Equals(_of_type(name, *_three_parts(name, value)))
        case "in" | "not-in":
            canonical = unescape(value, name)
            concepts = _answered(name, context, ("in", canonical), lambda lookup: _expanded(canonical, lookup))
            return _any_concept(name, concepts)
        case "above" | "below":
            return _subsumption(parameter, modifier, value, context)
        case _:
            return compare(name, value)


def _subsumption(parameter: SearchParameter, modifier: str, value: str, context: Context) -> Expression:
    """`:below` a concept, its descendants included, or `:above` it; of a media type, all that it covers."""
    name = parameter.name
    system, code = parts(name, value)
    if parameter.expression.endswith(_OF_MEDIA_TYPES):
        if modifier == "above" or system not in {None, _MEDIA_TYPES} or not _MEDIA_TYPE.fullmatch(code):
            raise NotSupported(f"{name}:{modifier} is offered as {name}:below=type or =type/subtype", expression=name)
        return _media_types(name, code)
    if not system or not code:
        raise BadRequest(f"{name}:{modifier}: write system|code, since the system says what is below", expression=name)
    related = code_system.below if modifier == "below" else code_system.above
    codes = _answered(name, context, (modifier, system, code), lambda lookup: related(system, code, lookup))
    if len(codes) > MOST_CONCEPTS:
        raise TooCostly(f"{name}:{modifier}: more than {MOST_CONCEPTS} codes", expression=name)
    return _any_concept(name, ((system, one) for one in codes))


def _any_concept(name: str, concepts: Iterable[Concept]) -> Expression:
    """Any of the concepts, in their order, so that the same search is the same query."""
    return any_of(Equals(name + SEPARATOR + form) for system, code in sorted(concepts) for form in forms(system, code))


def _media_types(name: str, code: str) -> Expression:
    """A media type with any parameters, or all of one family (https://hl7.org/fhir/R4/search.html#mimetype)."""
    heads = [f"{name}{SEPARATOR}|{code}", f"{name}{SEPARATOR}{_MEDIA_TYPES}|{code}"]
    if "/" not in code:
        return any_of(StartsWith(f"{head}/") for head in heads)
    return any_of(part for head in heads for part in (Equals(head), StartsWith(f"{head};"), StartsWith(f"{head} ")))


def _expanded(canonical: str, lookup: Lookup) -> frozenset[Concept]:
    return expand(canonical, lookup, limit=MOST_CONCEPTS)


def _answered(
    name: str, context: Context, question: tuple[str, ...], ask: Callable[[Lookup], frozenset[_Answer]]
) -> frozenset[_Answer]:
    """What the stored definitions answer, asked once in a search; refuses what they cannot answer in full."""
    if context.lookup is None:
        raise NotSupported(f"{name}: value sets and hierarchies of codes cannot be asked here", expression=name)
    answers = context.lookup.answers
    try:
        if question not in answers:
            answers[question] = ask(context.lookup)
        answer: frozenset[_Answer] = answers[question]
        return answer
    except UnanswerableError as error:
        refusal = {"too-costly": TooCostly, "not-supported": NotSupported}.get(error.code, BadRequest)
        raise refusal(f"{name}: {error}", expression=name, code=error.code) from None


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


def part(name: str, where: Part, text: str) -> Expression:
    """A code, identifier or contact point that has the text there; the system is no part of it."""
    before, after = where.value
    within = "[^|]*" if before else ""
    code = Matches(name + SEPARATOR, token_part(text), rf"\|?{within}", "$" if after else "[^|]*$")
    return any_of((code, Matches(f"{name}:fold{SEPARATOR}", text.casefold(), before, after)))


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
