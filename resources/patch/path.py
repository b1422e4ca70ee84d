"""The FHIRPath of a patch: where in a resource an operation is done.

A path is names and indexes, with ``where()``, ``first()``, ``last()``, ``single()``, ``tail()``, ``skip()``,
``take()``, ``ofType()``, ``as`` and ``extension()``. A criterion in ``where()`` may compare with ``=`` and ``!=``, join
with ``and``, ``or``, ``xor`` and ``implies``, and ask ``exists()``, ``empty()``, ``not()``, ``all()``, ``count()``,
``hasValue()``, ``startsWith()``, ``endsWith()`` and ``contains()``. The rest of FHIRPath is refused: ``resolve()``
would leave the resource, ``matches()`` and ``repeat()`` have no bound.

What is found are places rather than values, which no FHIRPath library gives (ADR 0011).

https://hl7.org/fhir/R4/fhirpatch.html, http://hl7.org/fhirpath/N1
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from resources.exact import Literal
from resources.patch.document import CostlyPatchError, InapplicablePatchError, MalformedPatchError
from resources.patch.element import Place
from resources.structure import PRIMITIVES, is_a, structures

LONGEST = 1000
MOST_STEPS = 500_000
"""Elements that the paths of one patch may look at."""
_DEEPEST = 20
_AT_ONCE = 100
"""Characters of a text that cost as much to look at as an element."""

Item: TypeAlias = "Place | str | bool | int | Literal"
Items: TypeAlias = list[Any]
Evaluate: TypeAlias = Callable[["Budget", Items], Items]
"""What an expression gives for the collection it is asked of."""

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>'(?:[^'\\]|\\.)*')|(?P<number>\d+(?:\.\d+)?)|(?P<name>\$?[A-Za-z_]\w*)|`(?P<quoted>[^`]+)`"""
    r"""|(?P<symbol>!=|[.()\[\],=]))""",
    re.ASCII,
)
_ESCAPES = {"'": "'", '"': '"', "`": "`", "\\": "\\", "/": "/", "n": "\n", "r": "\r", "t": "\t", "f": "\f"}
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ROOTS = frozenset({"Resource", "DomainResource"})


class Budget:
    """How many more elements may be looked at."""

    def __init__(self, steps: int = MOST_STEPS) -> None:
        """Begin with all of them."""
        self._left = steps

    def spend(self, steps: int) -> None:
        """Take some. Raises CostlyPatchError when none are left."""
        self._left -= steps
        if self._left < 0:
            raise CostlyPatchError("The paths of the patch look at too many elements")


@dataclass(frozen=True, slots=True)
class Path:
    """A path that has been read."""

    text: str
    _evaluate: Evaluate

    @classmethod
    def read(cls, text: str) -> Path:
        """Read a path. Raises MalformedPatchError for what is no path, or one that a patch may not use."""
        if len(text) > LONGEST:
            raise MalformedPatchError(f"A path has at most {LONGEST} characters")
        reader = _Reader(text)
        evaluate = reader.path(is_outermost=True)
        reader.end()
        return cls(text, evaluate)

    def find(self, resource: dict[str, Any], budget: Budget) -> list[Place]:
        """The elements that the path names, in order. Raises InapplicablePatchError, CostlyPatchError."""
        try:
            found = self._evaluate(budget, [Place(resource["resourceType"], resource)])
        except LookupError as error:
            raise InapplicablePatchError(f"{self.text}: {error.args[0]}") from error
        return found


