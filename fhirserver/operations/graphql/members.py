"""Which fields a FHIR type has in GraphQL: its elements by their JSON names, and those that FHIR adds.

The schema is not built as a whole: of R4's hundreds of types a query touches few. The members of a type are made when
it is first asked for, and kept.

https://hl7.org/fhir/R4/graphql.html#fields
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from fhirserver.operations.graphql.document import Field
from resources import SUPPORTED
from resources.structure import PRIMITIVES, structures

_ADDED = frozenset({"__typename", "resourceType"})

LIST, CONNECTION, EDGE = "List", "Connection", "Edge"

_PAGING = frozenset({"_offset", "_count"})


@dataclass(frozen=True, slots=True)
class Kind:
    """What a node may be: a FHIR type, and where it is a Reference the types that it may lead to."""

    type: str
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Member:
    """One field of a type. `name` is that of the element in FHIRPath, without the type of a choice."""

    name: str
    kind: Kind
    is_many: bool

    @property
    def is_leaf(self) -> bool:
        """Whether nothing can be selected of it."""
        return self.kind.type in PRIMITIVES or self.kind.type not in structures()


@lru_cache(maxsize=512)
def members_of(type_: str) -> Mapping[str, Member]:
    """As `members`, and kept: what a query asks for is asked again."""
    return members(type_)


def members(type_: str) -> Mapping[str, Member]:
    """The fields of a type by name; none of a name that is no type."""
    structure = structures().get(type_)
    if structure is None:
        return {}
    found: dict[str, Member] = {}
    for name, element in structure.elements.items():
        for json_name, member_type in element.json_names(name):
            found[json_name] = Member(name, Kind(member_type, element.targets), element.many)
            if member_type in PRIMITIVES and not element.plain:
                found[f"_{json_name}"] = Member(name, Kind("Element"), element.many)
    return found


def kinds_of(types: Iterable[str]) -> tuple[Kind, ...]:
    """The kinds of resources of these types; of none, of every type."""
    return tuple(Kind(type_) for type_ in (tuple(types) or SUPPORTED) if type_ in SUPPORTED)


def searched_type(name: str) -> tuple[str, str] | None:
    """The type and the form, List or Connection, of a field that searches."""
    for form in (LIST, CONNECTION):
        type_ = name.removesuffix(form)
        if type_ != name and type_ in SUPPORTED:
            return type_, form
    return None


CONNECTION_FIELDS = frozenset({"count", "offset", "pagesize", "pageSize", "first", "previous", "next", "last", "edges"})
EDGE_FIELDS = frozenset({"mode", "score", "resource"})


def check(fields: Iterable[Field], kinds: tuple[Kind, ...]) -> None:
    """Raise BadRequest for a field, an argument or a fragment that none of the kinds has."""
    for field in fields:
        if field.on is not None and field.on not in structures():
            raise field.error(f"There is no type {field.on}.")
        possible = tuple(kind for kind in kinds if field.on in {None, kind.type})
        if not possible and all(kind.type != "Resource" for kind in kinds):
            raise field.error(f"What is asked of {field.on} is never of that type here.")
        _check_field(field, possible or kinds_of((field.on,) if field.on else ()))


def _check_field(field: Field, kinds: tuple[Kind, ...]) -> None:
    if any(kind.type == "Resource" for kind in kinds):
        kinds = kinds_of(())
    is_resource = any(kind.type in SUPPORTED for kind in kinds)
    if field.name in _ADDED and (is_resource or field.name == "__typename"):
        _check_leaf(field)
    elif is_resource and (searched := searched_type(field.name)):
        if "_reference" not in field.arguments:
            raise field.error(f"Within a resource {field.name} needs _reference.")
        check_search(field, *searched)
    elif field.name == "resource" and any(kind.type == "Reference" for kind in kinds):
        _check_resource(field, kinds)
    else:
        _check_member(field, kinds)


def _check_member(field: Field, kinds: tuple[Kind, ...]) -> None:
    found = [member for kind in kinds if (member := members_of(kind.type).get(field.name)) is not None]
    if not found:
        raise field.error(f"{_named(kinds)} has no field {field.name}.")
    if all(member.is_leaf for member in found):
        _check_leaf(field)
        return
    if not field.selections:
        raise field.error(f"Say what is wanted of {field.name}.")
    for name in field.arguments:
        below = [members_of(member.kind.type).get(name) for member in found]
        if name not in _PAGING and not any(member is not None and member.is_leaf for member in below):
            raise field.error(f"{field.name} is not selected by {name}.")
    check(field.selections, tuple(dict.fromkeys(member.kind for member in found)))


def _check_leaf(field: Field) -> None:
    if field.selections or field.arguments:
        raise field.error(f"{field.name} has neither arguments nor selections.")


def _check_resource(field: Field, kinds: tuple[Kind, ...]) -> None:
    if not field.selections or not field.arguments.keys() <= {"optional", "type"}:
        raise field.error("resource takes optional and type, and needs a selection.")
    if not isinstance(field.arguments.get("optional", False), bool):
        raise field.error("optional is true or false.")
    asked = field.arguments.get("type")
    if asked is not None and asked not in SUPPORTED:
        raise field.error(f"{asked} is not a resource type of this server.")
    targets = {target for kind in kinds for target in kind.targets}
    check(field.selections, kinds_of((asked,) if asked else () if "Resource" in targets else sorted(targets)))


def check_search(field: Field, type_: str, form: str) -> None:
    """Raise BadRequest for a selection that a search does not have."""
    if not field.selections:
        raise field.error(f"Say what is wanted of {field.name}.")
    if form == LIST:
        check(field.selections, kinds_of((type_,)))
        return
    for one in (field, *(each for each in field.selections if each.name == "edges")):
        for name in ("edges", "resource"):
            if sum(each.name == name for each in one.selections) > 1:
                raise one.error(f"{name} is asked for more than once.")
    for one in field.selections:
        if (
            one.name not in CONNECTION_FIELDS | {"__typename"}
            or one.arguments
            or (one.name == "edges") != bool(one.selections)
        ):
            raise one.error(f"A connection has no such field: {one.name}.")
        for edge in one.selections:
            if edge.name not in EDGE_FIELDS | {"__typename"} or edge.arguments:
                raise edge.error(f"An edge has no such field: {edge.name}.")
            if edge.name == "resource":
                check(edge.selections, kinds_of((type_,)))


def _named(kinds: tuple[Kind, ...]) -> str:
    return kinds[0].type if len(kinds) == 1 else "A resource that may stand here"
