"""Search expressions: predicates over the stored values of one resource.

The store compiles each node to its query language; `evaluate` is the same meaning in Python, slow and obvious, against
which the compiled query is tested. A node says, in the words of MongoDB:

    Equals       {tk: atom}                                            Any of several Equals: {tk: {$in: […]}}
    StartsWith   {tk: {$elemMatch: {$gte: prefix, $lt: end}}}          both of the same atom, hence $elemMatch
    Matches      {tk: {$regex: pattern}}                               anchored, so the index bounds the scan
    Phrase       {wo.name: {$regex: words}}                            beside equalities, which the index answers
    Near         {place: {$geoWithin: {$centerSphere: [[longitude, latitude], radians]}}}
    Interval     {rg: {$elemMatch: {n: name, lo: {$op: value}, hi: {$op: value}, u: unit}}}
    All, Any, Not   $and, $or, $nor of one                             Always, Never

`Refers` and `ReferredBy` are about other resources. The store answers them first, with what may be seen, and puts
equalities in their place (`links.replaced`).

Nothing is said by leaving something out: everything is `Always()`, nothing is `Never()`, and `All` and `Any` hold at
least one part.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any as AnyValue
from typing import Literal, TypeAlias

from fhirserver.search.stored import SEPARATOR, Bound, Values

_SURROGATES_START, _AFTER_SURROGATES, _LAST_CHARACTER = 0xD800, 0xE000, 0x10FFFF


@dataclass(frozen=True, slots=True)
class Equals:
    """One atom is exactly this."""

    atom: str


@dataclass(frozen=True, slots=True)
class StartsWith:
    """One atom begins with this."""

    prefix: str

    @property
    def end(self) -> str:
        """The first text, in the order of code points, after all those that begin with the prefix."""
        head = self.prefix.rstrip(chr(_LAST_CHARACTER))
        following = ord(head[-1]) + 1
        if following == _SURROGATES_START:  # UTF-8 has no surrogates
            following = _AFTER_SURROGATES
        return head[:-1] + chr(following)


@dataclass(frozen=True, slots=True)
class Matches:
    """One atom begins with the prefix and holds the text somewhere after it.

    `before` and `after` are regular expressions of what may stand around the text, of our own making.
    """

    prefix: str
    text: str
    before: str = ".*"
    after: str = ""

    @property
    def pattern(self) -> str:
        """The regular expression, of the part common to Python and PCRE, anchored at the prefix."""
        return f"^{re.escape(self.prefix)}{self.before}{re.escape(self.text)}{self.after}"


@dataclass(frozen=True, slots=True)
class Phrase:
    """The words follow one another in one of the texts under a name; of some only the beginning is meant."""

    name: str
    words: tuple[tuple[str, bool], ...]

    @property
    def pattern(self) -> str:
        """The regular expression: each word stands between two spaces."""
        return (
            " "
            + " ".join(re.escape(word) + ("[^ ]*" if is_beginning else "") for word, is_beginning in self.words)
            + " "
        )


EARTH = 6_378_100.0
"""The radius of the Earth in metres, as MongoDB's documentation has it; the planet is a sphere here."""


@dataclass(frozen=True, slots=True)
class Near:
    """The place is within so many metres of a point, by the great circle."""

    latitude: float
    longitude: float
    metres: float

    @property
    def radians(self) -> float:
        """The distance as an angle at the centre of the Earth; half of the way around reaches everywhere."""
        return min(self.metres / EARTH, math.pi)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One bound of a stored interval compared with a value."""

    bound: Literal["lo", "hi"]
    operator: Literal["lt", "lte", "gt", "gte"]
    value: Bound


@dataclass(frozen=True, slots=True)
class Interval:
    """One stored interval of that name meets all comparisons and, when a unit is named, has that unit."""

    name: str
    comparisons: tuple[Comparison, ...] = ()
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Always:
    """Every resource: no criterion was given."""


@dataclass(frozen=True, slots=True)
class Never:
    """No resource."""


@dataclass(frozen=True, slots=True)
class Not:
    """Whatever the part does not say, the resources without any value included."""

    part: Expression


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds, each perhaps of another value of the resource."""

    parts: tuple[Expression, ...]

    def __post_init__(self) -> None:
        _require_parts(self.parts)


@dataclass(frozen=True, slots=True)
class Any:
    """At least one part holds."""

    parts: tuple[Expression, ...]

    def __post_init__(self) -> None:
        _require_parts(self.parts)