class _Reader:
    """A recursive-descent reader of the grammar that a path and its criteria may use."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._position = 0
        self._depth = 0

    # What comes next

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._position] if self._position < len(self._tokens) else ("end", "")

    def _next(self) -> tuple[str, str]:
        token = self._peek()
        self._position += 1
        return token

    def _takes(self, *values: str) -> str | None:
        kind, value = self._peek()
        if kind in {"symbol", "name"} and value in values:
            self._position += 1
            return value
        return None

    def _expect(self, symbol: str) -> None:
        if self._takes(symbol) is None:
            raise self._unreadable(f"{symbol} is expected")

    def _unreadable(self, why: str) -> MalformedPatchError:
        return MalformedPatchError(f"The path {self._text!r} cannot be read: {why}")

    def end(self) -> None:
        """Raise MalformedPatchError unless all is read."""
        kind, value = self._peek()
        if kind != "end":
            raise self._unreadable(f"{value!r} is not expected here")

    # Paths

    def path(self, *, is_outermost: bool = False) -> Evaluate:
        """Steps joined by dots, maybe with `as` at the end."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._unreadable("it is nested too deeply")
        steps = [self._first(is_outermost=is_outermost)]
        while True:
            if self._takes("."):
                steps.append(self._step())
            elif self._takes("["):
                steps.append(_index(self._integer()))
                self._expect("]")
            elif self._takes("as"):
                steps.append(_as(self._type()))
            else:
                break
        self._depth -= 1
        return _chain(steps)

    def _first(self, *, is_outermost: bool) -> Evaluate:
        kind, value = self._peek()
        if kind == "text":
            self._next()
            return _constant(value)
        if kind == "number":
            self._next()
            return _constant(Literal(value) if "." in value else int(value))
        if self._takes("("):
            inner = self.path(is_outermost=True) if is_outermost else self.criterion()
            self._expect(")")
            return inner
        if self._takes("$this"):
            return lambda _, items: items
        if value in {"true", "false"} and kind == "name" and not is_outermost:
            self._next()
            return _constant(value == "true")
        if is_outermost and kind in {"name", "quoted"} and (value in structures() or value in _ROOTS):
            self._next()
            return _root(value)
        return self._step()

    def _step(self) -> Evaluate:
        kind, value = self._next()
        if kind == "quoted":
            return _child(value)
        if kind != "name" or value.startswith("$"):
            raise self._unreadable(f"{value!r} is not expected here" if value else "it ends too early")
        if self._takes("("):
            evaluate = self._function(value)
            self._expect(")")
            return evaluate
        return _child(value)

    def _function(self, name: str) -> Evaluate:
        if name in _PLAIN:
            return _PLAIN[name]
        if name in {"where", "all", "exists"}:
            if name == "exists" and self._peek() == ("symbol", ")"):
                return lambda _, items: [bool(items)]
            return _WITH_CRITERION[name](self.criterion())
        if name in {"ofType", "as"}:
            return (_as if name == "as" else _of_type)(self._type())
        if name in {"skip", "take"}:
            count = self._integer()
            return (lambda _, items: items[count:]) if name == "skip" else (lambda _, items: items[:count])
        if name in _WITH_TEXT:
            kind, value = self._next()
            if kind != "text":
                raise self._unreadable(f"{name}() takes a text in quotes")
            return _WITH_TEXT[name](value)
        raise self._unreadable(f"a patch may not use {name}()")

    def _integer(self) -> int:
        kind, value = self._next()
        if kind != "number" or not value.isdigit():
            raise self._unreadable("a whole number is expected")
        return int(value)

    def _type(self) -> str:
        kind, value = self._next()
        if value in {"FHIR", "System"} and self._takes("."):
            kind, value = self._next()
        if kind not in {"name", "quoted"} or not (value in structures() or value in PRIMITIVES):
            raise self._unreadable(f"{value!r} is not a type of FHIR R4")
        return value

    # Criteria

    def criterion(self) -> Evaluate:
        """A logical expression; ``implies`` binds weakest, then ``or`` and ``xor``, then ``and``."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._unreadable("it is nested too deeply")
        left = self._either()
        while self._takes("implies"):
            left = _logical("implies", left, self._either())
        self._depth -= 1
        return left

    def _either(self) -> Evaluate:
        left = self._both()
        while operator := self._takes("or", "xor"):
            left = _logical(operator, left, self._both())
        return left

    def _both(self) -> Evaluate:
        left = self._comparison()
        while self._takes("and"):
            left = _logical("and", left, self._comparison())
        return left

    def _comparison(self) -> Evaluate:
        left = self.path()
        while operator := self._takes("=", "!="):
            left = _compared(left, self.path(), is_equal=operator == "=")
        return left


def _tokens(text: str) -> Iterable[tuple[str, str]]:
    position = 0
    stripped = text.rstrip()
    while position < len(stripped):
        match = _TOKEN.match(stripped, position)
        if match is None:
            raise MalformedPatchError(f"The path {text!r} cannot be read at character {position}")
        kind = str(match.lastgroup)
        value = match[kind]
        yield kind, _ESCAPE.sub(_unescaped, value[1:-1]) if kind == "text" else value
        position = match.end()


def _unescaped(escape: re.Match[str]) -> str:
    code = escape[1]
    return chr(int(code[1:], 16)) if len(code) > 1 else _ESCAPES.get(code, code)


# -- navigation -------------------------------------------------------------------------------------------------------


def _chain(steps: list[Evaluate]) -> Evaluate:
    if len(steps) == 1:
        return steps[0]

    def evaluate(budget: Budget, items: Items) -> Items:
        for step in steps:
            items = step(budget, items)
        return items

    return evaluate


def _constant(value: Any) -> Evaluate:
    return lambda _budget, _items: [value]


def _root(type_name: str) -> Evaluate:
    def evaluate(_budget: Budget, items: Items) -> Items:
        (resource,) = items
        if not is_a(resource.type, type_name):
            raise LookupError(f"the resource is a {resource.type}")
        return items

    return evaluate


def _child(name: str) -> Evaluate:
    def evaluate(budget: Budget, items: Items) -> Items:
        found = [place for item in items if isinstance(item, Place) for place in item.children(name)]
        budget.spend(len(items) + len(found))
        return found

    return evaluate


def _index(index: int) -> Evaluate:
    return lambda _, items: items[index : index + 1]


def _of_type(type_name: str) -> Evaluate:
    return lambda _, items: [item for item in items if isinstance(item, Place) and is_a(item.type, type_name)]


def _as(type_name: str) -> Evaluate:
    of_type = _of_type(type_name)

    def evaluate(budget: Budget, items: Items) -> Items:
        if len(items) > 1:
            raise LookupError("as() is asked of several elements")
        return of_type(budget, items)

    return evaluate


def _single(_budget: Budget, items: Items) -> Items:
    if len(items) > 1:
        raise LookupError("single() finds several elements")
    return items


def _where(criterion: Evaluate) -> Evaluate:
    def evaluate(budget: Budget, items: Items) -> Items:
        budget.spend(len(items))
        return [item for item in items if _truth(criterion(budget, [item]))]

    return evaluate


def _all(criterion: Evaluate) -> Evaluate:
    def evaluate(budget: Budget, items: Items) -> Items:
        budget.spend(len(items))
        return [all(_truth(criterion(budget, [item])) for item in items)]

    return evaluate


def _exists(criterion: Evaluate) -> Evaluate:
    matching = _where(criterion)
    return lambda budget, items: [bool(matching(budget, items))]


def _extension(url: str) -> Evaluate:
    extensions = _child("extension")
    return lambda budget, items: [one for one in extensions(budget, items) if one.value.get("url") == url]


def _text_test(test: Callable[[str, str], bool]) -> Callable[[str], Evaluate]:
    def made(text: str) -> Evaluate:
        def evaluate(budget: Budget, items: Items) -> Items:
            values = [_value(item) for item in items]
            if not all(isinstance(value, str) for value in values):
                raise LookupError("what is no text is asked for one")
            budget.spend(sum(1 + len(value) // _AT_ONCE for value in values))
            return [test(value, text) for value in values]

        return evaluate

    return made


def _negated(_budget: Budget, items: Items) -> Items:
    truth = _truth(items)
    return [] if truth is None else [not truth]


_PLAIN: dict[str, Evaluate] = {
    "first": _index(0),
    "last": lambda _, items: items[-1:],
    "tail": lambda _, items: items[1:],
    "single": _single,
    "empty": lambda _, items: [not items],
    "count": lambda _, items: [len(items)],
    "hasValue": lambda _, items: [len(items) == 1 and not isinstance(_value(items[0]), dict | list | None)],
    "not": _negated,
}
_WITH_CRITERION: dict[str, Callable[[Evaluate], Evaluate]] = {"where": _where, "all": _all, "exists": _exists}
_WITH_TEXT: dict[str, Callable[[str], Evaluate]] = {
    "extension": _extension,
    "startsWith": _text_test(str.startswith),
    "endsWith": _text_test(str.endswith),
    "contains": _text_test(str.__contains__),
}


# -- comparison -------------------------------------------------------------------------------------------------------


def _value(item: Any) -> Any:
    return item.value if isinstance(item, Place) else item


def _compared(left: Evaluate, right: Evaluate, *, is_equal: bool) -> Evaluate:
    def evaluate(budget: Budget, items: Items) -> Items:
        first, second = left(budget, items), right(budget, items)
        if not first or not second:
            return []
        same = len(first) == len(second) and all(
            _same(budget, _value(one), _value(other)) for one, other in zip(first, second, strict=True)
        )
        return [same is is_equal]

    return evaluate


def _same(budget: Budget, one: Any, other: Any) -> bool:
    """Whether two values are equal, of complex ones every part; true is not 1, as it is in Python.

    http://hl7.org/fhirpath/N1/#equals: members in any order, items of lists in theirs.
    """
    pairs = [(one, other)]
    while pairs:
        one, other = pairs.pop()
        budget.spend(1)
        match one, other:
            case dict(), dict():
                if one.keys() != other.keys():
                    return False
                pairs += [(value, other[name]) for name, value in one.items()]
            case list(), list():
                if len(one) != len(other):
                    return False
                pairs += zip(one, other, strict=True)
            case str(), str() if len(one) == len(other):
                budget.spend(len(one) // _AT_ONCE)
                if one != other:
                    return False
            case _:
                if isinstance(one, bool) is not isinstance(other, bool) or one != other:
                    return False
    return True


def _truth(items: Items) -> bool | None:
    """A collection as a truth value: empty is unknown, a single item that is no boolean is true."""
    if not items:
        return None
    if len(items) > 1:
        raise LookupError("a criterion gives several values")
    value = _value(items[0])
    return value if isinstance(value, bool) else True


def _logical(operator: str, left: Evaluate, right: Evaluate) -> Evaluate:
    def evaluate(budget: Budget, items: Items) -> Items:
        budget.spend(1)
        truth = _LOGIC[operator](_truth(left(budget, items)), _truth(right(budget, items)))
        return [] if truth is None else [truth]

    return evaluate


def _and(one: bool | None, other: bool | None) -> bool | None:  # noqa: FBT001 - operands
    if one is False or other is False:
        return False
    return None if one is None or other is None else True


def _or(one: bool | None, other: bool | None) -> bool | None:  # noqa: FBT001 - operands
    if one is True or other is True:
        return True
    return None if one is None or other is None else False


_LOGIC: dict[str, Callable[[bool | None, bool | None], bool | None]] = {
    "and": _and,
    "or": _or,
    "xor": lambda one, other: None if one is None or other is None else one is not other,
    "implies": lambda one, other: _or(None if one is None else not one, other),
}
"""Three-valued logic, http://hl7.org/fhirpath/N1/#boolean-logic."""
