"""`__schema` and `__type`: what may be asked, as any client of GraphQL asks for it.

The answer is written type by type, and compressed as it is written, so that neither the schema nor what is written of
it is in memory as a whole before it is sent. It tells of no record: it is the same for everybody, as the
CapabilityStatement is, and whether a resource exists plays no part in it.

https://spec.graphql.org/October2021/#sec-Introspection
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import msgspec
from graphql import GraphQLObjectType, get_named_type, introspection_types, is_leaf_type

from fhirserver.errors import TooCostly
from fhirserver.interactions.context import Context
from fhirserver.operations.graphql.document import Field
from fhirserver.operations.graphql.output import Selections
from fhirserver.operations.graphql.schema import Argument, Described, Schema, Type, directives
from fhirserver.operations.operation import Target

FIELDS = frozenset({"__schema", "__type"})

MOST_BYTES = 80_000_000
"""What is written for one answer, the parts within parts counted again; the usual query takes thirty-five millions."""

_MOST_KEPT, _LEVEL = 4, 3
_encode = msgspec.json.encode

_kept: dict[tuple[Any, ...], bytes] = {}
_writing = threading.Lock()
"""One answer is written at a time: it is work of the processor alone, and the largest are some megabytes."""


def introspect(context: Context, target: Target, asked: Field, before: bytes = b"", after: bytes = b"") -> bytes:
    """The value of `__schema` or `__type` as JSON, with what stands before and after it in the answer.

    Raises BadRequest for what these have not, TooCostly for too much of it.
    """
    catalogue = context.store.parameters()
    key = (target.level, target.type, catalogue.identity, _said(asked), before, after)
    with _writing:
        found = _kept.get(key)
        if found is None:
            found = _packed(chain((before,), _Writer(Schema(target, catalogue.readable)).root(asked), (after,)))
            if len(_kept) >= _MOST_KEPT:
                _kept.pop(next(iter(_kept)))
            _kept[key] = found
        return zlib.decompress(found)


def _packed(pieces: Iterable[bytes]) -> bytes:
    """The pieces as one, compressed while they come."""
    compressor = zlib.compressobj(_LEVEL)
    return b"".join([*map(compressor.compress, pieces), compressor.flush()])


def _said(field: Field) -> str:
    """What a field asks for, wherever in the query it stands."""
    below = " ".join(map(_said, field.selections))
    return f"{field.alias}:{field.name}:{field.on}{field.arguments!r}{field.directives!r}{{{below}}}"


class _Writer:
    """Writes one answer. What is asked alike of the same type or argument is written once."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._selections = Selections()
        self._written: dict[tuple[tuple[Field, ...], Any], bytes] = {}
        self._checked: set[tuple[str, tuple[Field, ...]]] = set()
        self._left = MOST_BYTES

    def root(self, asked: Field) -> Iterator[bytes]:
        """The value of `__schema` or `__type`, in pieces."""
        if asked.directives.keys() - {"skip", "include"}:
            raise asked.error("Introspection is not flattened.")
        if asked.name == "__schema":
            if asked.arguments:
                raise asked.error("__schema has no arguments.")
            yield from self._whole(asked)
            return
        name = asked.arguments.get("name")
        if asked.arguments.keys() != {"name"} or not isinstance(name, str):
            raise asked.error("__type takes a name.")
        yield self.object(asked, "__Type", self.schema.find(name))

    def _whole(self, asked: Field) -> Iterator[bytes]:
        """The value of `__schema`: each type is a piece of its own, which is not kept."""
        between = b"{"
        for one in self._selected(asked, "__Schema"):
            yield between + _encode(one.alias) + b":"
            between = b","
            if one.name == "types":
                below = self._selected(one, "__Type")
                yield b"["
                for number, type_ in enumerate(self.schema.types()):
                    yield (b"," if number else b"") + self._object(below, "__Type", type_, one)
                yield b"]"
            else:
                yield self._field("__Schema", one, self.schema)
        yield b"}"

    def described(self, type_: Type) -> Described:
        """What a type is; of one around another, nothing."""
        return Described() if type_.name is None else self.schema.described(type_)

    def list(self, field: Field, type_: str, nodes: Iterable[Any] | None) -> bytes:
        """What is asked of each node, or null where there can be none."""
        if nodes is None:
            self._selected(field, type_)
            return b"null"
        return self._counted(b"[" + b",".join(self.object(field, type_, node) for node in nodes) + b"]", field)

    def object(self, field: Field, type_: str, node: Any) -> bytes:
        """What is asked of a node, or null where there is none."""
        asked = self._selected(field, type_)
        if node is None:
            return b"null"
        if not isinstance(node, Type | Argument):
            return self._object(asked, type_, node, field)
        key = (asked, node)
        found = self._written.get(key)
        if found is None:
            found = self._written[key] = self._object(asked, type_, node, field)
        return self._counted(found, field)

    def _object(self, asked: tuple[Field, ...], type_: str, node: Any, within: Field) -> bytes:
        parts = [_encode(one.alias) + b":" + self._field(type_, one, node) for one in asked]
        return self._counted(b"{" + b",".join(parts) + b"}", within)

    def _field(self, type_: str, one: Field, node: Any) -> bytes:
        return _encode(type_) if one.name == "__typename" else _SHOWN[type_][one.name](self, one, node)

    def _selected(self, field: Field, type_: str) -> tuple[Field, ...]:
        """The fields that are asked of a type of introspection. Raises BadRequest for one that it has not."""
        asked = self._selections.of(field.selections, type_)
        if (type_, asked) not in self._checked:
            if not asked:
                raise field.error(f"Say what is wanted of {field.name}.")
            for one in asked:
                _check(one, type_)
            self._checked.add((type_, asked))
        return asked

    def _counted(self, written: bytes, field: Field) -> bytes:
        self._left -= len(written)
        if self._left < 0:
            raise field.error("Introspection asks for too much: the same types within types.", TooCostly)
        return written


