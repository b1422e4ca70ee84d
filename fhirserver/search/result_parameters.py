"""The parameters that say how a result is wanted, `_count` to `_total` (https://hl7.org/fhir/R4/search.html#return)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import cast, get_args

from fhirserver.errors import BadRequest, NotSupported
from fhirserver.search.query import APART, Contained, ContainedType, Include, Summary, Total
from resources.declaration import Declaration, SearchParameter

_ELEMENT = re.compile(r"[A-Za-z][A-Za-z0-9]*(\.[A-Za-z][A-Za-z0-9]*)*")
_SORTABLE = frozenset({"date", "number", "quantity", "reference", "string", "token", "uri"})


class UnknownName(Exception):
    """A value names something that is not declared; an error, of this code, unless the caller asked for leniency."""

    def __init__(self, told: str, *, code: str | None = None) -> None:
        """Keep the text; without a code, the error is that of a request that is not understood."""
        super().__init__(told)
        self.code = code


@dataclass(slots=True)
class Wanted:
    """How the result is wanted, gathered parameter by parameter."""

    declaration: Declaration
    supported: Mapping[str, Declaration]
    count_max: int
    count: int
    sort: tuple[tuple[str, bool], ...] = ()
    summary: Summary | None = None
    elements: tuple[str, ...] = ()
    total: Total | None = None
    includes: list[Include] = field(default_factory=list)
    searched: Sequence[str] = ()
    """The types searched together."""
    contained: Contained = "false"
    contained_type: ContainedType = "container"


def count(value: str, wanted: Wanted) -> str:
    """`_count`: the size of a page, held below the server's greatest; 0 asks for the total alone."""
    if not (value.isascii() and value.isdigit() and len(value) <= 9):
        raise BadRequest(f"_count: '{value}' is not a whole number of entries", expression="_count")
    wanted.count = min(int(value), wanted.count_max)
    return str(wanted.count)


def sort(value: str, wanted: Wanted) -> str:
    """`_sort`: parameters in order of precedence, each descending if a minus stands before it."""
    keys = []
    for text in value.split(","):
        name = text.removeprefix("-")
        keys.append((_sortable(name, wanted.declaration), name != text))
    if len({name for name, _ in keys}) < len(keys):
        raise BadRequest("_sort: each parameter may be named once", expression="_sort")
    wanted.sort = tuple(keys)
    return value


def _sortable(name: str, declaration: Declaration) -> str:
    if name == "_score":
        raise NotSupported("_sort: this server computes no _score", expression="_sort")
    parameter = declaration.parameters.get(name)
    if parameter is None:
        raise UnknownName(f"_sort: {declaration.type} has no search parameter '{name}'")
    if parameter.type not in _SORTABLE:
        raise NotSupported(f"_sort: a {parameter.type} parameter has no order ('{name}')", expression="_sort")
    return name


def summary(value: str, wanted: Wanted) -> str:
    """`_summary`: which part of each resource is wanted, or the count alone."""
    wanted.summary = cast("Summary", _one_of("_summary", value, get_args(Summary)))
    return value


def total(value: str, wanted: Wanted) -> str:
    """`_total`: how exact the total is wanted."""
    wanted.total = cast("Total", _one_of("_total", value, get_args(Total)))
    return value


def elements(value: str, wanted: Wanted) -> str:
    """`_elements`: the elements wanted of each resource; the mandatory ones come in any case."""
    names = tuple(dict.fromkeys(value.split(",")))
    if bad := [name for name in names if not _ELEMENT.fullmatch(name)]:
        raise BadRequest(f"_elements: '{bad[0]}' is not the name of an element", expression="_elements")
    wanted.elements = names
    return value


def contained(value: str, wanted: Wanted) -> str:
    """`_contained`: whether contained resources are searched, alone (`true`) or too (`both`)."""
    wanted.contained = cast("Contained", _one_of("_contained", value, get_args(Contained)))
    if wanted.contained != "false" and wanted.declaration.type in APART:
        raise NotSupported(
            f"_contained: nothing contains a resource of type {wanted.declaration.type}", expression="_contained"
        )
    return value


def contained_type(value: str, wanted: Wanted) -> str:
    """`_containedType`: whether the container is returned, or the contained resource itself."""
    found = _one_of("_containedType", value, get_args(ContainedType))
    wanted.contained_type = cast("ContainedType", found)
    return value


