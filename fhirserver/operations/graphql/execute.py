"""The execution of a query: what it needs of the store is read level by level, then the graph is built of it.

On each level of the graph all references are resolved by one read, and each search within resources is one search for
all of them, however many there are. Everything goes through the guarded store; what may not be seen is as what is
absent.

https://hl7.org/fhir/R4/graphql.html#searching
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from msgspec import Raw

from fhirserver import audit
from fhirserver.access import visibility
from fhirserver.errors import BadRequest, NotFound, TooCostly
from fhirserver.interactions.context import PAGE, Context
from fhirserver.interactions.entries import is_id
from fhirserver.operations.graphql.document import Field
from fhirserver.operations.graphql.introspection import FIELDS, introspect
from fhirserver.operations.graphql.members import CONNECTION, EDGE, check, check_search, kinds_of, searched_type
from fhirserver.operations.graphql.output import Output, Place, Selections, values
from fhirserver.operations.operation import Target
from fhirserver.store.resource_store import Position
from fhirserver.store.rows import Row
from resources import SUPPORTED
from resources.declaration import SearchParameter, local_address
from resources.exact import encode
from resources.validation import parse

MOST_QUERIES = 50
MOST_RESOURCES = 5_000
LONGEST_LIST = 1_000
"""What a List holds at most: it has no pages, so more is an error."""

_REFUSED = frozenset({"_include", "_revinclude", "_contained", "_containedType", "_summary", "_elements", "_format"})
_CURSORS = ("_cursor", "cursor")


def answer(context: Context, target: Target, fields: tuple[Field, ...]) -> bytes:
    """The answer to a query, as JSON. Raises what `execute` raises."""
    if len(fields) == 1 and fields[0].name in FIELDS:  # it may be long, and is not copied
        return introspect(context, target, fields[0], b'{"data":{' + encode(fields[0].alias) + b":", b"}}")
    return encode({"data": execute(context, target, fields)})


def execute(context: Context, target: Target, fields: tuple[Field, ...]) -> dict[str, Any]:
    """The data of an answer. Raises BadRequest for what is not of the schema, and what reads and searches raise."""
    execution = _Execution(context)
    told = {one.alias: one for one in fields if one.name in FIELDS}
    if not told:
        return _asked(execution, target, fields)
    asked = tuple(one for one in fields if one.name not in FIELDS)
    if len(told) + len(asked) < len(fields) or any(one.alias in told for one in asked):
        raise fields[0].error("A name is asked for in two ways.")
    found = _asked(execution, target, asked) if asked else {}
    return {**found, **{name: Raw(introspect(context, target, one)) for name, one in told.items()}}


def _asked(execution: _Execution, target: Target, fields: tuple[Field, ...]) -> dict[str, Any]:
    """What is asked of resources."""
    if target.id:
        check(fields, kinds_of((target.type,)))
        return execution.of_resource(target, fields)
    for one in fields:
        check_root(one, target)
    return execution.of_system(fields)


def check_root(one: Field, target: Target) -> None:
    """Raise BadRequest for what is no read and no search of the schema at the system or a type."""
    searched = searched_type(one.name)
    type_ = searched[0] if searched else one.name
    if one.name == "__typename" and not one.arguments:
        return
    if type_ not in SUPPORTED or one.on not in {None, "Query"} or (target.type and type_ != target.type):
        raise one.error(f"There is no query {one.name} here.")
    if not searched:
        if one.arguments.keys() != {"id"} or not one.selections:
            raise one.error(f"{one.name} takes an id, and needs a selection.")
        check(one.selections, kinds_of((type_,)))
    elif "_reference" in one.arguments:
        raise one.error("_reference is for searches within a resource.")
    else:
        check_search(one, *searched)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a search found: places, and for a connection where its next page begins and the total, if asked for."""

    places: list[Place]
    next: str | None = None
    total: int | None = None
    is_first: bool = True


@dataclass(slots=True)
class _Wanted:
    """What one level of the graph needs: references and searches, with the fields and the places that ask."""

    references: dict[str, list[tuple[Field, Place]]] = field(default_factory=dict)
    searches: dict[Field, list[Place]] = field(default_factory=dict)