@dataclass(frozen=True, slots=True)
class Refers:
    """A reference under the parameter leads to a resource of one of the types, and the part holds of that (a chain)."""

    param: str
    types: tuple[str, ...]
    part: Expression


@dataclass(frozen=True, slots=True)
class ReferredBy:
    """A resource of the type refers under the parameter to this one, a `target`; the part holds of that (`_has`)."""

    type: str
    param: str
    target: str
    part: Expression


Expression: TypeAlias = (
    Equals | StartsWith | Matches | Phrase | Near | Interval | All | Any | Not | Always | Never | Refers | ReferredBy
)

World: TypeAlias = Mapping[str, Values]
"""The values of every resource, by its reference."""


def _require_parts(parts: tuple[Expression, ...]) -> None:
    if not parts:
        raise ValueError("an empty All would mean everything: write Always() or Never()")


def all_of(parts: Iterable[Expression]) -> Expression:
    """The conjunction of at least one part; a single part stands for itself."""
    found = tuple(parts)
    return found[0] if len(found) == 1 else All(found)


def any_of(parts: Iterable[Expression]) -> Expression:
    """The disjunction; of no parts, nothing. A part that is itself an `Any` is opened, so that equalities meet."""
    found: list[Expression] = []
    for part in parts:
        found.extend(part.parts if isinstance(part, Any) else (part,))
    if not found:
        return Never()
    return found[0] if len(found) == 1 else Any(tuple(found))


_OPERATORS: dict[str, Callable[[AnyValue, AnyValue], bool]] = {
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}


def evaluate(expression: Expression, values: Values, world: World | None = None) -> bool:
    """Whether the expression holds of these values; references lead to what is in the `world`."""
    match expression:
        case Equals(atom):
            return atom in values.tk
        case StartsWith(prefix):
            return any(atom.startswith(prefix) for atom in values.tk)
        case Matches():
            pattern = re.compile(expression.pattern)
            return any(pattern.match(atom) for atom in values.tk)
        case Phrase(name):
            return re.search(expression.pattern, values.wo.get(name, "")) is not None
        case Near():
            return values.place is not None and _angle(values.place, expression) <= expression.radians
        case Interval():
            return any(_meets(interval, expression) for interval in values.rg)
        case All(parts):
            return all(evaluate(part, values, world) for part in parts)
        case Any(parts):
            return any(evaluate(part, values, world) for part in parts)
        case Not(part):
            return not evaluate(part, values, world)
        case Refers(param, types, part):
            named = _references(values, param)
            return any(evaluate(part, other, world) for _, other in _of(world, types, named))
        case ReferredBy(type_, param, target, part):
            own = {f"{target}/{id_.removeprefix('|')}" for id_ in _references(values, "_id")}
            others = (other for _, other in _of(world, (type_,), None))
            return any(own & _references(other, param) and evaluate(part, other, world) for other in others)
        case Always():
            return True
        case Never():
            return False


def _meets(interval: dict[str, AnyValue], wanted: Interval) -> bool:
    return (
        interval["n"] == wanted.name
        and (wanted.unit is None or wanted.unit in interval.get("u", ()))
        and all(
            _OPERATORS[comparison.operator](interval[comparison.bound], comparison.value)
            for comparison in wanted.comparisons
        )
    )


def _angle(place: tuple[float, float], near: Near) -> float:
    """The angle between two places, by the haversine formula, which is exact enough for close ones."""
    longitude, latitude = (math.radians(degrees) for degrees in place)
    other_latitude = math.radians(near.latitude)
    half = (
        math.sin((latitude - other_latitude) / 2) ** 2
        + math.cos(latitude) * math.cos(other_latitude) * math.sin((longitude - math.radians(near.longitude)) / 2) ** 2
    )
    return 2 * math.asin(math.sqrt(min(1.0, half)))


def _references(values: Values, param: str) -> set[str]:
    prefix = param + SEPARATOR
    return {atom.removeprefix(prefix) for atom in values.tk if atom.startswith(prefix)}


def _of(world: World | None, types: tuple[str, ...], named: set[str] | None) -> Iterator[tuple[str, Values]]:
    """The resources of the types, those named only if any are."""
    for reference, values in (world or {}).items():
        if reference.partition("/")[0] in types and (named is None or reference in named):
            yield reference, values
