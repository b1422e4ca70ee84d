"""The predicate language over facts documents: one form that is evaluated, compiled into a query, and printed.

A condition is a tree of small frozen values. A path is one key of the document at hand; `Some` and `Every` step into
the documents of an array. Semantics follow MongoDB's, so that a store can translate node by node:

- a comparison or membership on a missing path is false;
- on an array, `Is` and `In` ask whether some element is equal, and `Is` with `()` whether it is empty; comparisons
  are for scalars only;
- `Some` needs an element that satisfies the whole condition; `Every` needs an element and no exception.

`NOW` stands for the instant of the request. Conditions are built and compiled once with it, and `bind` puts the
instant in. `assume` leaves out what is known of every document that will be asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from typing import Any


class Now(Enum):
    """The instant of the request, not yet known."""

    NOW = "now"

    def __repr__(self) -> str:
        return "now"


NOW = Now.NOW

Scalar = str | int | bool | datetime | tuple[()] | None
Comparable = int | datetime | Now


@dataclass(frozen=True, slots=True)
class Everything:
    """True of every document. Whoever wants this must write it out."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """True of no document."""


@dataclass(frozen=True, slots=True, init=False)
class AllOf:
    """True where every condition is; of no conditions, true."""

    conditions: tuple[Condition, ...]

    def __init__(self, *conditions: Condition) -> None:
        object.__setattr__(self, "conditions", conditions)


@dataclass(frozen=True, slots=True, init=False)
class AnyOf:
    """True where some condition is; of no conditions, false: empty is nothing."""

    conditions: tuple[Condition, ...]

    def __init__(self, *conditions: Condition) -> None:
        object.__setattr__(self, "conditions", conditions)


@dataclass(frozen=True, slots=True)
class Not:
    """True where the condition is not."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class Is:
    """True where the value at the path equals this one, or is an array that contains it."""

    path: str
    value: Scalar


@dataclass(frozen=True, slots=True)
class In:
    """True where the value at the path is one of these, or is an array that shares one with them."""

    path: str
    values: frozenset[Scalar]

    def __init__(self, path: str, values: Collection[Scalar]) -> None:
        object.__setattr__(self, "path", path)
        object.__setattr__(self, "values", frozenset(values))


@dataclass(frozen=True, slots=True)
class AtMost:
    """True where the value at the path is less than or equal to this one."""

    path: str
    value: Comparable


@dataclass(frozen=True, slots=True)
class AtLeast:
    """True where the value at the path is greater than or equal to this one."""

    path: str
    value: Comparable


@dataclass(frozen=True, slots=True)
class LessThan:
    """True where the value at the path is less than this one."""

    path: str
    value: Comparable


@dataclass(frozen=True, slots=True)
class GreaterThan:
    """True where the value at the path is greater than this one."""

    path: str
    value: Comparable


@dataclass(frozen=True, slots=True)
class Some:
    """True where some document of the array at the path satisfies the condition."""

    path: str
    condition: Condition


@dataclass(frozen=True, slots=True)
class Every:
    """True where the array at the path is not empty and each of its documents satisfies the condition."""

    path: str
    condition: Condition


Comparison = AtMost | AtLeast | LessThan | GreaterThan
Condition = Everything | Nothing | AllOf | AnyOf | Not | Is | In | Comparison | Some | Every

Predicate = Callable[[Mapping[str, Any], datetime], bool]
"""A compiled condition: a document and the instant of the request in, true or false out."""


def evaluate(condition: Condition, document: Mapping[str, Any]) -> bool:
    """Say whether the document satisfies the condition, which must be bound.

    Raises:
        ValueError: the condition still speaks of NOW.
        TypeError: a value cannot be compared: the caller takes it for a refusal.

    """
    return compiled(condition)(document)


def compiled(condition: Condition) -> Callable[[Mapping[str, Any]], bool]:
    """Compile a bound condition into a function of the document.

    Raises:
        ValueError: the condition still speaks of NOW.

    """
    if _speaks_of_now(condition):
        raise ValueError("bind the condition to an instant first")
    test = prepare(condition)
    return lambda document: test(document, _UNUSED)


_UNUSED = datetime(1, 1, 1, tzinfo=UTC)
_MISSING: Any = object()


def prepare(condition: Condition, made: dict[Condition, Predicate] | None = None) -> Predicate:
    """Compile a condition, bound or not, into closures over a document and an instant.

    `made` holds what was compiled already: conditions that are parts of several are compiled, and kept, once.
    """
    made = {} if made is None else made
    if condition not in made:
        made[condition] = _prepare(condition, made)
    return made[condition]


