"""From the parameters of a search to a `Query` (https://hl7.org/fhir/R4/search.html).

What is not understood is refused, never ignored: dropping a criterion would return more than was asked. Leniency puts
aside only what names an unknown parameter; a modifier that is not offered is refused in any case, as the specification
demands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from typing import Any as AnyValue
from typing import Protocol, TypeAlias

from fhirserver.errors import BadRequest, NotSupported, TooCostly
from fhirserver.search import composite, date, near, number, quantity, reference, string, text, token, uri
from fhirserver.search.escape import split
from fhirserver.search.expression import (
    Always,
    Any,
    Expression,
    Interval,
    Not,
    ReferredBy,
    Refers,
    StartsWith,
    all_of,
    any_of,
)
from fhirserver.search.filter import Reader, Subject
from fhirserver.search.links import Chain, Has, Last, first_step, of_contained
from fhirserver.search.query import Branch, Contained, Handling, Include, Pair, Query
from fhirserver.search.result_parameters import REPEATABLE, RESULT_PARAMETERS, UnknownName, Wanted
from fhirserver.search.stored import SEPARATOR, Context, Lookup
from resources.declaration import Declaration, SearchParameter

__all__ = ["Include", "Query", "parse", "parse_together"]

MOST_PAIRS = 200
MOST_COMPARISONS = 5000
MOST_LINKS = 30
"""What one search may ask, so that no single request can occupy the database.

