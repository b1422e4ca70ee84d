"""The routes of the FHIR base: one rule for each shape of address, whatever the resource type.

`ROUTED` is the list of interactions that are answered, and the capability statement is tested against it. Every other
address under the base ends in `refusal_of`, which says what is not offered.

https://hl7.org/fhir/R4/http.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from http import HTTPStatus

import msgspec
from flask import Response, current_app, request
from flask_smorest import Blueprint

from fhirserver.access import Access
from fhirserver.errors import BadRequest, ContentTooLarge, FhirError, MethodNotAllowed, NotFound, NotSupported
from fhirserver.interactions.batch import Answer, batch
from fhirserver.interactions.context import Context, query_pairs
from fhirserver.interactions.create import create
from fhirserver.interactions.delete import conditional_delete, delete
from fhirserver.interactions.entries import is_id, read_bundle
from fhirserver.interactions.history import history, history_system, history_type
from fhirserver.interactions.patch import check_patched, conditional_patch, patch, read_patch
from fhirserver.interactions.preconditions import Versions
from fhirserver.interactions.read import read
from fhirserver.interactions.search_compartment import check_compartment, search_compartment
from fhirserver.interactions.search_later import Background
from fhirserver.interactions.search_system import search_system
from fhirserver.interactions.search_type import Searchset, search_type
from fhirserver.interactions.transaction import transaction
from fhirserver.interactions.update import conditional_update, update
from fhirserver.interactions.vread import vread
from fhirserver.operations import OFFERED
from fhirserver.operations.definition import operation_definition
from fhirserver.operations.operation import Level, Made, Operation, Result, Target
from fhirserver.operations.perform import offered, perform
from fhirserver.rest.binary import content_limit, is_resource, resource_of
from fhirserver.rest.body import read_body
from fhirserver.rest.bundle import history_bundle, response_bundle, searchset
from fhirserver.rest.capability_statement import CHANGED, Statement
from fhirserver.rest.exchange import Exchange
from fhirserver.rest.formats import as_json
from fhirserver.rest.negotiation import check_form_content, fhir_format, patch_form, resource_format
from fhirserver.rest.service import Service
from fhirserver.rest.tagged import is_known
from fhirserver.search.compartment import EVERY_TYPE
from fhirserver.store.jobs import Job, Jobs
from resources import SUPPORTED
from resources.patch.document import Patch

Authenticate = Callable[[], Access]

FHIR = "/fhir"
"""The path of the FHIR base."""

ROUTED = (
    ("GET", "/metadata", "capabilities", ("capabilities",)),
    ("OPTIONS", "", "capabilities", ("capabilities",)),
    ("GET", "/<type>/<id>", "read", ("read",)),
    ("GET", "/<type>/<id>/_history/<version_id>", "vread", ("vread",)),
    ("GET", "/<type>/<id>/_history", "history", ("history-instance",)),
    ("GET", "/<type>/_history", "history_type", ("history-type",)),
    ("GET", "/_history", "history_system", ("history-system",)),
    ("GET", "/<type>", "search", ("search-type",)),
    ("POST", "/<type>/_search", "search_by_post", ("search-type",)),
    ("GET", "", "search_system", ("search-system",)),
    ("POST", "/_search", "search_system_by_post", ("search-system",)),
    ("GET", "/<type>/<id>/<target>", "search_compartment", ("search-type",)),
    ("POST", "/<type>/<id>/<target>/_search", "search_compartment_by_post", ("search-type",)),
    ("POST", "/<type>", "create", ("create",)),
    ("PUT", "/<type>/<id>", "update", ("update",)),
    ("PUT", "/<type>", "conditional_update", ("update",)),
    ("PATCH", "/<type>/<id>", "patch", ("patch",)),
    ("PATCH", "/<type>", "conditional_patch", ("patch",)),
    ("DELETE", "/<type>/<id>", "delete", ("delete",)),
    ("DELETE", "/<type>", "conditional_delete", ("delete",)),
    ("POST", "", "bundle", ("batch", "transaction")),
    ("GET", "/_async-status/<job>", "async_status", ()),
    ("DELETE", "/_async-status/<job>", "cancel", ()),
)
"""Method, address below the base, view function, and the FHIR interactions that it answers.

