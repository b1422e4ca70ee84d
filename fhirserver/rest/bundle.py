"""Bundles that answer: searchsets, histories, batch and transaction responses.

Stored bytes are joined, never parsed: a page of twenty studies costs a join of forty strings.

https://hl7.org/fhir/R4/bundle.html
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from http import HTTPStatus
from urllib.parse import quote, urlencode

import msgspec

from consent.policy import ACT_REASON
from fhirserver.errors import Issue
from fhirserver.interactions.batch import Answer
from fhirserver.interactions.context import PAGE, Pairs
from fhirserver.interactions.history import History
from fhirserver.interactions.preconditions import etag
from fhirserver.interactions.search_type import Searchset
from fhirserver.operations import operation
from fhirserver.rest.negotiation import Return
from fhirserver.rest.outcome import operation_outcome
from fhirserver.rest.subset import subset
from fhirserver.search.query import Query
from fhirserver.store.includes import MOST_ROUNDS
from fhirserver.store.rows import Row
from fhirserver.store.search_values import fhir_instant

_encode = msgspec.json.encode


def searchset(found: Searchset, base: str) -> bytes:
    """The Bundle of a page: matches, included resources, and an OperationOutcome on what leniency passed over."""
    query = found.query
    address = f"{base}/{found.path}" if found.path else base
    links = [("self", _with_query(address, query.self_pairs)), *_next(address, found.next)]
    links += _next(address, found.related, "related")
    entries: list[bytes] = []
    if query.summary != "count":
        shape, shape_included = _shape(query.summary, query.elements), _shape(query.summary, ())
        if found.inside is None:
            entries += [_found(row, base, shape(row), b"match") for row in found.rows]
        else:
            entries += [_found(one.row, base, shape(one.row), b"match", one.container) for one in found.inside]
        entries += [_found(row, base, shape_included(row), b"include") for row in found.included]
        if issues := [*_ignored(query), *_not_included(found), *_suppressed(found)]:
            entries.append(_outcome(issues))
    return _bundle("searchset", links, entries, found.total)


def history_bundle(history: History, base: str) -> bytes:
    """The Bundle of versions in order; a deletion is an entry without a resource.

    `meta.lastUpdated` is the instant up to which the feed is complete: the next `_since` of whoever follows it.
    """
    address = f"{base}/{history.path}"
    links = [("self", _with_query(address, history.pairs)), *_next(address, history.next)]
    total = len(history.rows) if history.is_whole else None
    entries = [_version(row, base) for row in history.rows]
    return _bundle("history", links, entries, total, history.complete_until)


def operation_bundle(page: operation.Page, base: str) -> bytes:
    """The Bundle of a page that an operation answered with: what was asked for, and what it refers to."""
    address = f"{base}/{page.address}"
    links = [("self", _with_query(address, page.pairs)), *_next(address, page.next)]
    entries = [_found(row, base, row.body, b"match") for row in page.rows]
    entries += [_found(row, base, row.body, b"include") for row in page.included]
    return _bundle("searchset", links, entries, page.total)


def response_bundle(type_: str, answers: Sequence[Answer], base: str, returns: Return | None) -> bytes:
    """The Bundle that answers a `batch` or `transaction`: one entry for each of the request, in its order."""
    return _bundle(f"{type_}-response", [], [_answer(answer, base, returns) for answer in answers], None)


# Parts of a Bundle


def _bundle(
    type_: str,
    links: Iterable[tuple[str, str]],
    entries: Sequence[bytes],
    total: int | None,
    last_updated: datetime | None = None,
) -> bytes:
    parts = [b'{"resourceType":"Bundle","id":"', uuid.uuid4().hex.encode(), b'"']
    if last_updated is not None:
        parts += [b',"meta":{"lastUpdated":"', fhir_instant(last_updated).encode(), b'"}']
    parts += [b',"type":"', type_.encode(), b'"']
    if total is not None:
        parts += [b',"total":', str(total).encode()]
    if links := list(links):
        parts += [b',"link":', _encode([{"relation": relation, "url": url} for relation, url in links])]
    if entries:
        parts += [b',"entry":[', b",".join(entries), b"]"]
    parts.append(b"}")
    return b"".join(parts)


def _with_query(address: str, pairs: Pairs) -> str:
    return f"{address}?{urlencode(pairs, safe=',:/|', quote_via=quote)}" if pairs else address


def _next(address: str, sealed: str | None, relation: str = "next") -> list[tuple[str, str]]:
    return [] if sealed is None else [(relation, f"{address}?{PAGE}={sealed}")]


def _shape(summary: str | None, elements: Sequence[str]) -> Callable[[Row], bytes]:
    if summary is None and not elements:
        return lambda row: row.body
    return lambda row: subset(row.body, row.type, summary, elements)


def _found(row: Row, base: str, body: bytes, mode: bytes, container: str = "") -> bytes:
    """An entry of a searchset; a contained resource has the address of its container, with its own id behind it."""
    address = f"{container}#{row.id}" if container else f"{row.type}/{row.id}"
    return b"".join(
        (
            b'{"fullUrl":"',
            f"{base}/{address}".encode(),
            b'","resource":',
            body,
            b',"search":{"mode":"',
            mode,
            b'"}}',
        )
    )


def _outcome(issues: Sequence[Issue]) -> bytes:
    return b'{"resource":' + operation_outcome(issues) + b',"search":{"mode":"outcome"}}'


def _suppressed(found: Searchset) -> list[Issue]:
    """To a physician who names one patient and sees nothing of them, whether or not there is anything."""
    if not found.may_break_glass:
        return []
    text = "What is not shown here may be opened in an emergency, by Patient/[id]/$break-glass."
    return [Issue("information", "suppressed", text, coding=(ACT_REASON, "ETREAT"))]


def _ignored(query: Query) -> list[Issue]:
    return [Issue("warning", "not-supported", f"Ignored: {reason}", name) for name, reason in query.ignored]


def _not_included(found: Searchset) -> list[Issue]:
    """What this page says of included resources that are not on it."""
    issues = []
    if found.related is not None:
        text = "More resources are included than this page holds: the link 'related' leads to the rest of them."
        issues.append(Issue("warning", "incomplete", text, "_include"))
    if found.is_stopped:
        text = f"Iteration stopped after {MOST_ROUNDS} rounds; what would follow is not included."
        issues.append(Issue("warning", "too-costly", text, "_include"))
    return issues


def _version(row: Row, base: str) -> bytes:
    request = {"method": row.method, "url": row.type if row.method == "POST" else row.reference}
    status = {"POST": 201, "DELETE": 204}.get(row.method, 201 if row.is_new else 200)
    parts = [b'{"fullUrl":"', f"{base}/{row.reference}".encode(), b'"']
    if not row.deleted:
        parts += [b',"resource":', row.body]
    parts += [b',"request":', _encode(request), b',"response":', _encode(_response(status, row)), b"}"]
    return b"".join(parts)


def _answer(answer: Answer, base: str, returns: Return | None) -> bytes:
    if answer.error is not None:
        outcome = operation_outcome(answer.error.issues)
        return b'{"response":{"status":' + _encode(_status(answer.status)) + b',"outcome":' + outcome + b"}}"
    response = _encode(_response(answer.status, answer.row, base if answer.is_written else None))
    if answer.page is not None:
        return b'{"resource":' + _page(answer.page, base) + b',"response":' + response + b"}"
    if answer.made is not None:
        return b'{"resource":' + answer.made + b',"response":' + response + b"}"
    row = answer.row
    if row is not None and _is_returned(answer, row, returns):
        full_url = f'{{"fullUrl":"{base}/{row.reference}","resource":'.encode()
        return full_url + row.body + b',"response":' + response + b"}"
    if answer.is_written and returns == "OperationOutcome":
        outcome = operation_outcome([success(answer.status, answer.deleted)])
        return b'{"response":' + response[:-1] + b',"outcome":' + outcome + b"}}"
    return b'{"response":' + response + b"}"


def _page(page: Searchset | History | operation.Page, base: str) -> bytes:
    match page:
        case Searchset():
            return searchset(page, base)
        case History():
            return history_bundle(page, base)
        case operation.Page():
            return operation_bundle(page, base)


def _is_returned(answer: Answer, row: Row, returns: Return | None) -> bool:
    """Whether the entry carries the resource: what was read does, what was written only where the caller prefers it."""
    if row.deleted or answer.status == HTTPStatus.NOT_MODIFIED:
        return False
    return not answer.is_written or returns == "representation"


def _response(status: int, row: Row | None, base: str | None = None) -> dict[str, str]:
    """Bundle.entry.response; `base` gives the address of what was written."""
    response = {"status": _status(status)}
    if row is not None:
        if base is not None and not row.deleted:
            response["location"] = f"{base}/{row.reference}/_history/{row.version}"
        response["etag"] = etag(row.version)
        response["lastModified"] = fhir_instant(row.last_updated)
    return response


def success(status: int, deleted: int | None = None) -> Issue:
    """What an OperationOutcome says where one is preferred; `deleted` counts what a conditional delete removed."""
    told = "done." if deleted is None else f"{deleted} deleted."
    return Issue("information", "informational", f"{_status(status)}: {told}")


def _status(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"
