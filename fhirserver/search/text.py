"""`_text` and `_content`: words of the narrative, and of the whole resource (https://hl7.org/fhir/R4/search.html#text).

Each distinct word is an atom beside the other search values, so a search of words is one condition like any other: it
composes with permission, negation, sorting and paging. Words are compared whole, without case and accents, in any
language; where a script writes no spaces, each character is a word. The query language is that of the specification's
example, after OData's `$search`: words that must all be there, AND, OR, NOT, parentheses, "phrases" of words that
follow one another in one text, and `word*` for a beginning, also within a phrase.

A phrase is found by the atoms of its words, then by the texts themselves, which are kept word by word in their order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any

from fhirserver.errors import BadRequest, TooCostly
from fhirserver.search.escape import unescape
from fhirserver.search.expression import Equals, Expression, Not, Phrase, StartsWith, all_of, any_of
from fhirserver.search.stored import SEPARATOR, Collector
from fhirserver.search.string import plain
from resources.texts import narrative, texts

PARAMETERS = frozenset({"_text", "_content"})

WITHOUT = frozenset({"AuditEvent"})
"""Types whose words are not kept: the trail is written with every request, and asked by its own parameters."""

MOST_WORDS = 2000
"""Distinct words of a resource that are kept; the rest of a longer text is not searched."""

LONGEST_TEXT = 20_000
"""Words of a resource, repeated ones too, that are kept in their order; the rest of a longer text is not searched."""

BREAK = "|"
"""Stands between two texts, so that no phrase goes from one into the other; no word has it."""

MOST_ASKED = 50
_LONGEST = 40
_DEEPEST = 10

_SINGLE = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    r"\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_SINGLE}]|[^\W_{_SINGLE}]+")
"""One letter of a script without spaces (Thai, Lao, Burmese, Khmer, Japanese, Chinese), or a run of others."""

_TOKEN = re.compile(r'\s*(?:(?P<bracket>[()])|(?P<phrase>"[^"]*"?)|(?P<word>[^\s()"]+))')
_ASKED = re.compile(rf"({_WORD.pattern})(\*(?![^\W_]))?|(\*)")
"""One word of a query, and whether only its beginning is meant; a star that stands before, or within, a word."""


def add(resource: Mapping[str, Any], into: Collector) -> None:
    """Add the words of the narrative, and those of every other string; texts of several words in their order, too."""
    found: dict[str, None] = {}
    inorder: dict[str, list[str]] = {"_text": [], "_content": []}
    left = LONGEST_TEXT
    for name, text in _texts(resource):
        kept: list[str] = []
        for word in islice(words(text), left):
            found[f"{name}{SEPARATOR}{word}"] = None
            kept.append(word)
            if len(found) >= MOST_WORDS:
                break
        left -= len(kept)
        if len(kept) > 1:  # a single word is no phrase
            inorder[name].append(f" {' '.join(kept)} ")
        if not left or len(found) >= MOST_WORDS:
            break
    into.tk.update(found)
    into.wo.update((name, BREAK.join(several)) for name, several in inorder.items() if several)


def _texts(resource: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if text := narrative(resource):
        yield "_text", text
    for text in dict.fromkeys(texts(resource)):  # the instances of a series repeat one title
        yield "_content", text


def words(text: str) -> Iterator[str]:
    """The words of a text as they are compared, repeated ones too; a long one is cut."""
    return (word[:_LONGEST] for word in _WORD.findall(plain(text)))


def expression(name: str, value: str) -> Expression:
    """The comparison of one query of words. Raises BadRequest for what cannot be read, TooCostly for too many."""
    return _Reader(name, unescape(value, name)).read()


def _word(asked: tuple[str, bool], name: str) -> Expression:
    word, is_beginning = asked
    form: Callable[[str], Expression] = StartsWith if is_beginning else Equals
    return form(f"{name}{SEPARATOR}{word}")


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
        if mark.startswith('"'):
            return self._phrase(mark)
        if mark in {")", "OR", "AND"}:
            raise self._refusal(f"'{mark}' stands in the wrong place")
        return self._words(mark)

    def _words(self, mark: str) -> Expression:
        """The words of one run of characters, as `CT-scan` is two; a star asks for a beginning."""
        return all_of(self._anywhere(partial(_word, one)) for one in self._asked_in(mark))

    def _phrase(self, mark: str) -> Expression:
        """Words that follow one another: all of them are there, and the texts are looked at for their order."""
        if len(mark) < 2 or not mark.endswith('"'):
            raise self._refusal("a phrase is not closed (a comma within one is written \\,)")
        asked = self._asked_in(mark)
        if len(asked) == 1:
            return self._anywhere(partial(_word, asked[0]))
        return self._anywhere(lambda name: all_of((*(_word(one, name) for one in asked), Phrase(name, asked))))

    def _anywhere(self, asked: Callable[[str], Expression]) -> Expression:
        """`_content` is also answered by the narrative, whose words are kept once."""
        return any_of(map(asked, ("_text",) if self._name == "_text" else ("_content", "_text")))

    def _asked_in(self, mark: str) -> tuple[tuple[str, bool], ...]:
        """The words of a part of the query, and whether only the beginning of each is meant."""
        found = _ASKED.findall(plain(mark))
        if not found or any(stray for _, _, stray in found):
            raise self._refusal(f"'{mark}' holds {'a star that ends no word' if found else 'no letter and no digit'}")
        self._asked += len(found)
        if self._asked > MOST_ASKED:
            raise TooCostly(f"{self._name}: a search asks for at most {MOST_ASKED} words", expression=self._name)
        return tuple((word[:_LONGEST], bool(star)) for word, star, _ in found)

    def _take(self, is_wanted: Callable[[str], bool]) -> bool:
        if self._at < len(self._tokens) and is_wanted(self._tokens[self._at]):
            self._at += 1
            return True
        return False

    def _refusal(self, why: str) -> BadRequest:
        return BadRequest(f"{self._name}: {why}", expression=self._name)
