"""schemathesis asks whatever our own OpenAPI description allows, and some of what it does not: never a failure.

Bounded and deterministic: the same requests at every run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

from fhirserver.rest.routes import ROUTED, operation_routes

ADDRESSES = sorted({(method, rule) for method, rule, *_ in (*ROUTED, *operation_routes())})
OF_TYPES = [(method, rule) for method, rule in ADDRESSES if "<type>" in rule]
PUBLIC = {(method, rule) for method, rule, _, interactions in ROUTED if "capabilities" in interactions}
TYPE = "ImagingStudy"  # one with every kind of search parameter
TYPES_OF_PARAMETERS = (TYPE, "Observation", "Location")  # that have between them composites, quantities and positions

Change = Callable[[Any], None]


def bounded(examples):
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
    )


@pytest.fixture(scope="module")
def schema(app):
    return schemathesis.openapi.from_wsgi("/openapi.json", app)


@pytest.fixture(scope="module")
def schema_of_type(app):
    return lambda type_: schemathesis.openapi.from_wsgi(f"/openapi.json?type={type_}", app)


def described(schema, method, rule):
    return schema[f"/fhir{rule}".replace("<", "{").replace(">", "}")][method]


def play(operation, caller, mode, *, examples, change: Change = lambda _: None, token: str | None = ""):
    """Send what the description allows, or what it forbids, and look at each answer; HEAD is asked as GET is.

    `change` makes something else of each case before it is sent; without a `token` there is no Authorization.
    """
    played = []

    @bounded(examples)
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case):
        case.headers.pop("Authorization", None)
        change(case)
        named = {} if token is None else {"Authorization": f"Bearer {token or caller.token}"}
        response = case.call(headers={**named, "Accept-Encoding": "identity"})
        played.append(response.status_code)
        assert response.status_code < 500, (case.as_curl_command(), response.text)
        if response.status_code >= 400 and case.method != "HEAD":
            assert "OperationOutcome" in response.text, case.as_curl_command()
        if case.method == "GET":
            asked = response.request
            head = caller.http.open(asked.url, method="HEAD", headers=dict(asked.headers))
            assert (head.status_code, head.data) == (response.status_code, b""), case.as_curl_command()

    send()
    return played


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["allowed", "forbidden"])
@pytest.mark.parametrize(("method", "rule"), ADDRESSES)
def test_whatever_the_description_allows_or_forbids_is_answered(schema, his, method, rule, mode):
    play(described(schema, method, rule), his, mode, examples=6)


@pytest.mark.parametrize(("method", "rule"), OF_TYPES)
def test_so_it_is_of_a_resource_that_is_there(schema, his, method, rule):
    made = his.make(PATIENT)

    def aim(case):
        known = {"type": "Patient", "id": made["id"], "version_id": "1", "target": "Observation"}
        case.path_parameters = {name: known.get(name, value) for name, value in case.path_parameters.items()}
        if isinstance(case.body, dict) and "resourceType" in case.body and "$" not in rule:
            case.body = {
                **PATIENT,
                **case.body,
                "resourceType": "Patient",
                **({"id": made["id"]} if "<id>" in rule else {}),
            }

    statuses = play(described(schema, method, rule), his, GenerationMode.POSITIVE, examples=6, change=aim)

    assert statuses


@pytest.mark.parametrize("type_", TYPES_OF_PARAMETERS)
def test_every_search_parameter_of_a_type_is_answered_whatever_its_value(schema_of_type, his, type_):
    assert play(schema_of_type(type_)[f"/fhir/{type_}"]["GET"], his, GenerationMode.POSITIVE, examples=15)


@pytest.mark.parametrize("token", [None, "rubbish", "a.b.c"], ids=["no token", "rubbish", "no JWT"])
def test_nothing_but_what_is_public_is_answered_without_a_token(schema, his, token):
    for method, rule in ADDRESSES:
        statuses = play(described(schema, method, rule), his, GenerationMode.POSITIVE, examples=1, token=token)
        assert (method, rule) in PUBLIC or set(statuses) == {401}, (method, rule, statuses)


PATIENT = {
    "resourceType": "Patient",
    "identifier": [{"system": "urn:oid:1.2.3", "value": "schemathesis"}],
    "name": [{"family": "Martin", "given": ["Ada"]}],
    "birthDate": "1980-02-03",
}