def _prepare(condition: Condition, made: dict[Condition, Predicate]) -> Predicate:
    match condition:
        case Everything():
            return lambda _document, _now: True
        case Nothing():
            return lambda _document, _now: False
        case AllOf(conditions):
            return _all_of([prepare(each, made) for each in conditions])
        case AnyOf(conditions):
            return _any_of([prepare(each, made) for each in conditions])
        case Not(inner):
            return _not(prepare(inner, made))
        case Is(path, value):
            return _is(path, value)
        case In(path, values):
            return _in(path, values)
        case Some(path, inner):
            return _some(path, prepare(inner, made))
        case Every(path, inner):
            return _every(path, prepare(inner, made))
        case AtMost() | AtLeast() | LessThan() | GreaterThan():
            return _comparison(condition)


def _all_of(tests: list[Predicate]) -> Predicate:
    if len(tests) == 2:
        first, second = tests
        return lambda document, now: first(document, now) and second(document, now)

    def test(document: Mapping[str, Any], now: datetime) -> bool:
        for each in tests:  # noqa: SIM110 - a generator would cost more than the tests it runs
            if not each(document, now):
                return False
        return True

    return test


def _any_of(tests: list[Predicate]) -> Predicate:
    def test(document: Mapping[str, Any], now: datetime) -> bool:
        for each in tests:  # noqa: SIM110 - as above
            if each(document, now):
                return True
        return False

    return test


def _not(inner: Predicate) -> Predicate:
    return lambda document, now: not inner(document, now)


def _is(path: str, value: Scalar) -> Predicate:
    if value == ():
        return lambda document, _now: document.get(path) == []

    def test(document: Mapping[str, Any], _now: datetime) -> bool:
        found = document.get(path, _MISSING)
        return value in found if type(found) is list else found == value

    return test


def _in(path: str, values: frozenset[Scalar]) -> Predicate:
    shares_none = values.isdisjoint

    def test(document: Mapping[str, Any], _now: datetime) -> bool:
        found = document.get(path, _MISSING)
        return not shares_none(found) if type(found) is list else found in values

    return test


def _some(path: str, inner: Predicate) -> Predicate:
    def test(document: Mapping[str, Any], now: datetime) -> bool:
        for each in document.get(path, ()):  # noqa: SIM110 - as above
            if inner(each, now):
                return True
        return False

    return test


def _every(path: str, inner: Predicate) -> Predicate:
    def test(document: Mapping[str, Any], now: datetime) -> bool:
        elements = document.get(path, ())
        for each in elements:
            if not inner(each, now):
                return False
        return bool(elements)

    return test


def _comparison(condition: Comparison) -> Predicate:
    path, value = condition.path, condition.value
    match condition, value:
        # The two that ask whether something is in force run for every relation and ruling, so they are spelled out.
        case AtMost(), Now():
            return lambda document, now: path in document and document[path] <= now
        case GreaterThan(), Now():
            return lambda document, now: path in document and document[path] > now
        case AtMost(), _:
            return lambda document, now: path in document and document[path] <= _at(value, now)
        case AtLeast(), _:
            return lambda document, now: path in document and document[path] >= _at(value, now)
        case LessThan(), _:
            return lambda document, now: path in document and document[path] < _at(value, now)
        case _:
            return lambda document, now: path in document and document[path] > _at(value, now)


def _at(value: Comparable, now: datetime) -> Any:
    return now if value is NOW else value


Binder = Callable[[Mapping[Condition, Condition]], "Condition"]


def bind(condition: Condition, now: datetime) -> Condition:
    """Return the condition with the instant in the place of NOW; parts that do not speak of it are shared."""
    return binding(condition)(now)


def binding(condition: Condition) -> Callable[[datetime], Condition]:
    """Prepare the binding of one condition to many instants: what speaks of NOW is found once.

    The parts of the condition that do not speak of it are shared by all.
    """
    leaves: dict[Condition, type[Comparison]] = {}
    binder = _binder(condition, leaves, {})
    made = [(leaf, kind, leaf.path) for leaf, kind in leaves.items() if isinstance(leaf, kind)]
    return lambda now: binder({leaf: kind(path, now) for leaf, kind, path in made})


def _binder(condition: Condition, leaves: dict[Condition, type[Comparison]], made: dict[Condition, Binder]) -> Binder:
    if condition not in made:
        made[condition] = _new_binder(condition, leaves, made)
    return made[condition]


