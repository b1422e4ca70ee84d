"""The output graph: what of the resources is shown, filtered, and flattened where that is asked for.

What is not there is left out, as in the examples of FHIR.

https://hl7.org/fhir/R4/graphql.html#list, https://hl7.org/fhir/R4/graphql.html#flattening
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fhirserver.errors import NotSupported
from fhirserver.operations.graphql.document import Field, graphql_name
from fhirserver.operations.graphql.members import members_of, searched_type
from resources import SUPPORTED

_PATH = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)*")
_INDEX = "$index"

Node = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """A node of a resource that is shown: its FHIR type, and the stored resource around it."""

    type: str
    node: Node
    resource: Node


Resolve = Callable[[Field, Place], Any]
"""What `resource` of a Reference, or a search within a resource, leads to: a Place, Places, something made, or None."""


def values(field: Field, place: Place) -> Iterator[tuple[Any, str]]:
    """The values of an element that the arguments and @first leave, each with its FHIR type."""
    member = members_of(place.type).get(field.name)
    if member is None or field.name not in place.node:
        return
    found = place.node[field.name]
    several = [each for each in (found if member.is_many else [found]) if each is not None]
    several = [each for each in several if _is_selected(field, each)]
    offset, count = field.arguments.get("_offset", 0), field.arguments.get("_count")
    for number in (offset, count):
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 0):
            raise field.error("_offset and _count are numbers from 0.")
    several = several[offset:][:count]
    for each in several[:1] if "first" in field.directives else several:
        yield each, _type_of(each, member.kind.type)


def is_many(field: Field, place: Place) -> bool:
    """Whether the element may repeat."""
    member = members_of(place.type).get(field.name)
    return member is not None and member.is_many


class Selections:
    """What is asked of a node of a type: the fields of its fragments too, those that ask for the same as one."""

    def __init__(self) -> None:
        """Nothing was asked yet."""
        self._kept: dict[tuple[tuple[Field, ...], str], tuple[Field, ...]] = {}

    def of(self, fields: tuple[Field, ...], type_: str) -> tuple[Field, ...]:
        """The fields for this type, the same ones each time. Raises BadRequest where two want one name."""
        key = (fields, type_)
        if key not in self._kept:
            self._kept[key] = tuple(self._merged(fields, type_))
        return self._kept[key]

    @staticmethod
    def _merged(fields: tuple[Field, ...], type_: str) -> list[Field]:
        found: dict[tuple[str, str], Field] = {}
        names: dict[str, str] = {}
        for field in fields:
            if field.on not in {None, type_}:
                continue
            if names.setdefault(field.alias, field.name) != field.name:
                raise field.error(f"{field.alias} is asked for in two ways.")
            asked = repr((field.arguments, field.directives))
            same = found.get((field.alias, asked))
            if same is None and field.name != "resource" and any(alias == field.alias for alias, _ in found):
                raise field.error(f"{field.alias} is asked for in two ways; give one another name.")
            merged = field if same is None else replace(same, selections=(*same.selections, *field.selections))
            found[field.alias, asked] = merged
        return list(found.values())


def _type_of(value: Any, type_: str) -> str:
    return str(value.get("resourceType", type_)) if type_ == "Resource" and isinstance(value, dict) else type_


def _is_selected(field: Field, value: Any) -> bool:
    for name, wanted in field.arguments.items():
        if name not in {"_offset", "_count"}:
            found = value.get(name) if isinstance(value, dict) else None
            if not any(_same(each, wanted) for each in (found if isinstance(found, list) else [found])):
                return False
    return True


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted or (isinstance(wanted, str) and wanted == str(found).lower())
    return found is not None and str(found) == str(wanted)


class Output:
    """Builds the graph of one node. `resolve` gives what references and searches within resources lead to."""

    def __init__(self, selections: Selections, resolve: Resolve) -> None:
        """Nothing is built yet."""
        self._selections = selections
        self._resolve = resolve

    def graph(self, fields: tuple[Field, ...], place: Place) -> dict[str, Any]:
        """What is asked of a node."""
        out: dict[str, Any] = {}
        self._add(fields, place, _Into(out))
        return out

    def _add(self, fields: tuple[Field, ...], place: Place, into: _Into) -> None:
        for field in self._selections.of(fields, place.type):
            if field.name in {"__typename", "resourceType"} and "resourceType" not in members_of(place.type):
                if field.name == "__typename" or place.type in SUPPORTED:
                    into.put(field, graphql_name(place.type), "code", is_list=False)
            elif (field.name == "resource" and place.type == "Reference") or (
                place.type in SUPPORTED and searched_type(field.name)
            ):
                self._add_resolved(field, place, into)
            else:
                self._add_element(field, place, into)

    def _add_element(self, field: Field, place: Place, into: _Into) -> None:
        found = list(values(field, place))
        repeats = is_many(field, place)
        for index, (value, type_) in enumerate(found):
            inner = Place(type_, value, place.resource) if isinstance(value, dict) and type_ != "Resource" else value
            self._add_one(field, inner, type_, index, into, repeats=repeats)

    def _add_resolved(self, field: Field, place: Place, into: _Into) -> None:
        led = self._resolve(field, place)
        if led is None:
            return
        if not isinstance(led, list):
            self._add_one(field, led, getattr(led, "type", ""), 0, into, repeats=False)
            return
        shown = led[:1] if "first" in field.directives else led
        if not shown and "flatten" not in field.directives:
            into.empty(field)
        for index, each in enumerate(shown):
            self._add_one(field, each, each.type, index, into, repeats=True)

    def _add_one(self, field: Field, value: Any, type_: str, index: int, into: _Into, *, repeats: bool) -> None:
        """One value of a field: shown under its name, or its children in its place."""
        suffix = self._suffix(field, value, index)
        if "flatten" in field.directives:
            if isinstance(value, Place):
                self._add(field.selections, value, into.below(suffix, is_list=repeats))
            return
        shown = self.graph(field.selections, value) if isinstance(value, Place) else value
        into.put(field, shown, type_, is_list=repeats and "first" not in field.directives, suffix=suffix)

    def _suffix(self, field: Field, value: Any, index: int) -> str:
        if "slice" not in field.directives:
            return ""
        [path] = field.directives["slice"].values()
        if path == _INDEX:
            return f".{index}"
        if not isinstance(path, str) or not _PATH.fullmatch(path):
            raise field.error("@slice takes $index, or the names of elements with points between.", NotSupported)
        node: Any = value.node if isinstance(value, Place) else None
        for step in path.split("."):
            node = node.get(step) if isinstance(node, Mapping) else None
        return f".{'' if node is None or isinstance(node, dict | list) else node}"


@dataclass(slots=True)
class _Into:
    """Where values go: the object, what is appended to each name, and whether names become lists by flattening."""

    out: dict[str, Any]
    suffix: str = ""
    is_list: bool = False
    types: dict[str, str] | None = None

    def below(self, suffix: str, *, is_list: bool) -> _Into:
        """The same object for the children of a flattened field."""
        if self.types is None:
            self.types = {}
        return _Into(self.out, self.suffix + suffix, self.is_list or is_list, self.types)

    def empty(self, field: Field) -> None:
        """A search that found nothing is an empty list, where it is shown as one."""
        self.out.setdefault(field.alias + self.suffix, [])

    def put(self, field: Field, value: Any, type_: str, *, is_list: bool, suffix: str = "") -> None:
        """Add a value under the field's name. Raises BadRequest where flattening mixes types or overfills a name."""
        key = field.alias + self.suffix + suffix
        if self.types is not None and self.types.setdefault(key, type_) != type_:
            raise field.error(f"Flattening puts values of several types under {key}.")
        if "singleton" in field.directives:
            if key in self.out:
                raise field.error(f"There is more than one value of {key}, which is to be one.")
            self.out[key] = value
        elif is_list or self.is_list:
            present = self.out.setdefault(key, [])
            if not isinstance(present, list):
                raise field.error(f"{key} is asked for in two ways.")
            present.append(value)
        elif isinstance(value, dict) and isinstance(self.out.get(key), dict):
            self.out[key] = _merged(self.out[key], value)
        else:
            self.out[key] = value


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """What two selections of one name give together."""
    return {
        **one,
        **{
            name: _merged(one[name], value) if isinstance(value, dict) and isinstance(one.get(name), dict) else value
            for name, value in other.items()
        },
    }
