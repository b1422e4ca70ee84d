"""The elements of every R4 type, as the published StructureDefinitions list them.

The data is generated (``tools/generate_definitions.py``). A structure is named by its type (``Patient``, ``HumanName``)
or, for an element with children of its own, by its path (``Patient.contact``).
https://hl7.org/fhir/R4/elementdefinition.html
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import msgspec

_PRIMITIVES = """
base64Binary boolean canonical code date dateTime decimal id instant integer markdown oid positiveInt string time
unsignedInt uri url uuid xhtml
"""
PRIMITIVES = frozenset(_PRIMITIVES.split())
"""The primitive types, https://hl7.org/fhir/R4/datatypes.html#primitive; all others are JSON objects."""

PRIMITIVE_BASES = {
    **dict.fromkeys(("canonical", "oid", "url", "uuid"), "uri"),
    **dict.fromkeys(("code", "id", "markdown"), "string"),
    **dict.fromkeys(("positiveInt", "unsignedInt"), "integer"),
}
"""The primitive types that specialise another."""


class Element(msgspec.Struct, frozen=True):
    """One element: its types, cardinality, whether it is a choice (``[x]``) or in the summary, its reference targets.

    ``types`` of an element with children is its own path; ``plain`` elements (ids, ``Extension.url``) have no ``_``
    sibling.
    """

    types: tuple[str, ...]
    min: int
    many: bool
    choice: bool
    summary: bool
    plain: bool
    targets: tuple[str, ...]

    def json_names(self, name: str) -> tuple[tuple[str, str], ...]:
        """The JSON names of this element called ``name``, each with its type: ``("valueQuantity", "Quantity")``."""
        if not self.choice:
            return ((name, self.types[0]),)
        return tuple((name + type_name[0].upper() + type_name[1:], type_name) for type_name in self.types)


class Structure(msgspec.Struct, frozen=True):
    """One type or element with children; ``kind`` is resource, complex or backbone.

    ``elements`` are named without ``[x]`` and stand in the order of the definition, which is that of XML.
    """

    kind: str
    base: str
    abstract: bool
    elements: dict[str, Element]


def definitions(name: str) -> bytes:
    """The unpacked JSON of a generated file of ``resources/definitions``."""
    return gzip.decompress(files("resources").joinpath("definitions").joinpath(f"{name}.json.gz").read_bytes())


@cache
def structures() -> Mapping[str, Structure]:
    """Every structure by name."""
    return msgspec.json.decode(definitions("structures"), type=dict[str, Structure])


def is_a(type_name: str, ancestor: str) -> bool:
    """Whether a type is the named one or derived from it: ``Age`` is a ``Quantity``, ``canonical`` is a ``uri``."""
    current = type_name
    while current:
        if current == ancestor:
            return True
        structure = structures().get(current)
        current = structure.base if structure else PRIMITIVE_BASES.get(current, "")
    return False


@cache
def resource_types() -> tuple[str, ...]:
    """The names of the concrete resource types, sorted."""
    return tuple(sorted(n for n, s in structures().items() if s.kind == "resource" and not s.abstract))