class _Execution:
    """One query of one caller."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._selections = Selections()
        self._output = Output(self._selections, self._led)
        self._resources: dict[str, Place] = {}
        self._found: dict[tuple[Field, str], _Found] = {}
        self._labels: dict[str, tuple[str, ...]] = {}
        self._queries = 0
        self._loaded = 0

    # The roots

    def of_resource(self, target: Target, fields: tuple[Field, ...]) -> dict[str, Any]:
        """The graph of one resource."""
        place = self._read(target.type, target.id)
        self._gather([(fields, place)])
        return self._output.graph(fields, place)

    def of_system(self, fields: tuple[Field, ...]) -> dict[str, Any]:
        """The graph of the reads and searches at the root."""
        wanted = self._selections.of(fields, "Query")
        roots: dict[Field, list[Place]] = {}
        for one in wanted:
            searched = searched_type(one.name)
            if searched:
                self._found[one, ""] = self._search(one, searched[0], searched[1] == CONNECTION)
                roots[one] = self._found[one, ""].places
            elif one.name != "__typename":
                id_ = str(one.arguments["id"])
                if not is_id(id_):
                    raise one.error(f"Not a resource id: {id_}")
                roots[one] = [self._read(one.name, id_)]
        self._gather([(_of_rows(one), place) for one, places in roots.items() for place in places])
        out: dict[str, Any] = {}
        for one in wanted:
            self._show_root(one, roots.get(one, []), out)
        return out

    def _show_root(self, one: Field, places: Sequence[Place], out: dict[str, Any]) -> None:
        if one.directives.keys() - {"skip", "include"}:
            raise one.error("A query at the root is not flattened.")
        if one.name == "__typename":
            out[one.alias] = "Query"
        elif (searched := searched_type(one.name)) is None:
            out[one.alias] = self._output.graph(one.selections, places[0])
        elif searched[1] == CONNECTION:
            out[one.alias] = self._connection(one, self._found[one, ""])
        else:
            out[one.alias] = [self._output.graph(one.selections, place) for place in places]

    # Reading level by level

    def _gather(self, level: list[tuple[tuple[Field, ...], Place]]) -> None:
        while level:
            wanted = _Wanted()
            for fields, place in level:
                self._look(fields, place, wanted)
            level = [*self._resolve(wanted.references), *self._search_within(wanted.searches)]

    def _look(self, fields: tuple[Field, ...], place: Place, wanted: _Wanted) -> None:
        """Find what is needed for a node and the nodes within it."""
        for one in self._selections.of(fields, place.type):
            if one.name == "resource" and place.type == "Reference":
                if reference := self._reference(place):
                    wanted.references.setdefault(reference, []).append((one, place))
            elif place.type in SUPPORTED and searched_type(one.name):
                if self._is_stored(place):
                    wanted.searches.setdefault(one, []).append(place)
            elif one.selections:
                for value, type_ in values(one, place):
                    if isinstance(value, dict):
                        self._look(one.selections, Place(type_, value, place.resource), wanted)

    def _resolve(
        self, references: Mapping[str, list[tuple[Field, Place]]]
    ) -> Iterable[tuple[tuple[Field, ...], Place]]:
        unread = [reference for reference in references if reference not in self._resources]
        if unread:
            self._count_query()
            rows = self._context.store.readable(unread)
            apart: dict[tuple[str, ...], list[Row]] = {}
            for reference, row in rows.items():
                apart.setdefault(self._hiding(place for _, place in references[reference]), []).append(row)
            for labels, same in apart.items():
                events = audit.operation_events(self._context.access, "", "$graphql", same, labels=labels)
                self._context.note(events)
                for row in same:
                    self._place(row, labels)
        for reference, asking in references.items():
            place = self._resources.get(reference)
            if place is not None:
                wanted = (one for one, _ in asking if one.arguments.get("type") in {None, place.type})
                yield from ((one.selections, place) for one in wanted)

    def _search_within(self, searches: Mapping[Field, list[Place]]) -> Iterable[tuple[tuple[Field, ...], Place]]:
        """One search for each field, about all the resources that it is asked of, told apart afterwards."""
        for one, places in searches.items():
            type_, form = searched_type(one.name) or ("", "")
            name = self._parameter(one, type_, "_reference", str(one.arguments["_reference"]))
            about = {f"{place.type}/{place.node['id']}": place for place in places}
            parameter = self._known(type_)[name]
            if parameter.type != "reference":
                raise one.error(f"_reference: {type_}.{name} is no reference.")
            labels = self._hiding(places)
            if len(about) == 1:
                [reference] = about
                found = self._search(one, type_, form == CONNECTION, (name, reference), labels)
                self._found[one, reference] = found
                yield from ((_of_rows(one), place) for place in found.places)
                continue
            if form == CONNECTION or one.arguments.keys() & {"_count", "_sort"}:
                raise one.error("Pages and orders within several resources are not offered.", TooCostly)
            asked = (name, ",".join(sorted(about)))
            found = self._search(one, type_, False, asked, labels)  # noqa: FBT003 - no connection
            apart: dict[str, list[Place]] = {reference: [] for reference in about}
            for place in found.places:
                for referred in dict.fromkeys(self._local(value) for value, _ in parameter.extract(place.node)):
                    if referred is not None and referred in apart:
                        apart[referred].append(place)
            for reference, own in apart.items():
                self._found[one, reference] = _Found(own)
            yield from ((_of_rows(one), place) for place in found.places)

    # What the output asks for

    def _led(self, one: Field, place: Place) -> Any:
        if one.name == "resource" and place.type == "Reference":
            return self._referred(one, place)
        if not self._is_stored(place):
            return None
        found = self._found[one, f"{place.type}/{place.node['id']}"]
        searched = searched_type(one.name)
        return self._connection(one, found) if searched and searched[1] == CONNECTION else found.places

    def _referred(self, one: Field, place: Place) -> Place | None:
        """What a Reference leads to; None where it is of another type, or may not be had and need not."""
        reference = self._reference(place)
        found = self._contained(place) if reference is None else self._resources.get(reference)
        wanted = one.arguments.get("type")
        if found is None:
            stated = place.node.get("reference", "")
            is_other = wanted is not None and reference is not None and not reference.startswith(f"{wanted}/")
            if one.arguments.get("optional", False) or not stated or is_other:
                return None
            if reference is not None:
                self._context.store.read(*reference.split("/"))  # which says, and lets the audit say, why not
            raise one.error(f"{stated} is not known.", NotFound)
        return found if wanted in {None, found.type} else None

    def _contained(self, place: Place) -> Place | None:
        stated = place.node.get("reference", "")
        for each in place.resource.get("contained", ()) if stated.startswith("#") else ():
            if each.get("id") == stated[1:]:
                return Place(each["resourceType"], each, place.resource)
        return None

    def _connection(self, one: Field, found: _Found) -> dict[str, Any]:
        """The connection as FHIR defines it; what this server does not know of a page is null."""
        told = {
            "__typename": one.name,
            "count": found.total,
            "offset": 0 if found.is_first else None,
            "pagesize": len(found.places),
            "pageSize": len(found.places),
            "next": found.next,
        }
        out: dict[str, Any] = {}
        for each in one.selections:
            if each.name == "edges":
                out[each.alias] = [self._edge(each, place) for place in found.places]
            else:
                out[each.alias] = told.get(each.name)
        return out

    def _edge(self, one: Field, place: Place) -> dict[str, Any]:
        told = {"mode": "match", "score": None, "__typename": f"{place.type}{EDGE}"}
        return {
            each.alias: self._output.graph(each.selections, place) if each.name == "resource" else told.get(each.name)
            for each in one.selections
        }

    # The store

    def _read(self, type_: str, id_: str) -> Place:
        self._count_query()
        self._context.access.admit("read", type_)
        row = self._context.store.read(type_, id_)
        self._context.note_read(row)
        return self._place(row)

    def _search(
        self,
        one: Field,
        type_: str,
        is_connection: bool,  # noqa: FBT001
        about: tuple[str, str] | None = None,
        hiding: tuple[str, ...] = (),
    ) -> _Found:
        """The resources that the arguments ask for; `hiding` are the labels of those about which they are."""
        self._count_query()
        self._context.access.admit("search", type_)
        pairs = [] if about is None else [about]
        subject = f"{type_}Connection"
        cursor = next((one.arguments[name] for name in _CURSORS if name in one.arguments), None)
        after = None
        if cursor is not None:
            if not is_connection or about is not None or len(one.arguments) > 1:
                raise one.error("A cursor stands alone, at the root, on a connection.")
            after = self._context.unseal(subject, str(cursor))
            pairs = list(after.pairs)
        else:
            pairs += self._pairs(one, type_)
        if not is_connection and not any(name == "_count" for name, _ in pairs):
            pairs.append(("_count", str(min(LONGEST_LIST, self._context.config.page_max))))
            is_whole = True
        else:
            is_whole = False
        query = self._context.query(type_, pairs)
        position = None if after is None or after.snapshot is None else Position(after.snapshot, after.after)
        page = self._context.store.search(query, position=position)
        asked = urlencode(query.self_pairs)
        labels = tuple(dict.fromkeys((*page.labels, *hiding)))
        self._context.note(
            audit.search_events(self._context.access, type_, asked, page.rows, labels=labels, named=page.named)
        )
        if is_whole and page.next is not None:
            raise one.error(f"More than {query.count} resources: ask for some, or by {type_}Connection.", TooCostly)
        places = [self._place(row, labels) for row in page.rows]
        following = None
        if page.next is not None and about is None:
            following = self._context.seal(
                subject, query.self_pairs, count=query.count, after=page.next.after, snapshot=page.next.snapshot
            )
        return _Found(places, following, page.total, is_first=position is None)

    def _pairs(self, one: Field, type_: str) -> list[tuple[str, str]]:
        """The parameters of a search as its arguments name them: `_` for `-`, and a list for alternatives."""
        pairs = []
        for argument, value in one.arguments.items():
            if argument in {"_reference", *_CURSORS}:
                continue
            if argument in _REFUSED or argument == PAGE:
                raise one.error(f"{argument} is not offered here.")
            name = self._parameter(one, type_, argument, argument)
            given = value if isinstance(value, list) else [value]
            if not given or any(each is None or isinstance(each, dict | list) for each in given):
                raise one.error(f"{argument} takes a value, or a list of values.")
            pairs.append((name, ",".join(_escaped(each, is_one=len(given) == 1) for each in given)))
        connected = [each.name for each in one.selections] if one.name.endswith(CONNECTION) else []
        if "count" in connected and not any(name == "_total" for name, _ in pairs):
            pairs.append(("_total", "accurate"))
        return pairs

    def _known(self, type_: str) -> Mapping[str, SearchParameter]:
        """The search parameters of a type, those that an operator has added included."""
        return self._context.store.parameters().readable[type_].parameters

    def _parameter(self, one: Field, type_: str, argument: str, text: str) -> str:
        """The search parameter that a name of GraphQL means."""
        known = self._known(type_)
        if text.startswith("_"):
            return text
        name = text if text in known else text.replace("_", "-")
        if name not in known:
            raise one.error(f"{argument}: {type_} has no search parameter {text}.")
        return name

    def _hiding(self, places: Iterable[Place]) -> tuple[str, ...]:
        """The labels of resources that hide what they lead to: none where one of them has none.

        Whoever must not know of a resource must not be told how much was read because of it.
        """
        found = [self._labels.get(_reference_of(place), ()) for place in places]
        return () if () in found else tuple(dict.fromkeys(label for labels in found for label in labels))

    def _place(self, row: Row, labels: tuple[str, ...] = ()) -> Place:
        kept = self._resources.get(row.reference)
        if kept is not None:
            return kept
        self._loaded += 1
        if self._loaded > MOST_RESOURCES:
            raise TooCostly(f"A query brings {MOST_RESOURCES} resources at most.")
        node = parse(row.body)
        self._labels[row.reference] = tuple(dict.fromkeys((*visibility(row.facts), *labels)))
        return self._resources.setdefault(row.reference, Place(row.type, node, node))

    def _count_query(self) -> None:
        self._queries += 1
        if self._queries > MOST_QUERIES:
            raise TooCostly(f"A query asks the store {MOST_QUERIES} times at most.")

    def _is_stored(self, place: Place) -> bool:
        """Whether the node is a resource of this server, rather than one that another contains."""
        kept = self._resources.get(f"{place.type}/{place.node.get('id')}")
        return kept is not None and kept.node is place.node

    def _reference(self, place: Place) -> str | None:
        return self._local(place.node)

    def _local(self, value: Any) -> str | None:
        """`Type/id` of a Reference to a resource of this server."""
        stated = value.get("reference") if isinstance(value, dict) else value
        if not isinstance(stated, str):
            return None
        found = local_address(stated, self._context.config.fhir_base)
        return found if found is None or is_id(found.partition("/")[2]) else None


def _reference_of(place: Place) -> str:
    return f"{place.resource['resourceType']}/{place.resource['id']}"


def _of_rows(one: Field) -> tuple[Field, ...]:
    """What is asked of the resources that a root or a search brings."""
    searched = searched_type(one.name)
    if searched is None or searched[1] != CONNECTION:
        return one.selections
    return tuple(
        below
        for edges in one.selections
        if edges.name == "edges"
        for edge in edges.selections
        if edge.name == "resource"
        for below in edge.selections
    )


def _escaped(value: Any, *, is_one: bool) -> str:
    """A value of a search; what stands in a list has no alternatives within."""
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    if not text:
        raise BadRequest("An argument of a search is not empty.")
    return text if is_one else text.replace(",", "\\,")
