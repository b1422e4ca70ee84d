"""Asking a search of one resource: both sides of the search, written and read, in one step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import pytest

from fhirserver.errors import BadRequest
from fhirserver.search.expression import evaluate
from fhirserver.search.parse import Query, parse
from fhirserver.search.values import Values, extract
from resources import SUPPORTED

PARIS = ZoneInfo("Europe/Paris")
BASE = "https://here.example/fhir"

Ask = Callable[..., Query]


@pytest.fixture(scope="session")
def ask() -> Ask:
    """Parse a query string, written as in a URL but with + for itself, for a type."""

    def asked(resource_type: str, query: str, **options: Any) -> Query:
        pairs = parse_qsl(query.replace("+", "%2B"), keep_blank_values=True)
        settings = {"handling": "strict", "zone": PARIS, "supported": SUPPORTED, "base": BASE} | options
        return parse(SUPPORTED[resource_type], pairs, **settings)

    return asked


@pytest.fixture(scope="session")
def written() -> Callable[[Mapping[str, Any]], Values]:
    """The values stored for a resource."""
    return lambda resource: extract(SUPPORTED[resource["resourceType"]], resource, PARIS, BASE)


@pytest.fixture(scope="session")
def matches(ask: Ask, written: Callable[[Mapping[str, Any]], Values]) -> Callable[..., bool]:
    """Whether a resource is found by a query string."""

    def found(resource: Mapping[str, Any], query: str) -> bool:
        return evaluate(ask(resource["resourceType"], query).expression, written(resource))

    return found


@pytest.fixture(scope="session")
def refusal(ask: Ask) -> Callable[..., BadRequest]:
    """The error with which a query string is refused."""

    def refused(resource_type: str, query: str, **options: Any) -> BadRequest:
        with pytest.raises(BadRequest) as raised:
            ask(resource_type, query, **options)
        return raised.value

    return refused
