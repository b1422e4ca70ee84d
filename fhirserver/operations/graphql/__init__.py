"""`$graphql`: a query over a resource, or over reads and searches, answered in the shape that it asks for.

Nothing is disclosed that a read or a search would not disclose to the same caller, and each of them is in the audit as
such. The answer is whole or an error: there is no partial data.

https://hl7.org/fhir/R4/graphql.html, https://hl7.org/fhir/R4/resource-operation-graphql.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from fhirserver.errors import BadRequest, FhirError, Issue, UnsupportedMediaType
from fhirserver.interactions.context import Context, Pairs
from fhirserver.operations.graphql.document import read_query
from fhirserver.operations.graphql.execute import answer
from fhirserver.operations.operation import Given, Made, Operation, Parameter, Target
from resources.exact import encode

MEDIA_TYPE = "application/json"


class _Body(msgspec.Struct, rename="camel"):
    """https://graphql.org/learn/serving-over-http/."""

    query: str
    operation_name: str | None = None
    variables: dict[str, msgspec.Raw] | None = None


def _perform(context: Context, target: Target, given: Given) -> Made:
    fields = read_query(given.one("query"), given.one("variables"), given.one("operationName"))
    return Made(answer(context, target, fields), media_type=MEDIA_TYPE)


def _read(content_type: str, body: bytes) -> Pairs:
    """The parameters in a body: GraphQL itself, or JSON around it. Raises UnsupportedMediaType or BadRequest."""
    name = content_type.partition(";")[0].strip().lower()
    try:
        if name == "application/graphql":
            return (("query", body.decode()),)
        if name != MEDIA_TYPE:
            raise UnsupportedMediaType(f"GraphQL is sent as application/json or application/graphql, not as {name}.")
        sent = msgspec.json.decode(body, type=_Body)
        variables = None if sent.variables is None else msgspec.json.encode(sent.variables).decode()
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"The body holds no GraphQL request: {error}") from error
    pairs = [("query", sent.query)]
    if sent.operation_name is not None:
        pairs.append(("operationName", sent.operation_name))
    if variables is not None:
        pairs.append(("variables", variables))
    return tuple(pairs)


def _errors(error: FhirError) -> bytes:
    """An error in the form of GraphQL, with an OperationOutcome for each issue."""
    return encode({"data": None, "errors": list(_error_of(error.issues))})


def _error_of(issues: Iterable[Issue]) -> Iterable[Mapping[str, Any]]:
    for issue in issues:
        told = {"severity": issue.severity, "code": issue.code, "diagnostics": issue.diagnostics}
        where = {"expression": [issue.expression]} if issue.expression else {}
        outcome = {"resourceType": "OperationOutcome", "issue": [{**told, **where}]}
        yield {"message": issue.diagnostics, "extensions": {"resource": outcome}}


OPERATION = Operation(
    name="graphql",
    title="Query by GraphQL (graphql).",
    about="A GraphQL query over a resource, or over reads and searches.",
    definition="Resource-graphql",
    levels=("system", "type", "instance"),
    perform=_perform,
    takes=(
        Parameter("query", "string", "The query.", 1),
        Parameter("operationName", "string", "Which operation of the query, where there are several."),
        Parameter("variables", "string", "The variables, a JSON object."),
    ),
    gives=(Parameter("result", "Binary", "The answer, as application/json.", 1),),
    reads=_read,
    renders=_errors,
)
