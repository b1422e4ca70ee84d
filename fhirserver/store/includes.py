"""Included resources: what the rows of a page refer to and what refers to them, each decided like any other row.

They are found in rounds. The first goes from the matches; each further one, where `:iterate` asks for it, from what the
round before has found, until nothing new is. A page holds so many of them, by round and then by id; where there are
more, it says from where the rest goes on. All of it is of the state of the data that the page is of, and what a later
page or the rest finds there is asked for once more in the present.

A reference to a version leads to that version: to the row of the resource where it is the current one, and else to a
past version, which is permitted as a read of it is and goes by the name that the reference gave it. What iteration goes
on from it is what that version refers to, and what refers to that version.

https://hl7.org/fhir/R4/search.html#include
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from fhirserver.errors import TooCostly
from fhirserver.search.query import APART, Include
from fhirserver.search.stored import SEPARATOR, VERSION
from fhirserver.store.compile import Filter, both
from fhirserver.store.database import Database, Document
from fhirserver.store.snapshots import Snapshot, select_at
from fhirserver.store.versions import VersionReader
from resources import SUPPORTED

MOST_ROUNDS: Final = 10
"""Rounds of iteration, after which the answer says that it stopped."""

MOST_REFERENCES: Final = 50_000
"""References that one round may look for."""

Rest: TypeAlias = tuple[int, str]
"""The round in which the rest of a large include begins, and the reference after which it does."""

_Interaction: TypeAlias = Literal["read", "search", "vread"]


@dataclass(frozen=True, slots=True)
class Included:
    """The rows that a page includes, where the rest goes on, and whether iteration stopped before its end."""

    rows: Sequence[Document]
    rest: Rest | None = None
    is_stopped: bool = False


@dataclass(frozen=True, slots=True)
class Includes:
    """The includes of one search.

    `visible` gives the filter of what the caller may read or find of some types, by collection; `fields` are those of a
    row; `limit` is how many rows a page includes, `most` how many one round may go on from. `versions` reads past
    versions, and `values` gives their search values, which are not stored.
    """

    database: Database
    asked: Sequence[Include]
    visible: Callable[[_Interaction, Iterable[str]], Mapping[str, Filter]]
    fields: Mapping[str, int]
    limit: int
    most: int
    versions: VersionReader
    values: Callable[[Document], Sequence[str]]

    def page(
        self,
        matches: Sequence[Document],
        snapshot: Snapshot,
        *,
        after: Rest | None = None,
        is_later: bool = False,
    ) -> Included:
        """What the matches include in the state that they are of, or what is left of it `after` a place.

        Raises TooCostly where it is too much.
        """
        iterated = [one for one in self.asked if one.iterate]
        first, last = after or (0, "")
        seen = {row["_id"] for row in matches}
        sources, found = matches, list[Document]()
        for number in range(MOST_ROUNDS):
            wanted = self._wanted(self.asked if number == 0 else iterated, sources, snapshot, is_later=is_later)
            if not wanted:
                return Included(found)
            begin = last if number == first else ""
            if number >= first:
                room = self.limit - len(found)
                rows = self._select(wanted, seen, snapshot, room + 1, self.fields, begin)
                kept = self._present(wanted, rows[:room]) if is_later else rows[:room]
                found += kept
                if len(rows) > room:
                    return Included(found, (number, rows[room - 1]["_id"] if room else begin))
                if not iterated:
                    return Included(found)
            if number < first or begin:  # a part of the round is on another page, and the next goes on from all of it
                rows = self._select(wanted, seen, snapshot, self.most + 1, {"t": 1, "tk": 1}, "")
                if len(rows) > self.most:
                    raise TooCostly(f"An iteration would go on from more than {self.most} resources.")
            sources = rows
            seen |= {row["_id"] for row in rows}
        wanted = self._wanted(iterated, sources, snapshot, is_later=is_later)
        return Included(found, is_stopped=bool(wanted and self._select(wanted, seen, snapshot, 1, {"_id": 1}, "")))

    def _select(
        self,
        wanted: _Wanted,
        seen: Iterable[str],
        snapshot: Snapshot,
        limit: int,
        fields: Mapping[str, int],
        begin: str,
    ) -> list[Document]:
        branches, known = list(wanted.filters.values()), set(seen)
        found: list[Document] = []
        if branches:
            asked: Filter = branches[0] if len(branches) == 1 else {"$or": branches}
            asked = both(asked, {"_id": {"$nin": sorted(known), "$gt": begin}})
            resources = self.database.resources
            found, _ = select_at(self.database, resources, asked, fields, limit, snapshot, sort={"_id": 1})
        past = [one for one in wanted.past if one["_id"] > begin and one["_id"] not in known]
        if not past:
            return found
        rows = sorted([*found, *past[:limit]], key=lambda row: row["_id"])[:limit]
        return self._completed(rows, snapshot, fields)

    def _completed(self, rows: list[Document], snapshot: Snapshot, fields: Mapping[str, int]) -> list[Document]:
        """Give the past versions among the rows what the others have from their query."""
        if fields.keys().isdisjoint({"b", "tk"}):
            return rows
        past = [row for row in rows if _is_past(row)]
        bodies = self.versions.bodies(past, snapshot)
        for row in past:
            row |= {"t": row["facts"]["type"], "b": bodies[row["_id"]]}
            if "tk" in fields:
                row["tk"] = self.values(row)
        return rows

    def _present(self, wanted: _Wanted, rows: Sequence[Document]) -> list[Document]:
        """Those of an older state that exist and may be included now; past versions were decided on already."""
        current = [row for row in rows if not _is_past(row)]
        present = {row["_id"] for row in rows if _is_past(row)}
        types = {row["t"] for row in current}
        ids = {"_id": {"$in": [row["_id"] for row in current]}}
        name = self.database.resources.name
        visible = [one for how in wanted.filters if (one := self.visible(how, types).get(name)) is not None]
        if visible:
            now = both({"$or": visible}, ids)
            present |= {row["_id"] for row in self.database.resources.find(now, {"_id": 1}, hint="_id_").to_list()}
        return [row for row in rows if row["_id"] in present]

    def _wanted(
        self, asked: Sequence[Include], rows: Sequence[Document], snapshot: Snapshot, *, is_later: bool
    ) -> _Wanted:
        """What is read, because the rows refer to it, and what is found, because it refers to them."""
        found: dict[_Interaction, Filter] = {}
        name = self.database.resources.name
        references = _referred([one for one in asked if not one.reverse], rows)
        _check(len(references))
        past = self._versions({one for one in references if VERSION in one}, found, snapshot, is_later=is_later)
        of_resources = sorted(one for one in references if VERSION not in one)
        if (by_type := _included_types(of_resources)) and (visible := self.visible("read", by_type).get(name)):
            found["read"] = both(visible, {"_id": {"$in": of_resources}})
        branches = _referring([one for one in asked if one.reverse], rows)
        types = [type_ for branch in branches for type_ in branch["t"]["$in"]]
        if types and (visible := self.visible("search", types).get(name)) is not None:
            found["search"] = both({"$or": branches}, visible)
        return _Wanted(found, past)

    def _versions(
        self, named: set[str], found: dict[_Interaction, Filter], snapshot: Snapshot, *, is_later: bool
    ) -> Sequence[Document]:
        """The past versions among those named; for those that are the current ones, the filter is `found`."""
        types = _included_types(named)
        named = {one for one in named if one.partition("/")[0] in types}
        if not named:
            return ()
        if len(named) > self.most:
            raise TooCostly(f"More than {self.most} versions would be looked for; ask for fewer entries with _count.")
        versions = self.versions.named_at(named, snapshot, is_later=is_later)
        visible = self.visible("vread", types).get(self.database.resources.name)
        if versions.current and visible is not None:
            found["vread"] = both(visible, {"_id": {"$in": sorted(versions.current)}})
        return versions.past


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a round includes: filters of rows, and past versions that may be seen, by name."""

    filters: Mapping[_Interaction, Filter]
    past: Sequence[Document]

    def __bool__(self) -> bool:
        """Whether there may be anything."""
        return bool(self.filters or self.past)


