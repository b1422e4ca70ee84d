"""What an operation is: its name, where it is called, what it takes and gives, and the function that performs it.

A module of this package declares one as a value; routes, `/metadata` and the OperationDefinition follow from it.

https://hl7.org/fhir/R4/operations.html, https://hl7.org/fhir/R4/operationdefinition.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from fhirserver.errors import FhirError
from fhirserver.interactions.context import Context, Pairs
from fhirserver.interactions.preconditions import Versions
from fhirserver.search.cursor import Cursor
from fhirserver.store.rows import Row

Level = Literal["system", "type", "instance"]

HL7 = "http://hl7.org/fhir/OperationDefinition/"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter, in or out; `max` None is any number."""

    name: str
    type: str
    about: str
    min: int = 0
    max: int | None = 1


@dataclass(frozen=True, slots=True)
class Target:
    """Where an operation is called: the system, a type, or one resource."""

    type: str = ""
    id: str = ""

    @property
    def level(self) -> Level:
        """How much of it is named."""
        if self.id:
            return "instance"
        return "type" if self.type else "system"

    def address(self, operation: str) -> str:
        """The address below the base of the operation of that name."""
        return "/".join(part for part in (self.type, self.id, f"${operation}") if part)


@dataclass(frozen=True, slots=True)
class Given:
    """The parameters of one call, read and checked against the declaration.

    `values` has a list for each that was given; `pairs` are those that an address can carry, in order, with the search
    parameters of an operation that searches; `after` is where a page link says to go on; `if_match` are the versions
    that a change is bound to. `media_type` is one of those that the operation offers beside FHIR, where it was asked
    for, and `language` that of its languages which the caller reads best, empty where that was not said.
    """

    values: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    pairs: Pairs = ()
    after: Cursor | None = None
    if_match: Versions | None = None
    media_type: str | None = None
    language: str = ""

    def one(self, name: str, default: Any = None) -> Any:
        """The value of a parameter that may be given once."""
        found = self.values.get(name)
        return found[0] if found else default

    def all(self, name: str) -> Sequence[Any]:
        """The values of a parameter in order."""
        return self.values.get(name, ())


@dataclass(frozen=True, slots=True)
class Made:
    """A resource that an operation made as its answer: JSON, with the headers that belong to it.

    With a `media_type` it is no resource, but bytes of that type.
    """

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of resources, as a searchset: `rows` are what was asked for, `included` what they refer to.

    `address` is that of the operation below the base, `pairs` what was asked of it, `next` the sealed position of the
    rest, None at the end.
    """

    address: str
    pairs: Pairs
    rows: Sequence[Row]
    included: Sequence[Row] = ()
    total: int | None = None
    next: str | None = None


Result = Row | Made | Page
Perform = Callable[[Context, Target, Given], Result]
Reads = Callable[[str, bytes], Pairs]
Renders = Callable[[FhirError], bytes]


@dataclass(frozen=True, slots=True)
class Operation:
    """One named operation; `name` is without the `$`.

    `definition` is the id of the OperationDefinition: HL7's own, or one of this server's, which it then describes
    itself. `types` are those that it is offered for, all where there are none. One that `changes` something is called
    by POST only. One that is `paged` is continued by page links; one that `searches` takes the search parameters of its
    type besides its own. `offers` are media types in which it answers beside FHIR, `languages` those in which it can.
    One that speaks no FHIR `reads` its own body, by content type, and `renders` its own errors, as application/json.
    """

    name: str
    title: str
    about: str
    definition: str
    levels: tuple[Level, ...]
    perform: Perform
    types: tuple[str, ...] = ()
    takes: tuple[Parameter, ...] = ()
    gives: tuple[Parameter, ...] = ()
    is_hl7s: bool = True
    changes: bool = False
    paged: bool = False
    searches: bool = False
    offers: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    reads: Reads | None = None
    renders: Renders | None = None

    @property
    def methods(self) -> tuple[str, ...]:
        """The HTTP methods by which it may be called."""
        return ("POST",) if self.changes else ("GET", "POST")

    def is_at(self, target: Target) -> bool:
        """Whether it is offered there."""
        if target.level not in self.levels:
            return False
        return not self.types or not target.type or target.type in self.types

    def parameter(self, name: str) -> Parameter | None:
        """What is declared of a parameter that it takes."""
        return next((one for one in self.takes if one.name == name), None)

    def canonical(self, base: str) -> str:
        """The address that names its OperationDefinition."""
        return f"{HL7 if self.is_hl7s else f'{base}/OperationDefinition/'}{self.definition}"
