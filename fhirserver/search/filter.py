"""`_filter`: a query language over the search parameters (https://hl7.org/fhir/R4/search_filter.html).

    filter    = test / filter ("and" / "or") filter / ["not"] "(" filter ")"
    test      = path SP operator SP value           value = JSON string / any characters but spaces, ")" and "]"

Logical expressions are evaluated from left to right, without precedence. A test is a criterion of the parameter, so
each operator becomes what the modifier or prefix of the same meaning is; the few that have none are said here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

from fhirserver.errors import BadRequest, NotSupported, TooCostly
from fhirserver.search import date, string, token, uri
from fhirserver.search.expression import All, Expression, Not, all_of, any_of
from fhirserver.search.stored import Context
from resources.declaration import SearchParameter

LONGEST = 4000
MOST_TESTS = 100
DEEPEST = 20
"""What one filter may ask: characters, tests, and parentheses inside one another."""

_TOKEN = re.compile(r'\s*(?:[()]|not(?=\s*\()|"(?:[^"\\]|\\.)*"|[^\s()\]"][^\s)\]]*)')
_ESCAPED = re.compile(r"\\.|,")
_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]*")
_ORDERED = frozenset({"date", "number", "quantity"})
_PREFIXES = frozenset({"gt", "lt", "ge", "le", "ap", "sa", "eb"})
_MODIFIERS: Mapping[str, tuple[str, frozenset[str]]] = {
    "in": ("in", frozenset({"token"})),
    "ni": ("not-in", frozenset({"token"})),
    "ss": ("below", frozenset({"token"})),
    "sb": ("above", frozenset({"token"})),
}
"""Operators that are a modifier of some types: `ss`, "the value subsumes a concept in the set", is `:below`."""

_PARTS = {"co": string.Part.ANYWHERE, "sw": string.Part.START, "ew": string.Part.END}

OPERATORS = frozenset({"eq", "ne", "pr", "po", "re", *_PARTS, *_PREFIXES, *_MODIFIERS})

Criterion = Callable[[str, str | None, str], Expression]
"""The expression of one parameter with a modifier and a value, as the parser reads it outside a filter."""


class Reader:
    """Reads one filter by recursive descent.

    `declared` gives the parameter of a name or refuses it, `criterion` the expression of a parameter, a modifier and a
    value; both count what they compare.
    """

    def __init__(
        self, text: str, declared: Callable[[str], SearchParameter], criterion: Criterion, context: Context
    ) -> None:
        """Take the text apart. Raises TooCostly where it is too long, BadRequest where it is no filter."""
        if len(text) > LONGEST:
            raise TooCostly(f"_filter: at most {LONGEST} characters", expression="_filter")
        self._tokens = _tokens(text)
        self._at = 0
        self._tests = 0
        self._declared = declared
        self._criterion = criterion
        self._context = context

    def read(self) -> Expression:
        """The expression of the whole filter. Raises BadRequest, NotSupported or TooCostly."""
        found = self._filter(0)
        if self._at < len(self._tokens):
            raise _refusal(f"'and' or 'or' is missing before '{self._tokens[self._at]}'")
        return found

    def _filter(self, depth: int) -> Expression:
        """Tests joined from left to right: `a or b and c` is `(a or b) and c`."""
        if depth > DEEPEST:
            raise TooCostly(f"_filter: at most {DEEPEST} parentheses inside one another", expression="_filter")
        found = self._operand(depth)
        while self._peek() in {"and", "or"}:
            join = self._next()
            other = self._operand(depth)
            found = _both(found, other) if join == "and" else any_of((found, other))
        return found

    def _operand(self, depth: int) -> Expression:
        mark = self._next()
        if mark == "not":
            if self._next() != "(":
                raise _refusal("'not' is followed by a filter in parentheses")
            return Not(self._enclosed(depth))
        return self._enclosed(depth) if mark == "(" else self._test(mark)

    def _enclosed(self, depth: int) -> Expression:
        found = self._filter(depth + 1)
        if self._next() != ")":
            raise _refusal("a parenthesis is not closed")
        return found

    def _test(self, path: str) -> Expression:
        self._tests += 1
        if self._tests > MOST_TESTS:
            raise TooCostly(f"_filter: at most {MOST_TESTS} tests", expression="_filter")
        if "." in path or "[" in path or ":" in path:
            raise NotSupported(f"_filter: chained paths are not offered: '{path}'", expression="_filter")
        if not _PATH.fullmatch(path):
            raise _refusal(f"'{path}' is not the name of a parameter")
        operator, value = self._next(), self._value()
        if operator not in OPERATORS:
            raise _refusal(f"'{operator}' is none of {', '.join(sorted(OPERATORS))}")
        return self._compare(self._declared(path), operator, value)

    def _compare(self, parameter: SearchParameter, operator: str, value: str) -> Expression:
        name, type_ = parameter.name, parameter.type
        if operator == "pr":
            if value not in {"true", "false"}:
                raise _refusal(f"{name} pr: '{value}' is neither true nor false")
            return self._criterion(name, "missing", "false" if value == "true" else "true")
        if operator == "eq" or (operator == "re" and type_ in {"reference", "uri"}):
            return string.equal(name, value) if type_ == "string" else self._criterion(name, None, _escaped(value))
        if operator == "ne":
            return self._differs(parameter, value)
        if operator in _PREFIXES and type_ in _ORDERED:
            return self._criterion(name, None, operator + _escaped(value))
        if operator == "po" and type_ == "date":
            return date.overlap(name, value, self._context)
        if operator in _PARTS and type_ in {"string", "token", "uri"}:
            return _part(parameter, _PARTS[operator], value)
        modifier, types = _MODIFIERS.get(operator, ("", frozenset()))
        if type_ in types:
            return self._criterion(name, modifier, _escaped(value))
        raise NotSupported(f"_filter: '{operator}' is not offered for {name}, a {type_}", expression="_filter")

    def _differs(self, parameter: SearchParameter, value: str) -> Expression:
        """A range that is not equal, as the prefix says it; of what has no order, a value and none that is equal."""
        if parameter.type in _ORDERED:
            return self._criterion(parameter.name, None, "ne" + _escaped(value))
        present = self._compare(parameter, "pr", "true") if parameter.type != "composite" else None
        differs = Not(self._compare(parameter, "eq", value))
        return differs if present is None else All((present, differs))

    def _peek(self) -> str | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _next(self) -> str:
        if self._at >= len(self._tokens):
            raise _refusal("it ends where more is expected")
        self._at += 1
        return self._tokens[self._at - 1]

    def _value(self) -> str:
        token = self._next()
        if token in {"(", ")"}:
            raise _refusal("a value is missing")
        if not token.startswith('"'):
            return token
        try:
            text = json.loads(token)
        except ValueError:
            raise _refusal(f"{token} is not a JSON string") from None
        if not isinstance(text, str) or not text:
            raise _refusal("a value is empty")
        return text


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None and "[" in text:
            raise NotSupported("_filter: a filter inside a path is not offered", expression="_filter")
        if match is None:
            raise _refusal(f"it cannot be read from '{text[at : at + 20].strip()}' on")
        found.append(match[0].strip())
        at = match.end()
    return found


def _both(first: Expression, second: Expression) -> Expression:
    """The conjunction; one that is itself a conjunction is opened, so that a long filter stays flat."""
    return all_of((*(first.parts if isinstance(first, All) else (first,)), second))


def _part(parameter: SearchParameter, part: string.Part, value: str) -> Expression:
    """A string, a code or a URI that contains the value, or starts or ends with it."""
    match parameter.type:
        case "string":
            return string.part(parameter.name, part, value)
        case "token":
            return token.part(parameter.name, part, value)
        case _:
            return uri.part(parameter.name, part, value)


def _escaped(value: str) -> str:
    """A value as the parameter reads it: a comma separates nothing inside a filter; other escapes stay."""
    return _ESCAPED.sub(lambda found: found[0] if len(found[0]) == 2 else "\\,", value)


def _refusal(why: str) -> BadRequest:
    return BadRequest(f"_filter: {why}", expression="_filter")
