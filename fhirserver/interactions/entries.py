"""What a batch or transaction Bundle asks: its entries, each a request of its own.

The Bundle is read without parsing the resources inside: each stays the bytes that the client sent, so that it is stored
as exactly as one that came alone. The Bundle around them passes the same gate as any resource.

https://hl7.org/fhir/R4/http.html#transaction, https://hl7.org/fhir/R4/bundle.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from fhirserver.errors import BadRequest, FhirError, Issue, NotSupported, TooCostly, Unprocessable
from fhirserver.interactions.context import Context, declaration_of, refusal
from fhirserver.search.compartment import EVERY_TYPE
from resources import SUPPORTED, validation
from resources.exact import has_duplicate_names

Interaction = Literal["read", "vread", "history", "search", "create", "update", "patch", "delete", "operation"]

_CONDITIONS: Mapping[Interaction, frozenset[str]] = {
    "read": frozenset({"ifNoneMatch", "ifModifiedSince"}),
    "create": frozenset({"ifNoneExist"}),
    "update": frozenset({"ifMatch", "ifNoneMatch"}),
    "patch": frozenset({"ifMatch"}),
    "delete": frozenset({"ifMatch"}),
}
"""The conditions of an entry's request that an interaction honours."""

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}", re.ASCII)


class Request(msgspec.Struct, frozen=True, rename="camel"):
    """Bundle.entry.request, https://hl7.org/fhir/R4/bundle-definitions.html#Bundle.entry.request."""

    method: str
    url: str
    if_none_match: str | None = None
    if_modified_since: str | None = None
    if_match: str | None = None
    if_none_exist: str | None = None


class _Entry(msgspec.Struct, frozen=True, rename="camel"):
    request: Request | None = None
    full_url: str | None = None
    resource: msgspec.Raw = msgspec.Raw(b"")


class _Bundle(msgspec.Struct, frozen=True):
    type: str = ""
    entry: list[_Entry] = []


