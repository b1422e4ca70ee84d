"""The FHIRPath suite, played against the part of FHIRPath that a patch may use.

`FHIR_CASES` names the folder whose `fhirpath` is played (FHIR/fhir-test-cases, Apache-2.0); without it cases of our own
stand in, and the run says so. A path of a patch names places, so most of the suite (arithmetic, conversions, dates,
strings) is to be refused when it is read: a refusal is counted and its reason told, and never an answer that differs.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any
from xml.etree import ElementTree as ET

from resources.patch.document import MalformedPatchError, PatchError
from resources.patch.element import Place
from resources.patch.path import Budget, Path
from resources.xml import Invalid, to_json

WITHOUT_INPUT = "patient-example.xml"
"""What a case without an input is asked of: it is about literals alone."""

NOT_R4 = {"observation-example.xml": "an extension stands after an element that it must precede"}
"""Inputs that are no XML of R4, with the reason."""

FAILING = {
    "testFHIRPathAsFunction11": "a code is taken for the string that it is derived from",
    "testFHIRPathAsFunction16": "a code is taken for the string that it is derived from",
}
"""Cases with another outcome than the published one, with the reason."""

PATIENT = {"resourceType": "Patient", "active": True, "name": [{"given": ["Ada", "Eve"]}]}


@dataclass(frozen=True)
class Case:
    """One case: its input, and what it finds; None where it is to be refused."""

    name: str
    expression: str
    input: str
    outputs: list[str] | None
    is_predicate: bool = False


OWN = [
    Case("own-path", "Patient.name.given[1]", "own", ["Eve"]),
    Case("own-predicate", "Patient.active", "own", ["true"], is_predicate=True),
    Case("own-arithmetic", "1 + 1", "own", ["2"]),
    Case("own-invalid", "Patient.name.given1", "own", None),
]


def read(folder: File) -> list[Case]:
    """The cases of the suite."""
    found = []
    for test in ET.parse(folder / "tests-fhir-r4.xml").iter("test"):  # noqa: S314 - a file of the operator
        expression = test.find("expression")
        assert expression is not None
        is_invalid = "invalid" in expression.attrib or "invalid" in test.attrib
        outputs = None if is_invalid else [(one.text or "").lstrip("@") for one in test.findall("output")]
        input_ = test.get("inputfile") or WITHOUT_INPUT
        if not (folder / input_).exists():
            input_ = next(folder.glob(f"{File(input_).stem}.*")).name
        name = test.get("name") or ""
        found.append(Case(name, expression.text or "", input_, outputs, test.get("predicate") == "true"))
    return found


def inputs(folder: File) -> dict[str, Any]:
    """The resources that cases are asked of, those apart that cannot be read."""
    found = {}
    for file in folder.iterdir():
        body = file.read_bytes()
        if file.suffix == ".json":
            found[file.name] = json.loads(body)
        elif not file.name.startswith("tests-"):
            try:
                found[file.name] = json.loads(to_json(body))
            except Invalid:
                assert file.name in NOT_R4
    return found


def found(case: Case, resource: Mapping[str, Any]) -> list[str]:
    """What the expression finds, as the suite writes it. Raises PatchError where it is refused."""
    items: list[Any] = [*Path.read(case.expression).find(dict(resource), Budget())]
    values = [item.value if isinstance(item, Place) else item for item in items]
    if case.is_predicate:  # a single element that is no boolean counts as true
        values = [bool(values) if len(values) != 1 or not isinstance(values[0], bool) else values[0]]
    return [str(value).lower() if isinstance(value, bool) else str(value) for value in values]


def reason(error: MalformedPatchError) -> str:
    """Why an expression was refused, without the expression."""
    text = str(error)
    if " cannot be read at character " in text:
        return "a character that no path of a patch has"
    return text.rpartition("cannot be read: ")[2]


def test_every_fhirpath_case_is_answered_as_published_or_refused(
    cases: File | None, tell: Callable[[str], None]
) -> None:
    folder = None if cases is None else cases / "fhirpath"
    resources = {"own": PATIENT} if folder is None else inputs(folder)
    played = [case for case in (OWN if folder is None else read(folder)) if case.input in resources]
    agreeing, failing, refused = 0, [], defaultdict(list)
    for case in played:
        try:
            outcome = found(case, resources[case.input])
        except MalformedPatchError as error:
            if case.outputs is None:
                agreeing += 1
            else:
                refused[reason(error)].append(case.name)
            continue
        except PatchError:
            outcome = None
        if outcome == case.outputs:
            agreeing += 1
        else:
            failing.append(case.name)
    beyond = sum(map(len, refused.values()))
    tell(f"FHIRPath suite: {agreeing} of {len(played)} cases as published, {beyond} refused as beyond a patch,")
    tell(f"  {len(failing)} otherwise; not played: {', '.join(f'{name} ({why})' for name, why in NOT_R4.items())}")
    for why, names in sorted(refused.items(), key=lambda one: -len(one[1])):
        tell(f"  refused, {why}: {len(names)} ({', '.join(names)})")
    assert set(failing) == (set() if folder is None else set(FAILING))