def _new_binder(
    condition: Condition, leaves: dict[Condition, type[Comparison]], made: dict[Condition, Binder]
) -> Binder:
    if not _speaks_of_now(condition):
        return lambda _bound: condition
    match condition:
        case AllOf(conditions) | AnyOf(conditions):
            join = type(condition)
            binders = [_binder(each, leaves, made) for each in conditions]
            return lambda bound: join(*[each(bound) for each in binders])
        case Not(inner):
            within = _binder(inner, leaves, made)
            return lambda bound: Not(within(bound))
        case Some(path, inner) | Every(path, inner):
            step = type(condition)
            within = _binder(inner, leaves, made)
            return lambda bound: step(path, within(bound))
        case AtMost() | AtLeast() | LessThan() | GreaterThan():
            leaves[condition] = type(condition)
            return lambda bound: bound[condition]
        case _:
            return lambda _bound: condition


Known = Mapping[str, "Scalar | Known"]
"""What is known of a document: values by path; for an array of documents, what is known of each of them."""


def assume(condition: Condition, known: Known) -> Condition:
    """Return a simpler condition that holds for the same documents among those of which `known` is true."""
    return simplify(_assumed(condition, known))


def _assumed(condition: Condition, known: Known) -> Condition:
    match condition:
        case AllOf(conditions) | AnyOf(conditions):
            return type(condition)(*(_assumed(each, known) for each in conditions))
        case Not(inner):
            return Not(_assumed(inner, known))
        case Some(path, inner) | Every(path, inner):
            within = known.get(path)
            return type(condition)(path, _assumed(inner, within)) if isinstance(within, Mapping) else condition
        case Everything() | Nothing():
            return condition
        case _ if condition.path in known and not _speaks_of_now(condition):
            return Everything() if evaluate(condition, known) else Nothing()
        case _:
            return condition


def _speaks_of_now(condition: Condition) -> bool:
    match condition:
        case AllOf(conditions) | AnyOf(conditions):
            return any(_speaks_of_now(each) for each in conditions)
        case Not(inner) | Some(_, inner) | Every(_, inner):
            return _speaks_of_now(inner)
        case AtMost(_, value) | AtLeast(_, value) | LessThan(_, value) | GreaterThan(_, value):
            return value is NOW
        case _:
            return False


@lru_cache(maxsize=4096)
def simplify(condition: Condition) -> Condition:
    """Return an equivalent condition without constants, nesting and repetition that say nothing.

    A part that a broader neighbour already says is absorbed: `A or (A and B)` is `A`, `A and (A or B)` is `A`.
    """
    match condition:
        case AllOf(conditions):
            return _joined(AllOf, AnyOf, conditions)
        case AnyOf(conditions):
            return _joined(AnyOf, AllOf, conditions)
        case Not(inner):
            return _negated(simplify(inner))
        case In(_, values) if not values:
            return Nothing()
        case In(path, values) if len(values) == 1:
            return Is(path, next(iter(values)))
        case Some(path, inner):
            within = simplify(inner)
            return Nothing() if within == Nothing() else Some(path, within)
        case Every(path, inner):
            within = simplify(inner)
            return Nothing() if within == Nothing() else Every(path, within)
        case _:
            return condition


def _negated(condition: Condition) -> Condition:
    match condition:
        case Everything():
            return Nothing()
        case Nothing():
            return Everything()
        case Not(inner):
            return inner
        case _:
            return Not(condition)


_Join = type[AllOf] | type[AnyOf]


def _joined(join: _Join, other: _Join, conditions: Iterable[Condition]) -> Condition:
    neutral, absorbing = (Everything(), Nothing()) if join is AllOf else (Nothing(), Everything())
    parts: dict[Condition, None] = {}
    for each in conditions:
        part = simplify(each)
        if part == absorbing:
            return part
        if part != neutral:
            parts.update(dict.fromkeys(part.conditions if isinstance(part, join) else (part,)))
    kept = _needed(join, list(parts))
    kept = _gathered(kept) if join is AllOf else _needed(join, _merged(kept))
    if not kept:
        return neutral
    return kept[0] if len(kept) == 1 else _factored(join, other, kept)


def _needed(join: _Join, parts: list[Condition]) -> list[Condition]:
    """Leave out, one after the other, the parts that a remaining neighbour makes superfluous."""
    kept = list(parts)
    for part in parts:
        rest = [each for each in kept if each is not part]
        if _implies(AllOf(*rest), part) if join is AllOf else _implies(part, AnyOf(*rest)):
            kept = rest
    return kept


