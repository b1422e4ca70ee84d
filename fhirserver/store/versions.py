"""The versions of one resource, of types, or of all: two streams in the order of their instants, joined.

Current versions (deletions among them) are rows of `resources`, found in order by an index of who may see them. Past
ones are rows of `history`, which say nothing of relations; they are read in order, a bounded number at a time, and each
is kept where the present facts of its resource permit and its own facts do. Nothing is asked for one row alone.

A version never changes and its place in the order neither, so a page goes on after a place and needs no snapshot. What
is current when the first stream is read and past when the second is comes twice, and is told once; the other way round
it would be missed. See docs/adr/0012-history-as-a-feed.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from consent.condition import Everything
from consent.facts import PatientAccess, materialise
from consent.release import as_label, of_labels
from consent.request import Interaction
from fhirserver.search.stored import VERSION
from fhirserver.store.binary_content import whole_row
from fhirserver.store.compile import NOTHING, Filter, permission_filter
from fhirserver.store.database import Database, Document
from fhirserver.store.guard import Guard
from fhirserver.store.indexes import BY_CHANGE, BY_RESOURCE, BY_UPDATE
from fhirserver.store.patient_access import PatientState
from fhirserver.store.rows import Row
from fhirserver.store.snapshots import Snapshot, select_at
from resources import SUPPORTED

Place = tuple[datetime, str]
"""Where a version stands: its instant, and its resource. No resource has two versions of one instant."""

MOST_PASSED_OVER = 10_000
"""Past versions that are looked at for one page, whether or not the caller may see them."""

FEW = 1_000
"""Resources for which past versions are looked up by resource, and none of others is passed over."""

_INCLUDABLE = frozenset(SUPPORTED) - {"AuditEvent", "Binary"}

_LEAST_AT_ONCE, _MOST_AT_ONCE = 100, 2_000

_OF_FACTS = ("facts.subjects.patient", "facts.labels", "facts.released", "facts.related")
_CURRENT = dict.fromkeys(("b", "content", "v", "lu", "t", "m", "new", "del", *_OF_FACTS), 1)
_PAST = dict.fromkeys(("r", "v", "lu", "m", "new", "del", "until", "facts"), 1)
_BODY = {"b": 1, "content": 1}


@dataclass(frozen=True, slots=True)
class Span:
    """Which versions are asked for: made `since` or later, `before`, and current at some time of a period.

    The newest comes first unless `oldest_first`; `after` is the place after which a page goes on.
    """

    count: int
    since: datetime | None = None
    before: datetime | None = None
    current_in: tuple[datetime, datetime] | None = None
    oldest_first: bool = False
    after: Place | None = None

    @property
    def direction(self) -> int:
        """As MongoDB sorts."""
        return 1 if self.oldest_first else -1

    def window(self) -> Filter:
        """The instants that a version may have."""
        bounds: Filter = {}
        if self.since is not None:
            bounds["$gte"] = self.since
        if self.before is not None:
            bounds["$lt"] = self.before
        if self.current_in is not None:
            bounds["$lte"] = self.current_in[1]
        return {"lu": bounds} if bounds else {}

    def beyond(self, place: Place | None, name: str) -> list[Filter]:
        """Versions after a place; `name` is the field of the resource."""
        if place is None:
            return []
        instant, reference = place
        later, beside = ("$gt", "$lt") if self.oldest_first else ("$lt", "$gt")
        # The first is for the index, the second is exact.
        return [{"lu": {f"{later}e": instant}}, {"$or": [{"lu": {later: instant}}, {name: {beside: reference}}]}]

    def up_to(self, place: Place | None) -> list[Filter]:
        """Versions not after the instant of a place."""
        if place is None:
            return []
        return [{"lu": {"$lte" if self.oldest_first else "$gte": place[0]}}]

    def was_current(self, past: Document) -> bool:
        """Whether a past version, which ended before the period's end, was current within it."""
        return self.current_in is None or past["until"] > self.current_in[0]

    def in_order(self, places: Iterable[Place], limit: Place | None) -> list[Place]:
        """Places in this order, none of them after the limit."""
        ordered = sorted(places, key=_rank, reverse=self.oldest_first)
        if limit is None:
            return ordered
        if self.oldest_first:
            return [place for place in ordered if _rank(place) >= _rank(limit)]
        return [place for place in ordered if _rank(place) <= _rank(limit)]


