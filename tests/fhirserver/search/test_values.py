"""The values stored for a resource: compact, stable, and there for whatever validation let through."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.errors import Unprocessable

PARIS = ZoneInfo("Europe/Paris")
DCM = "http://dicom.nema.org/resources/ontology/DCM"
MR_IMAGE = "urn:oid:1.2.840.10008.5.1.4.1.1.4"


def study(series=3, instances=20):
    return {
        "resourceType": "ImagingStudy",
        "id": "a",
        "meta": {"lastUpdated": "2024-01-01T10:00:00.123Z"},
        "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}],
        "status": "available",
        "subject": {"reference": "Patient/p"},
        "started": "2024-01-01T10:00:00+01:00",
        "modality": [{"system": DCM, "code": "MR"}],
        "series": [
            {
                "uid": f"1.2.3.{number}",
                "modality": {"system": DCM, "code": "MR"},
                "bodySite": {"system": "http://snomed.info/sct", "code": "69536005", "display": "Head"},
                "instance": [
                    {"uid": f"1.2.3.{number}.{index}", "sopClass": {"system": "urn:ietf:rfc:3986", "code": MR_IMAGE}}
                    for index in range(instances)
                ],
            }
            for number in range(series)
        ],
    }


def test_a_study_is_stored_as_these_values(written):
    """Pins the stored form: a change here asks for a reindexing of every database."""
    values = written(study(series=1, instances=2))
    assert values.tk == [
        "_id\x1f|a",
        "bodysite\x1fhttp://snomed.info/sct|69536005",
        "bodysite\x1f69536005",
        "bodysite:text\x1fhead",
        f"dicom-class\x1furn:ietf:rfc:3986|{MR_IMAGE}",
        f"dicom-class\x1f{MR_IMAGE}",
        "instance\x1f|1.2.3.0.0",
        "instance\x1f|1.2.3.0.1",
        f"modality\x1f{DCM}|MR",
        "modality\x1fMR",
        "series\x1f|1.2.3.0",
        "status\x1f|available",
        "subject\x1fPatient/p",
        "identifier\x1furn:dicom:uid|urn:oid:1.2.3",
        "identifier\x1furn:oid:1.2.3",
        "patient\x1fPatient/p",
        "_content\x1fhead",
    ]
    updated = datetime(2024, 1, 1, 10, 0, 0, 123_000, tzinfo=UTC)
    started = datetime(2024, 1, 1, 9, tzinfo=UTC)
    started_end = datetime(2024, 1, 1, 9, 0, 0, 999_000, tzinfo=UTC)
    assert values.rg == [
        {"n": "_lastUpdated", "lo": updated, "hi": updated},
        {"n": "started", "lo": started, "hi": started_end},
    ]
    assert values.so["started"] == [started, started_end]
    assert values.so["instance"] == ["1.2.3.0.0", "1.2.3.0.1"]


def test_a_repeated_value_is_stored_once(written):
    tokens = written(study()).tk
    assert len(tokens) == len(set(tokens))
    observation = {
        "resourceType": "Observation",
        "component": [{"code": {"text": "x"}, "valueQuantity": {"value": 1}}] * 3,
    }
    quantities = [interval for interval in written(observation).rg if interval["n"] == "component-value-quantity"]
    assert len(quantities) == 1


def test_sort_keys_are_the_smallest_and_the_largest(written):
    resource = {"resourceType": "Patient", "name": [{"family": "Zola"}, {"family": "Adam"}]}
    assert written(resource).so["family"] == ["adam", "zola"]


def test_a_period_sorts_by_its_start_and_by_its_end(written):
    resource = {"resourceType": "Encounter", "period": {"start": "2024-01-01", "end": "2024-01-31"}}
    low, high = written(resource).so["date"]
    assert (low, high) == (
        datetime(2023, 12, 31, 23, tzinfo=UTC),
        datetime(2024, 1, 31, 22, 59, 59, 999_000, tzinfo=UTC),
    )


def test_the_same_resource_always_has_the_same_values(written):
    assert written(study()) == written(study())


def test_a_parameter_whose_value_cannot_be_read_has_no_value(written):
    odd = {"resourceType": "Patient", "birthDate": "soon", "gender": None, "name": [{"family": 3}]}
    values = written(odd)
    assert values.tk == ["deceased\x1f|false"]  # its expression is true or false of every patient
    assert values.rg == []
    assert values.so == {"deceased": ["false", "false"]}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)


@given(name=JSON, identifier=JSON, birth=JSON, practitioner=JSON)
def test_a_resource_of_any_other_shape_has_values_or_is_refused(written, name, identifier, birth, practitioner):
    """A conditional create asks it of a body before the body is validated."""
    resource = {
        "resourceType": "Patient",
        "name": [{"family": name, "given": [name]}],
        "identifier": [{"system": identifier, "value": identifier}],
        "birthDate": birth,
        "generalPractitioner": [{"reference": practitioner, "identifier": {"value": identifier}}],
    }
    with suppress(Unprocessable):
        written(resource)


def test_a_resource_that_has_not_the_shape_of_its_type_is_refused(written):
    with pytest.raises(Unprocessable) as raised:
        written({"resourceType": "Patient", "generalPractitioner": [{"reference": ["Practitioner/d"]}]})
    assert (raised.value.status, raised.value.code) == (422, "structure")
