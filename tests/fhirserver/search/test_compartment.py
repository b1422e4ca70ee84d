"""Compartments as criteria, by the published definitions."""

from __future__ import annotations

import pytest

from fhirserver.search.compartment import COMPARTMENTS, members, within
from fhirserver.search.expression import Any, Equals, Never
from resources import SUPPORTED
from resources.declaration import compartment


def test_a_resource_belongs_by_any_of_the_parameters_of_its_type():
    assert within("Patient", "p", "ImagingStudy") == Equals("patient\x1fPatient/p")
    assert within("Patient", "p", "AllergyIntolerance") == Any(
        tuple(Equals(f"{name}\x1fPatient/p") for name in ("patient", "recorder", "asserter"))
    )


@pytest.mark.parametrize("code", COMPARTMENTS)
def test_a_resource_is_in_its_own_compartment_and_a_type_without_place_in_none(code):
    own = within(code, "x", code)
    assert Equals("_id\x1f|x") in (own.parts if isinstance(own, Any) else (own,))
    assert members(code)[0] == code
    assert within(code, "x", "Organization") == Never()


@pytest.mark.parametrize("code", COMPARTMENTS)
def test_every_parameter_of_a_definition_is_declared_and_may_refer_to_its_resource(code):
    for type_, names in compartment(code).items():
        for name in set(names) - {"{def}"}:
            targets = SUPPORTED[type_].parameters[name].targets
            assert not targets or code in targets


def test_the_compartment_of_a_device_is_the_published_one_and_not_the_example():
    assert set(compartment("Device")["DeviceRequest"]) == {"device", "subject", "requester", "performer"}
    assert len(compartment("Device")) == 32
