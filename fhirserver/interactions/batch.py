"""A batch: entries that do not know of each other, answered in their order.

Each entry is decided, done and audited as if it had come alone; one that fails leaves its neighbours untouched.

https://hl7.org/fhir/R4/http.html#transaction
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from fhirserver.errors import BadRequest, FhirError, NotSupported
from fhirserver.interactions.context import Context, query_pairs
from fhirserver.interactions.create import create
from fhirserver.interactions.delete import conditional_delete, delete
from fhirserver.interactions.entries import Entry, RefusedEntry, at_entry
from fhirserver.interactions.history import History, history, history_system, history_type
from fhirserver.interactions.patch import conditional_patch, patch, read_patch, sent_patch
from fhirserver.interactions.preconditions import is_not_modified, parse_versions
from fhirserver.interactions.read import read
from fhirserver.interactions.search import search
from fhirserver.interactions.search_type import Searchset
from fhirserver.interactions.update import conditional_update, update
from fhirserver.interactions.vread import vread
from fhirserver.operations import operation
from fhirserver.operations.perform import offered, perform
from fhirserver.search.query import Handling
from fhirserver.store.rows import Row, Written


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one entry: an HTTP status and what belongs to it; `error` where it failed.

    `row` is what was read or written; `is_written` tells the two apart, since what was written is returned only to who
    prefers it. `page` is the Bundle that a search, a history or an operation answers with, `made` the resource that an
    operation made, `deleted` the number of resources that a conditional delete has removed.
    """

    status: int
    row: Row | None = None
    is_written: bool = False
    page: Searchset | History | operation.Page | None = None
    made: bytes | None = None
    error: FhirError | None = None
    deleted: int | None = None


def batch(context: Context, entries: Sequence[Entry | RefusedEntry], *, handling: Handling = "strict") -> list[Answer]:
    """The answers, in the order of the entries."""
    return [_answer(context, entry, handling) for entry in entries]


def _answer(context: Context, entry: Entry | RefusedEntry, handling: Handling) -> Answer:
    if isinstance(entry, RefusedEntry):
        return Answer(entry.error.status, error=entry.error)
    try:
        with at_entry(entry.index):
            return _perform(context, entry, handling)
    except FhirError as error:
        return Answer(error.status, error=error)


def _perform(context: Context, entry: Entry, handling: Handling) -> Answer:
    type_, id_ = entry.target.type, entry.target.id or ""
    match entry.interaction:
        case "read":
            return read_answer(entry, read(context, type_, id_))
        case "vread":
            return Answer(200, row=vread(context, type_, id_, entry.target.version_id or ""))
        case "history":
            return Answer(200, page=_history(context, entry))
        case "search":
            return Answer(200, page=search(context, entry.target, handling))
        case "create":
            return written_answer(create(context, type_, entry.body, if_none_exist=entry.request.if_none_exist))
        case "update":
            return written_answer(_update(context, entry))
        case "patch":
            return written_answer(_patch(context, entry))
        case "delete":
            return _delete(context, entry)
        case "operation":
            return _operated(context, entry)
        case _:
            assert_never(entry.interaction)


def _operated(context: Context, entry: Entry) -> Answer:
    target = operation.Target(entry.target.type, entry.target.id or "")
    found = offered(entry.request.method, entry.target.operation, target)
    if found.reads is not None:
        raise NotSupported(f"${found.name} answers no resource, so it is not called within a Bundle.")
    match perform(context, found, target, query_pairs(entry.target.query), entry.body):
        case Row() as row:
            return Answer(200, row=row)
        case operation.Page() as page:
            return Answer(200, page=page)
        case made:
            return Answer(made.status, made=made.body)


def _history(context: Context, entry: Entry) -> History:
    target, pairs = entry.target, query_pairs(entry.target.query)
    if target.id is not None:
        return history(context, target.type, target.id, pairs)
    return history_type(context, target.type, pairs) if target.type else history_system(context, pairs)


def _update(context: Context, entry: Entry) -> Written:
    if_match = parse_versions(entry.request.if_match, "ifMatch")
    if_none_match = parse_versions(entry.request.if_none_match, "ifNoneMatch")
    target = entry.target
    if target.id is None:
        pairs = query_pairs(target.query)
        return conditional_update(
            context, target.type, pairs, entry.body, if_match=if_match, if_none_match=if_none_match
        )
    return update(context, target.type, target.id, entry.body, if_match=if_match, if_none_match=if_none_match)


def _patch(context: Context, entry: Entry) -> Written:
    if_match = parse_versions(entry.request.if_match, "ifMatch")
    document, target = read_patch(*sent_patch(entry.body)), entry.target
    if target.id is None:
        return conditional_patch(context, target.type, query_pairs(target.query), document, if_match=if_match)
    return patch(context, target.type, target.id, document, if_match=if_match)


def _delete(context: Context, entry: Entry) -> Answer:
    if_match = parse_versions(entry.request.if_match, "ifMatch")
    target = entry.target
    if target.id is None:
        return deletions_answer(conditional_delete(context, target.type, query_pairs(target.query), if_match=if_match))
    return Answer(204, row=delete(context, target.type, target.id, if_match=if_match), is_written=True)


def written_answer(written: Written) -> Answer:
    """The answer to a create, update or patch."""
    return Answer(201 if written.created else 200, row=written.row, is_written=True)


def deletions_answer(rows: Sequence[Row]) -> Answer:
    """The answer to a conditional delete; a version where exactly one was deleted."""
    return Answer(204, row=rows[0] if len(rows) == 1 else None, is_written=True, deleted=len(rows))


def read_answer(entry: Entry, row: Row) -> Answer:
    """The answer to a read, which its conditions may turn into 304."""
    not_modified = is_not_modified(
        row.version,
        row.last_updated,
        if_none_match=parse_versions(entry.request.if_none_match, "ifNoneMatch"),
        if_modified_since=parse_instant(entry.request.if_modified_since),
    )
    return Answer(304, row=row, is_written=True) if not_modified else Answer(200, row=row)


def parse_instant(text: str | None) -> datetime | None:
    """A FHIR instant (https://hl7.org/fhir/R4/datatypes.html#instant). Raises BadRequest for anything else."""
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadRequest(f"Not an instant: {text}", expression="request.ifModifiedSince") from error
    if instant.tzinfo is None:
        raise BadRequest(f"An instant needs an offset: {text}", expression="request.ifModifiedSince")
    return instant
