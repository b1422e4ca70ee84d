"""What makes one resource into another (https://hl7.org/fhir/R4/fhirpatch.html), applied again to see."""

from __future__ import annotations

import copy
import json
import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources import validation
from resources.differences import differences
from resources.exact import encode
from resources.structure import structures
from resources.validation import parse

PATIENT = {
    "resourceType": "Patient",
    "active": True,
    "_birthDate": {"extension": [{"url": "urn:x", "valueString": "why"}]},
    "name": [{"family": "Martin", "given": ["Ada", "B"]}, {"text": "Ada"}],
    "contact": [{"name": {"family": "Near"}, "telecom": [{"value": "1"}]}],
    "deceasedBoolean": False,
    "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'},
    "extension": [{"url": "urn:e", "valueQuantity": {"value": Decimal("1.50")}}],
    "contained": [{"resourceType": "Organization", "id": "o", "name": "O"}],
}


def patch(old, new, type_="Patient"):
    operations = differences(type_, old, new)
    if operations:
        validation.check("Parameters", encode({"resourceType": "Parameters", "parameter": operations}))
    return operations


def simple(operation):
    said = {}
    for part in operation["part"]:
        values = [value for name, value in part.items() if name.startswith("value")]
        said[part["name"]] = values[0] if values else part.get("part", part.get("resource"))
    return said


def changed(**elements):
    made = copy.deepcopy(PATIENT)
    for name, value in elements.items():
        if value is None:
            made.pop(name)
        else:
            made[name] = value
    return made


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({}, []),
        ({"active": False}, [{"type": "replace", "path": "Patient.active", "previousValue": True, "value": False}]),
        ({"active": None}, [{"type": "delete", "path": "Patient.active"}]),
        ({"gender": "female"}, [{"type": "add", "path": "Patient", "name": "gender", "value": "female"}]),
        (
            {"name": [{"family": "Martin", "given": ["Ada", "C"]}, {"text": "Ada"}]},
            [{"type": "replace", "path": "Patient.name[0].given[1]", "previousValue": "B", "value": "C"}],
        ),
        ({"name": [{"text": "Ada"}]}, [{"type": "delete", "path": "Patient.name[0]"}]),
        (
            {"name": [{"text": "new"}, *PATIENT["name"]]},
            [{"type": "insert", "path": "Patient.name", "index": 0, "value": {"text": "new"}}],
        ),
        (
            {"deceasedBoolean": None, "deceasedDateTime": "2020"},
            [{"type": "replace", "path": "Patient.deceased", "previousValue": False, "value": "2020"}],
        ),
        (
            {"extension": [{"url": "urn:e", "valueQuantity": {"value": Decimal("1.5")}}]},
            [{"type": "replace", "path": "Patient.extension[0].value.value", "previousValue": Decimal("1.50"),
              "value": Decimal("1.5")}],
        ),
        (
            {"contact": [*PATIENT["contact"], {"name": {"text": "Far"}}]},
            [{"type": "add", "path": "Patient", "name": "contact",
              "value": [{"name": "name", "valueHumanName": {"text": "Far"}}]}],
        ),
        ({"link": [], "name": PATIENT["name"]}, []),
    ],
)  # fmt: skip
def test_a_change_is_said_as_one_operation(elements, expected):
    assert [simple(one) for one in patch(PATIENT, changed(**elements))] == expected


def test_the_order_of_members_is_no_difference():
    assert patch(PATIENT, dict(reversed(PATIENT.items()))) == []


# A small reader of such patches, to see that they do what they say.


def apply(resource, operations):
    made = copy.deepcopy(resource)
    for operation in operations:
        _apply(made, {part["name"]: part for part in operation["part"]})
    return made


