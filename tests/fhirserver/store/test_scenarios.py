"""The scenarios of consent, the fourth way: the permission compiled into a query on a real MongoDB."""

from __future__ import annotations

from typing import Any

import pytest

from consent.engine import permitted
from consent.facts import audience
from fhirserver.store.compile import permission_filter
from fhirserver.store.database import Database
from tests.consent.scenario import Case, load_scenarios

CASES = [
    pytest.param(case, scenario.policy, id=f"{scenario.file}: {case.name}")
    for scenario in load_scenarios()
    for case in scenario.cases
]


@pytest.mark.parametrize(("case", "policy"), CASES)
def test_a_query_finds_a_resource_exactly_when_the_scenario_permits_it(
    database: Database, case: Case, policy: Any
) -> None:
    permission = permitted(case.actor, case.request, case.facts["type"], policy=policy)
    database.instances.delete_many({})
    database.instances.insert_one({"_id": case.name, "facts": case.facts, "aud": audience(case.facts)})
    names = sorted(permission.audience)
    wanted = {"aud": {"$in": names}, "$and": [permission_filter(permission)]}
    found = database.instances.find(wanted).to_list() if names else []
    assert ("permit" if found else "deny") == case.effect
