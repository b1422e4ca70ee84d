"""A search as it was asked: the criteria as an expression, and how the result is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from fhirserver.search.expression import Expression

Handling: TypeAlias = Literal["strict", "lenient"]
Total: TypeAlias = Literal["none", "estimate", "accurate"]
Contained: TypeAlias = Literal["false", "true", "both"]
ContainedType: TypeAlias = Literal["container", "contained"]
Summary: TypeAlias = Literal["true", "text", "data", "count", "false"]
Pair: TypeAlias = tuple[str, str]


APART = frozenset({"AuditEvent", "Binary"})
"""Types that stand in no answer beside others: the trail is searched by itself, a Binary read by what refers to it."""


@dataclass(frozen=True, slots=True)
class Include:
    """Resources wanted beside the matches, along a reference parameter of the source type.

    `reverse` is `_revinclude`: then the source type refers to the matches instead of being one of them. `iterate` asks
    the same of what was included.
    """

    source: str
    param: str
    target: str | None = None
    iterate: bool = False
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class Branch:
    """What is asked of some of the types that are searched together.

    Where `contained` names a type, it is asked of the resources of that type that they contain; `parse` leaves open
    which types these containers have.
    """

    types: tuple[str, ...]
    expression: Expression
    contained: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """What `parse` understood. Nothing here says what may be seen.

    Where several types are searched together `type` is empty, and `branches` hold what is asked of each.
    `sort` holds pairs of parameter and whether descending; `count` is the size of a page, 0 for the total alone;
    `total` is None when nothing was said; `ignored` holds name and reason of what leniency passed over; `self_pairs`
    are the parameters that were used, for the self link. Where it may use a parameter that was added to those of R4,
    `generation` is that of the parameters by which it was read. Where contained resources are searched, a branch says
    so, and `contained_type` whether their containers are returned or they themselves.
    """

    type: str
    expression: Expression
    count: int
    sort: tuple[tuple[str, bool], ...] = ()
    summary: Summary | None = None
    elements: tuple[str, ...] = ()
    total: Total | None = None
    includes: tuple[Include, ...] = ()
    ignored: tuple[tuple[str, str], ...] = ()
    self_pairs: tuple[Pair, ...] = ()
    branches: tuple[Branch, ...] = ()
    generation: int | None = None
    contained_type: ContainedType = "container"

    @property
    def asked(self) -> tuple[Branch, ...]:
        """What is asked of which types."""
        return self.branches or (Branch((self.type,), self.expression),)

    @property
    def is_of_contained(self) -> bool:
        """Whether contained resources are searched, alone or too."""
        return any(branch.contained for branch in self.branches)

    @property
    def gives_contained(self) -> bool:
        """Whether contained resources themselves are returned."""
        return self.contained_type == "contained" and self.is_of_contained
