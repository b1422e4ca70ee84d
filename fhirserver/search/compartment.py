"""Compartments: what belongs to one Patient, Encounter, RelatedPerson, Practitioner or Device, as a criterion.

The published definitions name, for each type, the parameters by which a resource belongs; a type that they do not name
has no place in the compartment. A resource is in its own.

https://hl7.org/fhir/R4/compartmentdefinition.html
"""

from __future__ import annotations

from typing import Final

from fhirserver.search.expression import Equals, Expression, any_of
from fhirserver.search.stored import SEPARATOR
from resources.declaration import compartment

COMPARTMENTS: Final = ("Patient", "Encounter", "RelatedPerson", "Practitioner", "Device")

EVERY_TYPE: Final = "*"
"""Stands for all types of a compartment."""

_SELF = "{def}"


def members(code: str) -> tuple[str, ...]:
    """The types that have a place in a compartment, its own included."""
    return tuple(dict.fromkeys((code, *compartment(code))))


def within(code: str, id_: str, type_: str) -> Expression:
    """The criterion that a resource of the type belongs to one compartment; nothing of a type without place does."""
    reference = f"{code}/{id_}"
    found = [Equals(f"{name}{SEPARATOR}{reference}") for name in compartment(code).get(type_, ()) if name != _SELF]
    if type_ == code:
        found.append(Equals(f"_id{SEPARATOR}|{id_}"))
    return any_of(found)