The capability statement and the OpenAPI description follow from it.
"""


LEVELS: Mapping[Level, str] = {"system": "", "type": "/<type>", "instance": "/<type>/<id>"}
"""The address of each level at which an operation may be called."""


def operation_routes() -> Iterator[tuple[str, str, str, Level, str]]:
    """Method, address, name, level and title for each way to call an operation that is offered."""
    told = set()
    for operation in OFFERED:
        for level in operation.levels:
            for method in operation.methods:
                rule = f"{LEVELS[level]}/${operation.name}"
                if (method, rule) not in told:
                    told.add((method, rule))
                    yield method, rule, operation.name, level, operation.title


class Routes:
    """The view functions over one service; `authenticate` gives the access of the current request or raises."""

    def __init__(self, service: Service, authenticate: Authenticate) -> None:
        self._service = service
        self._authenticate = authenticate
        self._limit = service.config.max_body
        self._content_limit = content_limit(self._limit)
        self._statement = Statement(service.config, ROUTED)
        self._background = Background(Jobs(service.database))

    @property
    def _base(self) -> str:
        """The FHIR base by which links of this request begin."""
        return self._service.config_here().fhir_base

    def capabilities(self) -> Response:
        """What this server offers (capabilities)."""
        exchange = Exchange.of(request, self._base)
        exchange.refuse_parameters({"_format", "_pretty", "mode"})
        if next((value for name, value in exchange.pairs if name == "mode"), "full") != "full":
            raise NotSupported("There is one capability statement: mode=full.", expression="mode")
        body, tag = self._statement.bytes_and_tag(self._base, self._service.parameters())
        headers = {"ETag": tag, "Cache-Control": "public, max-age=60", "Vary": "Accept, Accept-Encoding"}
        if request.method == "OPTIONS":
            headers["Allow"] = allowed_methods()
        if is_known(request, tag):
            return Response(status=304, headers=headers)
        return exchange.answer(body, 200, headers)

    def read(self, type: str, id: str) -> Response:
        """Read the current version of a resource (read)."""
        exchange, context = self._begin(type, id, may_be_content=type == "Binary")
        shape = exchange.shape()
        row = context.settle(partial(read, context, type, id))
        return exchange.resource(row, shape)

    def vread(self, type: str, id: str, version_id: str) -> Response:
        """Read one version of a resource (vread)."""
        exchange, context = self._begin(type, id, may_be_content=type == "Binary")
        shape = exchange.shape()
        row = context.settle(partial(vread, context, type, id, version_id))
        return exchange.resource(row, shape)

    def history(self, type: str, id: str) -> Response:
        """List the versions of a resource (history-instance)."""
        exchange, context = self._begin(type, id)
        found = context.settle(partial(history, context, type, id, exchange.pairs))
        return exchange.answer(history_bundle(found, self._base))

    def history_type(self, type: str) -> Response:
        """List the versions of all resources of a type (history-type)."""
        exchange, context = self._begin(type)
        found = context.settle(partial(history_type, context, type, exchange.pairs))
        return exchange.answer(history_bundle(found, self._base))

    def history_system(self) -> Response:
        """List the versions of all resources (history-system)."""
        context = self._service.context(self._authenticate())
        exchange = Exchange.of(request, self._base)
        found = context.settle(partial(history_system, context, exchange.pairs))
        return exchange.answer(history_bundle(found, self._base))

    def create(self, type: str) -> Response:
        """Create a resource; If-None-Exist makes it conditional (create)."""
        exchange, context = self._begin(type)
        exchange.refuse_parameters()
        condition = request.headers.get("If-None-Exist")
        body = self._binary_body() if type == "Binary" else self._resource_body()
        written = context.settle(partial(create, context, type, body, if_none_exist=condition))
        return exchange.written(written)

    def update(self, type: str, id: str) -> Response:
        """Update a resource, or create it under an id of the client's (update)."""
        exchange, context = self._begin(type, id)
        exchange.refuse_parameters()
        work = partial(
            update,
            context,
            type,
            id,
            self._binary_body(id) if type == "Binary" else self._resource_body(),
            if_match=exchange.if_match(),
            if_none_match=exchange.if_none_match(),
        )
        return exchange.written(context.settle(work))

    def conditional_update(self, type: str) -> Response:
        """Update the one resource that meets the criteria, or create it (update)."""
        exchange, context = self._begin(type)
        work = partial(
            conditional_update,
            context,
            type,
            exchange.criteria(),
            self._resource_body(),
            if_match=exchange.if_match(),
            if_none_match=exchange.if_none_match(),
        )
        return exchange.written(context.settle(work))

    def patch(self, type: str, id: str) -> Response:
        """Change parts of a resource: JSON Patch, merge patch, XML Patch or FHIRPath Patch (patch)."""
        exchange, context = self._begin(type, id)
        exchange.refuse_parameters()
        document, if_match = self._patch(type), self._if_match_alone(exchange)
        return exchange.written(context.settle(partial(patch, context, type, id, document, if_match=if_match)))

    def conditional_patch(self, type: str) -> Response:
        """Change parts of the one resource that meets the criteria (patch)."""
        exchange, context = self._begin(type)
        document, if_match = self._patch(type), self._if_match_alone(exchange)
        work = partial(conditional_patch, context, type, exchange.criteria(), document, if_match=if_match)
        return exchange.written(context.settle(work))

    def conditional_delete(self, type: str) -> Response:
        """Delete what meets the criteria: one resource, or several where the settings allow it (delete)."""
        exchange, context = self._begin(type)
        work = partial(conditional_delete, context, type, exchange.criteria(), if_match=exchange.if_match())
        return exchange.conditionally_deleted(context.settle(work))

    def delete(self, type: str, id: str) -> Response:
        """Delete a resource (delete)."""
        exchange, context = self._begin(type, id)
        exchange.refuse_parameters()
        return exchange.deleted(context.settle(partial(delete, context, type, id, if_match=exchange.if_match())))

    def search(self, type: str) -> Response:
        """Search a resource type (search-type)."""
        exchange, context = self._begin(type)
        later = self._later(exchange, context, type)
        return later or self._searchset(exchange, context, partial(search_type, context, type))

    def search_by_post(self, type: str) -> Response:
        """Search a resource type by a form; parameters of the address count too (search-type)."""
        check_form_content(request.content_type)
        exchange, context = self._begin(type)
        exchange = self._with_form(exchange)
        later = self._later(exchange, context, type)
        return later or self._searchset(exchange, context, partial(search_type, context, type))

    def search_system(self) -> Response:
        """Search several resource types together (search-system)."""
        context = self._service.context(self._authenticate())
        exchange = Exchange.of(request, self._base)
        return self._later(exchange, context, "") or self._searchset(exchange, context, partial(search_system, context))

    def search_system_by_post(self) -> Response:
        """Search several resource types together by a form (search-system)."""
        check_form_content(request.content_type)
        context = self._service.context(self._authenticate())
        exchange = self._with_form(Exchange.of(request, self._base))
        return self._later(exchange, context, "") or self._searchset(exchange, context, partial(search_system, context))

    def search_compartment(self, type: str, id: str, target: str) -> Response:
        """Search what belongs to one resource, of a type or of all (search-type)."""
        exchange, context = self._begin_compartment(type, id, target)
        return self._compartment(exchange, context, type, id, target)

    def search_compartment_by_post(self, type: str, id: str, target: str) -> Response:
        """Search what belongs to one resource by a form (search-type)."""
        check_form_content(request.content_type)
        exchange, context = self._begin_compartment(type, id, target)
        return self._compartment(self._with_form(exchange), context, type, id, target)

    def bundle(self) -> Response:
        """Do several interactions at once (batch, transaction)."""
        context = self._service.context(self._authenticate())
        exchange = Exchange.of(request, self._base)
        exchange.refuse_parameters()
        type, entries = read_bundle(context, self._resource_body())
        perform = batch if type == "batch" else transaction
        answers = context.settle(partial(perform, context, entries, handling=exchange.preferences.handling))
        return exchange.answer(response_bundle(type, answers, self._base, exchange.preferences.returns))

    def operation(self, name: str, type: str = "", id: str = "") -> Response:
        """Call the operation of that name."""
        access = self._authenticate()
        if (type and type not in SUPPORTED) or (id and not is_id(id)):
            raise refusal_of(request.method, "/".join(part for part in (type, id, f"${name}") if part))
        target = Target(type, id)
        found = offered("GET" if request.method == "HEAD" else request.method, name, target)
        exchange = Exchange.of(request, self._base, offered=found.offers)
        context = self._service.context(access)
        if found.reads is not None:
            return self._operation_of_its_own(found, target, exchange, context)
        body = self._parameters_body() if request.method == "POST" else b""
        if_match = exchange.if_match() if found.changes else None
        work = partial(
            perform,
            context,
            found,
            target,
            exchange.pairs,
            body,
            if_match=if_match,
            media_type=exchange.other_form(found.offers),
            language=exchange.language(found.languages),
        )
        return exchange.operated(context.settle(work))

    def definition(self, operation: Operation) -> Response:
        """The definition of an operation of this server's own."""
        exchange = Exchange.of(request, self._base)
        return exchange.answer(msgspec.json.encode(operation_definition(operation, self._base, CHANGED)))

    # Steps

    def _operation_of_its_own(
        self, operation: Operation, target: Target, exchange: Exchange, context: Context
    ) -> Response:
        """An operation that speaks no FHIR: it reads its own body, and its errors have its own form."""

        def work() -> Result:
            sent = read_body(request, self._limit) if request.method == "POST" else b""
            own = operation.reads(request.content_type or "", sent) if operation.reads and sent else ()
            return perform(context, operation, target, (*exchange.pairs, *own))

        try:
            return exchange.operated(context.settle(work))
        except FhirError as error:
            if operation.renders is None:
                raise
            return exchange.operated(Made(operation.renders(error), error.status, error.headers, "application/json"))

    def _parameters_body(self) -> bytes:
        """A Parameters resource, or nothing: all of it may stand in the address."""
        body = read_body(request, self._limit)
        return as_json(body, resource_format(request.content_type)) if body else b""

    def _begin(self, type: str, id: str | None = None, *, may_be_content: bool = False) -> tuple[Exchange, Context]:
        access = self._authenticate()
        if type not in SUPPORTED or (id is not None and not is_id(id)):
            raise refusal_of(request.method, type if id is None else f"{type}/{id}")
        return Exchange.of(request, self._base, may_be_content=may_be_content), self._service.context(access)

    def async_status(self, job: str) -> Response:
        """Ask how a search in the background stands, or fetch what it found."""
        context = self._service.context(self._authenticate())
        exchange = Exchange.of(request, self._base)
        exchange.refuse_parameters()
        found = context.settle(partial(self._background.ask, context, self._beside(context), job))
        if isinstance(found, Job):
            return exchange.accepted(f"{self._base}/_async-status/{job}", found.began)
        return exchange.answer(response_bundle("batch", [Answer(200, page=found)], self._base, None))

    def cancel(self, job: str) -> Response:
        """Cancel a search in the background, and forget what it found."""
        context = self._service.context(self._authenticate())
        Exchange.of(request, self._base).refuse_parameters()
        context.settle(partial(self._background.cancel, context, job))
        return Response(status=202)

    def _beside(self, context: Context) -> Context:
        """A context of the same caller, for work that goes on when the request is answered."""
        return self._service.context(replace(context.access, decisions=[]))

    def _later(self, exchange: Exchange, context: Context, path: str) -> Response | None:
        """The answer to a search at a path that goes on in the background; None where it is to be answered at once."""
        if not exchange.preferences.is_async:
            return None
        handling = exchange.preferences.handling
        other = self._beside(context)
        job = context.settle(partial(self._background.begin, context, other, path, exchange.pairs, handling=handling))
        return None if job is None else exchange.accepted(f"{self._base}/_async-status/{job.id}", job.began)

    def _begin_compartment(self, type: str, id: str, target: str) -> tuple[Exchange, Context]:
        exchange, context = self._begin(type, id)
        if target not in SUPPORTED and target != EVERY_TYPE:
            raise refusal_of(request.method, f"{type}/{id}/{target}")
        return exchange, context

    def _compartment(self, exchange: Exchange, context: Context, type: str, id: str, target: str) -> Response:
        later = self._later(exchange, context, f"{type}/{id}/{target}")
        return later or self._searchset(exchange, context, partial(search_compartment, context, type, id, target))

    def _searchset(self, exchange: Exchange, context: Context, search: Callable[..., Searchset]) -> Response:
        work = partial(search, exchange.pairs, handling=exchange.preferences.handling)
        return exchange.answer(searchset(context.settle(work), self._base))

    def _with_form(self, exchange: Exchange) -> Exchange:
        """The parameters of the form beside those of the address."""
        try:
            form = query_pairs(read_body(request, self._limit).decode("ascii"))
        except UnicodeDecodeError as error:
            raise BadRequest("The form cannot be read: it must be percent-encoded UTF-8.") from error
        return exchange.with_pairs(form)

    def _resource_body(self) -> bytes:
        """The resource that was sent, as JSON."""
        format_ = resource_format(request.content_type)
        return as_json(read_body(request, self._limit), format_)

    def _patch(self, type: str) -> Patch:
        """The patch that was sent for a resource of this type."""
        check_patched(type)
        form = patch_form(request.content_type)
        if form == "fhirpath-patch":
            return read_patch(form, self._resource_body())
        return read_patch(form, read_body(request, self._limit))

    @staticmethod
    def _if_match_alone(exchange: Exchange) -> Versions | None:
        """The versions that a patch is bound to. Raises NotSupported for If-None-Match: a patch creates nothing."""
        if exchange.if_none_match() is not None:
            raise NotSupported("A patch takes If-Match, not If-None-Match.")
        return exchange.if_match()

    def _binary_body(self, id: str | None = None) -> bytes:
        """A Binary as a resource, made from what was sent where that is content in its own media type."""
        type = request.content_type
        if not type:
            return self._resource_body()  # which says what is missing
        body = read_body(request, self._limit if fhir_format(type) else self._content_limit)
        if is_resource(type, body):
            return as_json(body, resource_format(type))
        if len(body) > self._content_limit:
            raise ContentTooLarge(f"The body is over the limit of {self._content_limit} bytes.")
        return resource_of(" ".join(type.split()), body, request.headers.get("X-Security-Context"), id)


