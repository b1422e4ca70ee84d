"""Published cases of JSON Patch and of FHIRPath Patch, each played and each that fails named with its reason.

`FHIR_CASES` names the folder whose `patch` is played: the tests of json-patch/json-patch-tests, and those of
FHIR/fhir-test-cases turned into JSON (both Apache-2.0). Without it a few of our own stand in, and the run says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resources.patch.document import MalformedPatchError, PatchError, patched
from resources.patch.fhirpath_patch import FhirpathPatch
from resources.patch.json_patch import JsonPatch
from tests.fhirserver.rest.conftest import Caller

Case = dict[str, Any]

JSON_PATCH = ("json-patch-spec-tests.json", "json-patch-tests.json")

FAILING: dict[str, str] = {}
"""Enabled cases with another outcome than the published one, by file and position, each with the reason."""

FAILING_OVER_HTTP = {
    "Delete Nested Primitive #2": "a contact with a gender alone is left, which breaks pat-1",
    "Consecutive operations": "a contact with a gender alone is left, which breaks pat-1",
}
"""FHIRPath Patch cases with another outcome over HTTP, with the reason."""

OWN_JSON_PATCH: list[Case] = [
    {"doc": {"foo": "bar"}, "patch": [{"op": "add", "path": "/baz", "value": 1}], "expected": {"foo": "bar", "baz": 1}},
    {"doc": {"foo": "bar"}, "patch": [{"op": "test", "path": "/foo", "value": 1}], "error": "not equal"},
]
OWN_FHIRPATH_PATCH: list[Case] = [
    {
        "name": "own",
        "input": {"resourceType": "Patient", "birthDate": "1920-01-01"},
        "diff": {
            "resourceType": "Parameters",
            "parameter": [
                {
                    "name": "operation",
                    "part": [
                        {"name": "type", "valueCode": "delete"},
                        {"name": "path", "valueString": "Patient.birthDate"},
                    ],
                }
            ],
        },
        "output": {"resourceType": "Patient"},
    }
]


def read(cases: Path | None, name: str, own: list[Case]) -> list[Case]:
    return own if cases is None else json.loads((cases / "patch" / name).read_bytes())


def outcome(case: Case) -> Any:
    """What a JSON Patch case leaves; None where it is refused."""
    try:
        return JsonPatch.read(json.dumps(case["patch"]).encode()).apply(case["doc"], 1_000_000)
    except PatchError:
        return None


@pytest.mark.parametrize("name", JSON_PATCH)
def test_every_json_patch_case_has_its_outcome(cases: Path | None, tell: Callable[[str], None], name: str) -> None:
    played = read(cases, name, OWN_JSON_PATCH)
    enabled = [(place, case) for place, case in enumerate(played) if not case.get("disabled")]
    failing = {
        f"{name}#{place}": case
        for place, case in enabled
        if outcome(json.loads(json.dumps(case))) != (None if "error" in case else case.get("expected", case["doc"]))
    }
    counts = f"{len(enabled) - len(failing)} of {len(enabled)} cases, {len(played) - len(enabled)} disabled"
    tell(f"JSON Patch, {name}: {counts}")
    assert failing.keys() == {one for one in FAILING if one.startswith(name)}


def test_an_operation_that_names_a_member_twice_is_no_patch() -> None:
    """The published cases of this are disabled, since JSON readers lose the second name; ours does not."""
    for body in (
        b'[{"op":"add","path":"/baz","value":"qux","op":"remove"}]',
        b'[{"op":"move","path":"/baz","value":"qux","from":"/foo","op":"move"}]',
    ):
        with pytest.raises(MalformedPatchError):
            JsonPatch.read(body)


def test_every_fhirpath_patch_case_has_its_outcome(cases: Path | None, tell: Callable[[str], None]) -> None:
    played = read(cases, "fhirpath-patch-cases.json", OWN_FHIRPATH_PATCH)
    failing = []
    for case in played:
        patch = FhirpathPatch.read(json.dumps(case["diff"]).encode())
        left = json.loads(patched(json.dumps(case["input"]).encode(), patch, most_bytes=1_000_000))
        if left != case["output"]:
            failing.append(case["name"])
    tell(f"FHIRPath Patch: {len(played) - len(failing)} of {len(played)} cases")
    assert failing == []


def test_every_fhirpath_patch_case_has_its_outcome_over_http(
    cases: Path | None, tell: Callable[[str], None], caller: Callable[..., Caller]
) -> None:
    his = caller("Client/his-e1", organization="Organization/e1")
    played = read(cases, "fhirpath-patch-cases.json", OWN_FHIRPATH_PATCH)
    failing = []
    for case in played:
        made = his.post("Patient", {name: value for name, value in case["input"].items() if name != "id"})
        response = his.request("PATCH", f"Patient/{made.json['id']}", case["diff"])
        left = {name: value for name, value in response.json.items() if name not in {"id", "meta"}}
        if left != {name: value for name, value in case["output"].items() if name != "id"}:
            failing.append(case["name"])
    tell(f"FHIRPath Patch over HTTP: {len(played) - len(failing)} of {len(played)} cases")
    assert set(failing) == set(FAILING_OVER_HTTP) & {case["name"] for case in played}
