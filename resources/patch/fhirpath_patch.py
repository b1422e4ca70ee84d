"""FHIRPath Patch: operations on the elements that FHIRPath finds, in a Parameters resource.

https://hl7.org/fhir/R4/fhirpatch.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from resources.exact import parse
from resources.patch.document import (
    MOST_OPERATIONS,
    CostlyPatchError,
    InapplicablePatchError,
    MalformedPatchError,
    PatchError,
    read_json,
)
from resources.patch.element import Place, element_of
from resources.patch.path import Budget, Path
from resources.structure import PRIMITIVES, Element, is_a
from resources.validation import validate

_OPERATION = "Parameters.parameter[{}]"
_NEEDED: Mapping[str, frozenset[str]] = {
    "add": frozenset({"path", "name", "value"}),
    "insert": frozenset({"path", "index", "value"}),
    "delete": frozenset({"path"}),
    "replace": frozenset({"path", "value"}),
    "move": frozenset({"path", "source", "destination"}),
}
"""The parts that an operation of each type has, beside its type."""
_TYPED: Mapping[str, tuple[str, ...]] = {
    "type": ("valueCode", "valueString"),
    "path": ("valueString",),
    "name": ("valueString",),
    "index": ("valueInteger", "valueUnsignedInt", "valuePositiveInt"),
    "source": ("valueInteger", "valueUnsignedInt", "valuePositiveInt"),
    "destination": ("valueInteger", "valueUnsignedInt", "valuePositiveInt"),
}
"""In which value each part may come: the standard's type, and what others are known to send."""


