"""Following references for a search: who is at the other end, as far as the caller may see.

A chain or `_has` is asked first, innermost first: the permitted resources for which its last part holds, and the
references from or to them. Equalities with those references then stand in its place, and the search is one query as
any other (docs/adr/0014-chains-by-sub-selects.md). All of it reads one state of the data. For a later page what was
found in that state is asked for once more in the present one: a link carries no authority, at either end of a
reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pymongo.client_session import ClientSession
from pymongo.collection import Collection

from consent.facts import visibility
from fhirserver.errors import TooCostly
from fhirserver.search import expression as e
from fhirserver.search.links import replaced
from fhirserver.search.stored import SEPARATOR
from fhirserver.store.compile import Filter, both, compile_expression, compile_search, hint_for, unbounded
from fhirserver.store.database import Database, Document
from fhirserver.store.snapshots import Snapshot, select_at

_IDENTITY = {"_id": 1, "facts.labels": 1, "facts.released": 1}


@dataclass(slots=True)
class Links:
    """The references that one search follows.

    `visible` gives the filter of what the caller may find of some types, by collection; `limit` is how many resources
    one reference may lead to or come from. `snapshot` is the state to read, and afterwards the one that was read; with
    a `session`, its transaction is read instead. `is_later_page` asks the present state too. `labels` gathers the
    labels that say who may see what was found on the way, `named` the patients whom an identifier led to.
    """

    database: Database
    visible: Callable[[Sequence[str]], Mapping[str, Filter]]
    limit: int
    snapshot: Snapshot | None = None
    session: ClientSession | None = None
    is_later_page: bool = False
    labels: dict[str, None] = field(default_factory=dict)
    named: dict[str, None] = field(default_factory=dict)

    def resolved(self, expression: e.Expression) -> e.Expression:
        """The expression without references to follow. Raises TooCostly where too many resources are on the way."""
        return replaced(expression, self._answer)

    def _answer(self, node: e.Refers | e.ReferredBy) -> e.Expression:
        if isinstance(node, e.Refers):
            found = self._found(node.types, node.part, _IDENTITY, node.param)
            if _is_by_identifier(node.part):
                self.named.update((one["_id"], None) for one in found if one["_id"].startswith("Patient/"))
            return e.any_of(e.Equals(f"{node.param}{SEPARATOR}{one['_id']}") for one in found)
        referring = {**_IDENTITY, "references": _references_of(node.param, node.target)}
        found = self._found((node.type,), node.part, referring, node.param, also=_refers_to(node.param, node.target))
        prefix = f"{node.param}{SEPARATOR}{node.target}/"
        ids = {atom.removeprefix(prefix) for one in found for atom in one["references"]}
        return e.any_of(e.Equals(f"_id{SEPARATOR}|{id_}") for id_ in sorted(ids) if "/" not in id_)

    def _found(
        self,
        types: Sequence[str],
        part: e.Expression,
        fields: Document,
        name: str,
        *,
        also: Filter | None = None,
    ) -> list[Document]:
        """The permitted resources of the types for which the part holds."""
        found: list[Document] = []
        for name_of_collection, visible in self.visible(types).items():
            collection = self.database.database[name_of_collection]
            wanted = compile_search(part, is_trail=collection.name == self.database.audit.name)
            asked = both(both({"t": {"$in": sorted(types)}, "$and": [visible]}, wanted), also or {})
            found += self._select(collection, asked, visible, fields, hint_for(part, [("_id", 1)]))
            if len(found) > self.limit:
                raise TooCostly(
                    f"{name} leads to more than {self.limit} resources; narrow what is asked of them.", expression=name
                )
        for one in found:
            self.labels.update(dict.fromkeys(visibility(one.get("facts", {}))))
        return found

    def _select(
        self, collection: Collection[Document], wanted: Filter, visible: Filter, fields: Document, hint: str | None
    ) -> list[Document]:
        if self.session is not None:
            return collection.find(wanted, fields, session=self.session).limit(self.limit + 1).to_list()
        options = {} if hint is None else {"hint": hint}
        found, self.snapshot = select_at(
            self.database, collection, wanted, fields, self.limit + 1, self.snapshot, **options
        )
        if self.is_later_page and found:
            now = both(visible, {"_id": {"$in": [one["_id"] for one in found]}})
            present = {one["_id"] for one in collection.find(now, {"_id": 1}).to_list()}
            found = [one for one in found if one["_id"] in present]
        return found


def _is_by_identifier(part: e.Expression) -> bool:
    """Whether all that meets it has one of the identifiers that it names."""
    match part:
        case e.Equals(atom):
            return atom.startswith(f"identifier{SEPARATOR}")
        case e.Any(parts):
            return bool(parts) and all(_is_by_identifier(one) for one in parts)
        case e.All(parts):
            return any(_is_by_identifier(one) for one in parts)
        case _:
            return False


def _refers_to(param: str, target: str) -> Filter:
    """Rows that refer to the target type; the index of values is asked for what else must hold.

    MongoDB would rather have these bounds, which hold every row that refers to anything, than those of what is asked.
    """
    return unbounded(compile_expression(e.StartsWith(f"{param}{SEPARATOR}{target}/")))


def _references_of(param: str, target: str) -> dict[str, Any]:
    """The projection of those search values that are references to the target type."""
    prefix = e.StartsWith(f"{param}{SEPARATOR}{target}/")
    within = {"$and": [{"$gte": ["$$this", prefix.prefix]}, {"$lt": ["$$this", prefix.end]}]}
    return {"$filter": {"input": "$tk", "as": "this", "cond": within}}
