"""The paths of a FHIRPath Patch: what they find, and what they may not ask."""

from __future__ import annotations

from typing import Any

import fhirpathpy
import pytest
from fhirpathpy.models import models
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.exact import Literal
from resources.patch.document import CostlyPatchError, InapplicablePatchError, MalformedPatchError
from resources.patch.path import LONGEST, Budget, Path

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p",
    "active": True,
    "name": [
        {"use": "official", "family": "Martin", "given": ["Ada", "Eve"], "_given": [None, {"id": "e"}]},
        {"use": "nickname", "given": ["Addie"], "extension": [{"url": "http://x", "valueInteger": 3}]},
    ],
    "telecom": [{"system": "phone", "rank": 1}, {"system": "email", "rank": 2}, {"system": "phone", "rank": 3}],
    "birthDate": "1980",
    "_birthDate": {"extension": [{"url": "http://t", "valueTime": "10:00:00"}]},
    "deceasedBoolean": False,
    "contained": [{"resourceType": "Organization", "id": "o", "name": "here"}],
}


def found(path: str, resource: dict[str, Any] = PATIENT) -> list[Any]:
    return [place.value for place in Path.read(path).find(resource, Budget())]


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("Patient.birthDate", ["1980"]),
        ("birthDate", ["1980"]),
        ("Patient.name.given", ["Ada", "Eve", "Addie"]),
        ("Patient.name[0].given[1]", ["Eve"]),
        ("Patient.name[7]", []),
        ("Patient.name.where(use = 'official').given", ["Ada", "Eve"]),
        ("Patient.name.where(given.exists($this = 'Addie')).use", ["nickname"]),
        ("Patient.name.where(family.exists().not()).use", ["nickname"]),
        ("Patient.name.where(family.empty() and use != 'official').use", ["nickname"]),
        ("Patient.telecom.where(system='phone' and rank=3).rank", [3]),
        ("Patient.telecom.where(system='phone' xor rank=1).rank", [3]),
        ("Patient.telecom.where(system='email' implies rank=9).rank", [1, 3]),
        ("Patient.telecom.where((rank = 1 or rank = 2) and system = 'email').rank", [2]),
        ("Patient.telecom.first().rank", [1]),
        ("Patient.telecom.last().rank", [3]),
        ("Patient.telecom.tail().first().rank", [2]),
        ("Patient.telecom.skip(1).take(1).rank", [2]),
        ("Patient.telecom.where(system.startsWith('ph')).rank", [1, 3]),
        ("Patient.name.where(given.count() = 2).family", ["Martin"]),
        ("Patient.name.where(given.all(hasValue())).use", ["official", "nickname"]),
        ("Patient.deceased", [False]),
        ("Patient.deceased as boolean", [False]),
        ("(Patient.deceased as dateTime)", []),
        ("Patient.deceased.ofType(boolean)", [False]),
        ("Patient.name.extension('http://x').value", [3]),
        ("Patient.birthDate.extension('http://t').value", ["10:00:00"]),
        ("Patient.contained.ofType(Organization).name", ["here"]),
        ("DomainResource.id", ["p"]),
        ("Patient.`birthDate`", ["1980"]),
        ("Patient.name.where(family = 'Mar\\u0074in').use", ["official"]),
    ],
)
def test_a_path_finds_its_elements(path: str, values: list[Any]) -> None:
    assert found(path) == values


def quantified(*values: Any) -> dict[str, Any]:
    """A resource with an extension for each value."""
    return {"resourceType": "Basic", "extension": [{"url": f"u{n}", **value} for n, value in enumerate(values)]}


@pytest.mark.parametrize(
    ("one", "other", "are_equal"),
    [
        ({"value": Literal("1.50"), "unit": "mg"}, {"unit": "mg", "value": Literal("1.5")}, True),
        ({"value": 1, "unit": "mg"}, {"value": 1}, False),
        ({"value": 1, "unit": "mg"}, {"value": 1, "unit": "g"}, False),
        ({"value": 1, "code": "mg"}, {"value": 1, "unit": "mg"}, False),
        ({"extension": [{"url": "a"}, {"url": "b"}]}, {"extension": [{"url": "a"}, {"url": "b"}]}, True),
        ({"extension": [{"url": "a"}, {"url": "b"}]}, {"extension": [{"url": "b"}, {"url": "a"}]}, False),
        ({"extension": [{"url": "a"}]}, {"extension": [{"url": "a"}, {"url": "b"}]}, False),
        (
            {"extension": [{"url": "a", "valueBoolean": True}]},
            {"extension": [{"url": "a", "valueBoolean": 1}]},
            False,
        ),
    ],
)
def test_complex_values_are_equal_where_every_part_is(
    one: dict[str, Any], other: dict[str, Any], *, are_equal: bool
) -> None:
    resource = quantified({"valueQuantity": one}, {"valueQuantity": other})
    path = "Basic.where(extension('u0').value {} extension('u1').value).extension.first()"
    assert bool(found(path.format("="), resource)) is are_equal
    assert bool(found(path.format("!="), resource)) is not are_equal