def allowed_methods() -> str:
    """The methods of the current address, as Allow names them."""
    adapter = current_app.url_map.bind_to_environ(request.environ)
    return ", ".join(sorted({*adapter.allowed_methods(), "OPTIONS"}))


def refusal_of(method: str, path: str, headers: Mapping[str, str] | None = None) -> FhirError:
    """The error for an address under the base that no interaction answers, in words for its shape.

    `headers` are those of the router's own refusal: Allow, where other methods are answered there.
    """
    error = _refusal(method, path.removeprefix("/").rstrip("/").split("/"))
    if error.status == HTTPStatus.METHOD_NOT_ALLOWED:
        error.headers = {"Allow": "", **error.headers, **(headers or {})}
    return error


def _refusal(method: str, segments: list[str]) -> FhirError:
    if any(segment.startswith("$") for segment in segments):
        return _refusal_of_operation(method, segments)
    match segments:
        case [""]:
            return MethodNotAllowed("The base is searched by GET, and takes a batch or transaction by POST.")
        case ["_history"] | [_, "_history"]:
            return MethodNotAllowed("A history is asked for by GET.", headers={"Allow": "GET, HEAD, OPTIONS"})
        case ["_search"]:
            return MethodNotAllowed("Search by form is a POST.")
        case ["", *_]:
            return NotFound("Nothing is there: an address has no empty segment.")
        case [type, *_] if type not in SUPPORTED:
            return NotFound(f"{type} is not a resource type of this server.", code="not-supported")
        case [_]:
            return MethodNotAllowed(f"{method} is not offered here.")
        case [_, "_search"]:
            return MethodNotAllowed("Search by form is a POST.")
        case [_, id] if not is_id(id):
            return BadRequest(f"Not a resource id: {id}", code="value")
        case [type, _, target, *rest] if (target in SUPPORTED or target == EVERY_TYPE) and rest in ([], ["_search"]):
            return _refusal_of_compartment(type, target)
        case [_, _] | [_, _, "_history"] | [_, _, "_history", _]:
            return MethodNotAllowed(f"{method} is not offered here.")
        case _:
            return NotFound(f"Nothing is at {'/'.join(segments)}.")