def _is_past(row: Document) -> bool:
    return "r" in row


def _included_types(references: Iterable[str]) -> set[str]:
    return {reference.partition("/")[0] for reference in references} & SUPPORTED.keys() - APART


def _referred(asked: Sequence[Include], rows: Sequence[Document]) -> set[str]:
    """What the rows refer to along the parameters asked, with the version where a reference names one.

    Its search values name the resource as well, which is left out unless it is referred to by itself, too.
    """
    targets: dict[tuple[str, str], set[str | None]] = defaultdict(set)
    for one in asked:
        targets[one.source, one.param].add(one.target)
    found = set()
    for row in rows if targets else ():
        own, versioned = set[tuple[str, str]](), set[tuple[str, str]]()
        for atom in row["tk"]:
            name, _, reference = atom.partition(SEPARATOR)
            allowed = targets.get((row["t"], name))
            if allowed and (None in allowed or reference.partition("/")[0] in allowed):
                own.add((name, reference))
                if VERSION in reference:
                    versioned.add((name, reference.partition(VERSION)[0]))
        for name, reference in versioned:
            if f"{name}:unversioned{SEPARATOR}{reference}" not in row["tk"]:
                own.discard((name, reference))
        found |= {reference for _, reference in own}
    return found


def _referring(asked: Sequence[Include], rows: Sequence[Document]) -> list[Filter]:
    """What refers to the rows along the parameters asked: the search values by type, types alike together."""
    by_type: dict[str, dict[str, None]] = defaultdict(dict)
    references = [(row["t"], row["_id"]) for row in rows]
    for one in asked:
        published = SUPPORTED[one.source].parameters.get(one.param)
        targets = frozenset() if published is None else published.targets
        atoms = by_type[one.source]
        for type_, reference in references:
            if one.target in {None, type_} and (not targets or type_ in targets):
                atoms[f"{one.param}{SEPARATOR}{reference}"] = None
    _check(sum(len(atoms) for atoms in by_type.values()))
    alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for type_, atoms in by_type.items():
        if atoms:
            alike[tuple(atoms)].append(type_)
    return [{"t": {"$in": types}, "tk": {"$in": list(atoms)}} for atoms, types in alike.items()]


def _check(count: int) -> None:
    if count > MOST_REFERENCES:
        raise TooCostly(
            f"More than {MOST_REFERENCES} references would be looked for; ask for fewer entries with _count."
        )
