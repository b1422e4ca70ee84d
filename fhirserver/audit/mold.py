"""Events that are alike but for a few texts: put together once, then cast as often as they happen.

What one caller does again and again gives events of one mold: the same agents and the same shape, with other ids. A
cast fills the texts in by one join, for the JSON and for the search values that hold them; what does not vary is shared
between the events, and never changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from fhirserver.audit import parts
from fhirserver.audit.caller import Caller
from fhirserver.audit.parts import Part, Role, Shape, Template
from fhirserver.store.indexes import selective_values

# Stands between the texts of a cast; no id, no base64 and no JSON has it.
_BETWEEN = "\x1d"

# The places of a cast's own texts, before those of its entities.
_ID, _INSTANT, _FIRST = 0, 1, 2

_Piece = str | int
_Ends = tuple[Any, Any]


@dataclass(frozen=True, slots=True)
class Cast:
    """One event as it comes out of its mold: its JSON and its search values, `ix` being those that are indexed."""

    body: bytes
    tk: list[str]
    ix: list[str]
    rg: list[dict[str, Any]]
    so: dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Text:
    """The place of a text among those of a cast."""

    place: int


_NOW: Any = object()
"""Stands for the instant of the event among search values."""


class Mold:
    """What events of one kind have in common, and where their texts go."""

    def __init__(self, pieces: Sequence[_Piece], members: Sequence[tuple[Part | Template, int]]) -> None:
        """`pieces` are the JSON, texts by their number; `members` give the search values, each with its first text."""
        self._pieces: list[_Piece] = [*pieces]
        self._made: dict[tuple[_Piece, ...], _Text] = {}
        tokens: list[str | _Text] = []
        indexed: list[str | _Text] = []
        sorts: dict[str, list[_Ends]] = {}
        self._ranges: list[dict[str, Any] | str] = []
        for member, first in members:
            blanks = member.blanks if isinstance(member, Template) else ()
            part = member.part if isinstance(member, Template) else member
            for token in part.tokens:
                text = self._text(token, blanks, first)
                tokens.append(text)
                if selective_values((token,)):
                    indexed.append(text)
            self._ranges += [one["n"] for one in part.ranges] if blanks else part.ranges
            for name, (low, high) in part.sorts:
                sorts.setdefault(name, []).append((self._text(low, blanks, first), self._text(high, blanks, first)))
        self._tokens, self._varying_tokens = _parted(tokens)
        self._indexed, self._varying_indexed = _parted(indexed)
        self._sorts = {name: _outermost(ends) if _is_fixed(ends) else {} for name, ends in sorts.items()}
        self._instants = [name for name, ends in sorts.items() if ends == [(_NOW, _NOW)]]
        self._single = [(name, low.place) for name, [(low, high), *more] in sorts.items() if _is_one(low, high, more)]
        apart = {*self._instants, *(name for name, _ in self._single)}
        self._several = [(name, ends) for name, ends in sorts.items() if not _is_fixed(ends) and name not in apart]
        self._places = [place for place, piece in enumerate(self._pieces) if isinstance(piece, int)]
        self._texts = [piece for piece in self._pieces if isinstance(piece, int)]

    def _text(self, value: Any, blanks: Sequence[str], first: int) -> Any:
        """A search value as it is, or the place of the text that it becomes in a cast."""
        if not blanks:
            return value
        if not isinstance(value, str):
            return _NOW
        pieces = tuple(cut(value, blanks, first))
        if all(isinstance(piece, str) for piece in pieces):
            return value
        if pieces not in self._made:
            self._pieces += (_BETWEEN, *pieces)
            self._made[pieces] = _Text(len(self._made) + 1)  # the first text is the JSON
        return self._made[pieces]

    def cast(self, texts: Sequence[str], now: datetime) -> Cast:
        """An event with these texts. Raises UnicodeEncodeError where one is not ASCII: none is what it should be."""
        "".join(texts).encode("ascii")
        pieces: list[Any] = self._pieces.copy()
        for place, text in zip(self._places, self._texts, strict=True):
            pieces[place] = texts[text]
        filled = "".join(pieces).split(_BETWEEN)
        so = self._sorts.copy()
        at = {"a": now, "z": now}
        for name in self._instants:
            so[name] = at
        for name, place in self._single:
            so[name] = {"a": filled[place], "z": filled[place]}
        for name, ends in self._several:
            so[name] = _outermost([(_value(low, filled, now), _value(high, filled, now)) for low, high in ends])
        return Cast(
            filled[0].encode(),
            list(dict.fromkeys((*self._tokens, *[filled[place] for place in self._varying_tokens]))),
            list(dict.fromkeys((*self._indexed, *[filled[place] for place in self._varying_indexed]))),
            [{"n": one, "lo": now, "hi": now} if isinstance(one, str) else one for one in self._ranges],
            so,
        )


def _parted(values: Sequence[str | _Text]) -> tuple[tuple[str, ...], list[int]]:
    """The values that do not vary, and the places of those that do."""
    fixed = dict.fromkeys(value for value in values if isinstance(value, str))
    return tuple(fixed), [value.place for value in values if isinstance(value, _Text)]


def _is_fixed(ends: Sequence[_Ends]) -> bool:
    return not any(isinstance(end, _Text) or end is _NOW for pair in ends for end in pair)


def _is_one(low: Any, high: Any, more: Sequence[_Ends]) -> bool:
    """Whether a sort key is one text, the same at both ends."""
    return not more and isinstance(low, _Text) and low is high


def _outermost(ends: Sequence[_Ends]) -> dict[str, Any]:
    """The sort key of what several parts say."""
    return {"a": min([low for low, _ in ends]), "z": max([high for _, high in ends])}


def _value(end: Any, filled: Sequence[str], now: datetime) -> Any:
    if end is _NOW:
        return now
    return filled[end.place] if isinstance(end, _Text) else end


def cut(text: str, blanks: Sequence[str], first: int) -> Iterator[_Piece]:
    """A text cut at its blanks, which become the numbers of the texts to come, from `first` on."""
    for piece in re.split(f"({'|'.join(map(re.escape, blanks))})", text):
        if piece in blanks:
            yield first + blanks.index(piece)
        elif piece:
            yield piece


@lru_cache(maxsize=1_024)
def mold_of(shape: Shape, caller: Caller, role: Role, entities: tuple[Part | Template, ...]) -> Mold:
    """The mold of events of this shape and these entities; the texts of each entity follow those of the one before.

    The first two texts of a cast are the id and the instant.
    """
    profiles, happening = parts.profiles(shape), parts.happening(shape)
    agents, source, recorded = parts.agents(caller, role), parts.source(), parts.recorded()
    pieces: list[_Piece] = [
        *('{"resourceType":"AuditEvent","id":"', _ID, '","meta":{"versionId":"1","lastUpdated":"', _INSTANT, '"'),
        *([",", profiles.json.decode()] if profiles.json else []),
        *("},", happening.json.decode(), ","),
        *cut(recorded.part.json.decode(), recorded.blanks, _ID),
        *(",", agents.json.decode(), ",", source.json.decode()),
    ]
    members: list[tuple[Part | Template, int]] = [
        (profiles, 0),
        (happening, 0),
        (recorded, _ID),
        (agents, 0),
        (source, 0),
    ]
    first = _FIRST
    for number, entity in enumerate(entities):
        blanks = entity.blanks if isinstance(entity, Template) else ()
        part = entity.part if isinstance(entity, Template) else entity
        pieces.append(',"entity":[' if number == 0 else ",")
        pieces += cut(part.json.decode(), blanks, first) if blanks else [part.json.decode()]
        members.append((entity, first))
        first += len(blanks)
    pieces.append("]}" if entities else "}")
    return Mold(pieces, members)
