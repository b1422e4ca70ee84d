"""The search parameters that an operator has added, and from which generation on a row has their values.

Each change of the parameters is a generation, counted in the transaction that writes the SearchParameter. A row carries
the generation by which its search values were made (`g`), whoever wrote it, and whatever that process knew. A type
requires a generation: that of its youngest parameter. A parameter may be searched by when no row of its types is older
and none can come any more; until then it is `indexing`, and refused (docs/adr/0022).

The collection is small and read whole, by each process at most once a second. It holds the counter, the parameters and
the job that brings rows up (`reindex`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import msgspec
from pymongo import ReturnDocument
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.read_concern import ReadConcern

from fhirserver.errors import Unprocessable
from fhirserver.search.query import Pair
from fhirserver.search.readable import Readable
from fhirserver.search.stored import FORM
from resources import SUPPORTED, Declaration
from resources.declaration import Published, SearchParameter, search_parameter
from resources.search_parameter import DefinitionError, read

Documents = Collection[dict[str, Any]]

COUNTER = "generation"
JOB = "reindex"
OWN = {"_id": {"$regex": "^SearchParameter/"}}

INDEXING, USABLE = "indexing", "usable"

MOST = 200
"""Parameters that may be added: each is evaluated for every resource of its types that is written."""


@dataclass(frozen=True, slots=True)
class Added:
    """A parameter that an operator has added: its resource, definition and state, and since which generation."""

    reference: str
    definition: Published
    state: str
    generation: int


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The search parameters of one generation.

    `written` are the declarations by which search values are made, `readable` those by which a search is read;
    `required` says by type which generation its rows should have. `since` is the cluster time, in seconds, at which the
    last parameter became usable. `job` is the record of the reindexing.
    """

    generation: int = 0
    written: Mapping[str, Declaration] = field(default_factory=lambda: SUPPORTED)
    readable: Mapping[str, Declaration] = field(default_factory=lambda: SUPPORTED)
    required: Mapping[str, int] = field(default_factory=dict)
    added: tuple[Added, ...] = ()
    since: int = 0
    job: Mapping[str, Any] | None = None

    @property
    def identity(self) -> tuple[Any, ...]:
        """What a statement of the parameters depends on."""
        return self.generation, *((one.reference, one.state) for one in self.added)

    def is_named(self, pairs: Iterable[Pair]) -> bool:
        """Whether a search of these pairs may use an added parameter; a name inside another text counts too."""
        names = {one.definition.name for one in self.added}
        if not names:
            return False
        return any("*" in value or any(name in key or name in value for name in names) for key, value in pairs)


class SearchParameters:
    """The parameters as one process knows them, `age` seconds old at most."""

    def __init__(self, collection: Documents) -> None:
        """Nothing is read yet."""
        self.age = 1.0
        self._documents: Documents = collection.with_options(read_concern=ReadConcern("majority"))
        self._kept: tuple[float, list[dict[str, Any]], Catalogue] | None = None

    def current(self) -> Catalogue:
        """What was stored a moment ago."""
        kept = self._kept
        if kept is not None and monotonic() - kept[0] < self.age:
            return kept[2]
        return self.refresh()

    def refresh(self) -> Catalogue:
        """What is stored now."""
        begun = monotonic()
        documents = self._documents.find().sort("_id").to_list()
        kept = self._kept
        catalogue = kept[2] if kept is not None and kept[1] == documents else catalogue_of(documents)
        self._kept = (begun, documents, catalogue)
        return catalogue

    def generation(self, session: ClientSession | None = None) -> int:
        """The generation that is stored now, or as a transaction sees it."""
        counter = self._documents.find_one({"_id": COUNTER}, {"g": 1}, session=session)
        return counter["g"] if counter else 0

    # Changes

    def prepare(self, *, is_empty: bool) -> None:
        """At start-up: where the release has another form of search values, rows of the older one are behind."""
        counter = self._documents.find_one({"_id": COUNTER})
        if counter is None:
            first = 0 if is_empty else 1
            self._documents.update_one(
                {"_id": COUNTER}, {"$setOnInsert": {"g": first, "all": first, "form": FORM}}, upsert=True
            )
        elif counter.get("form") != FORM:
            self.require(form=FORM)

    def require(self, types: Iterable[str] = (), *, form: int = FORM) -> int:
        """Let every row of these types, or of all, be behind; returns the new generation."""
        names = [f"types.{type_}" for type_ in types] or ["all"]
        change = {"g": {"$add": [{"$ifNull": ["$g", 0]}, 1]}, "form": {"$literal": form}}
        return self._changed([{"$set": change}, {"$set": dict.fromkeys(names, "$g")}])

    def offer(self, session: ClientSession, reference: str, resource: Mapping[str, Any]) -> None:
        """Add the parameter that a resource defines, in the transaction that writes it; it has to be indexed first.

        The same definition again changes nothing. Raises Unprocessable, with the element that is at fault.
        """
        definition = _read(resource)
        others = self._documents.find(OWN, session=session).to_list()
        if any(one["_id"] == reference and _definition(one) == definition for one in others):
            return
        _check_others(definition, [one for one in others if one["_id"] != reference])
        entry = {"definition": msgspec.to_builtins(definition), "state": INDEXING, "g": self._count(session)}
        self._documents.replace_one({"_id": reference}, entry, upsert=True, session=session)

    def withdraw(self, session: ClientSession, reference: str) -> None:
        """Offer the parameter no longer, if it was."""
        if self._documents.delete_one({"_id": reference}, session=session).deleted_count:
            self._count(session)

    def _count(self, session: ClientSession) -> int:
        """The next generation; two transactions that count conflict."""
        return self._changed({"$inc": {"g": 1}}, session)

    def _changed(self, change: Any, session: ClientSession | None = None) -> int:
        counter: Any = self._documents.find_one_and_update(
            {"_id": COUNTER}, change, upsert=True, return_document=ReturnDocument.AFTER, session=session
        )
        generation: int = counter["g"]
        return generation