def _implies(narrow: Condition, wide: Condition) -> bool:
    """Say whether it is plain from their form that wherever the one is true the other is."""
    match narrow, wide:
        case _ if narrow == wide:
            return True
        case Is(path, value), In(other, values):
            return path == other and value in values
        case In(path, few), In(other, many):
            return path == other and few <= many
        case (Some(path, inner), Some(other, outer)) | (Every(path, inner), Every(other, outer)):
            return path == other and _implies(inner, outer)
        case AnyOf(conditions), _:
            return all(_implies(each, wide) for each in conditions)
        case _, AllOf(conditions):
            return all(_implies(narrow, each) for each in conditions)
        case AllOf(conditions), AnyOf(others):
            return any(_implies(each, wide) for each in conditions) or any(_implies(narrow, each) for each in others)
        case AllOf(conditions), _:
            return any(_implies(each, wide) for each in conditions)
        case _, AnyOf(conditions):
            return any(_implies(narrow, each) for each in conditions)
        case _:
            return False


def _merged(parts: Iterable[Condition]) -> list[Condition]:
    """Ask several questions of one array together: some has A, or some has B, is some has A or B."""
    asked: dict[str, list[Condition]] = {}
    for part in parts:
        if isinstance(part, Some):
            asked.setdefault(part.path, []).append(part.condition)
    merged = [
        simplify(Some(path, AnyOf(*inner))) if len(inner) > 1 else Some(path, inner[0]) for path, inner in asked.items()
    ]
    return [*(part for part in parts if not isinstance(part, Some)), *merged]


def _gathered(parts: Sequence[Condition]) -> list[Condition]:
    """Ask several questions of one array together: none has A, and each has B, is each has B and not A.

    What must not be is gathered the same way: not A and not B is not (A or B).
    """
    each_has: dict[str, list[Condition]] = {}
    for part in parts:
        if isinstance(part, Every):
            each_has.setdefault(part.path, []).append(part.condition)
    excluded: list[Condition] = []
    for part in parts:
        match part:
            case Not(AnyOf(conditions)):
                excluded += conditions
            case Not(inner):
                excluded.append(inner)
    kept: list[Condition] = [part for part in parts if not isinstance(part, Every | Not)]
    unplaced = []
    for each in excluded:
        if isinstance(each, Some) and each.path in each_has:
            each_has[each.path].append(Not(each.condition))
        else:
            unplaced.append(each)
    if unplaced:
        kept.append(_negated(simplify(AnyOf(*unplaced))))
    return [*kept, *(simplify(Every(path, AllOf(*inner))) for path, inner in each_has.items())]


def _factored(join: _Join, other: _Join, parts: list[Condition]) -> Condition:
    """Write what several parts share only once: `(A and B) or (A and C) or D` is `(A and (B or C)) or D`."""
    shared = _most_shared(part.conditions for part in parts if isinstance(part, other))
    if shared is None:
        return join(*parts)
    holding = [part.conditions for part in parts if isinstance(part, other) and shared in part.conditions]
    apart = [part for part in parts if not (isinstance(part, other) and shared in part.conditions)]
    rests = [other(*(each for each in own if each != shared)) for own in holding]
    return simplify(join(*apart, other(shared, join(*rests))))


def _most_shared(groups: Iterable[Iterable[Condition]]) -> Condition | None:
    """Return the condition that most of the groups have, the first of equals; None where none is in two."""
    counts = Counter(each for group in groups for each in group)
    return next((each for each, count in counts.most_common(1) if count > 1), None)


def describe(condition: Condition) -> str:
    """Print a condition in words, for explanations and tests; values appear in a stable order."""
    match condition:
        case Everything():
            return "everything"
        case Nothing():
            return "nothing"
        case AllOf(conditions):
            return "(" + " and ".join(describe(each) for each in conditions) + ")" if conditions else "everything"
        case AnyOf(conditions):
            return "(" + " or ".join(describe(each) for each in conditions) + ")" if conditions else "nothing"
        case Not(inner):
            return f"not {describe(inner)}"
        case Is(path, value):
            return f"{path} is {_shown(value)}"
        case In(path, values):
            return f"{path} is one of [{', '.join(sorted(_shown(value) for value in values))}]"
        case AtMost(path, value):
            return f"{path} <= {_shown(value)}"
        case AtLeast(path, value):
            return f"{path} >= {_shown(value)}"
        case LessThan(path, value):
            return f"{path} < {_shown(value)}"
        case GreaterThan(path, value):
            return f"{path} > {_shown(value)}"
        case Some(path, inner):
            return f"some of {path} has {describe(inner)}"
        case Every(path, inner):
            return f"each of {path} has {describe(inner)}"


def _shown(value: Scalar | Now) -> str:
    if value is None or value == ():
        return "none"
    return value.isoformat() if isinstance(value, datetime) else str(value if not isinstance(value, Now) else "now")
