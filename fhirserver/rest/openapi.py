"""The description of the routes for tools (`/openapi.json`) and for people (`/docs`).

flask-smorest collects the description from the routes themselves; the page is plain HTML made from it, with no script
and nothing fetched from elsewhere. The address of a type is described once for all types: which types and search
parameters there are is said by `/fhir/metadata`.
"""

from __future__ import annotations

from html import escape
from typing import Any

from flask import Flask, Response
from flask_smorest import Api, Blueprint

from fhirserver import __version__

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


def install(app: Flask, *blueprints: Blueprint) -> None:
    """Register the blueprints, and the description of what they route."""
    app.config.update(
        API_TITLE="fhirserver: FHIR R4 and DICOMweb",
        API_VERSION=__version__,
        OPENAPI_VERSION="3.0.3",
        OPENAPI_URL_PREFIX="/",
        OPENAPI_JSON_PATH="openapi.json",
    )
    api = Api(app)
    for blueprint in blueprints:
        api.register_blueprint(blueprint)
    page = _page(api.spec.to_dict()).encode()

    def docs() -> Response:
        return Response(page, headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"})

    app.add_url_rule("/docs", "docs", docs)


def _page(spec: dict[str, Any]) -> str:
    rows = [
        f"<tr><td><code>{method.upper()}</code></td><td><code>{escape(path)}</code></td>"
        f"<td>{escape(operation.get('summary', ''))}</td></tr>"
        for path, operations in spec["paths"].items()
        for method, operation in operations.items()
        if method in {"get", "post", "put", "delete"}
    ]
    return _PAGE.format(title=escape(spec["info"]["title"]), rows="\n".join(rows))
