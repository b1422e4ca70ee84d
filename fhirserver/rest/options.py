"""OPTIONS of any address: which methods it takes, said to anybody, since it says nothing of the data.

https://datatracker.ietf.org/doc/html/rfc9110#section-9.3.7
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import MethodNotAllowed

from fhirserver.interactions.entries import is_id
from fhirserver.rest.negotiation import PATCH_FORMATS
from fhirserver.rest.routes import FHIR, refusal_of
from resources import SUPPORTED


def install(app: Flask) -> None:
    """Answer OPTIONS wherever no route does so itself."""
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.before_request(_answer)


def _answer() -> Response | None:
    if request.method != "OPTIONS" or not isinstance(request.routing_exception, MethodNotAllowed):
        return None
    adapter = current_app.url_map.bind_to_environ(request.environ)
    matched = {method: adapter.match(method=method)[1] for method in request.routing_exception.valid_methods or ()}
    # `/metadata` has the shape of a type, too; what is routed by its own name is that and nothing else.
    named = [method for method, variables in matched.items() if not variables]
    if not named and request.path.startswith(FHIR) and not any(map(_is_somewhere, matched.values())):
        raise refusal_of("OPTIONS", request.path.removeprefix(FHIR))
    methods = {*(named or matched), "OPTIONS"}
    patches = {"Accept-Patch": ", ".join(PATCH_FORMATS)} if "PATCH" in methods else {}  # RFC 5789 section 3.1
    return Response(status=204, headers={"Allow": ", ".join(sorted(methods)), **patches})


def _is_somewhere(variables: Mapping[str, Any]) -> bool:
    """Whether what stands for a type and an id can be one."""
    return variables.get("type", "Patient") in SUPPORTED and is_id(variables.get("id", "x"))
