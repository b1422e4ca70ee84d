"""The page of worked examples names what there is: the scenarios that carry a number, and tests by their names."""

from __future__ import annotations

import re

import pytest

from tests.consent.scenario import load_scenarios
from tests.packaging.distribution import ROOT

PAGE = (ROOT / "docs" / "worked-examples.md").read_text("utf-8")
EXAMPLES = {
    int(number): line
    for number, line in re.findall(r"^(?:\| (\d+) )(.*)$", PAGE.partition("## Invariants")[0], flags=re.MULTILINE)
}


def test_every_example_has_its_row():
    assert sorted(EXAMPLES) == list(range(1, 61))


@pytest.mark.parametrize("number", range(1, 61))
def test_a_row_names_the_scenarios_that_carry_its_number(number: int):
    carrying = {
        scenario.file for scenario in load_scenarios() for case in scenario.cases if case.name.startswith(f"{number}: ")
    }
    assert set(re.findall(r"\[`([a-z-]+\.yaml)`\]", EXAMPLES[number])) == carrying


def test_every_test_that_is_named_exists():
    named = re.findall(r"\]\(\.\./([\w/]+\.py)\) `(\w+)`", PAGE)
    assert len(named) > len(EXAMPLES)
    assert [name for path, name in named if f"def {name}(" not in (ROOT / path).read_text("utf-8")] == []


def test_what_no_test_shows_says_why():
    silent = [number for number, line in EXAMPLES.items() if "test_" not in line and ".yaml" not in line]
    assert [number for number in silent if "not offered" not in EXAMPLES[number]] == []
