"""The study's part of an audit event: filled into a template, it is what would have been extracted from it."""

from __future__ import annotations

import pytest

from fhirserver.audit import parts
from fhirserver.audit.dicom import _study


@pytest.mark.parametrize("uid", ["1.2.840.10008.1", "9999.00", 'a"b', "é", ""], ids=repr)
@pytest.mark.parametrize("reference", ["ImagingStudy/a", "ImagingStudy/A-1.b", None])
@pytest.mark.parametrize("instances", [None, 0, 1, 50])
def test_a_filled_study_is_an_extracted_one(uid: str, reference: str | None, instances: int | None):
    details = () if instances is None else [("instances", str(instances))]
    expected = parts.study(uid, reference, details)
    for _ in range(2):
        filled = _study(uid, reference, instances)
        assert filled.json == expected.json
        assert set(filled.tokens) == set(expected.tokens)
        assert filled.ranges == expected.ranges
        assert filled.sorts == expected.sorts
