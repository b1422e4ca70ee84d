"""What makes one resource into another, as the operations of a FHIRPath Patch.

Operations are in an order in which they can be applied one after the other: positions in a list are those at that
moment. Numbers that differ in their digits differ. https://hl7.org/fhir/R4/fhirpatch.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import SequenceMatcher
from functools import cache
from typing import Any

from resources.structure import PRIMITIVES, Element, structures

Node = Mapping[str, Any]
Operation = dict[str, Any]

MAX_ALIGNED = 500
"""Longer lists are compared place by place: to find what moved would cost their length squared."""


@dataclass(frozen=True, slots=True)
class _Value:
    """One value of an element: its type, the JSON, and for a primitive its id and extensions."""

    type: str
    json: Any
    extra: Any = None

    @property
    def key(self) -> str:
        return f"{self.type} {_canonical(self.json)} {_canonical(self.extra)}"

    @property
    def is_complex(self) -> bool:
        return self.type in structures() and isinstance(self.json, dict)


def differences(type_name: str, old: Node, new: Node) -> list[Operation]:
    """The patch, as the parameters of a Parameters resource; empty where the two say the same."""
    return list(_node(type_name, type_name, old, new))


def _node(path: str, type_name: str, old: Node, new: Node) -> Iterator[Operation]:
    for name, element in structures()[type_name].elements.items():
        before, after = _values(name, element, old), _values(name, element, new)
        if [value.key for value in before] == [value.key for value in after]:
            continue
        if element.many:
            yield from _list(path, name, before, after)
        elif not after:
            yield _operation("delete", f"{path}.{name}")
        elif not before:
            yield _operation("add", path, ("name", "valueString", name), value=after[0])
        else:
            yield from _changed(f"{path}.{name}", before[0], after[0])


def _changed(path: str, before: _Value, after: _Value) -> Iterator[Operation]:
    if before.key == after.key:
        return
    if before.type == after.type and before.is_complex and after.is_complex:
        yield from _node(path, before.type, before.json, after.json)
    else:
        yield _operation("replace", path, previous=before, value=after)


def _list(path: str, name: str, before: Sequence[_Value], after: Sequence[_Value]) -> Iterator[Operation]:
    at, length = 0, len(before)
    for kept, start, end, new_start, new_end in _aligned(before, after):
        old_part, new_part = before[start:end], after[new_start:new_end]
        if kept:
            at += len(old_part)
            continue
        for one, other in zip(old_part, new_part, strict=False):
            yield from _changed(f"{path}.{name}[{at}]", one, other)
            at += 1
        for _ in old_part[len(new_part) :]:
            yield _operation("delete", f"{path}.{name}[{at}]")
            length -= 1
        for value in new_part[len(old_part) :]:
            if at == length:
                yield _operation("add", path, ("name", "valueString", name), value=value)
            else:
                yield _operation("insert", f"{path}.{name}", value=value, index=at)
            at, length = at + 1, length + 1


def _aligned(before: Sequence[_Value], after: Sequence[_Value]) -> Iterator[tuple[bool, int, int, int, int]]:
    """Stretches of both lists: whether they are the same, and from where to where they go in each."""
    if max(len(before), len(after)) > MAX_ALIGNED:
        yield False, 0, len(before), 0, len(after)
        return
    matcher = SequenceMatcher(None, [one.key for one in before], [one.key for one in after], autojunk=False)
    for tag, start, end, new_start, new_end in matcher.get_opcodes():
        yield tag == "equal", start, end, new_start, new_end


def _values(name: str, element: Element, node: Node) -> list[_Value]:
    for json_name, type_name in element.json_names(name):
        json, extra = node.get(json_name), node.get(f"_{json_name}")
        if json is None and extra is None:
            continue
        if not element.many:
            return [_Value(type_name, json, extra)]
        jsons, extras = json or (), extra or ()
        return [
            _Value(type_name, jsons[i] if i < len(jsons) else None, extras[i] if i < len(extras) else None)
            for i in range(max(len(jsons), len(extras)))
        ]
    return []


# -- the form ---------------------------------------------------------------------------------------------------------


def _operation(
    type_: str,
    path: str,
    *texts: tuple[str, str, str],
    value: _Value | None = None,
    previous: _Value | None = None,
    index: int | None = None,
) -> Operation:
    parts: list[Operation] = [{"name": "type", "valueCode": type_}, {"name": "path", "valueString": path}]
    parts += [{"name": name, member: text} for name, member, text in texts]
    if index is not None:
        parts.append({"name": "index", "valueInteger": index})
    if previous is not None:
        parts.append(_part("previousValue", previous))
    if value is not None:
        parts.append(_part("value", value))
    return {"name": "operation", "part": parts}


def _part(name: str, value: _Value) -> Operation:
    """A value as a part: as value[x], as a resource, or where neither can hold it by its elements."""
    if value.type == "Resource":
        return {"name": name, "resource": value.json}
    if value.type in PRIMITIVES or value.type in _open_types():
        # R4 has no valueXhtml, and elements of ids and of Extension.url have a type that is written as a string.
        stated = value.type if value.type in _open_types() else "string"
        member = f"value{stated[0].upper()}{stated[1:]}"
        part = {"name": name}
        if value.json is not None:
            part[member] = value.json
        if value.extra is not None:
            part[f"_{member}"] = value.extra
        return part
    return {"name": name, "part": list(_parts(value))}


def _parts(value: _Value) -> Iterator[Operation]:
    for name, element in structures()[value.type].elements.items():
        for child in _values(name, element, value.json):
            yield _part(name, child)


@cache
def _open_types() -> frozenset[str]:
    """The types that Parameters.parameter.value[x] may have."""
    return frozenset(structures()["Parameters.parameter"].elements["value"].types)


def _canonical(value: Any) -> str:
    """A text that two values share when they say the same, whatever the order of members."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{name!r}:{_canonical(value[name])}" for name in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_canonical, value)) + "]"
    return str(value) if isinstance(value, Decimal) else repr(value)
