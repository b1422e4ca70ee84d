"""The contained resources that a search found, taken out of their containers (`_containedType=contained`).

Which of them match is asked of the search values that lie beside the container, as the database asked it; their bytes
are cut out of its own, untouched.

https://hl7.org/fhir/R4/search.html#contained
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from fhirserver.search.expression import Expression, evaluate
from fhirserver.search.query import Branch
from fhirserver.search.stored import Values
from fhirserver.store.compile import Filter, both, compile_expression
from fhirserver.store.database import Document
from fhirserver.store.rows import Row, row_of
from resources import SUPPORTED

Asked = Sequence[tuple[Branch, Expression]]
"""The branches of a search, each with its expression once the references have been followed."""

FIELDS = {"in": 1, "tk": 1, "rg": 1, "place": 1, "wo": 1}


@dataclass(frozen=True, slots=True)
class Inside:
    """One match: the row of a contained resource and the reference of its container, or a row that stands by itself."""

    row: Row
    container: str = ""


@dataclass(frozen=True, slots=True)
class Filled:
    """What a page holds of some rows; where it ends within a row, how many of that row's were given, and its name."""

    found: list[Inside]
    rows: int
    given: tuple[int, str] | None


class _Container(msgspec.Struct):
    contained: list[msgspec.Raw] = msgspec.field(default_factory=list)


class _Head(msgspec.Struct, rename="camel"):
    resource_type: str
    id: str = ""


def fill(rows: Sequence[Document], asked: Asked, most: int, given: tuple[int, str] | None) -> Filled:
    """The matches in these rows, in order, so many at most; without those of the first row that were given before."""
    found: list[Inside] = []
    for number, document in enumerate(rows):
        inside = list(matches(document, asked))
        skipped = given[0] if number == 0 and given is not None and given[1] == document["_id"] else 0
        room = most - len(found)
        found += inside[skipped : skipped + room]
        if len(inside) - skipped > room:
            return Filled(found, number + 1, (skipped + room, document["_id"]))
        if len(found) == most:
            return Filled(found, number + 1, None)
    return Filled(found, len(rows), None)


def matches(document: Document, asked: Asked) -> Iterator[Inside]:
    """What in a row was asked for: itself, then what it contains, in its order."""
    row = row_of(document)
    for branch, expression in asked:
        if row.type not in branch.types:
            continue
        if not branch.contained:
            if evaluate(expression, _values(document)):
                yield Inside(row)
            continue
        for values, (head, body) in zip(document.get("in", ()), _contained(row.body), strict=True):
            if head.resource_type == branch.contained and evaluate(expression, _values(values)):
                yield Inside(replace(row, type=head.resource_type, id=head.id, body=body), row.reference)


def counted(asked: Asked, wanted: Filter) -> Iterator[list[Document]]:
    """The stages that leave one document for each match in the rows that are wanted, for each branch."""
    for branch, expression in asked:
        if not branch.contained:
            yield [{"$match": both(both(wanted, {"t": branch.types[0]}), compile_expression(expression))}]
            continue
        within = both({"t": branch.contained}, compile_expression(expression))
        yield [
            {"$match": wanted},
            {"$unwind": "$in"},
            {"$replaceRoot": {"newRoot": "$in"}},
            {"$match": within},
        ]


def _contained(body: bytes) -> Iterator[tuple[_Head, bytes]]:
    """The bytes of the contained resources that have search values (`search_values`)."""
    for raw in msgspec.json.decode(body, type=_Container).contained:
        head = msgspec.json.decode(raw, type=_Head)
        if head.resource_type in SUPPORTED:
            yield head, bytes(raw)


def _values(stored: Mapping[str, Any]) -> Values:
    place = stored.get("place")
    return Values(
        stored["tk"], stored["rg"], {}, None if place is None else (place[0], place[1]), stored.get("wo") or {}
    )
