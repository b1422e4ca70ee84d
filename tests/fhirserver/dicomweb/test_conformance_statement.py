"""The DICOM conformance statement says what the code does: addresses, attributes, codes and transfer syntaxes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask import Flask

from fhirserver.dicomweb.attributes import OFFERED, RETURNED
from fhirserver.dicomweb.matching import DEFAULT_LIMIT, MATCHED, MAX_LIMIT
from fhirserver.dicomweb.patient_identity import ISSUERS
from fhirserver.dicomweb.reason_codes import Reason
from fhirserver.dicomweb.stow import MAX_PARTS
from fhirserver.dicomweb.wado import COMPRESSED

STATEMENT = (Path(__file__).parents[3] / "docs" / "conformance-dicom.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The text below a heading, up to the next one."""
    return re.split(rf"^#+ {re.escape(title)}$", STATEMENT, flags=re.MULTILINE)[1].split("\n#")[0]


def test_every_failure_reason_is_listed_with_its_section_and_no_other():
    listed = re.findall(r"^\| ([0-9A-F]{4}) \| (\w+) \| .* \| (.*) \|$", section("Failure reasons"), flags=re.MULTILINE)
    assert sorted(listed) == sorted((f"{reason:04X}", reason.name, reason.section) for reason in Reason)


def test_every_matched_attribute_is_listed_at_its_level_and_no_other():
    rows = re.findall(
        r"^\| (study|series|instance) \| ([\w, ]+) \|", section("Attributes that are matched"), flags=re.MULTILINE
    )
    listed = {(name, level) for level, names in rows for name in names.split(", ")}
    assert listed == {(name, level.name.lower()) for name, (level, _) in MATCHED.items()}


@pytest.mark.parametrize("tables", [RETURNED, OFFERED], ids=["returned", "offered"])
def test_every_returned_attribute_is_listed(tables: dict[int, tuple[str, ...]]):
    text = section("Attributes that are returned")
    assert [name for names in tables.values() for name in names if not re.search(rf"\b{name}\b", text)] == []


def test_every_address_is_listed(app: Flask):
    rules = {
        re.sub(r"<path:", "<", rule.rule) for rule in app.url_map.iter_rules() if rule.rule.startswith("/dicomweb")
    }
    served = {rule for rule in rules if not rule.endswith(("/rendered", "/thumbnail"))}
    assert served == set(re.findall(r"`(?:GET|POST) (/dicomweb/[^` ]*)`", STATEMENT))


def test_every_transfer_syntax_has_its_media_type():
    for uid, media_type in COMPRESSED.items():
        assert re.search(rf"^\|.*\b{re.escape(uid)}[ ,].*\| `{media_type}` \|$", STATEMENT, flags=re.MULTILINE), uid


def test_issuers_and_bounds_are_said():
    assert all(f"`{name}`" in STATEMENT for name in ISSUERS)
    for number in (DEFAULT_LIMIT, MAX_LIMIT, MAX_PARTS):
        assert f"{number:,}" in STATEMENT
