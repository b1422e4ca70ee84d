"""The prefixes of ordered parameters: eq ne gt lt ge le sa eb ap (https://hl7.org/fhir/R4/search.html#prefix).

Both the value searched and the value stored are ranges. The specification defines each prefix by how they lie to each
other; here each definition becomes comparisons of the stored `lo` and `hi` with the ends of the range searched.

The specification gives "the range above the value" two meanings: beyond the value, and "the specified value and up".
With `gt` and `lt` it is the first, or `gt` would find the value itself; with `ge` and `le` the second, so that a stay
from the 14th to the 20th is found by `le` the 14th. For a stored point the two agree.
"""

from __future__ import annotations

from dataclasses import dataclass

from fhirserver.search.expression import Comparison, Expression, Interval, any_of
from fhirserver.search.stored import Bound

PREFIXES = frozenset({"eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"})

IMPRECISE = frozenset({"eq", "ne", "ap"})
"""The prefixes with which the precision of a number matters; with the others it is "arbitrarily high"."""


@dataclass(frozen=True, slots=True)
class Range:
    """The range of a value searched; `high` belongs to it unless it is open, as the implicit range of a number is."""

    low: Bound
    high: Bound
    is_open: bool = False


def split_prefix(text: str) -> tuple[str, str]:
    """The prefix of a value, `eq` if it has none, and the rest."""
    return (text[:2], text[2:]) if text[:2] in PREFIXES else ("eq", text)


Alternatives = tuple[tuple[Comparison, ...], ...]
"""Ways in which one stored interval may match; within each, all comparisons hold of the same interval."""


def alternatives(prefix: str, searched: Range) -> Alternatives:
    """The comparisons that a prefix means for a range; for `ap` the caller has widened the range."""
    below = Comparison("lo", "lt", searched.low)
    from_low = Comparison("lo", "gte", searched.low)
    above = Comparison("hi", "gte" if searched.is_open else "gt", searched.high)
    up_to_high = Comparison("hi", "lt" if searched.is_open else "lte", searched.high)
    match prefix:
        case "eq":  # the range searched fully contains the stored one
            return ((from_low, up_to_high),)
        case "ne":
            return ((below,), (above,))
        case "gt":  # the range above the one searched intersects the stored one
            return ((above,),)
        case "lt":
            return ((below,),)
        case "ge":  # here "the range above the value" is "the specified value and up"
            return ((Comparison("hi", "gte", searched.low),),)
        case "le":
            return ((Comparison("lo", "lte", searched.high),),)
        case "sa":  # the range above contains the whole stored one
            return ((Comparison("lo", "gte" if searched.is_open else "gt", searched.high),),)
        case "eb":
            return ((Comparison("hi", "lt", searched.low),),)
        case "ap":  # the two overlap
            overlap_end = Comparison("lo", "lt" if searched.is_open else "lte", searched.high)
            return ((overlap_end, Comparison("hi", "gte", searched.low)),)
        case _:
            raise ValueError(prefix)


def intervals(name: str, ways: Alternatives, unit: str | None = None) -> Expression:
    """The expression of which one stored interval of the name must meet one of the ways."""
    return any_of(Interval(name, way, unit) for way in ways)
