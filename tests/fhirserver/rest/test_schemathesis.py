"""schemathesis asks whatever our own OpenAPI description allows, and some of what it does not: never a failure.

Bounded and deterministic: the same requests at every run.
"""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

from fhirserver.rest.routes import ROUTED, operation_routes

ADDRESSES = sorted({(method, rule) for method, rule, *_ in (*ROUTED, *operation_routes())})
TYPE = "ImagingStudy"  # one with every kind of search parameter

bounded = settings(
    max_examples=15,
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
    return schemathesis.openapi.from_wsgi(f"/openapi.json?type={TYPE}", app)


def play(operation, token, mode):
    """Send what the description allows, or what it forbids, and look at each answer."""
    played = []

    @bounded
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case):
        case.headers.pop("Authorization", None)
        response = case.call(headers={"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"})
        played.append(response.status_code)
        assert response.status_code < 500, (case.as_curl_command(), response.text)
        if response.status_code >= 400 and case.method != "HEAD":
            assert "OperationOutcome" in response.text, case.as_curl_command()

    send()
    return played


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["allowed", "forbidden"])
@pytest.mark.parametrize(("method", "rule"), ADDRESSES)
def test_whatever_the_description_allows_or_forbids_is_answered(schema, his, method, rule, mode):
    operation = schema[f"/fhir{rule}".replace("<", "{").replace(">", "}")][method]
    play(operation, his.token, mode)


def test_every_search_parameter_of_a_type_is_answered_whatever_its_value(schema_of_type, his):
    statuses = play(schema_of_type[f"/fhir/{TYPE}"]["GET"], his.token, GenerationMode.POSITIVE)
    assert statuses
