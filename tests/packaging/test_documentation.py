"""The documentation is complete: what the code offers has its entry, and what a page points at exists."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from consent import decision
from fhirserver import operations
from fhirserver.config import Config
from tests.packaging.distribution import ROOT

SETTINGS = {setting.metadata["variable"]: setting for setting in dataclasses.fields(Config)}
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")])
RECORDS = sorted(path.name for path in (ROOT / "docs" / "adr").glob("[0-9]*.md"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def headings(page: str) -> str:
    return "\n".join(line for line in page.splitlines() if line.startswith("#"))


@pytest.mark.parametrize("variable", sorted(SETTINGS))
def test_a_setting_has_its_entry(variable):
    assert re.search(rf"`{variable}`", text("docs/settings.md"))


def test_the_settings_page_names_no_setting_that_is_gone():
    named = set(re.findall(r"`(FHIRSERVER_[A-Z_]+)`", text("docs/settings.md")))
    assert named - set(SETTINGS) == set()


@pytest.mark.parametrize("code", sorted(decision.SENTENCES))
def test_a_reason_code_has_its_entry(code):
    assert re.search(rf"`{re.escape(code)}`", text("docs/policy.md"))


def test_every_operation_has_its_page():
    names = [one.name for one in operations.OFFERED]
    assert [name for name in names if f"${name}" not in headings(text(f"docs/api/operation/{name}.md"))] == []


def test_every_decision_record_is_listed_and_every_listed_one_exists():
    assert re.findall(r"\]\((\d{4}-[^)]+)\)", text("docs/adr/README.md")) == RECORDS


@pytest.mark.parametrize("record", RECORDS)
def test_a_decision_record_says_its_number_status_and_options(record):
    page = text(f"docs/adr/{record}")
    assert page.startswith(f"# {record[:4]}. ")
    assert re.search(r"^Status: (accepted|proposed|superseded by \d{4})", page, flags=re.MULTILINE)
    assert {"## Context", "## Decision", "## Consequences"} <= set(headings(page).splitlines())


def test_no_two_decision_records_share_a_number():
    numbers = [record[:4] for record in RECORDS]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_to_a_file_leads_to_one(page):
    prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", prose)]
    local = [target for target in targets if target and not re.match(r"[a-z]+:", target)]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_make_command_that_a_page_names_exists(page):
    named = set(re.findall(r"`?\bmake ([a-z-]+)`", page.read_text(encoding="utf-8")))
    assert named - TARGETS == set()


def test_help_shows_every_command_of_the_contributing_page():
    named = set(re.findall(r"^\| `make ([a-z]+)", text("CONTRIBUTING.md"), flags=re.MULTILINE))
    explained = set(re.findall(r"^([a-z-]+):[^#\n]*## ", text("Makefile"), flags=re.MULTILINE))
    assert named
    assert named <= explained


def test_pages_are_not_empty():
    assert [page for page in PAGES if len(page.read_text(encoding="utf-8")) < 100] == []


def test_the_root_has_the_files_that_people_look_for():
    expected = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "LICENSE", "NOTICE"]
    assert [name for name in expected if not Path(ROOT / name).is_file()] == []