def test_the_parts_of_complex_values_that_are_compared_are_counted() -> None:
    many = {"extension": [{"url": str(n)} for n in range(500)]}
    path = Path.read("Basic.where(extension('u0').value = extension('u1').value)")
    resource = quantified({"valueQuantity": many}, {"valueQuantity": many})
    path.find(resource, Budget(1_100))
    with pytest.raises(CostlyPatchError):
        path.find(resource, Budget(1_000))


@pytest.mark.parametrize(
    "path",
    [
        "", ".", "Patient.", "Patient..name", "Patient.name[", "Patient.name[x]", "Patient.name]", "Patient name",
        "Patient.name.where(", "Patient.name.where()", "Patient.name.where(use=)", "Patient.name where",
        "Patient.name;", "Patient.name.matches('a+')", "Patient.repeat(name)", "Patient.descendants()",
        "Patient.children()",
        "Patient.name.resolve()", "Patient.name.select(use)", "Patient.name | Patient.telecom", "%resource.name",
        "Patient.name.where(use ~ 'x')", "Patient.name.where(rank > 1)", "Patient.name.ofType(Nosuch)", "$index",
        "Patient.name.trace('x')", "Patient.name.first(1)", "Patient.name.skip('1')", "Patient.name.where(use='x",
        "Patient." + "a" * LONGEST, "Patient.name.where(" * 30 + ")" * 30,
    ],
)  # fmt: skip
def test_what_is_no_path_of_a_patch_is_refused_before_it_is_asked(path: str) -> None:
    with pytest.raises(MalformedPatchError):
        Path.read(path)


@pytest.mark.parametrize(
    "path",
    ["Patient.nosuch", "Observation.status", "Patient.birthDate.nosuch", "Patient.name.single()",
     "Patient.name.where(given)", "Patient.name.where(nosuch = 'x')", "Patient.deceasedBoolean",
     "Patient.name.as(HumanName).use", "Patient.where(name.contains('x'))",
     "Patient.telecom.where(rank.startsWith('1'))"],
)  # fmt: skip
def test_a_path_that_cannot_be_right_says_so(path: str) -> None:
    with pytest.raises(InapplicablePatchError):
        found(path)


def test_the_elements_looked_at_are_counted() -> None:
    many = {"resourceType": "Patient", "telecom": [{"rank": 1} for _ in range(2_000)]}
    budget = Budget(15_000)
    path = Path.read("Patient.telecom.where(rank = 2)")
    assert path.find(many, budget) == []
    with pytest.raises(CostlyPatchError):
        path.find(many, budget)


@pytest.mark.parametrize("function", ["contains", "startsWith", "endsWith"])
def test_the_characters_looked_at_are_counted_too(function: str) -> None:
    long = {"resourceType": "Patient", "name": [{"text": "a" * 100_000} for _ in range(20)]}
    path = Path.read(f"Patient.name.where(text.{function}('b'))")
    assert path.find(long, Budget(25_000)) == []
    with pytest.raises(CostlyPatchError):
        path.find(long, Budget(15_000))


def test_the_length_of_the_texts_compared_is_counted() -> None:
    long = {"resourceType": "Patient", "telecom": [{"value": "a" * 1_000_000, "use": "aa" * 500_000}]}
    short = {"resourceType": "Patient", "telecom": [{"value": "a" * 1_000, "use": "aa" * 500}]}
    path = Path.read("Patient.telecom.where(value = use and value = use)")
    budget = Budget(15_000)
    for _ in range(100):
        assert path.find(short, budget) != []
    with pytest.raises(CostlyPatchError):
        path.find(long, budget)


# Against fhirpathpy, which gives values only

_STEPS = st.sampled_from([
    ".name", ".telecom", ".given", ".use", ".system", ".rank", ".family", ".first()", ".last()", ".tail()", "[0]",
    "[1]", ".skip(1)", ".take(1)", ".where(use = 'official')", ".where(system = 'phone' and rank = 1)",
    ".where(rank = 1 or rank = 3)", ".where(family.exists())", ".where(given.empty())", ".where(rank != 2)",
])  # fmt: skip


@given(st.lists(_STEPS, min_size=1, max_size=4))
@settings(max_examples=200, deadline=None)
def test_a_path_finds_what_fhirpathpy_finds(steps: list[str]) -> None:
    path = "Patient" + "".join(steps)
    plain = {name: value for name, value in PATIENT.items() if not name.startswith("_") and name != "contained"}
    plain["name"] = [{key: one for key, one in name.items() if key != "_given"} for name in plain["name"]]
    try:
        values = found(path, plain)
    except InapplicablePatchError:
        return  # a name that is no element there, which fhirpathpy passes over
    assert values == fhirpathpy.evaluate(plain, path, model=models["r4"])