@dataclass(frozen=True, slots=True)
class Target:
    """What a relative address names: a type, one resource, one version, a search, a history, or an operation.

    The type is empty for an operation, the history and a search of the system; `member` is the type, or `*`, that is
    searched in the compartment of the resource.
    """

    type: str
    id: str | None = None
    version_id: str | None = None
    is_history: bool = False
    query: str = ""
    operation: str = ""
    member: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: which interaction it asks for, of what, with which body and conditions."""

    index: int
    interaction: Interaction
    target: Target
    request: Request
    full_url: str | None
    body: bytes

    @property
    def is_conditional(self) -> bool:
        """Whether it finds what it changes by criteria."""
        return self.interaction in {"update", "patch", "delete"} and self.target.id is None

    @property
    def path(self) -> str:
        """Where the entry is, as FHIRPath."""
        return f"Bundle.entry[{self.index}]"


@dataclass(frozen=True, slots=True)
class RefusedEntry:
    """An entry that cannot be understood; in a batch it fails alone."""

    index: int
    error: FhirError


def read_bundle(context: Context, body: bytes) -> tuple[str, list[Entry | RefusedEntry]]:
    """The Bundle's type (`batch` or `transaction`) and its entries in order.

    Raises BadRequest or Unprocessable where the Bundle itself is at fault, TooCostly where it has too many entries.
    """
    _check(body)
    bundle = msgspec.json.decode(body, type=_Bundle)
    if bundle.type not in {"batch", "transaction"}:
        raise BadRequest(
            f"The base takes a Bundle of type batch or transaction, not {bundle.type}.", expression="Bundle.type"
        )
    limit = context.config.max_entries
    if len(bundle.entry) > limit:
        raise TooCostly(f"At most {limit} entries in one Bundle; this one has {len(bundle.entry)}.")
    return bundle.type, [_entry(index, entry, context.config.fhir_base) for index, entry in enumerate(bundle.entry)]


def _check(body: bytes) -> None:
    """The Bundle around the resources, through the gate; each resource passes it once its references are resolved.

    Raises BadRequest where the body is no Bundle, Unprocessable with all issues.
    """
    try:
        bundle = validation.parse(body)
        is_ambiguous = has_duplicate_names(body, bundle)
    except validation.MalformedError as error:
        raise BadRequest(str(error), code="structure", expression="Bundle") from error
    except RecursionError as error:
        raise BadRequest(validation.TOO_DEEP, code="structure", expression="Bundle") from error
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        raise BadRequest("The base takes a Bundle of type batch or transaction.", expression="Bundle")
    if is_ambiguous:
        raise BadRequest("An object of the body names the same member twice.", code="structure", expression="Bundle")
    if issues := validation.validate(_without_resources(bundle)):
        raise refusal(issues)


def _without_resources(bundle: dict[str, Any]) -> dict[str, Any]:
    entries = bundle.get("entry")
    if not isinstance(entries, list):
        return bundle
    return {**bundle, "entry": [_without_resource(entry) for entry in entries]}


def _without_resource(entry: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    return {name: value for name, value in entry.items() if name != "resource"} or entry


def _entry(index: int, entry: _Entry, base: str) -> Entry | RefusedEntry:
    try:
        with at_entry(index):
            if entry.request is None:
                raise Unprocessable("Each entry of a batch or transaction needs a request.", code="required")
            request = entry.request
            target = parse_target(request.url, base)
            interaction = _interaction(request.method, target)
            _refuse_conditions(interaction, request)
            body = bytes(entry.resource)
            if interaction in {"create", "update", "patch"} and not body:
                raise Unprocessable(f"{request.method} needs a resource.", expression="resource", code="required")
            return Entry(index, interaction, target, request, entry.full_url, body)
    except FhirError as error:
        return RefusedEntry(index, error)


def parse_target(url: str, base: str) -> Target:
    """What a request's address names, relative to the FHIR base or below it.

    Raises BadRequest where it is no such address, NotSupported for what this server does not offer, NotFound for a type
    that it does not serve.
    """
    relative = url.removeprefix(base + "/") if url.startswith(base + "/") else url.removeprefix(base)
    path, _, query = relative.partition("?")
    segments = path.split("/")
    match segments:
        case [""]:
            return Target("", query=query)
        case ["_history"]:
            return Target("", is_history=True, query=query)
        case [name] if name.startswith("$"):
            return Target("", query=query, operation=name[1:])
        case [type_, name] if name.startswith("$"):
            target = Target(type_, query=query, operation=name[1:])
        case [type_, id_, name] if name.startswith("$"):
            target = Target(type_, id_, query=query, operation=name[1:])
        case [type_]:
            target = Target(type_, query=query)
        case [type_, "_history"]:
            target = Target(type_, is_history=True, query=query)
        case [type_, id_]:
            target = Target(type_, id_, query=query)
        case [type_, id_, "_history"]:
            target = Target(type_, id_, is_history=True, query=query)
        case [type_, id_, member] if member in SUPPORTED or member == EVERY_TYPE:
            target = Target(type_, id_, query=query, member=member)
        case [type_, id_, "_history", version_id]:
            target = Target(type_, id_, version_id, query=query)
        case _:
            raise BadRequest(f"Not an address of this server: {url}", expression="request.url")
    if target.id is not None and not is_id(target.id):
        raise BadRequest(f"Not a resource id: {target.id}", expression="request.url")
    declaration_of(target.type)
    return target


def is_id(text: str) -> bool:
    """Whether the text can be a resource id (https://hl7.org/fhir/R4/datatypes.html#id)."""
    return _ID.fullmatch(text) is not None


def _interaction(method: str, target: Target) -> Interaction:
    is_condition = target.id is None and not target.is_history
    is_instance = target.id is not None and not target.is_history and target.version_id is None
    interaction: Interaction
    match method:
        case "GET" | "POST" if target.operation:
            interaction = "operation"
        case _ if target.operation:
            raise NotSupported("An operation is called by GET or POST.", expression="request.method")
        case "GET" if target.version_id is not None:
            interaction = "vread"
        case "GET" if target.is_history:
            interaction = "history"
        case _ if target.is_history:
            raise NotSupported(f"{method} is not offered for a history.", expression="request.method")
        case "GET" if target.member or not target.type:
            interaction = "search"
        case _ if target.member or not target.type:
            raise NotSupported(f"{method} is not offered for this address.", expression="request.method")
        case "GET":
            interaction = "read" if is_instance else "search"
        case "POST" if target.id is None:
            interaction = "create"
        case "PUT" if is_instance or is_condition:
            interaction = "update"
        case "PATCH" if is_instance or is_condition:
            interaction = "patch"
        case "DELETE" if is_instance or is_condition:
            interaction = "delete"
        case _:
            raise NotSupported(f"{method} is not offered for this address.", expression="request.method")
    takes_query = interaction in {"search", "history", "operation"} or (is_condition and interaction != "create")
    if target.query and not takes_query:
        raise NotSupported(f"{method} takes no parameters within a Bundle.", expression="request.url")
    return interaction


def _refuse_conditions(interaction: Interaction, request: Request) -> None:
    """Raise NotSupported for a condition that the interaction would otherwise ignore."""
    given = {
        "ifNoneMatch": request.if_none_match,
        "ifModifiedSince": request.if_modified_since,
        "ifMatch": request.if_match,
        "ifNoneExist": request.if_none_exist,
    }
    for name, value in given.items():
        if value is not None and name not in _CONDITIONS.get(interaction, ()):
            raise NotSupported(f"{request.method} {request.url} takes no {name}.", expression=f"request.{name}")


@contextmanager
def at_entry(index: int) -> Iterator[None]:
    """Let every error raised inside say which entry it is about, as `Bundle.entry[3].resource.name[0]`."""
    try:
        yield
    except FhirError as error:
        error.issues = tuple(
            Issue(issue.severity, issue.code, issue.diagnostics, _located(index, issue.expression))
            for issue in error.issues
        )
        raise


def _located(index: int, expression: str | None) -> str:
    entry = f"Bundle.entry[{index}]"
    if expression is None:
        return entry
    if expression.startswith("Bundle.entry["):
        return expression
    element, dot, rest = expression.partition(".")
    # The issues of a resource begin with its type (`Patient.name`); those of the request with `request`.
    if element in {"request", "resource"}:
        return f"{entry}.{expression}"
    if element[:1].isupper():
        return f"{entry}.resource{dot}{rest}"
    return f"{entry}.request.url"  # the name of a search parameter
