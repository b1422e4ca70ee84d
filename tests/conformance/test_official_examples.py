"""HL7's R4 examples, written and read over HTTP: nothing is lost or changed, in JSON, in XML, or between the two.

`FHIR_CASES` names the folder whose `r4-examples` are played (hl7.fhir.r4.examples 4.0.1, CC0); without it two examples
of our own stand in, and the run says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from resources.exact import verbatim
from resources.structure import resource_types
from resources.xml import to_json, to_xml
from tests.fhirserver.rest.conftest import FHIR_JSON, Caller
from tests.resources.test_official_examples import FAULTY

FHIR_XML = "application/fhir+xml"

NOT_WRITABLE = {
    "AuditEvent-example-disclosure": "the audit is written by this server alone",
    "Consent-consent-example-Out": "a Consent that names nobody who gave it is refused",
}
"""Valid resources that this server takes from nobody, with the reason."""

OWN = {
    "own-observation": b'{"resourceType":"Observation","id":"own","status":"final","code":{"text":"x"},'
    b'"subject":{"reference":"Patient/own"},"valueQuantity":{"value":1.50}}',
    "own-basic": b'{"resourceType":"Basic","id":"own","code":{"text":"x"},"created":"2020-02"}',
}


@dataclass(frozen=True)
class Example:
    """One example: the name of its file, its bytes and its value with every digit."""

    name: str
    body: bytes
    value: dict[str, Any]

    @property
    def path(self) -> str:
        return f"{self.value['resourceType']}/{self.value['id']}"


@pytest.fixture
def examples(cases: Path | None) -> list[Example]:
    """The examples that can be written."""
    found = OWN if cases is None else {p.stem: p.read_bytes() for p in sorted((cases / "r4-examples").glob("*.json"))}
    read = [Example(name, body, verbatim(body)) for name, body in found.items()]
    resources = [example for example in read if example.value.get("resourceType") in resource_types()]
    return [example for example in resources if example.name not in FAULTY and example.name not in NOT_WRITABLE]


@pytest.fixture
def his(caller: Callable[..., Caller], examples: list[Example]) -> Caller:
    """The system of an establishment that has sent every patient whom the examples name."""
    operator = caller("Client/operator", category="operator")
    operator.put("Organization/e1", {"resourceType": "Organization", "id": "e1", "active": True, "name": "e1"})
    his = caller("Client/his-e1", organization="Organization/e1")
    named = {id_ for example in examples for id_ in re.findall(rb'"Patient/([A-Za-z0-9.-]+)', example.body)}
    for id_ in sorted(named):
        his.put(f"Patient/{id_.decode()}", {"resourceType": "Patient", "id": id_.decode()})
    return his


def test_what_is_written_is_read_in_both_formats_with_nothing_lost_or_changed(
    examples: list[Example], his: Caller, caller: Callable[..., Caller], tell: Callable[[str], None]
) -> None:
    operator = caller("Client/operator", category="operator")
    failed: dict[str, str] = {}
    for example in examples:
        # The directory and the artefacts of conformance are kept by the operator, all else by establishments.
        writer = next((who for who in (his, operator) if _writes(who, example)), None)
        failed[example.name] = "not taken" if writer is None else _lost(writer, example)
    failed = {name: reason for name, reason in failed.items() if reason}
    tell(f"R4 examples over HTTP: {len(examples) - len(failed)} of {len(examples)} lose nothing in JSON and XML.")
    assert failed == {}


def test_what_was_not_played_is_named_with_its_reason(cases: Path | None, tell: Callable[[str], None]) -> None:
    given = set() if cases is None else {path.stem for path in (cases / "r4-examples").glob("*.json")}
    for name, reason in sorted({**FAULTY, **NOT_WRITABLE}.items()):
        if name in given:
            tell(f"  not played: {name}: {reason}")
    assert cases is None or set(NOT_WRITABLE) <= given


def _writes(who: Caller, example: Example) -> bool:
    return who.put(example.path, example.body).status_code in {200, 201}


def _lost(who: Caller, example: Example) -> str:
    """What the server lost of an example, in words; nothing where it lost nothing."""
    in_json = who.get(example.path, Accept=FHIR_JSON)
    if _content(verbatim(in_json.data)) != _content(example.value):
        return "JSON differs from what was sent"
    in_xml = who.get(example.path, Accept=FHIR_XML)
    if in_xml.content_type != f"{FHIR_XML}; charset=utf-8" or _exact(to_json(in_xml.data)) != _exact(in_json.data):
        return "XML differs from JSON"
    if _exact(to_json(to_xml(in_json.data))) != _exact(in_json.data):
        return "JSON to XML to JSON differs"
    again = who.request("PUT", f"/{example.path}", in_xml.data, Content_Type=FHIR_XML)
    if again.status_code not in {200, 201} or _content(verbatim(again.data)) != _content(example.value):
        return f"written back in XML it is another: {again.text}"
    return ""


def _content(value: dict[str, Any]) -> Any:
    """The resource without what the server sets."""
    meta = {name: one for name, one in value.get("meta", {}).items() if name not in {"versionId", "lastUpdated"}}
    return _literals({**value, "meta": meta})


def _exact(body: bytes) -> Any:
    return _literals(verbatim(body))


def _literals(value: Any) -> Any:
    """A value that compares by digits: 1.50 is not 1.5."""
    if isinstance(value, msgspec.Raw):
        return ("literal", bytes(value))
    if isinstance(value, dict):
        return {name: _literals(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_literals(one) for one in value]
    return (type(value), value)
