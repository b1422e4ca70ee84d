"""The schema as introspection tells of it: the types of R4 with their fields, and the queries at an address.

A type is described when it is asked for, from its structure and from the search parameters as they are, and is not
kept: the whole schema as objects would be tens of megabytes in each process, and nobody asks for it twice. GraphQL's
own types come from graphql-core.

https://spec.graphql.org/October2021/#sec-Schema-Introspection, https://hl7.org/fhir/R4/graphql.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from graphql import (
    DirectiveLocation,
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLObjectType,
    introspection_types,
    is_enum_type,
    is_list_type,
    is_non_null_type,
    is_object_type,
)

from fhirserver.operations.graphql.document import DIRECTIVES, graphql_name
from fhirserver.operations.graphql.members import CONNECTION, EDGE, LIST, Member, members
from fhirserver.operations.operation import Target
from fhirserver.search import text
from resources import SUPPORTED
from resources.declaration import Declaration
from resources.structure import PRIMITIVES, structures

QUERY = "Query"
_RESOURCE = "Resource"

_OWN_SCALARS = {
    "boolean": "Boolean",
    "id": "ID",
    "integer": "Int",
    "positiveInt": "Int",
    "string": "String",
    "unsignedInt": "Int",
}
"""The primitives of FHIR that are one of GraphQL; a decimal is not, since a Float need not keep its digits."""

_SEARCHED_BY = frozenset({"composite", "date", "number", "quantity", "reference", "special", "token", "uri"})
_SCALARS = sorted({*_OWN_SCALARS.values(), *(PRIMITIVES - _OWN_SCALARS.keys()), *_SEARCHED_BY})


@dataclass(frozen=True, slots=True)
class Type:
    """A type as it is referred to: by kind and name, or around another one (`LIST`, `NON_NULL`)."""

    kind: str
    name: str | None
    of: Type | None = None


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a field or a directive."""

    name: str
    type: Type
    default: str | None = None


@dataclass(frozen=True, slots=True)
class FieldOf:
    """A field of a type."""

    name: str
    type: Type
    args: tuple[Argument, ...] = ()


@dataclass(frozen=True, slots=True)
class Described:
    """What a named type is: what has no meaning for its kind is None."""

    fields: tuple[FieldOf, ...] | None = None
    interfaces: tuple[Type, ...] | None = None
    possible: tuple[Type, ...] | None = None
    values: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Directive:
    """A directive, and where it may stand."""

    name: str
    locations: tuple[str, ...]
    args: tuple[Argument, ...]


def _scalar(name: str) -> Type:
    return Type("SCALAR", name)


def _object(name: str) -> Type:
    return Type("OBJECT", graphql_name(name))


def _list(of: Type) -> Type:
    return Type("LIST", None, of)


_STRING, _INT, _BOOLEAN, _ID = _scalar("String"), _scalar("Int"), _scalar("Boolean"), _scalar("ID")
_CODE = _scalar("code")
_ANY = Type("INTERFACE", _RESOURCE)
_PAGED = (Argument("_count", _INT), Argument("_offset", _INT))
_RESOLVED = FieldOf("resource", _ANY, (Argument("optional", _BOOLEAN), Argument("type", _CODE)))
_TYPE = FieldOf("resourceType", _CODE)
_CONNECTED = (
    *(FieldOf(name, _INT) for name in ("count", "offset", "pagesize", "pageSize")),
    *(FieldOf(name, _STRING) for name in ("first", "previous", "next", "last")),
)
_RESULT = (("_filter", _STRING), ("_list", _STRING), ("_sort", _STRING), ("_count", _INT), ("_total", _CODE))
_ASKED = {"string": "String"}


class Schema:
    """The schema at an address, with the search parameters of each type as they are."""

    def __init__(self, target: Target, declarations: Mapping[str, Declaration]) -> None:
        """Nothing is described yet. Of a resource the schema is the same whether it exists or not."""
        self._target = target
        self._declarations = declarations

    @property
    def query(self) -> Type:
        """The type of what is asked at the root: the resource, or queries."""
        return _object(self._target.type if self._target.id else QUERY)

    def types(self) -> Iterator[Type]:
        """Every named type."""
        yield self.query
        for type_ in self._queried():
            if type_ != "Binary":
                yield from (_object(f"{type_}{form}") for form in (CONNECTION, EDGE))
        yield _ANY
        yield from (_object(name) for name in _objects() if not self._target.id or name != self._target.type)
        yield from (_scalar(name) for name in _SCALARS)
        yield from (_named(own) for own in introspection_types.values())

    def _queried(self) -> tuple[str, ...]:
        """The types that are asked for, by a query or from the resource."""
        return (self._target.type,) if self._target.type and not self._target.id else tuple(SUPPORTED)

    def find(self, name: str) -> Type | None:
        """The type of a name."""
        return next((one for one in self.types() if one.name == name), None)

    def described(self, type_: Type) -> Described:
        """What a named type of this schema is."""
        name = type_.name or ""
        if name in introspection_types:
            return _own(name)
        if type_.kind != "OBJECT":
            return _abstract() if type_ == _ANY else Described()
        if name == QUERY:
            return Described(tuple(self._queries()), ())
        for form in (CONNECTION, EDGE):
            if (of := name.removesuffix(form)) != name and of in SUPPORTED:
                return Described(_connection(of) if form == CONNECTION else _edge(of), ())
        fields = _fields(name.replace("_", "."))
        if self._target.id and name == self._target.type:
            fields = (*fields, *self._searches(within=True))
        return Described(fields, (_ANY,) if name in SUPPORTED else ())

    def _queries(self) -> Iterator[FieldOf]:
        for type_ in self._queried():
            yield FieldOf(type_, _object(type_), (Argument("id", Type("NON_NULL", None, _ID)),))
        yield from self._searches(within=False)

    def _searches(self, *, within: bool) -> Iterator[FieldOf]:
        """The searches at the root, or within the resource, which say by which parameter."""
        for type_ in self._queried():
            if type_ == "Binary":
                continue
            args = self._searched_by(type_)
            if within:
                args = (Argument("_reference", Type("NON_NULL", None, _STRING)), *args)
            yield FieldOf(f"{type_}{LIST}", _list(_object(type_)), args)
            cursor = () if within else (Argument("_cursor", _STRING),)
            yield FieldOf(f"{type_}{CONNECTION}", _object(f"{type_}{CONNECTION}"), (*cursor, *args))

    def _searched_by(self, type_: str) -> tuple[Argument, ...]:
        """The arguments of a search, a list of values being alternatives."""
        found: dict[str, Type] = {}
        for name in () if type_ in text.WITHOUT else sorted(text.PARAMETERS):
            found[name] = _list(_STRING)
        for name, parameter in sorted(self._declarations[type_].parameters.items()):
            found.setdefault(name.replace("-", "_"), _list(_scalar(_ASKED.get(parameter.type, parameter.type))))
        found |= dict(_RESULT)
        return tuple(Argument(name, asked) for name, asked in found.items())


