from __future__ import annotations

from typing import Any

import pydantic
import pytest

from resources import models
from resources.validation import validate

TRANSLATED = {
    "resourceType": "Patient",
    "extension": [
        {"url": "http://example.org/name", "_valueString": {"extension": [{"url": "http://a", "valueCode": "nl"}]}}
    ],
}


def test_a_resource_of_our_own_is_built_and_passes_the_gate() -> None:
    built = models.build("Organization", {"name": "Centre", "telecom": [{"system": "phone", "value": "1"}]})
    assert built == {"resourceType": "Organization", "name": "Centre", "telecom": [{"system": "phone", "value": "1"}]}
    assert validate(built) == []


def test_what_does_not_fit_the_model_is_not_built() -> None:
    with pytest.raises(pydantic.ValidationError):
        models.build("Organization", {"nme": "Centre"})


@pytest.mark.parametrize("name", ["Evidence", "MedicinalProduct", "SubstancePolymer", "Citation", "Foo"])
def test_a_type_without_an_r4_model_is_not_built_and_has_no_opinion(name: str) -> None:
    with pytest.raises(models.UnmodelledTypeError):
        models.build(name, {})
    assert models.opinion({"resourceType": name}) == []


def test_extensions_inside_the_value_of_an_extension_are_valid_r4() -> None:
    assert validate(TRANSLATED) == []
    assert models.opinion(TRANSLATED) == []


def test_the_second_opinion_agrees_on_every_sample(samples: dict[str, Any]) -> None:
    assert {name: models.opinion(sample) for name, sample in samples.items() if models.opinion(sample)} == {}


@pytest.mark.parametrize(
    ("resource", "objection"),
    [
        ({"resourceType": "Patient", "foo": 1}, "foo"),
        ({"resourceType": "Patient", "contained": [{"resourceType": "Foo"}]}, "unknown resource type"),
    ],
)
def test_the_second_opinion_says_what_it_objects_to(resource: dict[str, Any], objection: str) -> None:
    (found,) = models.opinion(resource)
    assert objection in found