Show = Callable[["_Writer", Field, Any], bytes]


def _plain(value: Callable[[Any], Any]) -> Show:
    return lambda _, __, node: _encode(value(node))


def _one(type_: str, node: Callable[[_Writer, Any], Any]) -> Show:
    return lambda writer, field, of: writer.object(field, type_, node(writer, of))


def _many(type_: str, nodes: Callable[[_Writer, Any], Iterable[Any] | None]) -> Show:
    return lambda writer, field, of: writer.list(field, type_, nodes(writer, of))


_ALL: Mapping[str, Show] = {
    "name": _plain(lambda node: node.name),
    "description": _plain(lambda _: None),
    "isDeprecated": _plain(lambda _: False),
    "deprecationReason": _plain(lambda _: None),
}
_SHOWN: Mapping[str, Mapping[str, Show]] = {
    "__Schema": {
        **_ALL,
        "types": _many("__Type", lambda writer, _: writer.schema.types()),
        "queryType": _one("__Type", lambda writer, _: writer.schema.query),
        "mutationType": _one("__Type", lambda *_: None),
        "subscriptionType": _one("__Type", lambda *_: None),
        "directives": _many("__Directive", lambda *_: directives()),
    },
    "__Type": {
        **_ALL,
        "kind": _plain(lambda node: node.kind),
        "specifiedByURL": _plain(lambda _: None),
        "isOneOf": _plain(lambda node: False if node.kind == "INPUT_OBJECT" else None),
        "fields": _many("__Field", lambda writer, node: writer.described(node).fields),
        "interfaces": _many("__Type", lambda writer, node: writer.described(node).interfaces),
        "possibleTypes": _many("__Type", lambda writer, node: writer.described(node).possible),
        "enumValues": _many("__EnumValue", lambda writer, node: writer.described(node).values),
        "inputFields": _many("__InputValue", lambda *_: None),
        "ofType": _one("__Type", lambda _, node: node.of),
    },
    "__Field": {
        **_ALL,
        "type": _one("__Type", lambda _, node: node.type),
        "args": _many("__InputValue", lambda _, node: node.args),
    },
    "__InputValue": {
        **_ALL,
        "type": _one("__Type", lambda _, node: node.type),
        "defaultValue": _plain(lambda node: node.default),
    },
    "__EnumValue": {**_ALL, "name": _plain(lambda node: node)},
    "__Directive": {
        **_ALL,
        "isRepeatable": _plain(lambda _: False),
        "locations": _plain(lambda node: node.locations),
        "args": _many("__InputValue", lambda _, node: node.args),
    },
}


def _check(field: Field, type_: str) -> None:
    """Raise BadRequest for a field that a type of introspection has not, as graphql-core defines it."""
    own = introspection_types[type_]
    known = own.fields.get(field.name) if isinstance(own, GraphQLObjectType) else None
    if field.name != "__typename" and (known is None or field.name not in _SHOWN[type_]):
        raise field.error(f"{type_} has no field {field.name}.")
    if field.directives.keys() - {"skip", "include"}:
        raise field.error("Introspection is not flattened.")
    if not field.arguments.keys() <= (known.args.keys() if known else set()):
        raise field.error(f"{field.name} has no such argument.")
    is_leaf = known is None or is_leaf_type(get_named_type(known.type))
    if is_leaf and field.selections:
        raise field.error(f"{field.name} has no fields.")
