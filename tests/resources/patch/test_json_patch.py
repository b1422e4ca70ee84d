"""JSON Patch and merge patch on exact values: what is counted, what is kept, what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.exact import members_of, parse_literally
from resources.patch.document import (
    CostlyPatchError,
    InapplicablePatchError,
    MalformedPatchError,
    patched,
)
from resources.patch.json_patch import JsonPatch
from resources.patch.merge_patch import MergePatch, merged

NUMBERS = ("1.50", "1e2", "-0", "-0.0", "1.5E-10", "100", "0.1000000000000000000000001", "12345678901234567890")


def read(*operations: dict[str, Any]) -> JsonPatch:
    return JsonPatch.read(json.dumps(operations).encode())


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_that_is_moved_copied_or_passed_over_keeps_its_digits(number: str) -> None:
    body = f'{{"resourceType":"X","a":{{"n":{number}}},"b":[{number}]}}'.encode()
    patch = read(
        {"op": "move", "from": "/a/n", "path": "/a/m"},
        {"op": "copy", "from": "/a/m", "path": "/c"},
        {"op": "add", "path": "/b/0", "value": "x"},
    )
    left = patched(body, patch, most_bytes=1_000)
    assert left == f'{{"resourceType":"X","a":{{"m":{number}}},"b":["x",{number}],"c":{number}}}'.encode()


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_that_is_sent_keeps_its_digits(number: str) -> None:
    body = b'{"resourceType":"X"}'
    added = JsonPatch.read(f'[{{"op":"add","path":"/a","value":{number}}}]'.encode())
    wanted = f'{{"resourceType":"X","a":{number}}}'.encode()
    assert patched(body, added, most_bytes=0) == wanted
    assert patched(body, MergePatch.read(f'{{"a":{number}}}'.encode()), most_bytes=0) == wanted


def test_numbers_are_tested_by_their_value() -> None:
    assert read({"op": "test", "path": "/a", "value": 1.5}).apply(parse_literally(b'{"a":1.50}'), 0) is not None
    for value in (True, "1", 1.51):
        with pytest.raises(InapplicablePatchError):
            read({"op": "test", "path": "/a", "value": value}).apply(parse_literally(b'{"a":1}'), 0)


def test_a_patch_of_text_that_looks_otherwise_and_means_the_same_changes_nothing() -> None:
    body = b'{ "resourceType" : "X", "t" : "\\u00e9\\/", "n" : [ 1.50 ] }'
    same = read({"op": "replace", "path": "/t", "value": "\u00e9/"})
    assert members_of(patched(body, same, most_bytes=0)) == members_of(body)


def test_what_is_copied_is_counted() -> None:
    body = b'{"resourceType":"X","a":["0123456789"]}'
    grow = [{"op": "copy", "from": "/a", "path": "/a/-"} for _ in range(60)]
    with pytest.raises(CostlyPatchError):
        patched(body, read(*grow), most_bytes=10_000)


def test_operations_are_counted() -> None:
    with pytest.raises(CostlyPatchError):
        read(*[{"op": "test", "path": "/a", "value": 1}] * 1_001)


def test_a_result_that_is_nested_too_deeply_is_refused() -> None:
    value: Any = 1
    for _ in range(400):
        value = [value]
    sent = json.dumps([{"op": "add", "path": "/a", "value": value}]).encode()
    deepen = JsonPatch.read(sent[:-1] + b',{"op":"move","from":"/a","path":"/b"}]')
    assert patched(b'{"resourceType":"X"}', deepen, most_bytes=0)  # the gate refuses it
    with pytest.raises(MalformedPatchError):
        JsonPatch.read(b'[{"op":"add","path":"/a","value":' + b"[" * 5_000 + b"]" * 5_000 + b"}]")


@pytest.mark.parametrize("pointer", ["a", "/a~", "/a~2"])
def test_what_is_no_pointer_is_no_patch(pointer: str) -> None:
    for operation in (
        {"op": "remove", "path": pointer},
        {"op": "copy", "path": "/a", "from": pointer},
        {"op": "move", "path": "/a", "from": 1},
    ):
        with pytest.raises(MalformedPatchError):
            read(operation)


def test_a_refusal_does_not_quote_what_is_in_the_resource() -> None:
    for operation in (
        {"op": "test", "path": "/a", "value": "x"},
        {"op": "add", "path": "/a/b", "value": 1},
        {"op": "remove", "path": "/a/b"},
    ):
        with pytest.raises(InapplicablePatchError) as refused:
            read(operation).apply({"a": "secret"}, 0)
        assert "secret" not in str(refused.value)


# Properties

_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.text(max_size=5), st.sampled_from(NUMBERS).map(float)
)
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip
_objects = st.dictionaries(st.text(max_size=3), _values, max_size=4)


def merge_of_the_rfc(target: Any, patch: Any) -> Any:
    """RFC 7396 section 2, in the words of its pseudocode."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            if name in result:
                del result[name]
        else:
            result[name] = merge_of_the_rfc(result.get(name), value)
    return result


@given(_objects, _objects)
@settings(deadline=None)
def test_a_merge_patch_is_that_of_the_rfc(target: Any, patch: Any) -> None:
    wanted = merge_of_the_rfc(target, patch)
    assert merged(json.loads(json.dumps(target)), patch) == wanted


@given(_objects, st.sampled_from(NUMBERS))
@settings(deadline=None)
def test_members_that_no_patch_names_keep_their_text(target: dict[str, Any], number: str) -> None:
    members = {name: value for name, value in target.items() if name not in {"resourceType", "touched", "number"}}
    body = json.dumps(members, indent=1).encode()
    start = b'{"resourceType":"X","number" : ' + number.encode() + (b"," if members else b"")
    body = start + body[1:]
    for patch in (
        read({"op": "add", "path": "/touched", "value": 1}, {"op": "test", "path": "/touched", "value": 1}),
        MergePatch.read(b'{"touched":1}'),
    ):
        after = members_of(patched(body, patch, most_bytes=0))
        assert bytes(after.pop("touched")) == b"1"
        assert {name: bytes(text) for name, text in after.items()} == {
            name: bytes(text) for name, text in members_of(body).items()
        }


def test_what_would_come_after_the_end_of_a_list_is_not_there_to_be_copied() -> None:
    patch = JsonPatch.read(b'[{"op":"copy","from":"/name/-","path":"/language"}]')
    with pytest.raises(InapplicablePatchError):
        patched(b'{"resourceType":"Patient","name":[{"family":"N"}]}', patch, most_bytes=1000)