A reference counts as a link for each type that it is followed to.
"""

_NOT_OFFERED = frozenset({"_type"})
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


class _ParameterType(Protocol):
    """What each module of a parameter type offers to the parser."""

    MODIFIERS: frozenset[str]

    def expression(
        self, parameter: SearchParameter, modifier: str | None, value: str, context: Context, /
    ) -> Expression: ...


_TYPES: Mapping[str, _ParameterType] = {
    "composite": composite,
    "date": date,
    "number": number,
    "quantity": quantity,
    "reference": reference,
    "special": near,
    "string": string,
    "token": token,
    "uri": uri,
}
_OF_ALL = frozenset({"_id", "_lastUpdated"})
"""What containers of any type can be sorted by."""
_ORDERED = frozenset({"date", "number", "quantity"})


@dataclass(slots=True)
class _Reading:
    """One search while it is read."""

    declaration: Declaration
    context: Context
    handling: Handling
    wanted: Wanted
    criteria: list[Expression] = field(default_factory=list)
    used: list[Pair] = field(default_factory=list)
    ignored: list[Pair] = field(default_factory=list)
    comparisons: int = 0
    links: int = 0

    def follow(self, path: str) -> None:
        """Count one link. Raises TooCostly beyond the limit."""
        self.links += 1
        if self.links > MOST_LINKS:
            raise TooCostly(
                f"a search follows at most {MOST_LINKS} references; say to which type, as in subject:Patient.name",
                expression=path,
            )


def parse(
    declaration: Declaration,
    pairs: Sequence[Pair],
    *,
    handling: Handling,
    zone: tzinfo,
    supported: Mapping[str, Declaration],
    base: str | None = None,
    lookup: Lookup | None = None,
    searched: Sequence[str] = (),
    count_default: int = 20,
    count_max: int = 1000,
) -> Query:
    """Read the parameters, already percent-decoded and in their order, of a search for the declared type.

    `lookup` is how `:in`, `:above` and `:below` ask the stored resources; `searched` are the types that are searched
    together. Raises BadRequest with the parameter's name
    as `expression`; its code is `not-supported` for what FHIR defines and this server does not offer, `too-costly` for
    too much at once, `invalid` for the rest.
    """
    if len(pairs) > MOST_PAIRS:
        raise TooCostly(f"a search has at most {MOST_PAIRS} parameters")
    context = Context(zone, base, supported, lookup)
    wanted = Wanted(declaration, supported, count_max, count_default, searched=searched or (declaration.type,))
    reading = _Reading(declaration, context, handling, wanted)
    for name, value in pairs:
        _read(name, value, reading)
    return _query(reading)


def parse_together(
    declarations: Sequence[Declaration], pairs: Sequence[Pair], *, handling: Handling, **settings: AnyValue
) -> Query:
    """Read the parameters of a search for several types, each of which has every parameter.

    `settings` and errors are those of `parse`. What leniency passes over for one type is passed over for all.
    """
    used, ignored = tuple(pairs), dict[str, str]()
    searched = [declaration.type for declaration in declarations]
    while True:
        found = [parse(one, used, handling=handling, searched=searched, **settings) for one in declarations]
        unknown = {name: reason for query in found for name, reason in query.ignored}
        if not unknown:
            break
        ignored |= unknown
        used = tuple((name, value) for name, value in used if name not in unknown)
    if any(query.is_of_contained for query in found):
        raise not_contained()
    alike: dict[Expression, list[str]] = {}
    for query in found:
        alike.setdefault(query.expression, []).append(query.type)
    return replace(
        found[0],
        type="",
        expression=Always(),
        branches=tuple(Branch(tuple(types), expression) for expression, types in alike.items()),
        ignored=tuple(ignored.items()),
    )


def _query(reading: _Reading) -> Query:
    wanted = reading.wanted
    if wanted.summary == "text" and wanted.includes:
        raise BadRequest("_summary=text cannot be mixed with _include and _revinclude", expression="_summary")
    if wanted.contained != "false":
        _check_contained(wanted)
    type_, expression = reading.declaration.type, all_of(reading.criteria) if reading.criteria else Always()
    branches = _branches(wanted.contained, type_, expression)
    return Query(
        type="" if branches else type_,
        expression=Always() if branches else expression,
        count=0 if wanted.summary == "count" else wanted.count,
        sort=wanted.sort,
        summary=wanted.summary,
        elements=wanted.elements,
        total=wanted.total,
        includes=tuple(dict.fromkeys(wanted.includes)),
        ignored=tuple(reading.ignored),
        self_pairs=tuple(reading.used),
        branches=branches,
        contained_type=wanted.contained_type,
    )


def _branches(contained: Contained, type_: str, expression: Expression) -> tuple[Branch, ...]:
    """What is asked of the resources of a type and of what contains some; nothing where it is not asked apart."""
    if contained == "false":
        return ()
    own = (Branch((type_,), expression),) if contained == "both" else ()
    return (*own, Branch((), of_contained(expression), contained=type_))


def not_contained() -> NotSupported:
    """The refusal of `_contained` where it is not offered."""
    return NotSupported("_contained is offered for searches of one resource type", expression="_contained")


def _check_contained(wanted: Wanted) -> None:
    """Refuse what has no meaning for the containers that a search of contained resources returns."""
    if wanted.includes:
        raise NotSupported("_contained cannot be mixed with _include and _revinclude", expression="_contained")
    if unfit := [name for name, _ in wanted.sort if name not in _OF_ALL]:
        raise NotSupported(
            f"_contained: containers are sorted by {' and '.join(sorted(_OF_ALL))} only, not by {unfit[0]}",
            expression="_sort",
        )


def _read(name: str, value: str, reading: _Reading) -> None:
    """One parameter: used, refused, or with leniency put aside."""
    _check_characters(name, value)
    bare, _, modifier = name.partition(":")
    try:
        if not value:
            raise UnknownName(f"{name} has no value")
        if bare in RESULT_PARAMETERS:
            value = _read_result_parameter(bare, modifier, value, reading)
        else:
            reading.criteria.append(_criterion(name, value, reading.declaration, reading))
    except UnknownName as unknown:
        if reading.handling == "strict":
            raise BadRequest(str(unknown), code=unknown.code, expression=bare) from None
        reading.ignored.append((name, str(unknown)))
    else:
        reading.used.append((name, value))


def _check_characters(name: str, value: str) -> None:
    """Refuse what no FHIR string holds and no index stores."""
    if _CONTROL.search(name):
        raise BadRequest("the name of a parameter holds a control character")
    if _CONTROL.search(value):
        raise BadRequest(f"{name}: the value holds a control character", expression=name)


def _read_result_parameter(name: str, modifier: str, value: str, reading: _Reading) -> str:
    """One parameter about the result; gives its value as it was used."""
    read = RESULT_PARAMETERS.get(f"{name}:{modifier}" if modifier else name)
    if read is None:
        raise NotSupported(f"{name}: the modifier ':{modifier}' is not offered", expression=name)
    if name not in REPEATABLE and any(used == name for used, _ in reading.used):
        raise BadRequest(f"{name} may be given once", expression=name)
    return read(value, reading.wanted)


def _criterion(path: str, value: str, declaration: Declaration, reading: _Reading) -> Expression:
    """The expression of one parameter of a type, whose name may follow references."""
    match first_step(path):
        case Has() as has:
            return _referred_by(
                path, has, declaration, reading, lambda source: _criterion(has.rest, value, source, reading)
            )
        case Chain() as chain:
            return _refers(
                path, chain, declaration, reading, lambda target: _criterion(chain.rest, value, target, reading)
            )
        case Last("_list", modifier):
            return _listed(modifier, value, declaration, reading)
        case Last(name, modifier):
            return _values(name, modifier, value, declaration, reading)


_Ask: TypeAlias = Callable[[Declaration], Expression]
"""What is asked of a resource that a reference leads to, or comes from, by its type."""


def _referred_by(path: str, has: Has, declaration: Declaration, reading: _Reading, ask: _Ask) -> Expression:
    """`_has`: a resource of another type refers to this one, and what is asked holds of that."""
    reading.follow(path)
    source = reading.context.types.get(has.type)
    if source is None:
        raise UnknownName(f"{path}: '{has.type}' is not a resource type of this server")
    parameter = _reference(path, has.param, source)
    if parameter.targets and declaration.type not in parameter.targets:
        raise BadRequest(f"{path}: {has.type}.{has.param} does not refer to {declaration.type}", expression=path)
    return ReferredBy(has.type, has.param, declaration.type, ask(source))


def _refers(path: str, chain: Chain, declaration: Declaration, reading: _Reading, ask: _Ask) -> Expression:
    """A chain: what is asked holds of what the reference leads to. Types of which the same is asked go together."""
    parameter = _reference(path, chain.param, declaration)
    types_of: dict[Expression, list[str]] = {}
    unknown = None
    for type_ in _destinations(path, chain, parameter, reading):
        reading.follow(path)
        try:
            part = ask(reading.context.types[type_])
        except UnknownName as error:  # a reference that may lead to several types: those that have the parameter
            unknown = error
            continue
        types_of.setdefault(part, []).append(type_)
    if not types_of:
        raise unknown or UnknownName(f"{path}: '{chain.param}' refers to nothing that can be searched")
    return any_of(Refers(chain.param, tuple(types), part) for part, types in types_of.items())


def _reference(path: str, name: str, declaration: Declaration) -> SearchParameter:
    """The parameter whose references are followed."""
    parameter = declaration.parameters.get(name)
    if parameter is None:
        raise UnknownName(f"{path}: {declaration.type} has no search parameter '{name}'")
    if parameter.type != "reference":
        raise BadRequest(f"{path}: {declaration.type}.{name} is a {parameter.type}, not a reference", expression=path)
    return parameter


def _destinations(path: str, chain: Chain, parameter: SearchParameter, reading: _Reading) -> list[str]:
    """The types that a chain leads to; of several, those whose parameters hold what is asked next."""
    if chain.type is not None:
        if chain.type not in reading.context.types:
            raise BadRequest(f"{path}: '{chain.type}' is not a resource type of this server", expression=path)
        if parameter.targets and chain.type not in parameter.targets:
            raise BadRequest(f"{path}: {chain.param} does not refer to {chain.type}", expression=path)
        if chain.type == "Binary":
            raise NotSupported(f"{path}: a Binary is not searched", expression=path)
        return [chain.type]
    targets = parameter.targets or reading.context.types.keys()
    return sorted(type_ for type_ in targets if type_ in reading.context.types and type_ != "Binary")


def _listed(modifier: str | None, value: str, declaration: Declaration, reading: _Reading) -> Expression:
    """`_list`: an entry of a List names the resource, as `_has:List:item:_id` asks."""
    if modifier is not None:
        raise NotSupported(f"_list: the modifier ':{modifier}' is not offered", expression="_list")
    if "$" in value:
        raise NotSupported("_list: functional lists such as $current-problems are not offered", expression="_list")
    return _referred_by(
        "_list",
        Has("List", "item", "_id"),
        declaration,
        reading,
        lambda source: _criterion("_id", value, source, reading),
    )


def _values(name: str, modifier: str | None, value: str, declaration: Declaration, reading: _Reading) -> Expression:
    """The expression of one parameter of the resource itself: any of its values."""
    if name == "_filter":
        return _filter(modifier, value, declaration, reading)
    if name in text.PARAMETERS:
        return _words(name, modifier, value, declaration, reading)
    parameter = _declared(name, declaration)
    if modifier == "missing":
        return _missing(parameter, value)
    _check_modifier(parameter, modifier, reading)
    texts = split(value, ",")
    if not all(texts):
        raise BadRequest(f"{name}: one of the values separated by commas is empty", expression=name)
    found = any_of(_alternatives(parameter, modifier, texts, reading))
    return Not(found) if modifier in token.NEGATIVE else found


def _filter(modifier: str | None, value: str, declaration: Declaration, reading: _Reading) -> Expression:
    """`_filter`, whose tests are criteria of their own."""
    if modifier is not None:
        raise NotSupported("_filter takes no modifier", expression="_filter")
    try:
        return Reader(value, reading.context).read(_Subject(declaration, reading))
    except UnknownName as unknown:  # leniency would leave a filter that says something else
        raise BadRequest(f"_filter: {unknown}", expression="_filter") from None


@dataclass(frozen=True, slots=True)
class _Subject:
    """The type of which the tests of a filter are read (`filter.Subject`)."""

    declaration: Declaration
    reading: _Reading

    def declared(self, name: str) -> SearchParameter:
        return _declared(name, self.declaration)

    def criterion(self, name: str, modifier: str | None, value: str) -> Expression:
        return _values(name, modifier, value, self.declaration, self.reading)

    def refers(self, name: str, type_: str | None, ask: Callable[[Subject], Expression]) -> Expression:
        chain = Chain(name, type_, "")
        return _refers("_filter", chain, self.declaration, self.reading, self._asking(ask))

    def referred_by(self, type_: str, name: str, ask: Callable[[Subject], Expression]) -> Expression:
        has = Has(type_, name, "")
        return _referred_by("_filter", has, self.declaration, self.reading, self._asking(ask))

    def _asking(self, ask: Callable[[Subject], Expression]) -> _Ask:
        return lambda declaration: ask(_Subject(declaration, self.reading))


def _words(name: str, modifier: str | None, value: str, declaration: Declaration, reading: _Reading) -> Expression:
    """`_text` and `_content`: any of the queries of words."""
    if modifier is not None:
        raise NotSupported(f"{name} takes no modifier", expression=name)
    if declaration.type in text.WITHOUT:
        raise NotSupported(f"{name} is not offered for {declaration.type}", expression=name)
    texts = split(value, ",")
    if not all(texts):
        raise BadRequest(f"{name}: one of the values separated by commas is empty", expression=name)
    reading.comparisons += len(texts) * text.MOST_ASKED
    _check_comparisons(name, reading)
    return any_of(text.expression(name, one) for one in texts)


def _alternatives(
    parameter: SearchParameter, modifier: str | None, texts: list[str], reading: _Reading
) -> Iterator[Expression]:
    """The comparison of each value; an id without a type is one comparison for each type that it may have."""
    compare = _TYPES[parameter.type].expression
    for one in texts:
        found = compare(parameter, modifier, one, reading.context)
        reading.comparisons += len(found.parts) if isinstance(found, Any) else 1
        _check_comparisons(parameter.name, reading)
        yield found


def _check_comparisons(name: str, reading: _Reading) -> None:
    if reading.comparisons > MOST_COMPARISONS:
        raise TooCostly(f"a search makes at most {MOST_COMPARISONS} comparisons", expression=name)


def _declared(name: str, declaration: Declaration) -> SearchParameter:
    """The parameter of that name; refuses what FHIR defines but is not offered, and then what is not known."""
    if name in _NOT_OFFERED:
        raise NotSupported(f"{name} is not offered", expression=name)
    if name == "_query":  # https://hl7.org/fhir/R4/search.html#query
        raise UnknownName("_query: no named query is defined on this server", code="not-supported")
    parameter = declaration.parameters.get(name)
    if parameter is None:
        raise UnknownName(f"{declaration.type} has no search parameter '{name}'")
    if parameter.type not in _TYPES:
        raise NotSupported(f"{name}: parameters of type {parameter.type} are not offered", expression=name)
    return parameter


def _check_modifier(parameter: SearchParameter, modifier: str | None, reading: _Reading) -> None:
    if modifier is None or modifier in _TYPES[parameter.type].MODIFIERS:
        return
    if parameter.type == "reference" and modifier in reading.context.types:
        if parameter.targets and modifier not in parameter.targets:
            raise BadRequest(f"{parameter.name} does not refer to {modifier}", expression=parameter.name)
        return
    raise NotSupported(
        f"{parameter.name}: the modifier ':{modifier}' is not offered for a {parameter.type} parameter",
        expression=parameter.name,
    )


def _missing(parameter: SearchParameter, value: str) -> Expression:
    """`:missing`: whether the resource has any value, found by the beginnings that all its values have."""
    name = parameter.name
    if parameter.type == "composite":
        raise NotSupported(f"{name}: the modifier ':missing' is not defined for a composite parameter", expression=name)
    if value not in {"true", "false"}:
        raise BadRequest(f"{name}:missing: '{value}' is neither true nor false", expression=name)
    present: Expression
    if parameter.type in _ORDERED:
        present = Interval(name)
    else:
        present = any_of((StartsWith(name + SEPARATOR), StartsWith(f"{name}:")))
    return Not(present) if value == "true" else present
