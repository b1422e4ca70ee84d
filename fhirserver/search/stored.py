"""The shapes in which search values are stored beside a resource, and what both sides of a parameter type share.

`tk` holds strings ("atoms") for equality and prefix. An atom is the parameter's name, perhaps a kind, U+001F, and the
value. A name holds neither ":" nor U+001F, so one parameter's atoms never look like another's:

    code␟http://loinc.org|18748-4      token with a system              code␟18748-4    the same without its system
    status␟|available                  token that has no system (codes of a fixed set, booleans, uids)
    telecom:fold␟0612345678            token that is compared without case (strings, contact points)
    code:text␟imagerie                 the text of a coding, concept or identifier type, normalised
    identifier:of-type␟S|C|V           identifier by its type's system and code
    subject␟Patient/p                  reference; also the absolute URL, the urn, the versioned form, the canonical
    subject:identifier␟S|V             the identifier inside a reference, as a token
    subject:unversioned␟Patient/p      the present version too, beside one that the same parameter names
    subject:present␟                   a reference that is there but cannot be compared (contained, display only)
    family␟dupont                      string, normalised                family:exact␟Dupont    the same, untouched
    url␟http://example.org/a           uri; a canonical also without its version
    code-value-concept␟S|C␟T|D         composite of tokens and references, one atom for each pair of forms
    _text␟thorax  _content␟thorax      a word of the narrative, and one of any other string
    near:present␟                      a position is kept beside (`place`)

`rg` holds closed intervals, `lo` and `hi` both included: `{"n": "date", "lo": …, "hi": …}`. Dates are UTC datetimes to
the millisecond, numbers are floats; an open end is the first or last instant, or an infinity. A quantity has its units
in `u`: `["http://unitsofmeasure.org|mg", "|mg"]`; one in a unit of UCUM has a second interval in the canonical unit,
which is in its name: `value-quantity:ucum␟g`. A composite has its tokens in the name: `code-value-quantity␟S|C`, and
`code-value-quantity␟S|C:ucum␟g`. A composite of a token and two numbers (MolecularSequence) keeps the first number in
`lo` and the second in `hi`.

A row keeps the values of what it contains apart, one entry for each contained resource (`in`): its type in `t`, and its
`tk`, `rg`, `place` and `wo`.

`wo` holds the texts of more than one word, word by word in their order, for phrases: `{"_text": " bone lesion ",
"_content": " ct scan | no lesion "}`. It is in no index.

`so` holds for each parameter the smallest and the largest sort key: `{"date": [lo, hi]}`. `place` is the position of a
Location, longitude first.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any, Protocol, TypeAlias

from terminology.definitions import Definitions

FORM = 4
"""Counts up with each change of these shapes: rows of an older form are then behind, until they are reindexed."""

SEPARATOR = "\x1f"
"""Stands between the parts of an atom; U+001F, "unit separator", may not occur in a FHIR string (R4 datatypes)."""

VERSION = "/_history/"
"""Stands between a resource and its version in a reference to a version."""

BAR = "\x1e"
"""Stands for a "|" inside one part of a token, so that the "|" between system and code is unmistakable."""

START = datetime(1, 1, 1, tzinfo=UTC)
END = datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
"""The open ends of time: before and after every actual date."""

Bound: TypeAlias = float | datetime
SortKey: TypeAlias = str | float | datetime
Extracted: TypeAlias = tuple[Any, str]
"""A value found in a resource, and the name of its FHIR type."""


class Lookup(Definitions, Protocol):
    """What a criterion asks of the stored resources while it is read, by the rights of whoever searches.

    `answers` keeps what was answered: a search of several types reads the same criterion of each.
    """

    @property
    def answers(self) -> MutableMapping[tuple[str, ...], Any]:
        """The answers so far, by question."""

    def referring(self, type_: str, parameter: str, references: Sequence[str]) -> Sequence[str]:
        """The references of the resources of that type that refer to any of these by that parameter."""

    def referred(self, type_: str, parameter: str, references: Sequence[str]) -> Sequence[str]:
        """The references to which these resources of that type refer by that parameter."""


@dataclass(frozen=True, slots=True)
class Context:
    """What both sides need to know beside the value: the zone of dates without one, this server's base, its types.

    Without a `lookup`, what needs one (`:in`, `:below` of a code) is refused.
    """

    zone: tzinfo
    base: str | None = None
    types: Mapping[str, Any] = field(default_factory=dict)
    lookup: Lookup | None = None

    def relative(self, url: str) -> str:
        """The relative form of a URL below this server's base; any other text as it is."""
        return url.removeprefix(f"{self.base.rstrip('/')}/") if self.base else url


@dataclass(frozen=True, slots=True)
class Values:
    """The search values of one resource, as the store keeps them (shapes: the docstring of this module)."""

    tk: list[str]
    rg: list[dict[str, Any]]
    so: dict[str, list[SortKey]]
    place: tuple[float, float] | None = None
    wo: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Collector:
    """Gathers the values of one resource. Each parameter type adds to it; a repeated atom is kept once."""

    context: Context
    tk: dict[str, None] = field(default_factory=dict)
    rg: list[dict[str, Any]] = field(default_factory=list)
    so: dict[str, list[SortKey]] = field(default_factory=dict)
    place: tuple[float, float] | None = None
    wo: dict[str, str] = field(default_factory=dict)

    def interval(self, name: str, low: Bound, high: Bound) -> None:
        """Add one interval, which is also a sort key: its start in ascending, its end in descending order."""
        self.rg.append({"n": name, "lo": low, "hi": high})
        self.sort(name, low, high)

    def sort(self, name: str, low: SortKey, high: SortKey) -> None:
        """Widen the sort keys of a parameter to hold these."""
        keys = self.so.get(name)
        if keys is None:
            self.so[name] = [low, high]
            return
        keys[0] = min(keys[0], low)
        keys[1] = max(keys[1], high)

    def values(self) -> Values:
        """What was gathered, each interval once."""
        return Values(list(self.tk), _distinct(self.rg), self.so, self.place, self.wo)


def _distinct(intervals: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The intervals without repetition: twenty instances of one date are one index entry."""
    if len(intervals) < 2:
        return intervals
    seen = {(item["n"], item["lo"], item["hi"], tuple(item.get("u", ()))): item for item in intervals}
    return list(seen.values())


def token_part(text: str) -> str:
    """One part of a token as it stands in an atom."""
    return text.replace("|", BAR) if "|" in text else text
