"""What one request brings to an interaction: the caller's access, the store built from it, and what the audit must say.

Whatever an interaction discloses is noted here and made durable by `settle` before the first byte leaves; a refusal is
made durable by the same door. If the audit cannot be written, `Unavailable` is raised and nothing is disclosed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from consent.decision import Decision
from fhirserver import audit
from fhirserver.access import Access
from fhirserver.config import Config
from fhirserver.errors import BadRequest, FhirError, Issue, NotFound, NotSupported, PreconditionFailed, Unprocessable
from fhirserver.interactions.conditional_reference import conditional_references
from fhirserver.interactions.lookup import StoredDefinitions
from fhirserver.interactions.preconditions import ANY_VERSION, Versions
from fhirserver.search import cursor, values
from fhirserver.search.cursor import Cursor
from fhirserver.search.expression import Expression, evaluate
from fhirserver.search.links import followed
from fhirserver.search.parse import not_contained, parse, parse_together
from fhirserver.search.query import APART, Handling, Pair, Query
from fhirserver.search.result_parameters import RESULT_PARAMETERS
from fhirserver.store.resource_store import ResourceStore, require_searched
from fhirserver.store.rows import Row
from fhirserver.store.search_parameters import Catalogue
from fhirserver.store.unit import NotAsPresent, Unit
from resources import SUPPORTED, Declaration, validation

Pairs = Sequence[Pair]
ALL = tuple(type_ for type_ in SUPPORTED if type_ not in APART)
"""The types that are searched together where none is named."""

T = TypeVar("T")

PAGE = "_page"
"""The one parameter of a page link; it stands for all parameters of the search that it continues."""


@dataclass(slots=True)
class Context:
    """One request of one caller at one instant.

    `page_keys` seal page links (the first) and open them (any).
    """

    store: ResourceStore
    access: Access
    config: Config
    zone: ZoneInfo
    page_keys: Sequence[bytes]
    _events: list[audit.Event] = field(default_factory=list)
    _told: int = 0

    # The audit

    def settle(self, interaction: Callable[[], T]) -> T:
        """What `interaction` returns, once its audit is durable; a refusal is audited too, then raised again.

        Raises Unavailable where the audit cannot be written.
        """
        try:
            result = interaction()
        except FhirError:
            self._flush()
            raise
        self._flush()
        return result

    def note(self, events: Iterable[audit.Event]) -> None:
        """Keep the events of what is about to be disclosed."""
        self._events.extend(events)

    def settle_now(self) -> None:
        """Make what was noted durable before work begins that goes on after the answer.

        Raises Unavailable where the audit cannot be written.
        """
        self._flush()

    def transact(self, work: Callable[[Unit], T], store: ResourceStore | None = None) -> T:
        """Run `work` and all it writes in one transaction; what an attempt noted that conflicted is taken back.

        `store` is that of a system access, where it is not the caller who writes.
        """
        noted = len(self._events)

        def attempt(unit: Unit) -> T:
            del self._events[noted:]
            return work(unit)

        return (store or self.store).transact(attempt)

    def record_write(self, unit: Unit, interaction: str, row: Row) -> None:
        """Write the events of a create, update, patch or delete in the transaction that does it."""
        unit.record(event.document for event in audit.write_events(self.access, interaction, row))
        for replaced in unit.superseded():
            unit.record(event.document for event in audit.write_events(self.access, "update", replaced))

    @contextmanager
    def telling_of_refusals(self) -> Iterator[None]:
        """Note as a read what a write tells of the present version where a precondition does not hold for it."""
        try:
            yield
        except NotAsPresent as refusal:
            self.note_read(refusal.row)
            raise

    def note_read(self, row: Row, interaction: str = "read") -> None:
        """Keep the events of a version that is told of, by the decision that permitted it."""
        self.note(audit.read_events(self.access, row, self.decision_on(row), interaction))

    def decision_on(self, row: Row) -> Decision:
        """The decision by which a row was given out."""
        for noted in reversed(self.access.decisions):
            if noted.id == row.id and noted.type == row.type:
                return noted.decision
        return self.access.decide("search", row.facts)  # a condition found it: what a search may bring

    def _flush(self) -> None:
        decisions = self.access.decisions
        for noted in decisions[self._told :]:
            if noted.decision.effect != "permit":
                self._events.extend(audit.refusal_events(self.access, noted))
        self._told = len(decisions)
        if self._events:
            events, self._events = self._events, []
            audit.flush(self.access, events)

    # What was sent

    def check(self, type_: str, body: bytes) -> validation.Parsed:
        """The resource, through the gate. Raises BadRequest where it is no JSON, Unprocessable with all issues."""
        try:
            parsed = validation.check(type_, body, max_bytes=self.config.max_body)
        except validation.Invalid as invalid:
            raise refusal(invalid.issues) from invalid
        if found := conditional_references(body):
            raise Unprocessable(f"A conditional reference is resolved within a transaction only: {found[0]}")
        return parsed

    def query(
        self,
        type_: str,
        pairs: Pairs,
        handling: Handling = "strict",
        *,
        after: Cursor | None = None,
        may_be_contained: bool = False,
    ) -> Query:
        """What a search asks; a later page asks value sets and hierarchies as they were at the first.

        Where it `may_be_contained`, what is contained in resources of all types that the token covers may be searched
        (`_contained`), by the parameters of R4 alone.

        Raises BadRequest, NotFound for a type that is not served, or Forbidden where a reference is followed to a type
        that the token does not cover; of several types, to none that it covers.
        """
        declaration_of(type_)
        catalogue = self.store.parameters()
        settings = self._settings(catalogue, after)
        query = parse(catalogue.readable[type_], pairs, handling=handling, **settings)
        if query.is_of_contained:
            if not may_be_contained:
                raise not_contained()
            if catalogue.is_named(pairs):
                query = parse(SUPPORTED[type_], pairs, handling=handling, **settings)
            query = self._within(query)
        self._admit_followed(query)
        return _dated(query, catalogue, pairs)

    def query_of(
        self, types: Sequence[str], pairs: Pairs, handling: Handling = "strict", *, after: Cursor | None = None
    ) -> Query:
        """What a search of several types together asks; raises as `query` does."""
        catalogue = self.store.parameters()
        declarations = [catalogue.readable[declaration_of(type_).type] for type_ in types]
        query = parse_together(declarations, pairs, handling=handling, **self._settings(catalogue, after))
        self._admit_followed(query)
        return _dated(query, catalogue, pairs)

    def _within(self, query: Query) -> Query:
        """The query with the types of the containers: all that the token covers."""
        containers = tuple(one for one in ALL if self.access.admits("search", one))
        branches = (replace(one, types=containers) if one.contained else one for one in query.branches)
        return replace(query, branches=tuple(branches))

    def _settings(self, catalogue: Catalogue, after: Cursor | None) -> dict[str, Any]:
        return {
            "zone": self.zone,
            "supported": catalogue.readable,
            "base": self.config.fhir_base,
            "lookup": StoredDefinitions(
                self.store, self.config.fhir_base, snapshot=None if after is None else after.snapshot
            ),
            "count_default": self.config.page_default,
            "count_max": self.config.page_max,
        }

    def _admit_followed(self, query: Query) -> None:
        for branch in query.asked:
            for types in followed(branch.expression):
                self.access.admit_any("search", types)

    def criteria(self, type_: str, text: str) -> Query:
        """The criteria of a conditional write, as a search string with or without `Type?` before it.

        Raises BadRequest where they are empty: a condition that everything meets is a mistake.
        """
        return self.condition(type_, query_pairs(text.removeprefix(f"{type_}?").removeprefix("?")))

    def condition(self, type_: str, pairs: Pairs) -> Query:
        """The criteria of a conditional interaction, as the parameters of a search.

        Raises BadRequest where none tells resources apart, and NotSupported where one says how a result is given.
        """
        for name, _ in pairs:
            if name.partition(":")[0] in RESULT_PARAMETERS:
                raise NotSupported(f"A condition takes no {name}.", expression=name)
        if all(name.partition(":")[0] == "_lastUpdated" for name, _ in pairs):
            raise BadRequest("The condition needs a search parameter.")
        require_searched(type_)
        return self.query(type_, pairs)

    def meets(self, body: bytes, type_: str, criteria: Expression) -> bool:
        """Whether a resource that is not stored yet would match criteria that follow no reference (`Unit.followed`).

        What is no JSON does not, and is refused elsewhere.
        """
        try:
            resource = validation.parse(body)
        except validation.MalformedError:
            return False
        if not isinstance(resource, dict) or resource.get("resourceType") != type_:
            return False
        declaration = self.store.parameters().written[type_]
        return evaluate(criteria, values.extract(declaration, resource, self.zone, self.config.fhir_base))

    def matching(self, unit: Unit, type_: str, id_: str, versions: Versions | None) -> tuple[int, ...] | None:
        """If-Match as the store takes it: `*` asks that the resource exists, whatever its version."""
        if versions != ANY_VERSION:
            return versions
        try:
            unit.read(type_, id_)
        except NotFound as error:
            raise PreconditionFailed(f"{type_}/{id_} has no version that If-Match names.") from error
        return None

    # Page links

    def seal(
        self,
        subject: str,
        pairs: Pairs,
        *,
        count: int,
        after: tuple[Any, ...],
        snapshot: tuple[int, int] | None = None,
        rest: tuple[int, str] | None = None,
    ) -> str:
        """A page link's parameter: where the next page of `subject` begins, for this caller only.

        With a `rest` it is what the page that begins there could not include.
        """
        position = Cursor(tuple(pairs), self.caller(subject), snapshot, after, count, self.access.now, rest=rest)
        return cursor.seal(position, self.page_keys[0])

    def unseal(self, subject: str, text: str) -> Cursor:
        """What a page link says.

        Raises BadRequest unless it was made here for this caller and subject, Gone when it has expired.
        """
        return cursor.unseal(
            text,
            self.page_keys,
            caller=self.caller(subject),
            now=self.access.now,
            lifetime=timedelta(seconds=self.config.page_lifetime),
        )

    def caller(self, subject: str) -> str:
        """Who asks, to tell whether somebody who comes back with a link to `subject` is the same."""
        actor = self.access.actor
        return "\x1f".join(
            (subject, actor.reference, actor.organization or "", actor.client_id or "", self.access.purpose)
        )


def _dated(query: Query, catalogue: Catalogue, pairs: Pairs) -> Query:
    """The query with the generation of its parameters, where it may use one that was added."""
    return replace(query, generation=catalogue.generation) if catalogue.is_named(pairs) else query


def declaration_of(type_: str) -> Declaration:
    """What is known of a resource type. Raises NotFound (404) for a name that is no R4 type served here."""
    declaration = SUPPORTED.get(type_)
    if declaration is None:
        raise NotFound(f"{type_} is not a resource type of this server.", code="not-supported")
    return declaration


def query_pairs(query: str) -> tuple[Pair, ...]:
    """The names and values of a query string in order, repeated ones included. Raises BadRequest unless it is UTF-8."""
    if not query:
        return ()
    try:
        return tuple(parse_qsl(query, keep_blank_values=True, errors="strict"))
    except ValueError as error:
        raise BadRequest("The query string cannot be read: it must be percent-encoded UTF-8.") from error


def refusal(issues: Sequence[validation.Issue]) -> FhirError:
    """The answer to a resource with these issues: 400 where it could not be read at all, 422 otherwise."""
    told = tuple(Issue(issue.severity, issue.code, issue.diagnostics, issue.expression) for issue in issues)
    kind = BadRequest if told[0].severity == "fatal" else Unprocessable
    return kind(told[0].diagnostics, issues=told)