def directives() -> Iterator[Directive]:
    """The directives that are understood."""
    for name, args in DIRECTIVES.items():
        is_of_graphql = name in {"skip", "include"}
        locations = [DirectiveLocation.FIELD]
        if is_of_graphql:
            locations += [DirectiveLocation.FRAGMENT_SPREAD, DirectiveLocation.INLINE_FRAGMENT]
        of = Type("NON_NULL", None, _BOOLEAN) if is_of_graphql else _STRING
        told = tuple(Argument(one, of) for one in sorted(args))
        yield Directive(name, tuple(one.name for one in locations), told)


@cache
def _objects() -> tuple[str, ...]:
    """The types of FHIR that are objects: what is concrete, and Element, of which the extensions of primitives are."""
    known = structures()
    return tuple(
        name
        for name, one in known.items()
        if (not one.abstract or name == "Element")
        and (known[name.partition(".")[0]].kind != "resource" or name.partition(".")[0] in SUPPORTED)
    )


def _fields(type_: str) -> tuple[FieldOf, ...]:
    found = [_field(name, member) for name, member in members(type_).items()]
    if type_ == "Reference":
        found.append(_RESOLVED)
    if type_ in SUPPORTED:
        found.append(_TYPE)
    return tuple(found)


def _field(name: str, member: Member) -> FieldOf:
    type_ = member.kind.type
    if member.is_leaf:
        own = _scalar_of(type_)
        return FieldOf(name, _list(own) if member.is_many else own)
    own = _ANY if type_ == _RESOURCE else _object(type_)
    if not member.is_many:
        return FieldOf(name, own)
    return FieldOf(name, _list(own), (*_PAGED, *_selecting(type_)))


@cache
def _selecting(type_: str) -> tuple[Argument, ...]:
    """The arguments by which the values of a repeating element are selected: its own primitive elements."""
    return tuple(Argument(name, _scalar_of(below.kind.type)) for name, below in members(type_).items() if below.is_leaf)


def _scalar_of(type_: str) -> Type:
    return _scalar(_OWN_SCALARS.get(type_, type_))


def _abstract() -> Described:
    """Resource: what all have, and which they are."""
    fields = (*(_field(name, member) for name, member in members(_RESOURCE).items()), _TYPE)
    return Described(fields, (), tuple(_object(type_) for type_ in SUPPORTED))


def _connection(type_: str) -> tuple[FieldOf, ...]:
    return (*_CONNECTED, FieldOf("edges", _list(_object(f"{type_}{EDGE}"))))


def _edge(type_: str) -> tuple[FieldOf, ...]:
    return (FieldOf("mode", _CODE), FieldOf("score", _scalar("decimal")), FieldOf("resource", _object(type_)))


# GraphQL's own types, from graphql-core


def _own(name: str) -> Described:
    own = introspection_types[name]
    if isinstance(own, GraphQLObjectType):
        fields = tuple(
            FieldOf(name, _type(one.type), tuple(_argument(arg, of) for arg, of in one.args.items()))
            for name, one in own.fields.items()
        )
        return Described(fields, ())
    return Described(values=tuple(own.values) if isinstance(own, GraphQLEnumType) else ())


def _argument(name: str, argument: GraphQLArgument) -> Argument:
    default = argument.default_value
    return Argument(name, _type(argument.type), str(default).lower() if isinstance(default, bool) else None)


def _type(own: Any) -> Type:
    if is_non_null_type(own):
        return Type("NON_NULL", None, _type(own.of_type))
    return _list(_type(own.of_type)) if is_list_type(own) else _named(own)


def _named(own: Any) -> Type:
    kind = "OBJECT" if is_object_type(own) else "ENUM" if is_enum_type(own) else "SCALAR"
    return Type(kind, own.name)
