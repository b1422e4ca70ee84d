"""`_filter`: a query language over the search parameters (https://hl7.org/fhir/R4/search_filter.html).

    filter = test / filter ("and" / "or") filter / ["not"] "(" filter ")"
    test   = path SP operator SP value         value = JSON string / any characters but spaces, ")" and "]"
    path   = name / name [":" type] ["[" filter "]"] "." path / "_has:" type ":" name ":" path

Logical expressions are evaluated from left to right, without precedence. A test is a criterion of the parameter, so
each operator becomes what the modifier or prefix of the same meaning is; the few that have none are said here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from fhirserver.errors import BadRequest, NotSupported, TooCostly
from fhirserver.search import date, string, token, uri
from fhirserver.search.expression import All, Expression, Not, all_of, any_of
from fhirserver.search.stored import Context
from resources.declaration import SearchParameter

LONGEST = 4000
MOST_TESTS = 100
DEEPEST = 20
"""What one filter may ask: characters, tests, and parentheses, brackets and references inside one another."""

_SPACE = re.compile(r"\s*")
_JOIN = re.compile(r"(and|or)(?=[\s(])")
_NOT = re.compile(r"not\s*\(")
_HAS = re.compile(r"_has:([A-Za-z]+):([A-Za-z_][A-Za-z0-9_\-]*):")
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_\-]*)(?::([A-Za-z]+))?(?=[\s.\[])")
_WORD = re.compile(r"[^\s()\[\]]+")
_VALUE = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s")\]][^\s)\]]*')
_ESCAPED = re.compile(r"\\.|,")
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


class Subject(Protocol):
    """The type of which tests are read: its parameters, as the parser reads them outside a filter."""

    def declared(self, name: str) -> SearchParameter:
        """The parameter of a name, or its refusal."""

    def criterion(self, name: str, modifier: str | None, value: str) -> Expression:
        """The expression of a parameter, a modifier and a value."""

    def refers(self, name: str, type_: str | None, ask: Callable[[Subject], Expression]) -> Expression:
        """What is asked holds of a resource to which the parameter refers; asked of each type that it may be."""

    def referred_by(self, type_: str, name: str, ask: Callable[[Subject], Expression]) -> Expression:
        """What is asked holds of a resource of the type that refers here by the parameter."""


class Reader:
    """Reads one filter by recursive descent."""

    def __init__(self, text: str, context: Context) -> None:
        """Take the text. Raises TooCostly where it is too long."""
        if len(text) > LONGEST:
            raise TooCostly(f"_filter: at most {LONGEST} characters", expression="_filter")
        self._text = text
        self._at = 0
        self._tests = 0
        self._context = context

    def read(self, subject: Subject) -> Expression:
        """The expression of the whole filter. Raises BadRequest, NotSupported or TooCostly."""
        found = self._filter(subject, 0)
        self._skip()
        if self._at < len(self._text):
            raise _refusal(f"'and' or 'or' is missing before '{self._rest()}'")
        return found

    def _filter(self, subject: Subject, depth: int) -> Expression:
        """Tests joined from left to right: `a or b and c` is `(a or b) and c`."""
        if depth > DEEPEST:
            raise TooCostly(f"_filter: at most {DEEPEST} levels inside one another", expression="_filter")
        found = self._operand(subject, depth)
        while (join := self._take(_JOIN)) is not None:
            other = self._operand(subject, depth)
            found = _both(found, other) if join[1] == "and" else any_of((found, other))
        return found

    def _operand(self, subject: Subject, depth: int) -> Expression:
        if self._take(_NOT) is not None:
            return Not(self._enclosed(subject, depth))
        return self._enclosed(subject, depth) if self._takes("(") else self._test(subject, depth)

    def _enclosed(self, subject: Subject, depth: int) -> Expression:
        found = self._filter(subject, depth + 1)
        if not self._takes(")"):
            raise _refusal("a parenthesis is not closed")
        return found

    def _test(self, subject: Subject, depth: int) -> Expression:
        """One test, whose path may follow references: `subject.name`, `subject[gender eq male].name`, `_has:…`."""
        if depth > DEEPEST:
            raise TooCostly(f"_filter: at most {DEEPEST} levels inside one another", expression="_filter")
        if (has := self._take(_HAS)) is not None:
            return self._followed(
                partial(subject.referred_by, has[1], has[2]), lambda other: self._test(other, depth + 1)
            )
        path = self._take(_NAME)
        if path is None:
            raise _refusal(f"a parameter is missing before '{self._rest()}'")
        name, type_ = path[1], path[2]
        if self._is_at("[") or self._is_at("."):
            return self._followed(partial(subject.refers, name, type_), lambda other: self._beyond(other, depth + 1))
        if type_ is not None:
            raise NotSupported(f"_filter: a modifier is not offered: '{path[0]}'", expression="_filter")
        self._tests += 1
        if self._tests > MOST_TESTS:
            raise TooCostly(f"_filter: at most {MOST_TESTS} tests", expression="_filter")
        operator = self._take(_WORD)
        if operator is None or operator[0] not in OPERATORS:
            said = self._rest() if operator is None else operator[0]
            raise _refusal(f"'{said}' is none of {', '.join(sorted(OPERATORS))}")
        return self._compare(subject, subject.declared(name), operator[0], self._value())

    def _beyond(self, subject: Subject, depth: int) -> Expression:
        """The rest of a path, and what its brackets ask of the same resource."""
        found = None
        if self._takes("["):
            found = self._filter(subject, depth)
            if not self._takes("]"):
                raise _refusal("a bracket is not closed")
        if not self._takes("."):
            raise _refusal("a path goes on with a dot")
        rest = self._test(subject, depth)
        return rest if found is None else _both(found, rest)

    def _followed(
        self, follow: Callable[[Callable[[Subject], Expression]], Expression], ask: Callable[[Subject], Expression]
    ) -> Expression:
        """Read the same text of each type that a reference may lead to, and go on after it."""
        start = end = self._at

        def asked(subject: Subject) -> Expression:
            nonlocal end
            self._at = start
            found = ask(subject)
            end = self._at
            return found

        found = follow(asked)
        self._at = end
        return found

    def _compare(self, subject: Subject, parameter: SearchParameter, operator: str, value: str) -> Expression:
        name, type_ = parameter.name, parameter.type
        if operator == "pr":
            if value not in {"true", "false"}:
                raise _refusal(f"{name} pr: '{value}' is neither true nor false")
            return subject.criterion(name, "missing", "false" if value == "true" else "true")
        if operator == "eq" or (operator == "re" and type_ in {"reference", "uri"}):
            return string.equal(name, value) if type_ == "string" else subject.criterion(name, None, _escaped(value))
        if operator == "ne":
            return self._differs(subject, parameter, value)
        if operator in _PREFIXES and type_ in _ORDERED:
            return subject.criterion(name, None, operator + _escaped(value))
        if operator == "po" and type_ == "date":
            return date.overlap(name, value, self._context)
        if operator in _PARTS and type_ in {"string", "token", "uri"}:
            return _part(parameter, _PARTS[operator], value)
        modifier, types = _MODIFIERS.get(operator, ("", frozenset()))
        if type_ in types:
            return subject.criterion(name, modifier, _escaped(value))
        raise NotSupported(f"_filter: '{operator}' is not offered for {name}, a {type_}", expression="_filter")

    def _differs(self, subject: Subject, parameter: SearchParameter, value: str) -> Expression:
        """A range that is not equal, as the prefix says it; of what has no order, a value and none that is equal."""
        if parameter.type in _ORDERED:
            return subject.criterion(parameter.name, None, "ne" + _escaped(value))
        present = self._compare(subject, parameter, "pr", "true") if parameter.type != "composite" else None
        differs = Not(self._compare(subject, parameter, "eq", value))
        return differs if present is None else All((present, differs))

    def _value(self) -> str:
        found = self._take(_VALUE)
        if found is None:
            raise _refusal(f"a value is missing before '{self._rest()}'")
        if not found[0].startswith('"'):
            return found[0]
        try:
            text = json.loads(found[0])
        except ValueError:
            raise _refusal(f"{found[0]} is not a JSON string") from None
        if not isinstance(text, str) or not text:
            raise _refusal("a value is empty")
        return text

    # The text

    def _skip(self) -> None:
        found = _SPACE.match(self._text, self._at)
        self._at = self._at if found is None else found.end()

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        self._skip()
        found = pattern.match(self._text, self._at)
        if found is not None:
            self._at = found.end()
        return found

    def _takes(self, character: str) -> bool:
        self._skip()
        if not self._is_at(character):
            return False
        self._at += 1
        return True

    def _is_at(self, character: str) -> bool:
        return self._text.startswith(character, self._at)

    def _rest(self) -> str:
        return self._text[self._at : self._at + 20].strip() or "its end"


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
