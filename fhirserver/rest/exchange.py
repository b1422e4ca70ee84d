"""One HTTP exchange: what the request asks of the answer, and the answer's headers.

https://hl7.org/fhir/R4/http.html#general
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from flask import Request, Response

from fhirserver.errors import BadRequest, NotSupported
from fhirserver.interactions.context import Pairs, query_pairs
from fhirserver.interactions.preconditions import (
    Versions,
    etag,
    http_date,
    is_not_modified,
    parse_http_date,
    parse_versions,
)
from fhirserver.operations.operation import Made, Page, Result
from fhirserver.rest.answer import Answer
from fhirserver.rest.binary import Content
from fhirserver.rest.bundle import operation_bundle, success
from fhirserver.rest.formats import formatted, note_format
from fhirserver.rest.negotiation import (
    CONTENT_TYPES,
    Format,
    Preferences,
    negotiated,
    other_form,
    preferences,
    prefers_content,
)
from fhirserver.rest.outcome import operation_outcome
from fhirserver.rest.subset import subset
from fhirserver.store.rows import Row, Written

_SUMMARIES = frozenset({"true", "text", "data", "false"})
_WRITING = frozenset({"_format", "_pretty"})
"""Parameters that say how an answer is written, understood everywhere."""
_SHAPING = _WRITING | {"_summary", "_elements"}


@dataclass(frozen=True, slots=True)
class Shape:
    """The part of a resource that `_summary` and `_elements` ask for."""

    summary: str | None
    elements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a request said about its answer; `pairs` are its query parameters in order."""

    request: Request
    base: str
    pairs: Pairs
    preferences: Preferences
    is_pretty: bool

    @classmethod
    def of(
        cls, request: Request, base: str, *, may_be_content: bool = False, offered: tuple[str, ...] = ()
    ) -> Exchange:
        """Read the request's headers and query. Raises NotAcceptable or BadRequest.

        Where the answer `may_be_content`, of a Binary, what is acceptable is known only when it has been read.
        `offered` are media types that may be asked for beside FHIR.
        """
        query = request.query_string
        pairs = query_pairs(_text(query)) if query else ()
        exchange = cls(request, base, pairs, preferences(request.headers.get("Prefer", "")), is_pretty(pairs))
        if (pairs or not may_be_content) and exchange.other_form(offered) is None:
            exchange.format  # noqa: B018 - raises where nothing is acceptable
        return exchange

    # The request

    @property
    def format(self) -> Format:
        """The format of the answer. Raises NotAcceptable."""
        return negotiated(self.request.headers.get("Accept", ""), _single(self.pairs, "_format"))

    def other_form(self, offered: tuple[str, ...]) -> str | None:
        """The media type of those offered beside FHIR in which the answer is wanted; None where it is FHIR."""
        if not offered:
            return None
        return other_form(self.request.headers.get("Accept", ""), _single(self.pairs, "_format"), offered)

    def language(self, offered: Sequence[str]) -> str:
        """The language of those offered that the caller reads best; empty where that is not said."""
        return self.request.accept_languages.best_match(offered) or ""

    def with_pairs(self, form: Pairs) -> Exchange:
        """The same with the parameters of a form beside those of the address."""
        pairs = (*self.pairs, *form)
        exchange = replace(self, pairs=pairs, is_pretty=is_pretty(pairs))
        note_format(self.request, exchange.format)
        return exchange

    def if_match(self) -> Versions | None:
        """The versions that a write is bound to."""
        return parse_versions(self.request.headers.get("If-Match"), "If-Match")

    def if_none_match(self) -> Versions | None:
        """The versions that the client has already, or `*`."""
        return parse_versions(self.request.headers.get("If-None-Match"), "If-None-Match")

    def refuse_parameters(self, understood: Collection[str] = _WRITING) -> None:
        """Raise NotSupported for a query parameter that this interaction would otherwise ignore."""
        for name, _ in self.pairs:
            if name not in understood and self.preferences.handling == "strict":
                raise NotSupported(f"This interaction takes no parameter {name}.", expression=name)

    def shape(self) -> Shape | None:
        """Which part of one resource is wanted; None for the whole. Raises BadRequest or NotSupported."""
        if not self.pairs:
            return None
        self.refuse_parameters(_SHAPING)
        summary, elements = _single(self.pairs, "_summary"), _single(self.pairs, "_elements")
        if summary is not None and summary not in _SUMMARIES:
            raise BadRequest(
                f"_summary of one resource is one of {', '.join(sorted(_SUMMARIES))}", expression="_summary"
            )
        return Shape(summary, () if elements is None else element_names(elements))

    # The answer

    def resource(self, row: Row, shape: Shape | None) -> Response:
        """A resource that was read, in its `shape`: 200, or 304 where the client has it already.

        A Binary without a shape is its content, unless FHIR is asked for. Raises NotAcceptable.
        """
        headers = _version_headers(row)
        content = None
        if row.type == "Binary" and not self.pairs:
            headers["Vary"] = "Accept"
            content = Content(row)
            if not prefers_content(self.request.headers.get("Accept", ""), content.media_type):
                content = None
        if is_not_modified(
            row.version,
            row.last_updated,
            if_none_match=self.if_none_match(),
            if_modified_since=parse_http_date(self.request.headers.get("If-Modified-Since")),
        ):
            return Response(status=304, headers=headers)
        if content is not None:
            return content.answer(headers)
        body = row.body if shape is None else subset(row.body, row.type, shape.summary, shape.elements)
        return self.answer(body, 200, headers)

    def written(self, written: Written) -> Response:
        """What a create or update did, in the form that Prefer asks for."""
        row = written.row
        status = 201 if written.created else 200
        address = f"{self.base}/{row.type}/{row.id}/_history/{row.version}"
        headers = {**_version_headers(row), "Location": address, "Content-Location": address}
        match self.preferences.returns:
            case "minimal":
                return Response(status=status, headers=headers)
            case "OperationOutcome":
                return self.answer(operation_outcome([success(status)]), status, headers)
            case _:
                return self.answer(row.body, status, headers)

    def accepted(self, status_address: str, began: datetime) -> Response:
        """A search that is done in the background: where to ask, and when to ask again."""
        seconds = int((datetime.now(UTC) - began).total_seconds())
        headers = {
            "Content-Location": status_address,
            "Preference-Applied": "respond-async",
            "Retry-After": str(min(10, 1 + seconds // 5)),
            "X-Progress": f"searching for {seconds} s",
        }
        return Response(status=202, headers=headers)

    def deleted(self, row: Row | None) -> Response:
        """What a delete did; without a body unless Prefer asks for an OperationOutcome."""
        headers = {} if row is None else {"ETag": etag(row.version)}
        if self.preferences.returns == "OperationOutcome":
            return self.answer(operation_outcome([success(200)]), 200, headers)
        return Response(status=204, headers=headers)

    def operated(self, result: Result) -> Response:
        """What an operation answered: a stored resource, a page, or a resource that it made."""
        match result:
            case Row():
                return self.answer(result.body, 200, _version_headers(result))
            case Page():
                return self.answer(operation_bundle(result, self.base))
            case Made(media_type=str() as media_type):
                return Answer(result.body, result.status, result.headers, media_type)
            case Made():
                return self.answer(result.body, result.status, result.headers)

    def conditionally_deleted(self, rows: Sequence[Row]) -> Response:
        """What a conditional delete did; how many is said where Prefer asks for an OperationOutcome."""
        if self.preferences.returns == "OperationOutcome":
            return self.answer(operation_outcome([success(200, len(rows))]), 200)
        return self.deleted(rows[0] if len(rows) == 1 else None)

    def criteria(self) -> Pairs:
        """The parameters of the address that say which resource is meant, not how the answer is written."""
        return [pair for pair in self.pairs if pair[0] not in _WRITING]

    def answer(self, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
        """A resource, given as JSON, in the format that was asked for; indented where `_pretty` asks for it."""
        body, format_ = formatted(body, self.format, is_pretty=self.is_pretty, method=self.request.method)
        return Answer(body, status, headers, CONTENT_TYPES[format_])


def element_names(text: str) -> tuple[str, ...]:
    """The elements that `_elements` names. Raises BadRequest where one is no name."""
    names = tuple(dict.fromkeys(text.split(",")))
    for name in names:
        if not all(part.isascii() and part.isalnum() for part in name.split(".")):
            raise BadRequest(f"_elements: not the name of an element: {name}", expression="_elements")
    return names


def is_pretty(pairs: Pairs) -> bool:
    """Whether `_pretty` asks for indentation. Raises BadRequest for anything but true and false."""
    value = _single(pairs, "_pretty")
    if value not in {None, "true", "false"}:
        raise BadRequest(f"_pretty is true or false, not: {value}", expression="_pretty")
    return value == "true"


def _version_headers(row: Row) -> dict[str, str]:
    return {"ETag": etag(row.version), "Last-Modified": http_date(row.last_updated)}


def _single(pairs: Pairs, name: str) -> str | None:
    return next((value for key, value in pairs if key == name), None)


def _text(query: bytes) -> str:
    try:
        return query.decode()
    except UnicodeDecodeError as error:
        raise BadRequest("The query string cannot be read: it must be percent-encoded UTF-8.") from error