@dataclass(frozen=True, slots=True)
class Versions:
    """A page: its rows in order, and the place after which more may come.

    `of` is the present state of the one resource whose versions they are, without its bytes.
    """

    rows: list[Row]
    next: Place | None
    of: Row | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """Versions asked for by name that may be seen: the resources of which each is the current one, and past ones.

    The past ones are in the order of their names, without their bytes.
    """

    current: Sequence[str]
    past: Sequence[Document]


@dataclass(slots=True)
class _Found:
    """Past versions that are permitted, and the last place looked at where there may be more."""

    documents: list[Document] = field(default_factory=list)
    frontier: Place | None = None


class VersionReader:
    """Reads the versions that one access may see."""

    def __init__(self, database: Database, access: Guard, interaction: Interaction = "history") -> None:
        """Nothing is read yet; `interaction` is what must be permitted."""
        self._database = database
        self._access = access
        self._interaction: Interaction = interaction
        self._accesses: dict[str, PatientAccess] = {}

    def of_resource(self, current: Document, span: Span) -> Versions:
        """Versions of one resource, whose current one has been permitted already."""
        reference = current["_id"]
        # What was permitted is this version: one that was written since would be given undecided.
        decided = {"_id": reference, "v": current["v"]}
        wanted: Filter = {"$and": [decided, span.window(), *span.beyond(span.after, "_id")]}
        found = self._database.resources if not reference.startswith("AuditEvent/") else self._database.audit
        currents = found.find(wanted, _CURRENT).to_list()
        present = {reference: _labels(current)}
        past = self._named([reference], span, present)
        return self._page(span, currents, past)

    def of_types(self, types: Collection[str], span: Span) -> Versions:
        """Versions of all resources of these types that the access may see."""
        stored = {name.removeprefix("~") for name in self._database.resources.distinct("t")}
        types = sorted(stored & set(types))
        visible = self._visible(types)
        if visible is NOTHING:
            return Versions([], None)
        by_index = BY_UPDATE if len(types) == 1 or "aud" not in visible else BY_CHANGE
        wanted = {"$and": [visible, span.window(), *span.beyond(span.after, "_id")]}
        found = self._database.resources.find(wanted, _CURRENT).sort(_order(span, "_id")).limit(span.count + 1)
        currents = found.hint(by_index).to_list()
        until = _place(currents[-1]) if len(currents) > span.count else None
        return self._page(span, currents, self._past(types, visible, by_index, span, until))

    def named(self, references: Iterable[str]) -> list[Row]:
        """The versions that these references (`Type/id/_history/version`) name, as far as the access may see them.

        Deletions are left out, as are Binaries, which are decided one by one. Two queries at most for each collection.
        """
        asked = {one: one.partition("/_history/") for one in references if one.partition("/")[0] in _INCLUDABLE}
        types = sorted({reference.partition("/")[0] for reference, _, _ in asked.values()})
        of_resources = sorted({reference for reference, _, _ in asked.values()})
        if not asked:
            return []
        visible = self._visible(types)
        current = {"$and": [{"_id": {"$in": of_resources}}, visible]}
        present = self._database.resources.find(current, _CURRENT).hint([("_id", 1)]).to_list()
        found = [one for one in present if f"{one['_id']}/_history/{one['v']}" in asked]
        past = self._database.history.find({"_id": {"$in": sorted(asked)}}, _PAST).to_list()
        found += self._permitted(past, {one["_id"]: _labels(one) for one in present})
        live = [one for one in found if not one.get("del")]
        self._add_bodies(live)
        return [whole_row(one, self._database.objects) for one in live]

    def named_at(self, names: Collection[str], snapshot: Snapshot, *, is_later: bool) -> Named:
        """The versions of a state of the data that are named, as `named` gives them, of types that may be included.

        For a later page, what was a past version then must be one now, and is decided on as it is now. The same
        queries are asked whatever is found. Raises Gone where the database has let the state go.
        """
        references = sorted({name.partition(VERSION)[0] for name in names})
        visible = self._visible(sorted({reference.partition("/")[0] for reference in references}))
        wanted = {"$and": [{"_id": {"$in": references}}, visible]}
        fields = {"v": 1, "del": 1, "facts.labels": 1, "facts.released": 1}
        resources, history = self._database.resources, self._database.history
        then, _ = select_at(self._database, resources, wanted, fields, len(references), snapshot, hint="_id_")
        by_name: Filter = {"_id": {"$in": sorted(names)}}
        past, _ = select_at(self._database, history, by_name, _PAST, len(names), snapshot, hint="_id_")
        present = {one["_id"]: _labels(one) for one in then}
        if is_later:
            kept = {one["_id"] for one in history.find(by_name, {"_id": 1}).hint("_id_").to_list()}
            past = [one for one in past if one["_id"] in kept]
            present = self._present(past, visible)
        live = [one for one in self._permitted(past, present) if not one.get("del")]
        current = [one["_id"] for one in then if not one.get("del") and f"{one['_id']}{VERSION}{one['v']}" in names]
        return Named(current, sorted(live, key=lambda one: one["_id"]))

    def bodies(self, past: Iterable[Document], snapshot: Snapshot) -> dict[str, bytes]:
        """The bytes of past versions, by name. Raises Gone as `named_at` does."""
        names = [one["_id"] for one in past]
        if not names:
            return {}
        wanted: Filter = {"_id": {"$in": names}}
        found, _ = select_at(self._database, self._database.history, wanted, {"b": 1}, len(names), snapshot)
        return {one["_id"]: one["b"] for one in found}

    # Joining

    def _page(self, span: Span, currents: Sequence[Document], past: _Found) -> Versions:
        found = {_place(document): document for document in (*past.documents, *currents)}
        # What lies beyond the frontier may have neighbours that were not looked at.
        places = span.in_order(found, past.frontier)
        given = places[: span.count]
        self._add_bodies([found[place] for place in given])
        rows = [whole_row(found[place], self._database.objects) for place in given]
        return Versions(rows, given[-1] if len(places) > len(given) else past.frontier)

    def _add_bodies(self, documents: Iterable[Document]) -> None:
        """The bytes of past versions are read once it is known which are given."""
        bodiless = {document["_id"]: document for document in documents if "b" not in document}
        if not bodiless:
            return
        for body in self._database.history.find({"_id": {"$in": list(bodiless)}}, _BODY).to_list():
            bodiless[body["_id"]].update(body)

    # Past versions

    def _past(self, types: Sequence[str], visible: Filter, by_index: str, span: Span, until: Place | None) -> _Found:
        """Past versions of the types, as far as one page needs and may look."""
        found, place, passed, size = _Found(), span.after, 0, max(span.count + 1, _LEAST_AT_ONCE)
        while True:
            wanted = {"$and": [_of_types(types), span.window(), *span.beyond(place, "r"), *span.up_to(until)]}
            read = self._database.history.find(wanted, _PAST).sort(_order(span, "r")).limit(size)
            rows = read.hint(BY_CHANGE).to_list()
            asked = [row for row in rows if span.was_current(row)]
            found.documents += self._permitted(asked, self._present(asked, visible))
            if len(rows) < size:
                return found
            place, passed = _place(rows[-1]), passed + len(rows)
            if len(found.documents) > span.count:
                return found
            if passed == len(rows) and (few := self._few(visible, by_index, span)) is not None:
                return self._named(few, replace(span, after=place), few, found)
            if passed >= MOST_PASSED_OVER:
                found.frontier = place
                return found
            size = min(2 * size, _MOST_AT_ONCE)

    def _few(self, visible: Filter, by_index: str, span: Span) -> dict[str, list[str]] | None:
        """The resources of which the caller may see past versions, if they are few, with their present labels.

        A resource with a version since some instant has its current one since that instant.
        """
        wanted = {"$and": [visible, {"lu": {"$gte": span.since}} if span.since is not None else {}]}
        fields = {"v": 1, "facts.labels": 1, "facts.released": 1}
        found = self._database.resources.find(wanted, fields).hint(by_index).limit(FEW + 1).to_list()
        return {one["_id"]: _labels(one) for one in found if one["v"] > 1} if len(found) <= FEW else None

    def _named(
        self, references: Iterable[str], span: Span, present: Mapping[str, list[str]], found: _Found | None = None
    ) -> _Found:
        """Past versions of these resources, of which none is passed over for being another's."""
        found, place = found or _Found(), span.after
        size, named = max(span.count + 1, _LEAST_AT_ONCE), {"r": {"$in": list(references)}}
        while True:
            wanted = {"$and": [named, span.window(), *span.beyond(place, "r")]}
            read = self._database.history.find(wanted, _PAST).sort(_order(span, "r")).limit(size)
            rows = read.hint(BY_RESOURCE).to_list()
            found.documents += self._permitted([row for row in rows if span.was_current(row)], present)
            if len(rows) < size or len(found.documents) > span.count:
                return found
            place = _place(rows[-1])

    def _present(self, past: Iterable[Document], visible: Filter) -> dict[str, list[str]]:
        """The resources of these versions that are permitted now, with their present labels."""
        references = {one["r"] for one in past}
        if not references:
            return {}
        wanted = {"$and": [{"_id": {"$in": list(references)}}, visible]}
        found = self._database.resources.find(wanted, {"facts.labels": 1, "facts.released": 1}).hint([("_id", 1)])
        return {one["_id"]: _labels(one) for one in found.to_list()}

    def _permitted(self, past: Iterable[Document], present: Mapping[str, list[str]]) -> list[Document]:
        """Those whose own facts permit, with the relations and Consents of now, of resources that are `present`.

        The present labels and release are added to their own: what tells of a version must be hidden as its resource
        is.
        """
        asked = [one for one in past if one["r"] in present]
        self._learn({subject["patient"] for one in asked for subject in one["facts"]["subjects"]})
        return [
            {**one, "facts": _hidden_as(one["facts"], present[one["r"]])} for one in asked if self._holds(one["facts"])
        ]

    def permits(self, past: Document) -> bool:
        """Whether the own facts of one past version permit, with the relations and Consents of now."""
        self._learn({subject["patient"] for subject in past["facts"]["subjects"]})
        return self._holds(past["facts"])

    def _holds(self, facts: Mapping[str, Any]) -> bool:
        accesses = [self._accesses[subject["patient"]] for subject in facts["subjects"]]
        completed = materialise(facts, accesses, self._access.policy)
        return self._access.permission(self._interaction, facts["type"]).holds(completed)

    def _learn(self, patients: set[str]) -> None:
        """Who is related to these patients, and what their Consents say."""
        unknown = patients - self._accesses.keys()
        if not unknown:
            return
        known = self._database.patient_access.find({"_id": {"$in": list(unknown)}}).to_list()
        states = {one["_id"]: one for one in known}
        for patient in unknown:
            self._accesses[patient] = PatientState.of(patient, states.get(patient, {})).access()

    # What the access says

    def _visible(self, types: Iterable[str]) -> Filter:
        """Current versions, also deletions, that the access may see. Types of one permission are asked together."""
        audience: frozenset[str] = frozenset()
        kinds: dict[bytes, tuple[list[str], Any]] = {}
        for type_ in types:
            permission = self._access.permission(self._interaction, type_)
            if permission.template == Everything():  # written out by the named system accesses only
                return _of_current_types(types)
            if permission.audience:
                audience |= permission.audience
                compiled = permission_filter(permission)
                kinds.setdefault(bytes(compiled.raw), ([], compiled))[0].append(type_)
        if not kinds:
            return NOTHING
        permitted = [{**_of_current_types(names), "$and": [compiled]} for names, compiled in kinds.values()]
        return {"aud": {"$in": sorted(audience)}, **(permitted[0] if len(permitted) == 1 else {"$or": permitted})}


def _of_current_types(types: Iterable[str]) -> Filter:
    return {"t": {"$in": [name for type_ in types for name in (type_, f"~{type_}")]}}


def _of_types(types: Iterable[str]) -> Filter:
    return {"facts.type": {"$in": list(types)}}


def _order(span: Span, name: str) -> list[tuple[str, int]]:
    return [("lu", span.direction), (name, -span.direction)]


def _place(document: Document) -> Place:
    return document["lu"], document["r"] if "r" in document else document["_id"]


def _labels(document: Document) -> list[str]:
    """The labels of a row, its release among them."""
    labels, instant = document["facts"].get("labels", []), document["facts"].get("released")
    return [*labels, *([] if instant is None else [as_label(instant)])]


def _hidden_as(facts: Document, present: Sequence[str]) -> Document:
    """The facts of a version, with the labels of its resource as it is now beside its own, and the later release."""
    labels, instant = of_labels(present)
    stated = [one for one in (instant, facts.get("released")) if one is not None]
    release = {"released": max(stated)} if stated else {}
    return {**facts, "labels": [*facts["labels"], *labels], **release}


def _rank(place: Place) -> tuple[float, str]:
    return -place[0].timestamp(), place[1]
