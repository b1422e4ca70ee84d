"""The tables of the policy page say what rules, sentences and scenarios say now."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from consent.bans import BANS
from consent.decision import SENTENCES
from consent.rules import RULES
from tests.packaging.distribution import ROOT

PAGE = ROOT / "docs" / "policy.md"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_policy", ROOT / "tools" / "generate_policy.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_has_what_is_generated(generator: ModuleType) -> None:
    assert generator.main(["--check"]) == 0, "run: python tools/generate_policy.py"


def test_every_rule_and_every_reason_has_its_row(generator: ModuleType) -> None:
    rows = generator.generated().splitlines()
    for name in (*(rule.name for rule in RULES), *(code for code, _ in BANS), *SENTENCES):
        assert any(row.startswith(f"| `{name}` |") for row in rows), name


def test_every_rule_speaks_in_some_scenario(generator: ModuleType) -> None:
    """But `concealed`: what is hidden is looked up in the store, so it is shown over HTTP (test_release.py)."""
    rows = {row.split("`")[1]: row for row in generator.generated().splitlines() if row.startswith("| `")}
    silent = [rule.name for rule in RULES if rows[rule.name].endswith("| – |")]
    assert silent == ["concealed"]


def test_a_change_of_a_sentence_is_noticed(generator: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(generator.SENTENCES, "permit-self", {"fr": "Autre.", "en": "Other."})
    assert generator.main(["--check"]) == 1


def test_a_page_without_marks_is_refused(generator: ModuleType) -> None:
    with pytest.raises(ValueError, match="marks"):
        generator.page("# The policy")
