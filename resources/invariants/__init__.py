"""The error invariants of R4 that a schema cannot say, as one table.

Each row names the structure it guards (a type, or the path of an element with children), the key under which the
standard publishes it, and a rule; the text is the published one. Rules are asked of parsed elements in any shape: the
schema reports wrong shapes, so a rule that trips over one says nothing more. The published FHIRPath of each stands on
the page of its type below https://hl7.org/fhir/R4/; `ELSEWHERE` and `NOT_CHECKED` account for those without a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import msgspec

from resources.invariants import administrative, bundle, clinical, conformance, data_types, terminology
from resources.invariants.row import Invariant, Row
from resources.structure import definitions

__all__ = ["ELSEWHERE", "NOT_CHECKED", "TABLE", "Invariant", "invariants_of", "published_texts"]

TABLE: tuple[Row, ...] = (
    *data_types.ROWS,
    *bundle.ROWS,
    *administrative.ROWS,
    *clinical.ROWS,
    *terminology.ROWS,
    *conformance.ROWS,
)

ELSEWHERE: Mapping[str, str] = {
    "ele-1": "validation.Visit.element",
    "dom-2": "validation.Visit.contents",
    "dom-3": "validation.Visit.contents",
    "dom-4": "validation.Visit.contents",
    "dom-5": "validation.Visit.contents",
    "ref-1": "validation.Visit.reference",
    "txt-1": "narrative",
    "txt-2": "narrative",
    "tst-6": "tst-5: test.action.assert has the content of setup.action.assert",
    "tst-8": "tst-7: test.action.operation has the content of setup.action.operation",
    "tst-9": "tst-7: teardown.action.operation has the content of setup.action.operation",
    "tst-11": "tst-10, as tst-6",
    "tst-13": "tst-12, as tst-6",
}
"""Invariants that need more than the element, and the place that keeps them."""

NOT_CHECKED: Mapping[str, str] = {
    "eld-19": "paths of an ElementDefinition are no concern of a server that does not generate code from them",
    "ig-1": "needs %context across an ImplementationGuide; guides are published, not exchanged here",
    "ig-2": "as ig-1",
    "mea-1": "as published it tests a stratifier against itself and cannot fail",
    "ppc-2": "as published it compares with the system 'something' and cannot fail",
    "ppc-3": "as ppc-2",
    "ppc-4": "as ppc-2",
    "ppc-5": "as ppc-2",
    "sdf-8": "path prefixes of a StructureDefinition, as eld-19",
    "sdf-8a": "as sdf-8",
    "sdf-9": "as sdf-8",
}
"""Published error invariants that are deliberately not checked, with the reason."""


@cache
def published_texts() -> Mapping[str, str]:
    """The published text of every error invariant, by key."""
    return msgspec.json.decode(definitions("invariants"), type=dict[str, str])


@cache
def invariants_of(structure: str) -> tuple[Invariant, ...]:
    """The invariants of a structure, ready to be asked."""
    return tuple(
        Invariant(row.key, published_texts()[published_key(row)], row.rule(structure))
        for row in TABLE
        if row.structure == structure
    )


def published_key(row: Row) -> str:
    """The key of a row's text: three types share ``inv-1`` and have it under their own names."""
    type_name = row.structure.partition(".")[0]
    own = f"{type_name}.{row.key}"
    return own if own in published_texts() else row.key
