"""A transaction: all entries or none, whatever their order.

References between entries are rewritten to what the entries become, wherever they may stand; a conditional reference
(`Patient?identifier=…`) becomes the one resource that meets it, stored already or written by this Bundle. What
conditional entries change is found first, in the state before the transaction. Then the steps are the standard's:
deletions, creations, updates and patches, then reads, which see the result.

https://hl7.org/fhir/R4/http.html#trules, https://hl7.org/fhir/R4/bundle.html#references
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

import msgspec

from fhirserver.errors import BadRequest, FhirError, NotSupported, PreconditionFailed, Unprocessable
from fhirserver.interactions.batch import Answer, deletions_answer, read_answer, written_answer
from fhirserver.interactions.condition import matches, only_match, the_match
from fhirserver.interactions.conditional_reference import conditional_references, temporary_references
from fhirserver.interactions.context import Context, query_pairs
from fhirserver.interactions.delete import delete_condition, delete_in, delete_matches_in
from fhirserver.interactions.entries import Entry, RefusedEntry, Target, at_entry
from fhirserver.interactions.patch import admit_patch, patch_in, read_patch, sent_patch
from fhirserver.interactions.preconditions import parse_versions
from fhirserver.interactions.search import check_search, search
from fhirserver.interactions.update import check_id, update_in, update_match_in
from fhirserver.search.query import Handling, Query
from fhirserver.store.rows import Row
from fhirserver.store.unit import Unit
from resources.validation import MalformedError, Parsed, rewrite_references

_CHANGING = frozenset({"update", "patch", "delete"})
_NAMED = frozenset({"create", "update", "patch"})
"""The interactions to whose entries others may refer."""


def transaction(
    context: Context, entries: Sequence[Entry | RefusedEntry], *, handling: Handling = "strict"
) -> list[Answer]:
    """The answers, in the order of the entries, once everything is written.

    Raises the error of the first entry that fails, saying which it is (`Bundle.entry[3]`); nothing is written then.
    """
    plan = Plan.of(context, entries, handling)
    answers = context.transact(lambda unit: _Transaction(context, unit, plan).run())
    for entry in plan.entries:
        if entry.interaction == "search":
            answers[entry.index] = _search(context, entry, handling)
        else:
            _note_disclosure(context, entry, answers[entry.index])
    return [answers[index] for index in range(len(entries))]


def _search(context: Context, entry: Entry, handling: Handling) -> Answer:
    """A search sees the result of the transaction. What it cannot answer fails alone: the rest is written already."""
    try:
        with at_entry(entry.index):
            page = search(context, entry.target, handling)
    except FhirError as error:
        return Answer(error.status, error=error)
    return Answer(200, page=page)


def _note_disclosure(context: Context, entry: Entry, answer: Answer) -> None:
    """Tell the audit where the answer shows what this transaction did not write itself: a read, a condition met."""
    is_disclosed = entry.interaction == "read" or (entry.interaction == "create" and answer.status == HTTPStatus.OK)
    if is_disclosed and answer.row is not None:
        context.note_read(answer.row)


@dataclass(frozen=True, slots=True)
class Plan:
    """What can be settled before the transaction begins: identities, and what every reference becomes.

    `ids` is the id that each creating entry gets if its condition is not met already; `references` maps the addresses
    by which entries may be named; `criteria`, `conditional` and `conditions` are the searches that only the transaction
    can answer: of conditional creates, of references, and of other conditional entries, with how many may meet them.
    """

    entries: Sequence[Entry]
    ids: Mapping[int, str]
    references: Mapping[str, str]
    criteria: Mapping[int, Query]
    conditional: Mapping[str, Query]
    conditions: Mapping[int, tuple[Query, int]]
    prepared: dict[int, tuple[Mapping[str, str], Parsed]] = field(default_factory=dict)
    """Resources that have passed the gate, with what their references became: a second run need not check again."""

    @classmethod
    def of(cls, context: Context, entries: Sequence[Entry | RefusedEntry], handling: Handling) -> Plan:
        """Plan a transaction. Raises the error of the first entry that cannot be done."""
        understood = [_understood(entry) for entry in entries]
        _refuse_overlaps(understood)
        ids = {
            entry.index: _given_id(entry) or uuid.uuid4().hex
            for entry in understood
            if entry.interaction == "create" or entry.is_conditional
        }
        references: dict[str, str] = {}
        criteria: dict[int, Query] = {}
        conditional: dict[str, Query] = {}
        conditions: dict[int, tuple[Query, int]] = {}
        for entry in understood:
            with at_entry(entry.index):
                references.update(_names(entry, ids))
                if entry.interaction == "search":  # one that cannot be understood fails the whole, before it begins
                    check_search(context, entry.target, handling)
                else:
                    _admit(context, entry)
                if entry.is_conditional:
                    conditions[entry.index] = _condition(context, entry)
                if entry.request.if_none_exist is not None:
                    criteria[entry.index] = context.criteria(entry.target.type, entry.request.if_none_exist)
                for text in conditional_references(entry.body):
                    type_, _, query = text.partition("?")
                    conditional.setdefault(text, context.criteria(type_, query))
        plan = cls(understood, ids, references, criteria, conditional, conditions)
        if not (criteria or conditional or conditions):
            plan.prepare_all(context)
        return plan

    def prepare_all(self, context: Context) -> None:
        """Take every resource through the gate before the transaction begins: nothing depends on what it finds."""
        for entry in self.entries:
            if entry.interaction in {"create", "update"}:
                with at_entry(entry.index):
                    self.prepare(context, entry, self.references)

    def prepare(self, context: Context, entry: Entry, references: Mapping[str, str]) -> Parsed:
        """The entry's resource with its references rewritten, through the gate.

        Raises BadRequest or Unprocessable, also where a temporary reference is left.
        """
        kept = self.prepared.get(entry.index)
        if kept is not None and kept[0] == references:
            return kept[1]
        body = _rewritten(entry, references)
        parsed = context.check(entry.target.type, body)
        _refuse_unresolved(entry, body)
        self.prepared[entry.index] = (dict(references), parsed)
        return parsed


def _understood(entry: Entry | RefusedEntry) -> Entry:
    if isinstance(entry, RefusedEntry):
        raise entry.error
    if entry.interaction in {"vread", "history", "operation"}:
        with at_entry(entry.index):
            raise NotSupported(
                "A transaction reads, searches and writes; versions, histories and operations are for a batch."
            )
    return entry


def _refuse_overlaps(entries: Iterable[Entry]) -> None:
    """Raise BadRequest where two entries change one resource, or two entries have one name."""
    identities: dict[tuple[str, str | None], int] = {}
    names: dict[str, int] = {}
    for entry in entries:
        with at_entry(entry.index):
            if entry.interaction in _CHANGING and entry.target.id is not None:
                first = identities.setdefault((entry.target.type, entry.target.id), entry.index)
                if first != entry.index:
                    raise BadRequest(
                        f"Entries {first} and {entry.index} change the same resource, {reference_of(entry.target)}.",
                        expression="request.url",
                    )
            if entry.full_url is not None and entry.interaction in _NAMED:
                first = names.setdefault(entry.full_url, entry.index)
                if first != entry.index:
                    raise BadRequest(f"Entries {first} and {entry.index} have the same fullUrl.")


def _names(entry: Entry, ids: Mapping[int, str]) -> Iterator[tuple[str, str]]:
    """What other entries may call this one, with what it becomes.

    A fullUrl that is a RESTful address is also meant by the relative reference that ends it: Bundle, references.
    """
    if entry.full_url is None or entry.interaction not in _NAMED:
        return
    becomes = f"{entry.target.type}/{ids.get(entry.index, entry.target.id)}"
    yield entry.full_url, becomes
    address = entry.full_url.rsplit("/", 2)
    if len(address) == 3 and address[1] == entry.target.type and address[0].startswith(("http://", "https://")):
        yield f"{address[1]}/{address[2]}", becomes


def reference_of(target: Target) -> str:
    """The literal reference to what an address names."""
    return f"{target.type}/{target.id}"


class _Transaction:
    """One run of a plan within one unit of work; after a write conflict the store makes another."""

    def __init__(self, context: Context, unit: Unit, plan: Plan) -> None:
        self._context = context
        self._unit = unit
        self._plan = plan
        self._references = dict(plan.references)
        self._met: dict[int, Row | int] = {}
        self._found: dict[int, list[Row]] = {}
        self._changed: dict[str, int] = {}
        self._answers: dict[int, Answer] = {}

    def run(self) -> dict[int, Answer]:
        """The answers by index, those of searches excepted."""
        self._find_conditional_entries()
        self._note_changes()
        self._each("delete", self._delete)
        self._match_conditional_creates()
        self._resolve_conditional_references()
        self._each("create", self._create)
        self._each("update", self._update)
        self._each("patch", self._patch)
        self._require_integrity()
        self._each("read", self._read)
        return self._answers

    def _each(self, interaction: str, step: Callable[[Entry], Answer]) -> None:
        for entry in self._plan.entries:
            if entry.interaction == interaction:
                with at_entry(entry.index):
                    self._answers[entry.index] = step(entry)

    def _require_integrity(self) -> None:
        """What an entry refers to may be what another one writes, so that all must be written first."""
        for entry in self._plan.entries:
            written = [self._reference(entry)] if entry.interaction == "create" else self._references_changed(entry)
            if entry.interaction == "create" or entry.interaction in _CHANGING:
                with at_entry(entry.index):
                    for reference in written:
                        self._unit.require_integrity(reference)

    # Resolving

    def _find_conditional_entries(self) -> None:
        """Find what conditional updates, patches and deletes are about; a fullUrl then means what was found."""
        for entry in self._plan.entries:
            if entry.index not in self._plan.conditions:
                continue
            criteria, most = self._plan.conditions[entry.index]
            with at_entry(entry.index):
                if entry.interaction == "patch":
                    rows = [the_match(self._context, self._unit, criteria)]
                else:
                    rows = matches(self._context, self._unit, criteria, most=most)
                if entry.interaction == "update" and not rows:
                    self._refuse_twin(entry, criteria)
                if entry.interaction in _NAMED and rows:
                    self._rename(entry, rows[0].reference)
                self._found[entry.index] = rows

    def _refuse_twin(self, entry: Entry, criteria: Query) -> None:
        """Raise BadRequest where another entry writes what this conditional update would have found."""
        followed = self._unit.followed(criteria)
        for other in self._plan.entries:
            is_written = other.interaction in {"create", "update"} and other.target.type == criteria.type
            is_other = is_written and other.index != entry.index
            if is_other and self._context.meets(other.body, criteria.type, followed):
                raise BadRequest(f"Entry {other.index} writes a resource that meets this condition.")

    def _note_changes(self) -> None:
        """Keep which entry changes which resource. Raises BadRequest where two change the same one."""
        for entry in self._plan.entries:
            if entry.interaction not in _CHANGING:
                continue
            with at_entry(entry.index):
                for reference in self._references_changed(entry):
                    first = self._changed.setdefault(reference, entry.index)
                    if first != entry.index:
                        raise BadRequest(f"Entries {first} and {entry.index} change the same resource, {reference}.")

    def _references_changed(self, entry: Entry) -> list[str]:
        found = self._found.get(entry.index)
        if found is None:
            return [reference_of(entry.target)]
        if entry.interaction == "update" and not found:
            return [self._reference(entry)]
        return [row.reference for row in found]

    def _match_conditional_creates(self) -> None:
        """Find what already meets each ifNoneExist: a stored resource, or what an earlier entry will create."""
        for entry in self._plan.entries:
            criteria = self._plan.criteria.get(entry.index)
            if criteria is None:
                continue
            with at_entry(entry.index):
                row = only_match(self._context, self._unit, criteria)
                if row is not None:
                    self._refuse_change(row)
                    self._met[entry.index] = row
                    self._rename(entry, row.reference)
                    continue
                twins = [other for other in self._new(entry.target.type, criteria) if other.index < entry.index]
                if twins:
                    self._met[entry.index] = twins[0].index
                    self._rename(entry, self._reference(twins[0]))

    def _refuse_change(self, row: Row) -> None:
        """Raise BadRequest where another entry changes what this condition has found."""
        other = self._changed.get(row.reference)
        if other is not None:
            raise BadRequest(f"Entry {other} changes {row.reference}, which meets this condition.")

    def _rename(self, entry: Entry, reference: str) -> None:
        """Let every name of the entry mean what exists instead of what it would have created."""
        would_be = self._reference(entry)
        for name, becomes in self._references.items():
            if becomes == would_be:
                self._references[name] = reference

    def _resolve_conditional_references(self) -> None:
        for text, criteria in self._plan.conditional.items():
            with at_entry(self._first_with(text)):
                self._references[text] = self._only(text, criteria)

    def _only(self, text: str, criteria: Query) -> str:
        """The one resource that meets the search, stored already or written by this transaction."""
        self._context.access.admit("search", criteria.type)
        written = {self._reference(entry) for entry in self._new(criteria.type, criteria)}
        stored = {row.reference for row in self._unit.match(criteria)} - self._replaced()
        found = written | stored
        if len(found) != 1:
            raise PreconditionFailed(
                f"{'Several resources meet' if found else 'No resource meets'} the conditional reference {text}.",
                code="multiple-matches" if found else "not-found",
            )
        return found.pop()

    def _replaced(self) -> set[str]:
        """What is deleted or sent anew; a resource that is patched is taken as it is before."""
        patched = {entry.index for entry in self._plan.entries if entry.interaction == "patch"}
        return {reference for reference, index in self._changed.items() if index not in patched}

    def _new(self, type_: str, criteria: Query) -> list[Entry]:
        """The entries that write a resource of the type which meets the criteria; references lead to what is stored."""
        followed = self._unit.followed(criteria)
        return [
            entry
            for entry in self._plan.entries
            if entry.interaction in {"create", "update"}
            and entry.target.type == type_
            and entry.index not in self._met
            and self._context.meets(entry.body, type_, followed)
        ]

    def _reference(self, entry: Entry) -> str:
        if found := self._found.get(entry.index):
            return found[0].reference
        return f"{entry.target.type}/{self._plan.ids.get(entry.index, entry.target.id)}"

    def _first_with(self, text: str) -> int:
        return next(entry.index for entry in self._plan.entries if text in conditional_references(entry.body))

    # Doing

    def _delete(self, entry: Entry) -> Answer:
        versions = parse_versions(entry.request.if_match, "ifMatch")
        if (found := self._found.get(entry.index)) is not None:
            return deletions_answer(delete_matches_in(self._context, self._unit, found, if_match=versions))
        row = delete_in(self._context, self._unit, entry.target.type, entry.target.id or "", if_match=versions)
        return Answer(204, row=row, is_written=True)

    def _create(self, entry: Entry) -> Answer:
        met = self._met.get(entry.index)
        if isinstance(met, Row):
            return Answer(200, row=met, is_written=True)
        if met is not None:
            return Answer(200, row=self._answers[met].row, is_written=True)
        row = self._unit.create(self._prepared(entry), id_=self._plan.ids[entry.index], is_fresh=True)
        self._context.record_write(self._unit, "create", row)
        return Answer(201, row=row, is_written=True)

    def _update(self, entry: Entry) -> Answer:
        parsed = self._prepared(entry)
        if_match = parse_versions(entry.request.if_match, "ifMatch")
        if_none_match = parse_versions(entry.request.if_none_match, "ifNoneMatch")
        context, unit = self._context, self._unit
        if (found := self._found.get(entry.index)) is not None:
            written = update_match_in(
                context,
                unit,
                parsed,
                found[0] if found else None,
                if_match=if_match,
                if_none_match=if_none_match,
                fresh_id=self._plan.ids[entry.index],
            )
            return written_answer(written)
        id_ = entry.target.id or ""
        check_id(parsed.resource, id_)
        return written_answer(update_in(context, unit, parsed, id_, if_match=if_match, if_none_match=if_none_match))

    def _patch(self, entry: Entry) -> Answer:
        found = self._found.get(entry.index)
        id_ = found[0].id if found else entry.target.id or ""
        form, document = sent_patch(_rewritten(entry, self._references))
        _refuse_unresolved(entry, document)
        if any(name.startswith("urn:") and name.encode() in document for name in self._references):
            raise Unprocessable("References to entries of the Bundle are rewritten in a FHIRPath Patch only.")
        written = patch_in(
            self._context,
            self._unit,
            entry.target.type,
            id_,
            read_patch(form, document),
            if_match=parse_versions(entry.request.if_match, "ifMatch"),
        )
        return written_answer(written)

    def _read(self, entry: Entry) -> Answer:
        return read_answer(entry, self._unit.read(entry.target.type, entry.target.id or ""))

    def _prepared(self, entry: Entry) -> Parsed:
        return self._plan.prepare(self._context, entry, self._references)


def _given_id(entry: Entry) -> str | None:
    """The id that a conditional update gives to what it creates."""
    if entry.interaction != "update":
        return None
    try:
        return msgspec.json.decode(entry.body, type=_Identified).id
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None  # the gate says why


class _Identified(msgspec.Struct):
    id: str | None = None


def _admit(context: Context, entry: Entry) -> None:
    if entry.interaction == "patch":
        admit_patch(context, entry.target.type)
    elif entry.interaction != "operation":  # which was refused
        context.access.admit(entry.interaction, entry.target.type)


def _condition(context: Context, entry: Entry) -> tuple[Query, int]:
    """The criteria of a conditional entry, and how many resources may meet them."""
    pairs = query_pairs(entry.target.query)
    if entry.interaction == "delete":
        return delete_condition(context, entry.target.type, pairs)
    return context.condition(entry.target.type, pairs), 1


def _rewritten(entry: Entry, references: Mapping[str, str]) -> bytes:
    """What the entry sends, its references being what they have become."""
    try:
        return rewrite_references(entry.body, references)
    except MalformedError as error:
        raise BadRequest(str(error), code="structure", expression="resource") from error


def _refuse_unresolved(entry: Entry, body: bytes) -> None:
    """Raise Unprocessable for a temporary reference that no entry answers to.

    A Bundle that is itself stored (a document, say) has temporary references of its own.
    """
    if entry.target.type != "Bundle" and (dangling := temporary_references(body)):
        raise Unprocessable(f"No entry of this Bundle has the fullUrl {dangling[0]}.", code="not-found")
