"""The elements of a resource with the place where each stands, so that a patch can change what a path finds.

https://hl7.org/fhir/R4/json.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from resources.structure import PRIMITIVES, Element, structures


@dataclass(frozen=True, slots=True)
class Place:
    """One element: the FHIR type, its name, and the member of which object holds it, at which index of a list.

    ``parent`` is None for the resource itself, which ``value`` then is.
    """

    type: str
    value: Any
    parent: Place | None = None
    element: str = ""
    member: str = ""
    index: int | None = None

    @property
    def sibling(self) -> Any:
        """What stands in the ``_`` member beside a primitive: its id and extensions."""
        if self.parent is None:
            return None
        beside = self.parent.value.get(f"_{self.member}")
        if self.index is None or not isinstance(beside, list):
            return beside
        return beside[self.index] if self.index < len(beside) else None

    def children(self, name: str) -> list[Place]:
        """The child elements of that name, a choice by its name without the type. Raises LookupError for no element."""
        if self.type in PRIMITIVES or not isinstance(self.value, dict):
            return self._of_primitive(name)
        element = element_of(self.type, name)
        return [
            place
            for member, type_name in element.json_names(name)
            for place in self._members(name, member, type_name)
        ]  # fmt: skip

    def _of_primitive(self, name: str) -> list[Place]:
        if name not in {"id", "extension"}:
            raise LookupError(f"{name} is not an element of {self.type}")
        beside = self.sibling
        if not isinstance(beside, dict) or self.parent is None:
            return []
        # The object beside a primitive is an Element, and is changed as one.
        return Place("Element", beside, self.parent, self.element, f"_{self.member}", self.index).children(name)

    def _members(self, name: str, member: str, type_name: str) -> Iterator[Place]:
        held = self.value.get(member)
        beside = self.value.get(f"_{member}")
        if isinstance(held, list) or isinstance(beside, list):
            count = max(len(one) for one in (held, beside) if isinstance(one, list))
            for index in range(count):
                value = held[index] if isinstance(held, list) and index < len(held) else None
                yield Place(_actual(type_name, value), value, self, name, member, index)
        elif held is not None or beside is not None:
            yield Place(_actual(type_name, held), held, self, name, member)


def _actual(type_name: str, value: Any) -> str:
    if type_name == "Resource" and isinstance(value, dict):
        stated = value.get("resourceType")
        return stated if isinstance(stated, str) and stated in structures() else type_name
    return type_name


@cache
def _elements(type_name: str) -> dict[str, Element]:
    structure = structures().get(type_name)
    return {} if structure is None else structure.elements


def element_of(type_name: str, name: str) -> Element:
    """The definition of an element. Raises LookupError where the type has none of that name."""
    element = _elements(type_name).get(name)
    if element is None:
        raise LookupError(f"{name} is not an element of {type_name}")
    return element
