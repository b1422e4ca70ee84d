"""The only door to stored resources: what comes out has been permitted to the access it was built from.

A read fetches one row and decides on its facts; a search compiles the same Condition into its query, so that counting,
sorting, including and paging happen after permission. Page links answer from the state of the data that the first page
saw (MongoDB snapshot reads), and each page is decided anew on the present state.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from operator import itemgetter
from typing import Any, TypeVar

from pymongo.client_session import ClientSession
from pymongo.errors import DuplicateKeyError, ExecutionTimeout

from consent.condition import Everything
from consent.engine import Permission
from consent.request import Interaction
from fhirserver.config import Config
from fhirserver.errors import BadRequest, Conflict, Gone, NotFound, NotSupported, TooCostly, Unavailable
from fhirserver.search import expression as e
from fhirserver.search.parse import Include, Query
from fhirserver.search.stored import SEPARATOR
from fhirserver.store import actors, share_links
from fhirserver.store.actors import Described
from fhirserver.store.binary_content import Contents, whole_row
from fhirserver.store.compile import (
    NOTHING,
    Filter,
    both,
    compile_contained,
    compile_expression,
    compile_search,
    hint_for,
    permission_filter,
)
from fhirserver.store.concealed import concealed
from fhirserver.store.contained import FIELDS, Asked, Inside, counted, fill
from fhirserver.store.database import Database, Document
from fhirserver.store.erasing import Erasures
from fhirserver.store.explain import Explained, explain
from fhirserver.store.expunge import Purge
from fhirserver.store.facts import absent_facts
from fhirserver.store.guard import Guard
from fhirserver.store.includes import Includes, Rest
from fhirserver.store.indexes import BY_CONTAINED, BY_DATE, BY_PATIENT, BY_START, BY_UPDATE, BY_VALUE
from fhirserver.store.links import Links
from fhirserver.store.reindex import Reindex
from fhirserver.store.rows import Row, row_of
from fhirserver.store.search_parameters import Catalogue
from fhirserver.store.search_values import search_values
from fhirserver.store.security_context import is_permitted
from fhirserver.store.snapshots import Snapshot, read_concern, select_at
from fhirserver.store.standing import Standing
from fhirserver.store.unit import Unit
from fhirserver.store.versions import Span, VersionReader, Versions
from resources import SUPPORTED
from resources.declaration import local_address
from resources.validation import parse

T = TypeVar("T")

_FIELDS = {"b": 1, "content": 1, "v": 1, "lu": 1, "t": 1, "m": 1, "del": 1, "facts": 1, "dicom": 1}
_BODILESS = {name: 1 for name in _FIELDS if name not in {"b", "content"}}
# What a row of a searchset needs: its bytes, and for the audit whose it is and from whom it is hidden.
_ROW_FIELDS = {
    "b": 1, "v": 1, "lu": 1, "t": 1, "facts.subjects.patient": 1, "facts.labels": 1, "facts.released": 1,
}  # fmt: skip

# The parameters whose values `labels_in_use` gathers; how many at most, and for how many milliseconds.
_LABELS = ("_profile", "_security", "_tag")
_MOST_LABELS = 10_000
_GATHERING_TIME = 5_000
MOST_ESTIMATED = 10_000
"""Where an estimate of the total stops counting: beyond it, the number says that there are at least as many."""
WITHOUT_TYPE_HISTORY = frozenset({"AuditEvent", "Binary"})
"""Types of which each resource has its history, and the type has none."""

# Most rows among which the latest are looked for.
_MOST_COMPARED = 10_000
_ORDERED = frozenset({BY_UPDATE, BY_START, BY_DATE})
# MongoDB merges so many readings of an index (internalQueryMaxScansToExplode).
_MOST_READINGS = 200


@dataclass(frozen=True, slots=True)
class Position:
    """Where a later page begins: the state of the data, and the sort keys of the last row given.

    `rest` is where what a page could not include goes on; `after` is then where that page began, empty for the first.
    `given` says of the row that comes next how many of the resources that it contains were given, and its name.
    """

    snapshot: Snapshot
    after: tuple[Any, ...]
    rest: Rest | None = None
    given: tuple[int, str] | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Permitted rows in order, the included ones, the count of all where it is known, and where to go on.

    `labels` are those that say who may see the resources by which a chain or `_has` found the rows, and `named` the
    patients whom it named by an identifier. `rest` is where the included rows go on that the page could not hold, and
    `is_stopped` says that iteration ended before its end. Where what rows contain was asked for, `inside` are the
    matches, and `rows` the rows that hold them.
    """

    rows: list[Row]
    included: list[Row]
    total: int | None
    next: Position | None
    labels: tuple[str, ...] = ()
    rest: Position | None = None
    is_stopped: bool = False
    inside: list[Inside] | None = None
    named: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """What is wanted of one patient's record.

    `types` are those wanted; `since` limits it to what changed since then, `start` and `end` (both included) to care of
    that time: what has no such time is in every span. `values` are search values by type, of which a row has one; None
    asks for none. `without` is left out, because it is given apart.
    """

    patient: str
    types: Collection[str]
    without: str = ""
    since: datetime | None = None
    start: datetime | None = None
    end: datetime | None = None
    values: Mapping[str, Sequence[str]] | None = None