def _refusal_of_compartment(type: str, target: str) -> FhirError:
    try:
        check_compartment(type, target)
    except FhirError as error:
        return error
    return MethodNotAllowed("A compartment is searched by GET, and by form by POST.")


def _refusal_of_operation(method: str, segments: list[str]) -> FhirError:
    *above, name = segments
    if (above and above[0] not in SUPPORTED) or (len(above) > 1 and not is_id(above[1])):
        return _refusal(method, above)
    if name.startswith("$") and len(above) <= len(("type", "id")):
        try:
            offered(method, name[1:], Target(*above))
        except FhirError as error:
            return error
    return NotSupported(f"This server offers no operation at {'/'.join(segments)}.")


def blueprint(service: Service, authenticate: Authenticate) -> Blueprint:
    """The FHIR base as a blueprint."""
    routes = Routes(service, authenticate)
    fhir = Blueprint("fhir", __name__, url_prefix=FHIR, description="FHIR R4, RESTful API")
    for method, rule, name, _ in ROUTED:
        fhir.add_url_rule(rule, name, getattr(routes, name), methods=[method])
    for method, rule, name, level, title in operation_routes():
        view = _view(partial(routes.operation, name), title)
        fhir.add_url_rule(rule, f"{name} of {level} by {method}", view, methods=[method])
    for operation in OFFERED:
        if not operation.is_hl7s:
            view = _view(partial(routes.definition, operation), f"The definition of ${operation.name}.")
            rule = f"/OperationDefinition/{operation.definition}"
            fhir.add_url_rule(rule, f"definition {operation.definition}", view, methods=["GET"])
    return fhir


def _view(answer: Callable[..., Response], title: str) -> Callable[..., Response]:
    """A view function, described by its title in the API description."""

    def view(**names: str) -> Response:
        return answer(**names)

    view.__doc__ = title
    return view
