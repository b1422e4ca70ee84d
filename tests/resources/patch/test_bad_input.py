"""Whatever is sent as a patch, it is done or refused in words: no other error, no endless work."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.patch.document import Patch, PatchError, patched
from resources.patch.fhirpath_patch import FhirpathPatch
from resources.patch.json_patch import JsonPatch
from resources.patch.merge_patch import MergePatch
from resources.patch.path import Path
from resources.validation import Invalid, check

PATIENT = (
    b'{"resourceType":"Patient","id":"p","active":true,"name":[{"family":"A","given":["B","C"],"_given":[null,{"id":"x"}]}],'
    b'"telecom":[{"rank":1},{"rank":2}],"birthDate":"1980","_birthDate":{"id":"y"},"multipleBirthInteger":2,'
    b'"extension":[{"url":"http://x","valueDecimal":1.50}]}'
)
MOST = 50_000


def done(patch: Patch) -> None:
    """Apply, and let the gate look at what comes of it."""
    try:
        left = patched(PATIENT, patch, most_bytes=MOST)
        check("Patient", left, max_bytes=MOST)
    except (PatchError, Invalid):
        return
    assert json.loads(left)["id"] == "p"


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["family", "given", "_given", "", "~", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
_pointers = st.lists(
    st.sampled_from(["name", "0", "1", "-", "given", "_given", "birthDate", "id", "", "~0", "01", "-1", "x"]),
    max_size=4,
).map(lambda parts: "".join(f"/{part}" for part in parts))
_operations = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "spam"]), "path": _pointers},
    optional={"from": _pointers, "value": _values},
)


@given(st.lists(_operations, max_size=12))
@settings(deadline=None)
def test_any_json_patch(operations: list[Any]) -> None:
    try:
        patch = JsonPatch.read(json.dumps(operations).encode())
    except PatchError:
        return
    done(patch)


@given(_values)
@settings(deadline=None)
def test_any_merge_patch(members: Any) -> None:
    try:
        patch = MergePatch.read(json.dumps(members).encode())
    except PatchError:
        return
    done(patch)


_paths = st.lists(
    st.sampled_from([
        "Patient", ".name", ".given", ".telecom", ".birthDate", ".extension", ".value", ".id", "[0]", "[1]", ".first()",
        ".where(rank=1)", ".where(", ")", ".multipleBirth", " as ", "integer", ".extension('http://x')", ".x", "'", "`",
    ]),
    max_size=5,
).map("".join)  # fmt: skip
_sent = st.one_of(
    st.builds(lambda text: {"valueString": text}, st.text(max_size=3)),
    st.builds(lambda number: {"valueInteger": number}, st.integers(-(2**31), 2**31 - 1)),
    st.just({"valueHumanName": {"family": "Z"}}),
    st.just({"valueContactPoint": {"rank": 7}}),
    st.just({"valueExtension": {"url": "http://z", "valueCode": "z"}}),
    st.just({"_valueString": {"id": "z"}}),
    st.just({"part": [{"name": "family", "valueString": "Z"}, {"name": "given", "valueString": "Z"}]}),
    st.just({"resource": {"resourceType": "Basic", "code": {"text": "z"}}}),
)
_numbers = st.integers(-2, 4).map(lambda number: {"valueInteger": number})
_parts = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["add", "insert", "delete", "replace", "move"]).map(lambda code: {"valueCode": code}),
        "path": _paths.map(lambda path: {"valueString": path}),
    },
    optional={
        "name": st.sampled_from(["given", "name", "id", "multipleBirth", "multipleBirthInteger", "x"]).map(
            lambda name: {"valueString": name}
        ),
        "value": _sent,
        "index": _numbers,
        "source": _numbers,
        "destination": _numbers,
    },
)


@given(st.lists(_parts, max_size=4))
@settings(deadline=None, max_examples=300)
def test_any_fhirpath_patch(operations: list[dict[str, Any]]) -> None:
    wanted = {
        "add": {"name", "value"}, "insert": {"index", "value"}, "delete": set(), "replace": {"value"},
        "move": {"source", "destination"},
    }  # fmt: skip
    parameters = []
    for parts in operations:
        kept = {"type", "path"} | wanted[parts["type"]["valueCode"]]
        named = [{"name": name, **value} for name, value in parts.items() if name in kept]
        parameters.append({"name": "operation", "part": named})
    try:
        patch = FhirpathPatch.read(json.dumps({"resourceType": "Parameters", "parameter": parameters}).encode())
    except PatchError:
        return
    done(patch)


@given(st.text(alphabet="Patient.name[0]()'`$this where=and !,\\u1", max_size=40) | st.text(max_size=20))
@settings(deadline=None, max_examples=300)
def test_any_text_as_a_path(text: str) -> None:
    try:
        Path.read(text)
    except PatchError:
        return


@pytest.mark.parametrize("reader", [JsonPatch.read, MergePatch.read, FhirpathPatch.read])
@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a":' * 100_000, b"1e999999999999999999999", b"NaN", b'"\\ud800"']
)
def test_what_is_no_json_is_refused(reader: Any, body: bytes) -> None:
    with pytest.raises(PatchError):
        reader(body)


def test_a_patch_that_is_done_again_from_the_start_does_the_same() -> None:
    def operation(**parts: Any) -> dict[str, Any]:
        part = [{"name": name, **value} for name, value in parts.items()]
        return {"name": "operation", "part": part}

    name = {"valueHumanName": {"family": "N", "given": ["G"]}}
    add = {"valueCode": "add"}
    sent = {
        "resourceType": "Parameters",
        "parameter": [
            operation(type=add, path={"valueString": "Patient"}, name={"valueString": "name"}, value=name),
            operation(
                type=add,
                path={"valueString": "Patient.name[1]"},
                name={"valueString": "given"},
                value={"valueString": "H"},
            ),
        ],
    }
    patch = FhirpathPatch.read(json.dumps(sent).encode())
    first = patched(PATIENT, patch, most_bytes=MOST)
    assert json.loads(first)["name"][1]["given"] == ["G", "H"]
    assert patched(PATIENT, patch, most_bytes=MOST) == first