class ResourceStore:
    """The resources as one access may see and write them."""

    def __init__(self, database: Database, access: Guard, config: Config) -> None:
        """Bind the database to an access; there is no other way to read resources."""
        self._database = database
        self._access = access
        self._config = config
        self._policy = access.policy
        access.learn(lambda: concealed(database, access))

    def beside(self, access: Guard) -> ResourceStore:
        """The same resources as another access may see them."""
        return ResourceStore(self._database, access, self._config)

    def standings(self, people: Collection[tuple[str, str | None]]) -> dict[tuple[str, str | None], Standing]:
        """Who people are who act for organisations (or for none) at the instant of the access."""
        return actors.standings(self._database, people, self._access.now)

    def described(self, names: Collection[str]) -> dict[str, Described]:
        """Practitioners and organisations in the words of the directory: names and roles, and nothing else."""
        return actors.described(self._database, names)

    def share_links_of(self, patient: str) -> Sequence[Document]:
        """The latest links to exams of a patient, without what opens them; who is told of one is for the caller."""
        return share_links.of_patient(self._database, patient)

    def share_links(self, names: Collection[str]) -> dict[str, Document]:
        """The links of these names."""
        return share_links.by_names(self._database, names)

    def parameters(self) -> Catalogue:
        """The search parameters of each type, those that an operator has added included."""
        return self._database.search_parameters.current()

    @property
    def reindex(self) -> Reindex:
        """The job that brings rows up to them."""
        return Reindex(self._database, self._config)

    @property
    def erasures(self) -> Erasures:
        """The records that were erased, and the job that removes them."""
        return Erasures(self._database, self._config)

    # Reading one

    def read(self, type_: str, id_: str, *, with_body: bool = True) -> Row:
        """The current version; its bytes only if wanted.

        Raises NotFound where absent or refused, Gone where deleted and once permitted.
        """
        document = self._permitted("read", type_, id_, _FIELDS if with_body else _BODILESS)
        if document.get("del"):
            raise Gone(f"{type_}/{id_} was deleted.")
        return self._row(document)

    def _permitted(
        self, interaction: Interaction, type_: str, id_: str, fields: Mapping[str, int] = _FIELDS
    ) -> Document:
        """The current version. Raises NotFound where absent or refused.

        What is absent is decided on too, and so audited: otherwise the time of the answer would tell the two apart.
        """
        reference = f"{type_}/{id_}"
        document = self._database.get(self._database.collection_of(type_), reference, fields)
        if document is None:
            self._access.decide(interaction, absent_facts(type_, id_))
            raise NotFound(f"{reference} is not known.")
        if not self._permits(interaction, document):
            raise NotFound(f"{reference} is not known.")
        return document

    def _permits(self, interaction: Interaction, document: Document) -> bool:
        return is_permitted(
            self._access,
            interaction,
            document,
            lambda reference: self._database.resources.find_one({"_id": reference}, _FIELDS),
        )

    def vread(self, type_: str, id_: str, version: int) -> Row:
        """One version: disclosed if the present facts permit and its own facts do."""
        reference = f"{type_}/{id_}"
        current = self._permitted("vread", type_, id_)
        document = current
        if current["v"] != version:
            past = self._database.history.find_one({"_id": f"{reference}/_history/{version}"})
            if past is None or not VersionReader(self._database, self._access, "vread").permits(past):
                raise NotFound(f"{reference} has no version {version}.")
            document = past
        if document.get("del"):
            raise Gone(f"{reference} was deleted in version {version}.")
        return self._row(document)

    def history(self, type_: str, id_: str, span: Span) -> Versions:
        """Versions of one resource that may be disclosed. Raises NotFound where it is absent or refused."""
        current = self._permitted("history", type_, id_, _BODILESS)
        found = VersionReader(self._database, self._access).of_resource(current, span)
        return replace(found, of=self._row(current))

    def history_of(self, types: Collection[str], span: Span) -> Versions:
        """Versions of all resources of these types that may be disclosed; of a type without a permission, none.

        Raises NotSupported for AuditEvent, which never changes, and Binary, which is decided with what it hangs on.
        """
        if unfit := WITHOUT_TYPE_HISTORY.intersection(types):
            raise NotSupported(f"The history of all resources is not offered for {', '.join(sorted(unfit))}.")
        return VersionReader(self._database, self._access).of_types(types, span)

    def versions(self, references: Collection[str]) -> list[Row]:
        """The versions that references name (`Type/id/_history/version`), as far as they may be disclosed."""
        return VersionReader(self._database, self._access, "vread").named(references)

    def complete_until(self) -> datetime:
        """An instant up to which what is read from now on has every version; what is under way may come after it."""
        return self._database.in_flight.complete_until()

    # Searching

    def search(self, query: Query, *, position: Position | None = None) -> Page:
        """The permitted rows that match, `query.count` a page. Raises Gone where the link outlived its snapshot.

        Binaries are read one by one, each with the resource that it hangs on; a search of them is refused.
        """
        is_added = query.generation is not None
        if is_added and position is not None and position.snapshot[0] < self.parameters().since:
            raise Gone("A search parameter was defined anew since this page link was made.", code="expired")
        links = self._links(position)
        page = self._search(query, position, links)
        self._require_current(query)
        return replace(page, named=tuple(links.named))

    def _search(self, query: Query, position: Position | None, links: Links) -> Page:
        require_searched(query.type)
        plan = self._plan(query, links)
        labels = tuple(links.labels)
        if query.count == 0:
            return Page([], [], self._total(plan, links.snapshot), None, labels)
        order = plan.order
        rows, snapshot, has_more = self._fetch(plan, links.snapshot, position)
        if query.gives_contained:
            return self._page_of_contained(plan, rows, snapshot, position, labels, has_more=has_more)
        total = None
        if position is None and query.total != "none":  # a later page would count rows that are refused by now
            if not has_more:
                total = len(rows)
            elif query.total is not None:
                most = MOST_ESTIMATED if query.total == "estimate" else None
                total = self._total(plan, snapshot, most)
        following = Position(snapshot, _keys(rows[-1], order)) if has_more else None
        found = [row_of(row) for row in rows]
        if not query.includes:
            return Page(found, [], total, following, labels)
        included = self._includes(query.includes).page(
            rows, snapshot, after=None if position is None else position.rest, is_later=position is not None
        )
        begun = () if position is None else position.after
        rest = None if included.rest is None else Position(snapshot, begun, included.rest)
        more = [row_of(row) for row in included.rows]
        return Page(found, more, total, following, labels, rest, included.is_stopped)

    def _page_of_contained(
        self,
        plan: _Plan,
        rows: Sequence[Document],
        snapshot: Snapshot,
        position: Position | None,
        labels: tuple[str, ...],
        *,
        has_more: bool,
    ) -> Page:
        """A page of what is contained in the rows; it may end between two that are in one row."""
        query = plan.query
        filled = fill(rows, plan.asked, query.count, None if position is None else position.given)
        following, total = None, None
        if filled.given is not None or filled.rows < len(rows) or has_more:
            whole = filled.rows - (filled.given is not None)
            begun = () if position is None else position.after
            after = _keys(rows[whole - 1], plan.order) if whole else begun
            following = Position(snapshot, after, given=filled.given)
        if position is None and query.total != "none":
            if following is None:
                total = len(filled.found)
            elif query.total is not None:
                total = self._total(plan, snapshot, MOST_ESTIMATED if query.total == "estimate" else None)
        shown = [row_of(row) for row in rows[: filled.rows]]
        return Page(shown, [], total, following, labels, inside=filled.found)

    def _total(self, plan: _Plan, snapshot: Snapshot | None, most: int | None = None) -> int:
        """How many match: rows, or what is contained in them."""
        query = plan.query
        if not query.gives_contained:
            return self._count(query.type, plan.wanted, snapshot, most)
        return sum(self._counted(query.type, stages, snapshot, most) for stages in counted(plan.asked, plan.wanted))

    def explain(self, query: Query) -> list[Explained]:
        """How the database would answer the search; nothing is disclosed but the plan (`store.explain`)."""
        require_searched(query.type)
        found = explain(self._database, (query.type,), query.expression, _order(query.sort), query.count)
        self._require_current(query)
        return found

    def search_again(self, query: Query, references: Sequence[str]) -> Page:
        """Those of the rows that an earlier search found which match and may be seen now, in the order given.

        Raises TooCostly where they include more than one page may.
        """
        links = self._links()
        wanted = both(self._plan(query, links).wanted, {"_id": {"$in": [*references]}})
        fields = {**_ROW_FIELDS, **({"tk": 1} if query.includes else {})}
        collection = self._database.collection_of(query.type)
        rows, snapshot = select_at(self._database, collection, wanted, fields, len(references), None, hint="_id_")
        by_name = {row["_id"]: row for row in rows}
        found = [by_name[reference] for reference in references if reference in by_name]
        labels, named = tuple(links.labels), tuple(links.named)
        self._require_current(query)
        if not query.includes:
            return Page([row_of(row) for row in found], [], None, None, labels, named=named)
        included = self._includes(query.includes).page(found, snapshot)
        if included.rest is not None:
            limit = self._config.include_max
            raise TooCostly(f"More than {limit} resources would be included; ask for fewer entries with _count.")
        more = [row_of(row) for row in included.rows]
        is_stopped = included.is_stopped
        return Page([row_of(row) for row in found], more, None, None, labels, is_stopped=is_stopped, named=named)

    def count(self, query: Query) -> int:
        """How many permitted rows match."""
        links = self._links()
        found = self._count(query.type, self._plan(query, links).wanted, links.snapshot)
        self._require_current(query)
        return found

    def _plan(self, query: Query, links: Links) -> _Plan:
        """How a search is asked of the database, once its references have been followed."""
        order = _order(query.sort)
        resolved = [(branch, links.resolved(branch.expression)) for branch in query.asked]
        if query.type:
            return self._plan_of_type(query, query.type, order, resolved)
        hints = {BY_CONTAINED if branch.contained else hint_for(expression, order) for branch, expression in resolved}
        hint = hints.pop() if len(hints) == 1 else None
        branches = [
            both(
                {"t": {"$in": sorted(branch.types)}, "$and": [visible]},
                compile_contained(branch.contained, one) if branch.contained else compile_expression(one),
            )
            for branch, one in resolved
            if (visible := self._visible_of("search", branch.types).get(self._database.resources.name)) is not None
        ]
        wanted = NOTHING if not branches else branches[0] if len(branches) == 1 else {"$or": branches}
        # The indexes of an order are of one type, or of too many to be merged.
        hint = hint if hint in {BY_VALUE, BY_CONTAINED} and branches else None
        plan = _Plan(query, wanted, order, hint, resolved)
        is_of_both = query.is_of_contained and len(resolved) > 1
        if not is_of_both or len(branches) < len(resolved):
            return plan
        (own, _), _ = resolved
        alone = self._plan_of_type(query, own.types[0], order, resolved[:1])
        return replace(plan, parts=(alone, replace(plan, wanted=branches[1], hint=BY_CONTAINED)))

    def _plan_of_type(self, query: Query, type_: str, order: list[tuple[str, int]], resolved: Asked) -> _Plan:
        ((_, expression),) = resolved
        is_trail = type_ == "AuditEvent"
        wanted = both(self._visible("search", type_), compile_search(expression, is_trail=is_trail))
        return _Plan(
            replace(query, type=type_), wanted, order, hint_for(expression, order, is_trail=is_trail), resolved
        )

    def _require_current(self, query: Query, session: ClientSession | None = None) -> None:
        """Raise Unavailable where the search parameters have changed since the query was read.

        Asked after the rows were read, it says that they were complete when they were read.
        """
        if query.generation is None:
            return
        if query.generation != self._database.search_parameters.generation(session):
            raise Unavailable("The search parameters have just changed; search again.", headers={"Retry-After": "1"})

    def _includes(self, asked: Sequence[Include]) -> Includes:
        """What finds the rows that a page includes."""
        fields = {**_ROW_FIELDS, "tk": 1} if any(one.iterate for one in asked) else _ROW_FIELDS
        return Includes(
            self._database,
            asked,
            self._visible_of,
            fields,
            self._config.include_max,
            self._config.linked_max,
            VersionReader(self._database, self._access, "vread"),
            self._values,
        )

    def _values(self, version: Document) -> list[str]:
        """The search values of a past version, from its bytes."""
        found = search_values(self.parameters(), parse(version["b"]), version["lu"], self._config)
        values: list[str] = found["tk"]
        return values

    def _links(self, position: Position | None = None, session: ClientSession | None = None) -> Links:
        """What follows the references of a search, for its first page, a later one, or within a transaction."""
        return Links(
            self._database,
            lambda types: self._visible_of("search", types),
            self._config.linked_max,
            snapshot=None if position is None else position.snapshot,
            session=session,
            is_later_page=position is not None,
        )

    def find(
        self,
        type_: str,
        expression: e.Expression,
        *,
        limit: int,
        interaction: Interaction = "search",
        snapshot: Snapshot | None = None,
    ) -> list[Row]:
        """Permitted rows for the server's own use, whole (facts and DICOM attributes included).

        Those of an older state, where a `snapshot` names one. Raises Gone where the database has let it go.
        """
        resolved = self._links().resolved(expression)
        wanted = both(self._visible(interaction, type_), compile_expression(resolved))
        collection = self._database.collection_of(type_)
        if snapshot is None:
            found, _ = self._database.select(collection, wanted, _FIELDS, limit)
        else:
            found, _ = select_at(self._database, collection, wanted, _FIELDS, limit, snapshot)
        return [row_of(document) for document in found]

    def find_studies(self, filters: Sequence[tuple[str, str, Any]], *, limit: int, offset: int) -> list[Row]:
        """Permitted ImagingStudies by what DICOM ingestion kept beside them: (path, operator, value), newest first.

        Their bytes are not read.
        """
        wanted = both(self._visible("search", "ImagingStudy"), _dicom_filter(filters))
        order = {"so.started.z": -1, "_id": 1}
        found, _ = self._database.select(self._database.resources, wanted, _BODILESS, limit, sort=order, skip=offset)
        return [row_of(document) for document in found]

    def _visible(self, interaction: Interaction, type_: str) -> Filter:
        permission = self._access.permission(interaction, type_)
        if permission.template == Everything():  # written out by the named system accesses only
            return {"t": type_}
        if not permission.audience:
            return NOTHING
        names = sorted(permission.audience)
        return {"t": type_, "aud": {"$in": names}, "$and": [permission_filter(permission)]}

    def _fetch(
        self, plan: _Plan, snapshot: Snapshot | None, position: Position | None
    ) -> tuple[list[Document], Snapshot, bool]:
        """A page of rows, the snapshot they are from, and whether there are more."""
        query, order = plan.query, plan.order
        fields = {**_ROW_FIELDS, **{path: 1 for path, _ in order}}
        if query.includes:
            fields["tk"] = 1
        if query.gives_contained:
            fields |= FIELDS
        rows: list[Document] = []
        after = None if position is None or not position.after else position.after
        while True:
            missing = query.count + 1 - len(rows)
            found, snapshot = self._select(plan, after, fields, missing, snapshot)
            is_last = len(found) < missing
            if position is not None:
                after = _keys(found[-1], order) if found else after
                found = self._still_permitted(found)
            rows += found
            if is_last or len(rows) > query.count:
                return rows[: query.count], snapshot, len(rows) > query.count

    def _select(
        self,
        plan: _Plan,
        after: tuple[Any, ...] | None,
        fields: Mapping[str, int],
        limit: int,
        snapshot: Snapshot | None,
    ) -> tuple[list[Document], Snapshot]:
        """Rows of a plan in order, `limit` at most, and the state that they are of."""
        if not plan.parts:
            wanted = plan.wanted if after is None else both(plan.wanted, _rest(plan, after))
            options: Document = {"sort": dict(plan.order), **({} if plan.hint is None else {"hint": plan.hint})}
            collection = self._database.collection_of(plan.query.type)
            return select_at(self._database, collection, wanted, fields, limit, snapshot, **options)
        first, *others = plan.parts
        rows, state = self._select(first, after, fields, limit, snapshot)
        found = {row["_id"]: row for row in rows}
        for part in others:
            rows, _ = self._select(part, after, fields, limit, state)
            found |= {row["_id"]: row for row in rows}
        return _in_order(found.values(), plan.order)[:limit], state

    def _still_permitted(self, rows: list[Document]) -> list[Document]:
        """Those of an older state that exist and are permitted now: a link carries no authority."""
        types = sorted({row["t"] for row in rows})
        present: set[str] = set()
        for name, visible in self._visible_of("search", types).items():
            wanted = both(visible, {"_id": {"$in": [row["_id"] for row in rows]}})
            collection = self._database.database[name]
            present |= {row["_id"] for row in collection.find(wanted, {"_id": 1}, hint="_id_").to_list()}
        return [row for row in rows if row["_id"] in present]

    def _count(self, type_: str, wanted: Filter, snapshot: Snapshot | None = None, most: int | None = None) -> int:
        """How many rows match; counting stops at `most`."""
        return self._counted(type_, [{"$match": wanted}], snapshot, most)

    def _counted(self, type_: str, stages: Sequence[Document], snapshot: Snapshot | None, most: int | None) -> int:
        """How many documents the stages leave."""
        answer = self._database.command(
            "aggregate",
            self._database.collection_of(type_).name,
            pipeline=[*stages, *([{"$limit": most}] if most else []), {"$count": "n"}],
            cursor={},
            readConcern=read_concern(snapshot),
        )
        batch = answer["cursor"]["firstBatch"]
        return batch[0]["n"] if batch else 0

    # For operations

    def trail(self, since: datetime, until: datetime) -> Iterator[Row]:
        """Permitted AuditEvents that were written from one instant on and before another, in their order, one by one.

        Their ids grow with time, so the trail is read by its own index from where it begins.
        """
        span = {"_id": {"$gte": _event_at(since), "$lt": _event_at(until)}}
        wanted = both(self._visible("search", "AuditEvent"), span)
        for document in self._database.audit.find(wanted, _ROW_FIELDS, hint="_id_").sort([("_id", 1)]):
            yield row_of(document)

    def labels_in_use(self, types: Iterable[str]) -> set[tuple[str, str]]:
        """The search values of `_tag`, `_profile` and `_security` among permitted rows: name, and what follows it.

        Raises TooCostly where so many rows carry some that they cannot be gathered in time.
        """
        found: set[tuple[str, str]] = set()
        carried = {"$or": [{"tk": {"$elemMatch": _beginning(f"{name}{SEPARATOR}")}} for name in _LABELS]}
        for name, wanted in self._visible_of("search", types).items():
            pipeline: list[Document] = [
                {"$match": both(wanted, carried)},
                {"$unwind": "$tk"},
                {"$match": {"$or": [{"tk": _beginning(f"{name}{SEPARATOR}")} for name in _LABELS]}},
                {"$group": {"_id": "$tk"}},
                {"$limit": _MOST_LABELS + 1},
            ]
            try:
                rows = self._database.database[name].aggregate(pipeline, maxTimeMS=_GATHERING_TIME).to_list()
            except ExecutionTimeout as error:
                raise TooCostly("Too many resources carry labels; ask for one type.") from error
            if len(rows) > _MOST_LABELS:
                raise TooCostly(f"More than {_MOST_LABELS} labels are in use; ask for one type.")
            for row in rows:
                parameter, _, value = row["_id"].partition(SEPARATOR)
                found.add((parameter, value))
        return found

    def gather(self, record: Record, *, count: int, position: Position | None = None) -> Page:
        """A page of what one patient's record holds, by id, and what it refers to that is nobody else's.

        Like a search it is decided row by row, from the state of the data that the first page saw. Raises Gone where
        the link outlived its snapshot, TooCostly where the page refers to too much.
        """
        visible = self._visible_of("search", record.types).get(self._database.resources.name, NOTHING)
        asked = _of_record(record)
        rows: list[Document] = []
        snapshot = None if position is None else position.snapshot
        after = "" if position is None else position.after[0]
        while True:
            wanted = both(both(visible, asked), {"_id": {"$gt": after, "$ne": record.without}})
            missing = count + 1 - len(rows)
            found, snapshot = select_at(
                self._database,
                self._database.resources,
                wanted,
                _ROW_FIELDS,
                missing,
                snapshot,
                sort={"_id": 1},
                hint=BY_PATIENT,
            )
            is_last = len(found) < missing
            if position is not None and found:
                after = found[-1]["_id"]
                found = self._still_permitted(found)
            rows += found
            if is_last or len(rows) > count:
                break
        page = rows[:count]
        last = page[-1]["_id"] if page else "" if position is None else position.after[0]
        following = Position(snapshot, (last,)) if len(rows) > count else None
        return Page([row_of(row) for row in page], [], None, following)

    def referred(self, rows: Sequence[Row], types: Collection[str], owners: Collection[str]) -> list[Row]:
        """What `rows` refer to, of these types and permitted, that belongs to nobody or to one of `owners`.

        Raises TooCostly where it is too much.
        """
        given = {row.reference for row in rows}
        wanted = {reference for row in rows for reference in self._references(row)} - given
        by_type = sorted({reference.partition("/")[0] for reference in wanted} & set(types))
        visible = self._visible_of("read", by_type).get(self._database.resources.name)
        if visible is None:
            return []
        others = {"$elemMatch": {"patient": {"$nin": sorted(owners)}}}
        asked: Filter = {"_id": {"$in": sorted(wanted)}, "facts.subjects": {"$not": others}}
        limit = self._config.include_max
        found = self._database.resources.find(both(visible, asked), _ROW_FIELDS).limit(limit + 1).to_list()
        if len(found) > limit:
            raise TooCostly(f"More than {limit} resources would be included; ask for fewer entries with _count.")
        return [row_of(row) for row in sorted(found, key=lambda row: row["_id"])]

    def latest(self, query: Query, name: str, most: int) -> Page:
        """Of the permitted rows that match, the latest by date of each value of the token parameter `name`.

        Rows that share a coding have one value, through others if need be. Raises TooCostly where so many match, or
        are the latest, that one answer cannot hold them.
        """
        links = self._links()
        matching = both(self._visible("search", query.type), compile_search(links.resolved(query.expression)))
        codings = {"$regexMatch": {"input": "$$this", "regex": f"^{name}(:text)?{SEPARATOR}"}}
        fields: Document = {"codes": {"$filter": {"input": "$tk", "cond": codings}}}
        order = {"so.date.z": -1, "lu": -1, "_id": 1}
        found, _ = self._database.select(
            self._database.collection_of(query.type), matching, fields, _MOST_COMPARED + 1, sort=order
        )
        if len(found) > _MOST_COMPARED:
            raise TooCostly(f"More than {_MOST_COMPARED} {query.type} resources match; narrow the criteria.")
        chosen = [id_ for group in _by_code(found) for id_ in group[:most]]
        if len(chosen) > self._config.page_max:
            raise TooCostly(f"More than {self._config.page_max} resources would be given; narrow the criteria.")
        wanted = both(self._visible("search", query.type), {"_id": {"$in": chosen}})
        rows = {row["_id"]: row for row in self._database.collection_of(query.type).find(wanted, _ROW_FIELDS).to_list()}
        self._require_current(query)
        latest = [row_of(rows[id_]) for id_ in chosen if id_ in rows]
        return Page(latest, [], len(latest), None, tuple(links.labels), named=tuple(links.named))

    def parts_of(self, row: Row) -> list[Row]:
        """What a resource refers to on this server, all of it, in the order in which it does.

        Raises NotFound or Gone for the first that cannot be read, as a read of it does, and TooCostly where it is too
        much.
        """
        wanted = [reference for reference in self._references(row) if reference != row.reference]
        limit = self._config.include_max
        if len(wanted) > limit:
            raise TooCostly(f"{row.reference} refers to more than {limit} resources.")
        found = self.readable(wanted)
        return [found.get(reference) or self.read(*reference.split("/")) for reference in wanted]

    def readable(self, references: Collection[str]) -> dict[str, Row]:
        """Those of the resources, `Type/id`, that may be read, by reference: one query for all but Binaries."""
        wanted = list(references)
        visible = self._visible_of("read", {reference.partition("/")[0] for reference in wanted} & SUPPORTED.keys())
        found: dict[str, Row] = {}
        for name, filter_ in visible.items():
            asked = both(filter_, {"_id": {"$in": wanted}})
            rows = self._database.database[name].find(asked, _ROW_FIELDS).to_list()
            found |= {row["_id"]: row_of(row) for row in rows}
        for reference in wanted:
            if reference.startswith("Binary/"):
                with suppress(NotFound, Gone):
                    found[reference] = self.read(*reference.split("/"))
        return found

    def _references(self, row: Row) -> list[str]:
        """The references to this server in a resource, as `Type/id`, each once."""
        addresses = SUPPORTED[row.type].references(parse(row.body))
        found = (local_address(address, self._config.fhir_base) for address in addresses)
        return list(dict.fromkeys(reference for reference in found if reference is not None))

    def _visible_of(self, interaction: Interaction, types: Iterable[str]) -> dict[str, Filter]:
        """What of several types may be seen, by the name of the collection in which they are.

        Types of which the same may be seen share a clause. Binaries are left out: each is decided with what it hangs
        on, one by one.
        """
        alike: dict[tuple[str, bytes], tuple[Permission, list[str]]] = {}
        for type_ in types:
            permission = self._access.permission(interaction, type_)
            is_all = permission.template == Everything()  # written out by the named system accesses only
            if type_ != "Binary" and (is_all or permission.audience):
                said = b"" if is_all else bytes(permission_filter(permission).raw)
                alike.setdefault((self._database.collection_of(type_).name, said), (permission, []))[1].append(type_)
        found: dict[str, list[Filter]] = {}
        for (collection, said), (permission, same) in alike.items():
            wanted: Filter = {"t": {"$in": same}}
            if said:
                wanted |= {"aud": {"$in": sorted(permission.audience)}, "$and": [permission_filter(permission)]}
            found.setdefault(collection, []).append(wanted)
        return {name: {"$or": wanted} for name, wanted in found.items()}

    # Writing

    def transact(self, work: Callable[[Unit], T]) -> T:
        """Run `work` and all it writes in one transaction; on a write conflict it is run again from the start."""
        noted = getattr(self._access, "decisions", None)
        before = 0 if noted is None else len(noted)

        def body(session: ClientSession) -> tuple[T, Unit]:
            if noted is not None:
                del noted[before:]
            contents.take_back()
            unit = Unit(self._database, self._access, session, contents, self._config, self._policy, self)
            result = work(unit)
            unit.flush(directory)
            self._database.in_flight.require_promise()
            return result, unit

        with (
            self._database.in_flight.writing(self._access.instant()),
            Contents(self._database.objects) as contents,
            ExitStack() as directory,
            self._database.client.start_session() as session,
        ):
            try:
                result, unit = session.with_transaction(body)
            except DuplicateKeyError as error:
                raise Conflict("Another request has just created this resource.") from error
            contents.keep()
        if self._database.sealer is not None:
            self._database.sealer.seal(unit.events)
        return result

    def expunge(self, purge: Purge, record: Callable[[Unit, list[Row]], None]) -> int:
        """Remove for good what a purge names, and the objects that only it names; how many versions that was.

        `record` writes the audit of it in the same transaction. Whether the caller may is asked before.
        """
        with self._database.objects.condemned() as sentence:

            def work(unit: Unit) -> int:
                found = unit.expunge(purge)
                sentence(found.objects)
                record(unit, found.rows)
                return len(found.rows)

            return self.transact(work)

    def followed(self, expression: e.Expression, session: ClientSession) -> e.Expression:
        """The expression with equalities in the place of the references it follows, as the transaction sees them."""
        return self._links(session=session).resolved(expression)

    def matching(self, query: Query, session: ClientSession, limit: int) -> list[Row]:
        """At most so many permitted rows that match, as the transaction of the session sees them."""
        expression = self.followed(query.expression, session)
        asked = compile_search(expression, is_trail=query.type == "AuditEvent")
        wanted = both(self._visible("search", query.type), asked)
        found = self._database.collection_of(query.type).find(wanted, _FIELDS, session=session).limit(limit)
        rows = [self._row(document) for document in found.to_list()]
        self._require_current(query, session)
        return rows

    def _row(self, document: Document) -> Row:
        return whole_row(document, self._database.objects)