def include(value: str, wanted: Wanted, *, iterate: bool = False) -> str:
    """`_include=[source]:[parameter](:[target])`: what the matches refer to; iterated, also what the included refer to.

    `[source]:*` stands for every reference parameter of a type, `*` for those of all types searched.
    """
    for source, name, target in _named("_include", value, wanted, iterate=iterate):
        if source not in wanted.searched and not iterate:
            raise BadRequest(
                f"_include: the source of '{value}' is not a type searched, {', '.join(wanted.searched)}",
                expression="_include",
            )
        parameter = _reference_parameter("_include", source, name, wanted)
        _check_target("_include", parameter, target, wanted)
        wanted.includes.append(Include(source, name, target, iterate=iterate))
    return value


def revinclude(value: str, wanted: Wanted, *, iterate: bool = False) -> str:
    """`_revinclude=[source]:[parameter](:[target])`: what refers to the matches; iterated, also to the included.

    `[source]:*` stands for every parameter of a type that may refer to what is searched, `*` for those of all types.
    """
    is_wild = value.partition(":")[2] in {"", "*"}
    for source, name, target in _named("_revinclude", value, wanted, iterate=True):
        if source in APART:
            if is_wild:
                continue
            raise NotSupported(
                f"_revinclude: a {source} is not included; search it by itself", expression="_revinclude"
            )
        parameter = _reference_parameter("_revinclude", source, name, wanted)
        targets = [type_ for type_ in wanted.searched if not parameter.targets or type_ in parameter.targets]
        if is_wild and not (targets or iterate):
            continue
        if not iterate and target is not None and target not in wanted.searched:
            raise BadRequest(
                f"_revinclude: the target of '{value}' is not a type searched, {', '.join(wanted.searched)}",
                expression="_revinclude",
            )
        _check_target("_revinclude", parameter, target, wanted)
        if not (targets or iterate):
            _check_target("_revinclude", parameter, wanted.searched[0], wanted)
        wanted.includes.append(Include(source, name, target, iterate=iterate, reverse=True))
    return value


def _named(name: str, value: str, wanted: Wanted, *, iterate: bool) -> Iterator[tuple[str, str, str | None]]:
    """Source, parameter and target that a value names; several where it has a `*`, whose source is then any type."""
    match value.split(":"):
        case ["*"]:
            sources = wanted.supported if iterate else wanted.searched
            yield from ((source, one, None) for source in sources for one in _references_of(source, wanted))
        case [source, "*"] if source:
            if source not in wanted.supported:
                raise UnknownName(f"{name}: '{source}' is not a resource type of this server")
            yield from ((source, one, None) for one in _references_of(source, wanted))
        case [source, parameter] if source and parameter:
            yield source, parameter, None
        case [source, parameter, target] if source and parameter and target and "*" not in value:
            yield source, parameter, target
        case _:
            raise BadRequest(
                f"{name}: write Type:parameter, Type:parameter:TargetType, Type:* or *, not '{value}'", expression=name
            )


def _references_of(source: str, wanted: Wanted) -> list[str]:
    return [name for name, one in wanted.supported[source].parameters.items() if one.type == "reference"]


def _reference_parameter(name: str, source: str, parameter_name: str, wanted: Wanted) -> SearchParameter:
    declaration = wanted.supported.get(source)
    if declaration is None:
        raise UnknownName(f"{name}: '{source}' is not a resource type of this server")
    parameter = declaration.parameters.get(parameter_name)
    if parameter is None:
        raise UnknownName(f"{name}: {source} has no search parameter '{parameter_name}'")
    if parameter.type != "reference":
        raise BadRequest(f"{name}: {source}.{parameter_name} is a {parameter.type}, not a reference", expression=name)
    return parameter


def _check_target(name: str, parameter: SearchParameter, target: str | None, wanted: Wanted) -> None:
    if target is not None and (
        target not in wanted.supported or (parameter.targets and target not in parameter.targets)
    ):
        raise BadRequest(f"{name}: '{parameter.name}' does not refer to {target}", expression=name)


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise BadRequest(f"{name}: '{value}' is none of {', '.join(allowed)}", expression=name)
    return value


def passed_over(value: str, _wanted: Wanted) -> str:
    """`_format` and `_pretty`: decided with the content type, not here."""
    return value


RESULT_PARAMETERS: Mapping[str, Callable[[str, Wanted], str]] = {
    "_contained": contained,
    "_containedType": contained_type,
    "_count": count,
    "_elements": elements,
    "_format": passed_over,
    "_include": include,
    "_include:iterate": partial(include, iterate=True),
    "_pretty": passed_over,
    "_revinclude": revinclude,
    "_revinclude:iterate": partial(revinclude, iterate=True),
    "_sort": sort,
    "_summary": summary,
    "_total": total,
}
"""Each takes the value and what is wanted so far, and gives the value as it was used."""

REPEATABLE = frozenset({"_include", "_revinclude"})