def _apply(made, parts):
    path = parts["path"]["valueString"]
    kind = parts["type"]["valueCode"]
    if kind == "add":
        node, type_ = _at(made, path)
        _put(node, type_, parts["name"]["valueString"], parts["value"], index=None)
        return
    owner, _, last = path.rpartition(".")
    node, type_ = _at(made, owner)
    name, index = re.fullmatch(r"(\w+)(?:\[(\d+)\])?", last).groups()
    if kind == "insert":
        _put(node, type_, name, parts["value"], index=parts["index"]["valueInteger"])
        return
    _take(node, type_, name, None if index is None else int(index))
    if kind == "replace":
        _put(node, type_, name, parts["value"], index=None if index is None else int(index))


def _members(node, type_, name):
    return [(member, member_type) for member, member_type in structures()[type_].elements[name].json_names(name)]


def _at(made, path):
    first, *steps = path.split(".")
    node, type_ = made, first
    for step in steps:
        name, index = re.fullmatch(r"(\w+)(?:\[(\d+)\])?", step).groups()
        [(node, type_)] = [(node[member], kind) for member, kind in _members(node, type_, name) if member in node]
        if index is not None:
            node = node[int(index)]
    return node, type_


def _take(node, type_, name, index):
    for member, _ in _members(node, type_, name):
        for each in (member, f"_{member}"):
            if each in node and index is None:
                del node[each]
            elif each in node:
                del node[each][index]
                if not node[each]:
                    del node[each]


def _put(node, type_, name, part, index):
    element = structures()[type_].elements[name]
    stated = [member for member in part if member.startswith("value")]
    kinds = dict(_members(node, type_, name))
    member = f"{name}{stated[0].removeprefix('value')}" if element.choice else name
    assert member in kinds
    value = part[stated[0]] if stated else part.get("resource") or _of_parts(kinds[member], part["part"])
    if element.many:
        values = node.setdefault(member, [])
        values.insert(len(values) if index is None else index, value)
    else:
        node[member] = value
        if extra := [part[each] for each in part if each.startswith("_value")]:
            node[f"_{member}"] = extra[0]


def _of_parts(type_, parts):
    made = {}
    for part in parts:
        _put(made, type_, part["name"], part, index=None)
    return made


_WORD = st.sampled_from(["a", "b", "c"])
_NAME = st.fixed_dictionaries({}, optional={"family": _WORD, "given": st.lists(_WORD, min_size=1, max_size=4)})
_CONTACT = st.fixed_dictionaries(
    {"gender": st.sampled_from(["male", "female"])},
    optional={
        "name": _NAME.filter(bool),
        "telecom": st.lists(st.fixed_dictionaries({"system": st.just("other"), "value": _WORD}), min_size=1),
    },
)
_EXTENSION = st.one_of(
    st.fixed_dictionaries({"url": _WORD, "valueString": _WORD}),
    st.fixed_dictionaries({"url": _WORD, "valueInteger": st.integers(0, 3)}),
)
_PATIENT = st.fixed_dictionaries(
    {"resourceType": st.just("Patient")},
    optional={
        "active": st.booleans(),
        "name": st.lists(_NAME.filter(bool), min_size=1, max_size=5),
        "contact": st.lists(_CONTACT, min_size=1, max_size=4),
        "extension": st.lists(_EXTENSION, min_size=1, max_size=3),
        "multipleBirthInteger": st.integers(0, 2),
        "maritalStatus": st.fixed_dictionaries({"text": _WORD}),
    },
)


@given(_PATIENT, _PATIENT)
def test_what_is_said_makes_the_one_into_the_other(old, new):
    made = apply(old, patch(old, new))
    assert parse(json.dumps(made, sort_keys=True).encode()) == parse(json.dumps(new, sort_keys=True).encode())


def test_long_lists_are_compared_place_by_place():
    old = {"resourceType": "Patient", "name": [{"text": str(i)} for i in range(600)]}
    new = {"resourceType": "Patient", "name": [{"text": str(i)} for i in range(1, 700)]}
    assert apply(old, differences("Patient", old, new)) == new
