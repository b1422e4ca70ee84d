"""The concepts of a ValueSet: its expansion (https://hl7.org/fhir/R4/valueset.html#compositions).

What cannot be expanded in full is an error: a set that comes out smaller than it is would exclude what it should find.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jsonschema_rs

from terminology.code_system import CodeSystem, Entry, code_system
from terminology.definitions import Concept, Definitions, Resource, UnanswerableError

_DEEPEST = 10
"""ValueSets that import one another in a chain."""


def expand(canonical: str, definitions: Definitions, *, limit: int) -> frozenset[Concept]:
    """The concepts of the ValueSet of that canonical URL.

    Raises UnanswerableError where it is not here, where something it is made of is not here or cannot be evaluated, and
    where it has more concepts than `limit`.
    """
    return _expand(canonical, _Expansion(definitions, limit), ())


class _Expansion:
    """What one expansion needs at every depth; each code system is read once."""

    def __init__(self, definitions: Definitions, limit: int) -> None:
        self.definitions = definitions
        self.limit = limit
        self._systems: dict[str, CodeSystem] = {}

    def system(self, canonical: str) -> CodeSystem:
        if canonical not in self._systems:
            self._systems[canonical] = code_system(canonical, self.definitions)
        return self._systems[canonical]


def _expand(canonical: str, expansion: _Expansion, importers: tuple[str, ...]) -> frozenset[Concept]:
    if canonical in importers or len(importers) >= _DEEPEST:
        raise UnanswerableError(f"The ValueSet {canonical} is made of itself, or too deeply", "not-supported")
    value_set = expansion.definitions.value_set(canonical)
    if value_set is None:
        raise UnanswerableError(f"The ValueSet {canonical} is not here", "not-found")
    found = _stored(value_set)
    if found is None:
        found = _composed(value_set, expansion, (*importers, canonical))
    if len(found) > expansion.limit:
        raise UnanswerableError(f"The ValueSet {canonical} has more than {expansion.limit} concepts", "too-costly")
    return found


def _stored(value_set: Resource) -> frozenset[Concept] | None:
    """The concepts of an expansion that is part of the resource; None where there is none, or only a part of one."""
    expansion = value_set.get("expansion")
    if not isinstance(expansion, dict) or "contains" not in expansion or expansion.get("offset"):
        return None
    entries = list(_contained(expansion["contains"]))
    if expansion.get("total", len(entries)) > len(entries):
        return None
    return frozenset(
        (entry["system"], entry["code"])
        for entry in entries
        if "system" in entry and "code" in entry and not entry.get("abstract")
    )


def _contained(entries: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    waiting = list(entries)
    while waiting:
        entry = waiting.pop()
        yield entry
        waiting.extend(entry.get("contains") or ())


def _composed(value_set: Resource, expansion: _Expansion, importers: tuple[str, ...]) -> frozenset[Concept]:
    """What is included without what is excluded."""
    compose = value_set.get("compose")
    if not isinstance(compose, dict):
        raise UnanswerableError(f"The ValueSet {importers[-1]} has no content that is complete", "not-found")
    is_active_only = compose.get("inactive") is False
    found: set[Concept] = set()
    for include in compose.get("include") or ():
        found |= _included(include, expansion, importers, is_active_only=is_active_only)
    for exclude in compose.get("exclude") or ():
        found -= _included(exclude, expansion, importers, is_active_only=False)
    return frozenset(found)


def _included(
    include: Mapping[str, Any], expansion: _Expansion, importers: tuple[str, ...], *, is_active_only: bool
) -> frozenset[Concept]:
    """The concepts that meet all of an include's conditions: of the system, and in every one of the value sets."""
    sets = [_expand(canonical, expansion, importers) for canonical in include.get("valueSet") or ()]
    if "system" in include:
        sets.append(_of_system(include, expansion, is_active_only=is_active_only))
    if not sets:
        raise UnanswerableError(f"The ValueSet {importers[-1]} includes what has no system", "not-supported")
    return frozenset.intersection(*sets)


def _of_system(include: Mapping[str, Any], expansion: _Expansion, *, is_active_only: bool) -> frozenset[Concept]:
    """The concepts that are listed, or else all of a system that pass every filter."""
    url: str = include["system"]
    canonical = f"{url}|{include['version']}" if "version" in include else url
    if "concept" in include:
        codes = [concept["code"] for concept in include["concept"]]
        if is_active_only:
            entries = expansion.system(canonical).entries
            codes = [code for code in codes if code in entries and not entries[code].is_inactive]
        return frozenset((url, code) for code in codes)
    system = expansion.system(canonical)
    filters = [_filter(one, system) for one in include.get("filter") or ()]
    return frozenset(
        (url, entry.code)
        for entry in system.entries.values()
        if all(passes(entry) for passes in filters) and not (is_active_only and entry.is_inactive)
    )


_Passes = Callable[[Entry], bool]


def _filter(one: Mapping[str, Any], system: CodeSystem) -> _Passes:
    """What an entry has to be for a filter (https://hl7.org/fhir/R4/valueset-filter-operator.html)."""
    name, operator, value = one.get("property", ""), one.get("op"), one.get("value", "")
    match operator:
        case "is-a" | "descendent-of" | "is-not-a" | "generalizes":
            return _by_hierarchy(operator, value, system)
        case "=":
            return lambda entry: value in _values(entry, name, system)
        case "in" | "not-in":
            wanted = frozenset(part.strip() for part in value.split(","))
            return lambda entry: (not wanted.isdisjoint(_values(entry, name, system))) == (operator == "in")
        case "exists":
            return lambda entry: bool(_values(entry, name, system)) == (value == "true")
        case "regex":
            is_match = _pattern(value)
            return lambda entry: any(is_match(text) for text in _values(entry, name, system))
        case _:
            raise UnanswerableError(f"Filters of {system.url} by '{operator}' are not offered", "not-supported")


def _by_hierarchy(operator: str, code: str, system: CodeSystem) -> _Passes:
    system.require(code)
    hierarchy = system.hierarchy()
    codes = hierarchy.ancestors(code) if operator == "generalizes" else hierarchy.descendants(code)
    if operator == "descendent-of":
        codes -= {code}
    return lambda entry: (entry.code in codes) != (operator == "is-not-a")


def _values(entry: Entry, name: str, system: CodeSystem) -> tuple[str, ...]:
    """The values of a property; code, display and the direct relations are properties of every concept."""
    match name:
        case "code" | "concept":
            return (entry.code,)
        case "display":
            return (entry.display,) if entry.display else ()
        case "parent":
            return system.hierarchy().parents(entry.code)
        case "child":
            return system.hierarchy().children(entry.code)
        case _:
            return entry.properties.get(name, ())


def _pattern(text: str) -> Callable[[str], bool]:
    """Whether a whole text is of a regular expression, in time that grows with its length only.

    A pattern comes from whoever wrote the ValueSet, and Python's own engine can be made to run for ever.
    """
    try:
        _compiled(text)  # by itself first, so that no parenthesis of its own closes ours
        return _compiled(f"^(?:{text})$")
    except ValueError:
        raise UnanswerableError(f"The regular expression '{text}' cannot be evaluated", "not-supported") from None


def _compiled(pattern: str) -> Callable[[str], bool]:
    validator = jsonschema_rs.validator_for(
        {"type": "string", "pattern": pattern}, pattern_options=jsonschema_rs.RegexOptions()
    )
    is_valid: Callable[[str], bool] = validator.is_valid
    return is_valid