@dataclass(frozen=True, slots=True)
class Given:
    """A value as a part holds it: of which type (None where it is made of parts), and what stands beside it."""

    type: str | None
    value: Any
    sibling: Any = None
    parts: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation that has been read."""

    type: str
    path: Path
    name: str = ""
    value: Given = Given(None, None)
    index: int = 0
    source: int = 0
    destination: int = 0


class FhirpathPatch:
    """A FHIRPath Patch that is one."""

    def __init__(self, parameters: Sequence[Mapping[str, Any]]) -> None:
        """Read the operations. Raises MalformedPatchError, CostlyPatchError."""
        if len(parameters) > MOST_OPERATIONS:
            raise CostlyPatchError(f"At most {MOST_OPERATIONS} operations in one patch; this one has {len(parameters)}")
        self._operations = [_located(index, lambda one=one: _read(one)) for index, one in enumerate(parameters)]

    @classmethod
    def read(cls, body: bytes) -> FhirpathPatch:
        """A Parameters resource. Raises MalformedPatchError, CostlyPatchError."""
        resource = read_json(body)
        if not isinstance(resource, dict) or resource.get("resourceType") != "Parameters":
            raise MalformedPatchError(
                "A FHIRPath Patch is a Parameters resource; other patches have their own Content-Type", "Parameters"
            )
        if issues := validate(parse(body)):
            raise MalformedPatchError(issues[0].diagnostics, issues[0].expression)
        return cls(resource.get("parameter", []))

    def apply(self, resource: dict[str, Any], most_bytes: int) -> Any:  # noqa: ARG002 - it copies nothing
        """The resource with the operations done, in their order. Raises InapplicablePatchError, CostlyPatchError."""
        budget = Budget()
        for index, one in enumerate(self._operations):
            # A later operation may change what this one puts in; a transaction that begins anew must not meet that.
            operation = replace(one, value=deepcopy(one.value))
            _located(index, lambda operation=operation: _DONE_BY[operation.type](resource, operation, budget))
        return resource


def _located(index: int, work: Any) -> Any:
    """Let an error say which operation it is about."""
    try:
        return work()
    except PatchError as error:
        error.expression = error.expression or _OPERATION.format(index)
        raise


# -- reading ----------------------------------------------------------------------------------------------------------


def _read(parameter: Mapping[str, Any]) -> Operation:
    if parameter.get("name") != "operation":
        raise MalformedPatchError("A FHIRPath Patch has parameters of the name operation only")
    parts: dict[str, Mapping[str, Any]] = {}
    for part in parameter.get("part", []):
        if parts.setdefault(part.get("name", ""), part) is not part:
            raise MalformedPatchError(f"An operation has one part of the name {part.get('name')}")
    type_ = _plain(parts, "type")
    if type_ not in _NEEDED:
        raise MalformedPatchError(f"An operation is of the type {', '.join(_NEEDED)}, not {type_}")
    wanted = _NEEDED[type_] | {"type"}
    if missing := sorted(wanted - parts.keys()):
        raise MalformedPatchError(f"The operation {type_} needs a part of the name {missing[0]}")
    if unknown := sorted(parts.keys() - wanted):
        raise MalformedPatchError(f"The operation {type_} has no part of the name {unknown[0]}")
    plain = {name: _plain(parts, name) for name in parts.keys() - {"path", "type", "value"}}
    value = _given(parts["value"]) if "value" in parts else Given(None, None)
    return Operation(type_, Path.read(_plain(parts, "path")), value=value, **plain)


def _plain(parts: Mapping[str, Mapping[str, Any]], name: str) -> Any:
    """The value of a part that steers the operation."""
    part = parts.get(name, {})
    for member in _TYPED[name]:
        if member in part:
            return part[member] if isinstance(part[member], str) else int(part[member])
    raise MalformedPatchError(f"An operation needs a part of the name {name} with a {_TYPED[name][0]}")


def _given(part: Mapping[str, Any]) -> Given:
    if "part" in part:
        return Given(None, None, parts=part["part"])
    if "resource" in part:
        return Given(part["resource"]["resourceType"], part["resource"])
    for member, type_name in element_of("Parameters.parameter", "value").json_names("value"):
        if member in part or f"_{member}" in part:
            return Given(type_name, part.get(member), part.get(f"_{member}"))
    raise MalformedPatchError("The part of the name value has no value")


# -- the operations ---------------------------------------------------------------------------------------------------


def _add(resource: dict[str, Any], operation: Operation, budget: Budget) -> None:
    """Append to the list of that name, or set the element where there is none yet."""
    place = _one(resource, operation, budget)
    type_name, node = (place.type, place.value) if isinstance(place.value, dict) else ("Element", _beside(place))
    _put_in(type_name, node, operation.name, operation.value)


def _insert(resource: dict[str, Any], operation: Operation, budget: Budget) -> None:
    """Put into a list at an index."""
    parent, first, count = _list(resource, operation, budget)
    if not 0 <= operation.index <= count:
        raise InapplicablePatchError(f"{operation.path.text} has {count} elements; none can be inserted there")
    member, value, sibling = _made(parent.type, first.element, operation.value)
    if member != first.member:
        raise InapplicablePatchError(f"{operation.path.text} is a list of another type")
    _edit(parent.value, member, lambda held, entry: held.insert(operation.index, entry), value, sibling)


def _delete(resource: dict[str, Any], operation: Operation, budget: Budget) -> None:
    """Take one element out; what it leaves empty goes with it, since FHIR has no empty elements."""
    found = operation.path.find(resource, budget)
    if not found:
        return
    if len(found) > 1:
        raise InapplicablePatchError(f"{operation.path.text} finds {len(found)} elements; one is deleted at a time")
    place, parent = _changeable(found[0])
    _take_out(place, parent)


def _replace(resource: dict[str, Any], operation: Operation, budget: Budget) -> None:
    """Put another value in the place of an element; a choice may change its type."""
    place, parent = _changeable(_one(resource, operation, budget))
    member, value, sibling = _made(parent.type, place.element, operation.value)
    if place.index is not None:
        _edit(parent.value, place.member, partial(_set, place.index), value, sibling)
        return
    after = {}
    for name, held in parent.value.items():  # in the place of the old one
        if name in {place.member, f"_{place.member}"}:
            after.update(_pair(member, value, sibling))
        else:
            after[name] = held
    parent.value.clear()
    parent.value.update(after)


def _move(resource: dict[str, Any], operation: Operation, budget: Budget) -> None:
    """Move an element within its list."""
    parent, first, count = _list(resource, operation, budget)
    if not (0 <= operation.source < count and 0 <= operation.destination < count):
        raise InapplicablePatchError(f"{operation.path.text} has {count} elements; none can be moved so")
    for held in _lists(parent.value, first.member, count).values():
        held.insert(operation.destination, held.pop(operation.source))


_DONE_BY = {"add": _add, "insert": _insert, "delete": _delete, "replace": _replace, "move": _move}


# -- places -----------------------------------------------------------------------------------------------------------


def _one(resource: dict[str, Any], operation: Operation, budget: Budget) -> Place:
    found = operation.path.find(resource, budget)
    if len(found) != 1:
        what = "several elements" if found else "nothing"
        raise InapplicablePatchError(f"{operation.path.text} finds {what}, where one element is needed")
    if not isinstance(found[0], Place):
        raise InapplicablePatchError(f"{operation.path.text} names no element")
    return found[0]


def _changeable(place: Any) -> tuple[Place, Place]:
    """An element and what holds it."""
    if not isinstance(place, Place) or place.parent is None:
        raise InapplicablePatchError("A patch changes elements of the resource, not the resource as a whole")
    return place, place.parent


def _list(resource: dict[str, Any], operation: Operation, budget: Budget) -> tuple[Place, Place, int]:
    """The list that the path names, whole: what holds it, its first element, and how many there are."""
    found = [_changeable(place) for place in operation.path.find(resource, budget)]
    if not found:
        raise InapplicablePatchError(f"{operation.path.text} finds nothing")
    first, parent = found[0]
    held = [parent.value.get(name) for name in (first.member, f"_{first.member}")]
    count = max(len(one) if isinstance(one, list) else 0 for one in held)
    is_whole = len(found) == count and all(
        place.index == index and place.member == first.member and holder.value is parent.value
        for index, (place, holder) in enumerate(found)
    )
    if not is_whole:
        raise InapplicablePatchError(f"{operation.path.text} is not one list")
    return parent, first, count


def _beside(place: Place) -> dict[str, Any]:
    """The object beside a primitive, which has its id and extensions; made where there is none."""
    if place.parent is None or place.type not in PRIMITIVES:
        raise InapplicablePatchError(f"A {place.type} has no elements to add")
    node, member = place.parent.value, f"_{place.member}"
    if place.index is None:
        made: dict[str, Any] = node.setdefault(member, {})
        return made
    node.setdefault(member, [])
    held = _lists(node, place.member, place.index + 1)[member]
    entry: dict[str, Any] = held[place.index] or {}
    held[place.index] = entry
    return entry


def _take_out(place: Place, parent: Place) -> None:
    node = parent.value
    if place.member.startswith("_"):  # an object beside a primitive goes, the primitive stays
        _set_beside(node, place)
    elif place.index is None:
        for name in (place.member, f"_{place.member}"):
            node.pop(name, None)
    else:
        for name, held in _lists(node, place.member, place.index + 1).items():
            del held[place.index]
            if all(one is None for one in held):
                del node[name]
    if not node and parent.parent is not None:
        _take_out(parent, parent.parent)


def _set_beside(node: dict[str, Any], place: Place) -> None:
    if place.index is None:
        del node[place.member]
        return
    member = place.member.removeprefix("_")
    node[place.member][place.index] = None
    lists = _lists(node, member, place.index + 1)
    if all(held[place.index] is None for held in lists.values()):  # there was nothing else
        for held in lists.values():
            del held[place.index]
    for name, held in lists.items():
        if all(one is None for one in held):
            del node[name]


def _lists(node: dict[str, Any], member: str, count: int) -> dict[str, list[Any]]:
    """The list of that name and the list beside it, as far as they are there, each with at least so many entries."""
    lists = {name: node[name] for name in (member, f"_{member}") if isinstance(node.get(name), list)}
    for held in lists.values():
        held.extend([None] * (count - len(held)))
    return lists


def _set(index: int, held: list[Any], entry: Any) -> None:
    held[index] = entry


def _edit(
    node: dict[str, Any], member: str, change: Callable[[list[Any], Any], object], value: Any, sibling: Any
) -> None:
    """Change a list and the list beside it together: their entries belong to each other."""
    count = max(len(held) for held in _lists(node, member, 0).values())
    for name, entry in ((member, value), (f"_{member}", sibling)):
        if name not in node and entry is None:
            continue
        held = node.setdefault(name, [])
        held.extend([None] * (count - len(held)))
        change(held, entry)
        if all(one is None for one in held):
            del node[name]


# -- values -----------------------------------------------------------------------------------------------------------


def _put_in(type_name: str, node: dict[str, Any], name: str, given: Given) -> None:
    """Add a value to an object of that type under the name of the element, or under its name in JSON."""
    element_name = _element_name(type_name, name, given)
    element = _definition(type_name, element_name)
    member, value, sibling = _made(type_name, element_name, given)
    present = [one for json_name, _ in element.json_names(element_name) for one in (json_name, f"_{json_name}")]
    if not element.many:
        if any(one in node for one in present):
            raise InapplicablePatchError(f"{type_name}.{element_name} is there already")
        node.update(_pair(member, value, sibling))
        return
    if _lists(node, member, 0):
        _edit(node, member, list.append, value, sibling)
    else:
        node.update({name: [entry] for name, entry in _pair(member, value, sibling).items()})


def _element_name(type_name: str, name: str, given: Given) -> str:
    """The element that is meant: `value` and `valueQuantity` name the same one."""
    if given.type is not None:
        suffix = given.type[0].upper() + given.type[1:]
        shorter = name.removesuffix(suffix)
        if shorter != name:
            try:
                if element_of(type_name, shorter).choice:
                    return shorter
            except LookupError:
                pass
    return name


def _definition(type_name: str, name: str) -> Element:
    try:
        return element_of(type_name, name)
    except LookupError as error:
        raise InapplicablePatchError(str(error.args[0])) from error


def _made(type_name: str, element_name: str, given: Given) -> tuple[str, Any, Any]:
    """The JSON name that an element gets with a value, the value, and what stands beside it.

    Raises InapplicablePatchError: "the type of the value must be correct for the place".
    """
    element = _definition(type_name, element_name)
    if given.type is None:
        if element.choice or element.types[0] in PRIMITIVES:
            raise InapplicablePatchError(f"{type_name}.{element_name} is given as a value, not as parts")
        node: dict[str, Any] = {}
        for part in given.parts:
            _put_in(element.types[0], node, part.get("name", ""), _given(part))
        return element_name, node, None
    for member, wanted in element.json_names(element_name):
        if given.type == wanted:
            return member, given.value, given.sibling
    if not element.choice and _fits(given.type, element.types[0]):
        return element_name, given.value, given.sibling
    raise InapplicablePatchError(f"{type_name}.{element_name} is a {' or '.join(element.types)}, not a {given.type}")


def _fits(given: str, wanted: str) -> bool:
    """Whether values of one type may be of the other: a string may be a code, a code is a string."""
    return wanted == "Resource" or is_a(given, wanted) or (given in PRIMITIVES and is_a(wanted, given))


def _pair(member: str, value: Any, sibling: Any) -> dict[str, Any]:
    pair = {member: value, f"_{member}": sibling}
    return {name: one for name, one in pair.items() if one is not None}
