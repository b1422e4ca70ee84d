"""String parameters (https://hl7.org/fhir/R4/search.html#string).

By default a value matches when it starts with the text, without regard to case, accents, punctuation and repeated
spaces; `:contains` looks anywhere in it, `:exact` compares it untouched. A family name also matches from its second
word on, so that "Quinones" finds "Carreno Quinones".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from enum import Enum
from functools import lru_cache
from hashlib import sha256
from typing import Any

from fhirserver.errors import BadRequest
from fhirserver.search.escape import unescape
from fhirserver.search.expression import Equals, Expression, Matches, StartsWith
from fhirserver.search.stored import SEPARATOR, Collector, Context, Extracted
from resources.declaration import SearchParameter

MODIFIERS = frozenset({"exact", "contains"})


class Part(Enum):
    """Where in a value a text is looked for: the regular expressions before and after it."""

    ANYWHERE = (".*", "")
    START = ("", "")
    END = (".*", "$")


LONGEST = 1000
"""Characters of a text that are searched; the index is for names and titles, not for documents."""

_LONGEST_SORT_KEY = 100
_HUMAN_NAME = ("text", "family", "given", "prefix", "suffix")
_ADDRESS = ("text", "line", "city", "district", "state", "postalCode", "country")
_FAMILY_PARAMETERS = frozenset({"family", "name"})

_LETTERS = str.maketrans(
    {"œ": "oe", "æ": "ae", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "'": None, "’": None, "ʼ": None}
)
"""Letters that Unicode does not take apart, and apostrophes, which join: "d'Artagnan" is found as "dartagnan"."""

_NOT_WORD = re.compile(r"[\W_]+")


@lru_cache(maxsize=16384)
def normalise(text: str) -> str:
    """The text as it is compared: no case, no accents, one space for any run of punctuation and spaces."""
    return _NOT_WORD.sub(" ", plain(text)[:LONGEST]).strip()


def plain(text: str) -> str:
    """The text without case, accents and apostrophes."""
    if text.isascii():
        return text.lower().replace("'", "")
    apart = unicodedata.normalize("NFKD", text.casefold()).casefold()
    return "".join(c for c in apart if not unicodedata.combining(c)).translate(_LETTERS)


def add(name: str, extracted: Iterable[Extracted], into: Collector) -> None:
    """Add each string, and each part of a HumanName or Address, normalised and exact."""
    for value, fhir_type in extracted:
        for part, text in _texts(value, fhir_type):
            _add(name, text, into)
            if name in _FAMILY_PARAMETERS and part == "family":
                _add_words(name, text, into)
        key = _sort_key(value)[:_LONGEST_SORT_KEY]
        if key:
            into.sort(name, key, key)


def _texts(value: Any, fhir_type: str) -> Iterator[tuple[str, str]]:
    """The strings of a value, each with the element it is; a bare string counts as a family name where one is asked."""
    if isinstance(value, str):
        yield "family", value
    elif isinstance(value, dict):
        for part in _HUMAN_NAME if fhir_type == "HumanName" else _ADDRESS:
            found = value.get(part)
            for text in found if isinstance(found, list) else (found,):
                if isinstance(text, str):
                    yield part, text


def _add(name: str, text: str, into: Collector) -> None:
    into.tk[f"{name}{SEPARATOR}{normalise(text)}"] = None
    into.tk[_exact(name, text)] = None


def _add_words(name: str, text: str, into: Collector) -> None:
    """The rest of the text from each further word on."""
    rest = normalise(text)
    while " " in rest:
        rest = rest.partition(" ")[2]
        into.tk[f"{name}{SEPARATOR}{rest}"] = None


def _sort_key(value: Any) -> str:
    """A name sorts by family then given name, an address by its city; a string by itself."""
    if isinstance(value, str):
        return normalise(value)
    if not isinstance(value, dict):
        return ""
    given = value.get("given") or []
    parts = (value.get("family"), *given) if value.get("family") or given else (value.get("text"), value.get("city"))
    return normalise(" ".join(part for part in parts if isinstance(part, str)))


def _exact(name: str, text: str) -> str:
    """The atom of an untouched text; a long one by its digest, which equality can compare as well."""
    kept = text if len(text) <= LONGEST else "sha256" + SEPARATOR + sha256(text.encode()).hexdigest()
    return f"{name}:exact{SEPARATOR}{kept}"


def expression(parameter: SearchParameter, modifier: str | None, value: str, _context: Context) -> Expression:
    """The comparison of a text: from the start, anywhere, or exactly."""
    name, text = parameter.name, unescape(value, parameter.name)
    if modifier == "exact":
        return Equals(_exact(name, text))
    return folded(name, f"{name}{SEPARATOR}", text, anywhere=modifier == "contains")


def equal(name: str, text: str) -> Expression:
    """A value that is the text, compared without case, accents and punctuation."""
    return Equals(f"{name}{SEPARATOR}{wanted(name, text)}")


def part(name: str, where: Part, text: str) -> Expression:
    """A value that has the text there, compared without case, accents and punctuation."""
    before, after = where.value
    return Matches(f"{name}{SEPARATOR}", wanted(name, text), before, after)


def folded(name: str, head: str, text: str, *, anywhere: bool = False) -> Expression:
    """The comparison of normalised texts whose atoms begin with `head`."""
    normal = wanted(name, text)
    return Matches(head, normal) if anywhere else StartsWith(head + normal)


def wanted(name: str, text: str) -> str:
    """A text asked for, normalised; refuses one with nothing left to compare, and one longer than what is searched."""
    normal = normalise(text)
    if not normal or len(text) > LONGEST:
        raise BadRequest(
            f"{name}: a text to search for has at least one letter or digit and at most {LONGEST} characters",
            expression=name,
        )
    return normal