def require_searched(type_: str) -> None:
    """Raise NotSupported for Binary, of which each is decided with the resource that it hangs on."""
    if type_ == "Binary":
        raise NotSupported("A Binary is found by the resource that refers to it, not by a search.")


def _by_code(rows: Sequence[Document]) -> list[list[str]]:
    """The ids of rows grouped by their codes, in their order; the text of a code stands where it has no coding."""
    groups: dict[int, list[int]] = {}
    group_of: dict[str, int] = {}
    for index, row in enumerate(rows):
        codings = [code for code in row["codes"] if "|" in code and ":text" not in code]
        codes = codings or row["codes"] or [""]
        touched = sorted({group_of[code] for code in codes if code in group_of})
        target = touched[0] if touched else index
        members = [member for each in touched for member in groups.pop(each)]
        groups[target] = [*members, index]
        if len(touched) > 1:
            group_of = {code: target if group in touched else group for code, group in group_of.items()}
        group_of.update(dict.fromkeys(codes, target))
    return [[rows[index]["_id"] for index in sorted(members)] for _, members in sorted(groups.items())]


def _of_record(record: Record) -> Filter:
    clauses: list[Filter] = [{"facts.subjects.patient": record.patient}]
    if record.since is not None:
        clauses.append({"lu": {"$gte": record.since}})
    span: Filter = {}
    if record.start is not None:
        span["facts.performed.until"] = {"$gt": record.start}
    if record.end is not None:
        span["facts.performed.from"] = {"$lte": record.end}
    if span:
        clauses.append({"$or": [{"facts.performed": None}, span]})
    if record.values is not None:
        alike: dict[tuple[str, ...], list[str]] = {}
        for type_, values in record.values.items():
            alike.setdefault(tuple(values), []).append(type_)
        clauses.append({"$or": [{"t": {"$in": types}, "tk": {"$in": values}} for values, types in alike.items()]})
    return {"$and": clauses}


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a search is asked of the database: the whole filter, the order, and the index, where we know which.

    `asked` is what is asked of which types, its references followed. `parts` are plans that are asked one by one, where
    each has an index of its own and together they have none: their rows are put in order here.
    """

    query: Query
    wanted: Filter
    order: list[tuple[str, int]]
    hint: str | None
    asked: Asked
    parts: tuple[_Plan, ...] = ()


def _beginning(prefix: str) -> Filter:
    """A search value that begins so."""
    return {"$gte": prefix, "$lt": e.StartsWith(prefix).end}


def _event_at(instant: datetime) -> str:
    """Where the AuditEvents of an instant begin: their ids are as UUID version 7 (`audit.event`)."""
    return f"AuditEvent/{int(instant.timestamp() * 1_000) << 80:032x}"


def _order(sort: Sequence[tuple[str, bool]]) -> list[tuple[str, int]]:
    """The sort of a search, ended by the id so that it is total; newest first where the caller did not say."""
    order = [
        ("lu" if name == "_lastUpdated" else f"so.{name}.{'z' if descending else 'a'}", -1 if descending else 1)
        for name, descending in sort
        if name != "_id"
    ]
    identity = next((-1 if descending else 1 for name, descending in sort if name == "_id"), 1)
    if not sort:
        order = [("lu", -1)]
    return [*order, ("_id", identity)]


def _keys(row: Document, order: Sequence[tuple[str, int]]) -> tuple[Any, ...]:
    keys = []
    for path, _ in order:
        value: Any = row
        for step in path.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
        keys.append(value)
    return tuple(keys)


def _in_order(rows: Iterable[Document], order: Sequence[tuple[str, int]]) -> list[Document]:
    """Rows of several types in the order of a search, by keys that all rows have."""
    found = list(rows)
    for path, direction in reversed(order):
        found.sort(key=itemgetter(path), reverse=direction < 0)
    return found


def _rest(plan: _Plan, after: Sequence[Any]) -> Filter:
    """The rows of a search that come after the given keys, as the index that it goes by finds their beginning.

    An index of an order is read once for each name of the audience, and the readings merged: only where each is written
    out do they begin at the keys, and not at the first of all rows that share the first key.
    """
    beyond = _beyond(plan.order, after)
    names = plan.wanted.get("aud", {}).get("$in", ())
    if plan.hint not in _ORDERED or not 0 < len(names) * len(beyond["$or"]) <= _MOST_READINGS:
        return beyond
    begins = [{"t": plan.query.type, "aud": name, **clause} for name in names for clause in beyond["$or"]]
    return {"$or": begins}


def _beyond(order: Sequence[tuple[str, int]], after: Sequence[Any]) -> Filter:
    """Rows that come after the given keys. A missing key sorts before all others, as MongoDB does."""
    clauses: list[Filter] = []
    for place, ((path, direction), value) in enumerate(zip(order, after, strict=True)):
        equal = {earlier: after[index] for index, (earlier, _) in enumerate(order[:place])}
        if path in equal:
            continue  # what is equal there comes neither before nor after
        if direction > 0:
            clauses.append({**equal, path: {"$ne": None} if value is None else {"$gt": value}})
        elif value is not None:
            clauses += [{**equal, path: {"$lt": value}}, {**equal, path: None}]
    # The alternatives alone would have the index of the order read from its beginning.
    (leading, direction), value = order[0], after[0]
    begin: Filter = {}
    if direction < 0:
        begin = {leading: {"$not": {"$gt": value}}} if value is not None else {leading: None}
    elif value is not None:
        begin = {leading: {"$gte": value}}
    return {**begin, "$or": clauses}


def _dicom_filter(filters: Sequence[tuple[str, str, Any]]) -> Filter:
    operators = {"eq": "$eq", "in": "$in", "ge": "$gte", "le": "$lte", "regex": "$regex"}
    clauses = []
    for path, operator, value in filters:
        if operator not in operators:
            raise BadRequest(f"{path} cannot be matched by {operator}.")
        clauses.append({path: {operators[operator]: value}})
    return {"$and": [{"dicom": {"$exists": True}}, *clauses]}
