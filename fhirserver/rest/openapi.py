"""The description of the routes for tools (`/openapi.json`) and for people (`/docs`).

flask-smorest collects the addresses from the routes themselves; what each takes and gives follows from the interactions
that it answers, so a route needs no word here. An address of a type is described once for all types, which keeps the
description readable; `/openapi.json?type=ImagingStudy` describes one type, with its search parameters, includes and
operations. The page is plain HTML, with no script and nothing fetched from elsewhere.

https://spec.openapis.org/oas/v3.0.3
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import msgspec
from flask import Flask, Response, request
from flask_smorest import Api, Blueprint

from fhirserver import __version__
from fhirserver.errors import NotFound
from fhirserver.operations import OFFERED
from fhirserver.operations.operation import Parameter, Target
from fhirserver.operations.parameters import IN_ADDRESS
from fhirserver.rest.capability_statement import Reverse, Routed, includes, reverse_includes, search_parameters
from fhirserver.rest.negotiation import FORMATS, PATCH_FORMATS
from fhirserver.rest.routes import FHIR, ROUTED, operation_routes
from fhirserver.rest.tagged import is_known, tag_of
from fhirserver.search.result_parameters import REPEATABLE, RESULT_PARAMETERS
from fhirserver.store.search_parameters import Catalogue
from resources import SUPPORTED, Declaration

Json = dict[str, Any]

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; padding: .4rem .8rem .4rem 0; border-bottom: 1px solid #ccc; vertical-align: top; }}
code {{ font-size: .95rem; }}
</style></head>
<body><h1>{title}</h1>
<p>Types and search parameters: <a href="fhir/metadata?_pretty=true">capability statement</a>.
For tools: <a href="openapi.json">OpenAPI description</a>.</p>
<table><tr><th>Method</th><th>Address</th><th>What it does</th></tr>
{rows}
</table></body></html>
"""

_MOST_KEPT = 16
_METHODS = frozenset({"get", "post", "put", "patch", "delete", "options"})
_OUTCOME = {"$ref": "#/components/responses/Outcome"}
_RESOURCE = {"type": "object", "required": ["resourceType"], "properties": {"resourceType": {"type": "string"}}}
_PARAMETERS = {**_RESOURCE, "properties": {"resourceType": {"type": "string", "enum": ["Parameters"]}}}
# https://graphql.org/learn/serving-over-http/
_GRAPHQL = {
    "application/json": {
        "schema": {
            "type": "object",
            "required": ["query"],
            "properties": {
                "query": {"type": "string"},
                "operationName": {"type": "string"},
                "variables": {"type": "object"},
            },
        }
    },
    "application/graphql": {"schema": {"type": "string"}},
}
_TEXT = {"type": "string"}
_ID = {"type": "string", "pattern": r"^[A-Za-z0-9\-\.]{1,64}$"}
_READING = ("_elements", "_format", "_pretty", "_summary")
_WRITING = ("_format", "_pretty")
_VERSIONS = ("_at", "_before", "_count", "_format", "_pretty", "_since", "_sort")
_FORM = "application/x-www-form-urlencoded"

# By interaction: query parameters, headers, and the statuses of success.
_QUERY: Mapping[str, Sequence[str]] = {
    "capabilities": _WRITING,
    "read": _READING,
    "vread": _READING,
    "search-type": tuple(RESULT_PARAMETERS),
    "search-system": tuple(RESULT_PARAMETERS),
    "history-instance": _VERSIONS,
    "history-type": _VERSIONS,
    "history-system": _VERSIONS,
}
_HEADERS: Mapping[str, Sequence[str]] = {
    "read": ("If-None-Match", "If-Modified-Since", "Prefer"),
    "vread": ("If-None-Match", "If-Modified-Since", "Prefer"),
    "search-type": ("Prefer",),
    "search-system": ("Prefer",),
    "history-instance": ("Prefer",),
    "history-type": ("Prefer",),
    "history-system": ("Prefer",),
    "create": ("If-None-Exist", "Prefer", "X-Security-Context"),
    "update": ("If-Match", "If-None-Match", "Prefer", "X-Security-Context"),
    "patch": ("If-Match", "Prefer"),
    "delete": ("If-Match", "Prefer"),
    "batch": ("Prefer",),
}
_SUCCESSES: Mapping[str, Sequence[str]] = {
    "read": ("200", "304"),
    "vread": ("200", "304"),
    "create": ("200", "201"),
    "update": ("200", "201"),
    "delete": ("200", "204"),
}
_CONDITIONAL = frozenset({"update", "patch", "delete"})
"""The interactions that find by criteria what they change, where no id is in the address."""