def _read(resource: Mapping[str, Any]) -> Published:
    try:
        return read(resource, SUPPORTED)
    except DefinitionError as error:
        raise Unprocessable(str(error), expression=error.expression) from error


def _definition(entry: Mapping[str, Any]) -> Published:
    return msgspec.convert(entry["definition"], Published)


def _check_others(definition: Published, others: list[dict[str, Any]]) -> None:
    if len(others) >= MOST:
        raise Unprocessable(f"At most {MOST} search parameters may be added.", expression="SearchParameter")
    for one in others:
        other = _definition(one)
        if other.url == definition.url:
            raise Unprocessable(f"{one['_id']} has this address already.", expression="SearchParameter.url")
        if other.name == definition.name and set(other.base) & set(definition.base):
            raise Unprocessable(f"{one['_id']} has this code already.", expression="SearchParameter.code")


def catalogue_of(documents: Iterable[Mapping[str, Any]]) -> Catalogue:
    """The catalogue that the documents of the collection make."""
    by_name = {one["_id"]: one for one in documents}
    counter, job = by_name.pop(COUNTER, {}), by_name.pop(JOB, None)
    added = tuple(
        Added(reference, _definition(one), one["state"], one["g"]) for reference, one in sorted(by_name.items())
    )
    types = {type_ for one in added for type_ in one.definition.base}
    written = {**SUPPORTED, **{type_: _written(type_, added) for type_ in types}}
    readable = {**SUPPORTED, **{type_: _readable(type_, added, job) for type_ in types}}
    return Catalogue(
        generation=counter.get("g", 0),
        written=written,
        readable=readable,
        required={type_: _required(type_, added, counter) for type_ in SUPPORTED},
        added=added,
        since=max((one["since"].time for one in by_name.values() if "since" in one), default=0),
        job=job,
    )


def progress_of(job: Mapping[str, Any] | None) -> int | None:
    """How far a job is, in whole per cent; None where none is under way."""
    if job is None or job["status"] != "running":
        return None
    return min(99, 100 * job["done"] // max(1, job["total"]))


def _required(type_: str, added: Iterable[Added], counter: Mapping[str, Any]) -> int:
    own = [one.generation for one in added if type_ in one.definition.base]
    return max([counter.get("all", 0), counter.get("types", {}).get(type_, 0), *own])


def _written(type_: str, added: Iterable[Added]) -> Declaration:
    declaration = SUPPORTED[type_]
    return declaration.offering({**declaration.parameters, **_of_type(type_, added)})


def _readable(type_: str, added: tuple[Added, ...], job: Mapping[str, Any] | None) -> Declaration:
    declaration = SUPPORTED[type_]
    usable = _of_type(type_, (one for one in added if one.state == USABLE))
    percent = progress_of(job)
    told = "an operator has to start it." if percent is None else f"{percent // 10 * 10} %."
    indexing = {name: told for name in _of_type(type_, added) if name not in usable}
    return declaration.offering(Readable({**declaration.parameters, **usable}, indexing))


def _of_type(type_: str, added: Iterable[Added]) -> dict[str, SearchParameter]:
    found = [one.definition for one in added if type_ in one.definition.base]
    return {definition.name: search_parameter(definition, type_) for definition in found}
