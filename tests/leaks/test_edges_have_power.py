"""The suite held to account: every edge tells a record from nothing to who may see it, and every route has an edge."""

from __future__ import annotations

import pytest

from fhirserver.app import create_app
from fhirserver.config import Config
from fhirserver.store.database import Database
from tests.leaks.compare import seen
from tests.leaks.edges import EDGES, INSTANCE, STUDIES, Edge
from tests.leaks.outcomes import record_of
from tests.leaks.world import World

# Routes that say nothing of anybody's record.
_WITHOUT_RECORDS = (
    "/fhir/metadata", "/fhir/OperationDefinition/",
    "/fhir/.well-known/", "/oauth/", "/.well-known/", "/healthz", "/readyz", "/openapi", "/docs",
)  # fmt: skip

# Who stores a study is told whether its UID is taken: see test_taken_names. A search in the background is that of one
# caller: see tests/fhirserver/rest/test_async.py.
_LATER = "/fhir/_async-status/<job>"
_TOLD_ELSEWHERE = {
    ("POST", STUDIES),
    ("POST", f"{STUDIES}/<study>"),
    ("PUT", INSTANCE),
    ("GET", _LATER),
    ("DELETE", _LATER),
    # Who shows a link shows no token: see tests/fhirserver/rest/operations/test_share_link.py.
    ("POST", "/shl/<secret>"),
    ("GET", "/shl/<secret>"),
    ("GET", "/shl/file/<ticket>"),
}


@pytest.mark.parametrize("edge", [edge for edge in EDGES if edge.tells], ids=str)
def test_every_edge_tells_who_may_see_a_record_that_it_is_there(world: World, edge: Edge) -> None:
    here, gone = record_of("no-relation-here"), record_of("no-relation-none")

    assert seen(edge.put(world.home, here), here) != seen(edge.put(world.home, gone), gone)


def test_every_route_that_can_tell_of_a_record_has_an_edge(config: Config, database: Database) -> None:
    routed = {
        (method, rule.rule)
        for rule in create_app(config, database).url_map.iter_rules()
        for method in (rule.methods or set()) - {"OPTIONS", "HEAD"}
        if not rule.rule.startswith(_WITHOUT_RECORDS)
    }
    asked = {(edge.method, edge.rule) for edge in EDGES} | _TOLD_ELSEWHERE

    assert routed - asked == set()
    assert {rule for _, rule in asked} - {rule for _, rule in routed} == set()