def install(app: Flask, parameters: Callable[[], Catalogue], *blueprints: Blueprint) -> None:
    """Register the blueprints, and the description of what they route with the search parameters as they are."""
    app.config.update(API_TITLE="fhirserver: FHIR R4 and DICOMweb", API_VERSION=__version__, OPENAPI_VERSION="3.0.3")
    api = Api(app)
    for blueprint in blueprints:
        api.register_blueprint(blueprint)
    collected = api.spec.to_dict()
    page = _page(collected).encode()

    kept: dict[tuple[Any, ...], tuple[bytes, str]] = {}

    def described(type_: str | None) -> tuple[bytes, str]:
        """The description, and its entity tag; kept while the search parameters of a type stay."""
        catalogue = parameters()
        key = () if type_ is None else (type_, catalogue.identity)
        found = kept.get(key)
        if found is None:
            body = msgspec.json.encode(description(collected, ROUTED, type_, catalogue.readable))
            found = body, tag_of(body)
            if len(kept) >= _MOST_KEPT:
                kept.clear()
            kept[key] = found
        return found

    def openapi() -> Response:
        """The description for tools; `type` names one resource type."""
        type_ = request.args.get("type")
        if type_ is not None and type_ not in SUPPORTED:
            raise NotFound(f"{type_} is not a resource type of this server.", code="not-supported")
        body, tag = described(type_)
        headers = {"ETag": tag, "Cache-Control": "public, max-age=60", "Vary": "Accept-Encoding"}
        if is_known(request, tag):
            return Response(status=304, headers=headers)
        return Response(body, headers=headers, content_type="application/json")

    def docs() -> Response:
        return Response(page, headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"})

    app.add_url_rule("/openapi.json", "openapi", openapi)
    app.add_url_rule("/docs", "docs", docs)


def description(
    collected: Mapping[str, Any],
    routed: Routed,
    type_: str | None = None,
    declarations: Mapping[str, Declaration] = SUPPORTED,
) -> Json:
    """The OpenAPI document: the `collected` addresses with what each takes and gives, of all types or of one."""
    searched = None if type_ is None else _Searched(declarations[type_], reverse_includes(declarations))
    spec: Json = copy.deepcopy(dict(collected))
    codes = {(method.lower(), _address(rule)): interactions for method, rule, _, interactions in routed}
    operations = {
        (method.lower(), _address(rule)): (name, level) for method, rule, name, level, _ in operation_routes()
    }
    paths: Json = {}
    for path, item in spec["paths"].items():
        described: Json = {}
        for method, operation in item.items():
            if method not in _METHODS:
                continue
            key = (method, path)
            if key in operations and type_ is not None and not _is_offered(*operations[key], type_):
                continue
            interactions = codes.get(key, ())
            described[method] = {
                **operation,
                "operationId": _operation_id(method, path),
                "parameters": [
                    *_parameters(path, interactions, searched),
                    *(_operation_parameters(method, *operations[key], searched) if key in operations else ()),
                ],
                "responses": _responses(interactions, operations.get(key)),
                **_body(method, interactions, operations.get(key)),
                **({"security": []} if "capabilities" in interactions else {}),
            }
        if described and (type_ is None or "{type}" in path):
            paths[path.replace("{type}", type_ or "{type}")] = described
    components: Json = spec.setdefault("components", {})
    components.setdefault("responses", {})["Outcome"] = {
        "description": "Refused or failed: an OperationOutcome says why",
        "content": {name: {"schema": _RESOURCE} for name in FORMATS},
    }
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return {**spec, "paths": paths, "security": [{"token": []}]}


def _address(rule: str) -> str:
    """The path as OpenAPI writes it: `/fhir/{type}` for `/<type>`."""
    return FHIR + rule.replace("<", "{").replace(">", "}")


def _is_offered(name: str, level: str, type_: str) -> bool:
    target = Target(type_, "id") if level == "instance" else Target(type_)
    return level != "system" and any(one.name == name and one.is_at(target) for one in OFFERED)


def _operation_id(method: str, path: str) -> str:
    return f"{method}{path.replace('/', '_').replace('{', '').replace('}', '').replace('$', '')}"


@dataclass(frozen=True, slots=True)
class _Searched:
    """The one type that is described: its parameters, and those of all types that may refer to it."""

    declaration: Declaration
    reverse: Reverse


def _parameters(path: str, interactions: Sequence[str], searched: _Searched | None) -> Iterator[Json]:
    for name in (part.strip("{}") for part in path.split("/") if part.startswith("{")):
        if name != "type":
            yield {"in": "path", "name": name, "required": True, "schema": _ID}
        elif searched is None:
            yield {"in": "path", "name": name, "required": True, "schema": {"type": "string", "enum": [*SUPPORTED]}}
    for name in _merged(_QUERY, interactions):
        yield {"in": "query", "name": name, "schema": _schema_of(name, searched)}
    is_conditional = path.endswith("/{type}") and not _CONDITIONAL.isdisjoint(interactions)
    if searched is not None and ("search-type" in interactions or is_conditional):
        for one in search_parameters(searched.declaration):
            yield {"in": "query", "name": one["name"], "description": one["type"], "schema": {"type": "string"}}
    for name in _merged(_HEADERS, interactions):
        yield {"in": "header", "name": name, "schema": {"type": "string"}}


def _operation_parameters(method: str, name: str, level: str, searched: _Searched | None) -> Iterator[Json]:
    """What an address can carry for the operations of a name, which differ by level."""
    found = [one for one in OFFERED if one.name == name and level in one.levels]
    if method == "get":
        taken = {parameter.name: parameter for one in found for parameter in one.takes if parameter.type in IN_ADDRESS}
        for parameter in taken.values():
            described = {"in": "query", "name": parameter.name, "description": parameter.about}
            yield {**described, "required": parameter.min > 0, "schema": _schema_of_operation(parameter)}
        for written in _WRITING:
            yield {"in": "query", "name": written, "schema": _schema_of(written, None)}
        if searched is not None and any(one.searches for one in found):
            for one in search_parameters(searched.declaration):
                if one["name"] not in taken:
                    yield {"in": "query", "name": one["name"], "description": one["type"], "schema": _TEXT}
    if any(one.changes for one in found):
        yield {"in": "header", "name": "If-Match", "schema": _TEXT}
    yield {"in": "header", "name": "Prefer", "schema": _TEXT}


def _schema_of_operation(parameter: Parameter) -> Json:
    match parameter.type:
        case "boolean":
            schema: Json = {"type": "boolean"}
        case "positiveInt":
            schema = {"type": "integer", "minimum": 1}
        case "unsignedInt" | "integer":
            schema = {"type": "integer", "minimum": 0}
        case _:
            schema = {"type": "string"}
    return schema if parameter.max == 1 else {"type": "array", "items": schema}


def _merged(table: Mapping[str, Sequence[str]], interactions: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(name for code in interactions for name in table.get(code, ())))


def _schema_of(name: str, searched: _Searched | None) -> Json:
    match name:
        case "_count":
            return {"type": "integer", "minimum": 0}
        case "_pretty":
            return {"type": "boolean"}
        case "_format":
            return {"type": "string", "enum": [*FORMATS, "json", "xml"]}
        case "_include" | "_revinclude" if searched is not None:
            kind = "searchInclude" if name == "_include" else "searchRevInclude"
            named = includes(searched.declaration, searched.reverse).get(kind, [])
            return {"type": "array", "items": {"type": "string", **({"enum": named} if named else {})}}
        case _ if name in REPEATABLE:
            return {"type": "array", "items": {"type": "string"}}
        case _:
            return {"type": "string"}


def _responses(interactions: Sequence[str], operation: tuple[str, str] | None) -> Json:
    found: Json = {}
    others = () if operation is None else _offered_beside(*operation)
    for status in _merged(_SUCCESSES, interactions) or ["200"]:
        found[status] = {"description": "Done"}
        if status in {"200", "201"}:
            found[status]["content"] = {
                **{name: {"schema": _RESOURCE} for name in FORMATS},
                **{name: {"schema": _TEXT} for name in others},
            }
    return {**found, "default": _OUTCOME}


def _offered_beside(name: str, level: str) -> Sequence[str]:
    """The media types in which the operations of a name answer beside FHIR."""
    return [type_ for one in OFFERED if one.name == name and level in one.levels for type_ in one.offers]


def _body(method: str, interactions: Sequence[str], operation: tuple[str, str] | None) -> Json:
    if method not in {"post", "put", "patch"}:
        return {}
    content = _content(interactions) if operation is None else _operation_content(*operation)
    # An operation may have its parameters in its address, or none.
    return {"requestBody": {"required": operation is None, "content": content}}


def _content(interactions: Sequence[str]) -> Json:
    if "patch" in interactions:
        return {name: {"schema": {}} for name in PATCH_FORMATS}
    if "search-type" in interactions or "search-system" in interactions:
        return {_FORM: {"schema": {"type": "object", "additionalProperties": {"type": "string"}}}}
    return {name: {"schema": _RESOURCE} for name in FORMATS}


def _operation_content(name: str, level: str) -> Json:
    if any(one.reads for one in OFFERED if one.name == name and level in one.levels):
        return _GRAPHQL
    return {name: {"schema": _PARAMETERS} for name in FORMATS}


def _page(spec: dict[str, Any]) -> str:
    rows = [
        f"<tr><td><code>{method.upper()}</code></td><td><code>{escape(path)}</code></td>"
        f"<td>{escape(operation.get('summary', ''))}</td></tr>"
        for path, operations in spec["paths"].items()
        for method, operation in operations.items()
        if method in _METHODS
    ]
    return _PAGE.format(title=escape(spec["info"]["title"]), rows="\n".join(rows))
