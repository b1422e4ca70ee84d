"""Every scenario, three ways: the reference engine, the engine, and the condition over the facts.

The fourth way, the condition as a query on a real MongoDB, is run by the tests of the store on the same cases.
"""

from __future__ import annotations

import pytest

from consent import admit, audience, decide, permitted
from consent.condition import evaluate
from consent.decision import SENTENCES
from tests.consent import reference
from tests.consent.scenario import Case, Scenario, load_scenarios

CASES = [
    pytest.param(scenario, case, id=f"{scenario.title}: {case.name}: {case.expectation}")
    for scenario in load_scenarios()
    for case in scenario.cases
]


@pytest.mark.parametrize(("scenario", "case"), CASES)
def test_the_reference_engine_agrees_with_the_scenario(scenario: Scenario, case: Case):
    permits = reference.decide(
        case.actor, case.request.interaction, case.request.purpose, case.request.now, case.record, scenario.world
    )
    assert permits == (case.effect == "permit")


@pytest.mark.parametrize(("scenario", "case"), CASES)
def test_the_engine_decides_as_the_scenario_says(scenario: Scenario, case: Case):
    decision = decide(case.actor, case.request, case.facts, policy=scenario.policy)

    assert (decision.effect, decision.code) == (case.effect, case.code)
    assert decision.instant == case.request.now
    assert all(reason.code in SENTENCES for reason in decision.reasons)
    assert decision.reasons
    if case.status:
        assert decision.status == case.status


@pytest.mark.parametrize(("scenario", "case"), CASES)
def test_the_condition_holds_exactly_for_what_is_permitted(scenario: Scenario, case: Case):
    resource_type = case.facts["type"]
    permission = permitted(case.actor, case.request, resource_type, policy=scenario.policy)
    admitted = admit(case.actor, case.request, resource_type, policy=scenario.policy) is None

    assert (admitted and evaluate(permission.condition, case.facts)) == (case.effect == "permit")
    if case.effect == "permit":
        assert permission.audience & set(audience(case.facts))


def test_every_worked_example_of_these_rules_is_a_scenario():
    told = {case.name.partition(":")[0] for scenario in load_scenarios() for case in scenario.cases}
    needed = {
        *range(1, 12),
        13,
        *range(14, 21),
        22,
        *range(23, 28),
        *range(29, 38),
        41,
        *range(43, 51),
        55,
        56,
        57,
        58,
        60,
    }
    assert {str(number) for number in needed} <= told
