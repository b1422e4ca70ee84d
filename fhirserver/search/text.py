"""`_text` and `_content`: words of the narrative, and of the whole resource (https://hl7.org/fhir/R4/search.html#text).

Each distinct word is an atom beside the other search values, so a search of words is one condition like any other: it
composes with permission, negation, sorting and paging. Words are compared whole, without case and accents, in any
language; where a script writes no spaces, each character is a word. The query language is that of the specification's
example, after OData's `$search`: words that must all be there, AND, OR, NOT, parentheses, and `word*` for a beginning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from fhirserver.errors import BadRequest, NotSupported, TooCostly
from fhirserver.search.escape import unescape
from fhirserver.search.expression import Equals, Expression, Not, StartsWith, all_of, any_of
from fhirserver.search.stored import SEPARATOR, Collector
from fhirserver.search.string import plain
from resources.texts import narrative, texts

PARAMETERS = frozenset({"_text", "_content"})

WITHOUT = frozenset({"AuditEvent"})
"""Types whose words are not kept: the trail is written with every request, and asked by its own parameters."""

MOST_WORDS = 2000
"""Distinct words of a resource that are kept; the rest of a longer text is not searched."""

MOST_ASKED = 50
_LONGEST = 40
_DEEPEST = 10

_SINGLE = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    r"\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_SINGLE}]|[^\W_{_SINGLE}]+")
"""One letter of a script without spaces (Thai, Lao, Burmese, Khmer, Japanese, Chinese), or a run of others."""

_TOKEN = re.compile(r'\s*(?:(?P<bracket>[()])|(?P<quote>")|(?P<word>[^\s()"]+))')


def add(resource: Mapping[str, Any], into: Collector) -> None:
    """Add the words of the narrative, and those of every other string."""
    found: dict[str, None] = {}
    for atom in (head + word for head, text in _texts(resource) for word in words(text)):
        found[atom] = None
        if len(found) >= MOST_WORDS:
            break
    into.tk.update(found)


def _texts(resource: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if text := narrative(resource):
        yield f"_text{SEPARATOR}", text
    for text in dict.fromkeys(texts(resource)):  # the instances of a series repeat one title
        yield f"_content{SEPARATOR}", text


def words(text: str) -> Iterable[str]:
    """The words of a text as they are compared, repeated ones too; a long one is cut."""
    return (word[:_LONGEST] for word in _WORD.findall(plain(text)))


def expression(name: str, value: str) -> Expression:
    """The comparison of one query of words. Raises BadRequest for what cannot be read, TooCostly for too many."""
    return _Reader(name, unescape(value, name)).read()


class _Reader:
    """Reads one query by recursive descent: alternatives of conjunctions of words."""

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._tokens = [found[0].strip() for found in _TOKEN.finditer(text)]
        self._at = 0
        self._asked = 0

    def read(self) -> Expression:
        found = self._either(0)
        if self._at < len(self._tokens):
            raise self._refusal(f"'{self._tokens[self._at]}' stands in the wrong place")
        return found

    def _either(self, depth: int) -> Expression:
        if depth > _DEEPEST:
            raise TooCostly(f"{self._name}: at most {_DEEPEST} parentheses inside one another", expression=self._name)
        parts = [self._all(depth)]
        while self._take(lambda mark: mark == "OR"):
            parts.append(self._all(depth))
        return any_of(parts)

    def _all(self, depth: int) -> Expression:
        parts = [self._one(depth)]
        while self._at < len(self._tokens) and self._tokens[self._at] not in {")", "OR"}:
            self._take(lambda mark: mark.upper() == "AND")
            parts.append(self._one(depth))
        return all_of(parts)

    def _one(self, depth: int) -> Expression:
        if self._at >= len(self._tokens):
            raise self._refusal("a word is missing")
        mark = self._tokens[self._at]
        self._at += 1
        if mark == "NOT":
            return Not(self._one(depth))
        if mark == "(":
            inner = self._either(depth + 1)
            if not self._take(lambda mark: mark == ")"):
                raise self._refusal("a parenthesis is not closed")
            return inner
        if mark == '"':
            raise NotSupported(
                f"{self._name}: phrases in quotes are not offered; words without quotes must all be there",
                expression=self._name,
            )
        if mark in {")", "OR", "AND"}:
            raise self._refusal(f"'{mark}' stands in the wrong place")
        return self._words(mark)

    def _words(self, mark: str) -> Expression:
        """The words of one run of characters, as `CT-scan` is two; a star asks for the beginning of the last."""
        found = list(words(mark.removesuffix("*")))
        if not found:
            raise self._refusal(f"'{mark}' holds no letter and no digit")
        self._asked += len(found)
        if self._asked > MOST_ASKED:
            raise TooCostly(f"{self._name}: a search asks for at most {MOST_ASKED} words", expression=self._name)
        return all_of(
            self._word(word, is_beginning=mark.endswith("*") and number == len(found))
            for number, word in enumerate(found, 1)
        )

    def _word(self, word: str, *, is_beginning: bool) -> Expression:
        """`_content` is also answered by the words of the narrative, which are kept once."""
        names = ("_text",) if self._name == "_text" else ("_content", "_text")
        form: Callable[[str], Expression] = StartsWith if is_beginning else Equals
        return any_of(form(f"{name}{SEPARATOR}{word}") for name in names)

    def _take(self, is_wanted: Callable[[str], bool]) -> bool:
        if self._at < len(self._tokens) and is_wanted(self._tokens[self._at]):
            self._at += 1
            return True
        return False

    def _refusal(self, why: str) -> BadRequest:
        return BadRequest(f"{self._name}: {why}", expression=self._name)
