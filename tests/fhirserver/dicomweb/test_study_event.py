"""The study's part of an audit event: filled into a template, it is what would have been extracted from it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from fhirserver.audit import parts
from fhirserver.audit.caller import Caller, Moment
from fhirserver.audit.dicom import _study
from fhirserver.audit.event import event
from fhirserver.audit.parts import Entity, Shape

SHAPE = Shape(("http://dicom.nema.org/resources/ontology/DCM", "110103", "DICOM Instances Transferred"), "R")
MOMENT = Moment(datetime(2026, 11, 24, 9, 0, tzinfo=UTC), "r1")


def told(entity: Entity) -> tuple[Any, list[str], dict[str, Any]]:
    """What an event says of the entity, and the search values that do not name the event itself."""
    document = event(SHAPE, Caller("Practitioner/d"), "read", MOMENT, (entity,), patient=None).document
    tokens = sorted(token for token in document["tk"] if document["id"] not in token)
    return json.loads(document["b"])["entity"], tokens, {**document["so"], "_id": None}


@pytest.mark.parametrize("uid", ["1.2.840.10008.1", "9999.00", 'a"b', "é", ""], ids=repr)
@pytest.mark.parametrize("reference", ["ImagingStudy/a", "ImagingStudy/A-1.b", None])
@pytest.mark.parametrize("instances", [None, 0, 1, 50])
def test_a_filled_study_is_an_extracted_one(uid: str, reference: str | None, instances: int | None):
    details = () if instances is None else [("instances", str(instances))]
    expected = told(parts.study(uid, reference, details))
    for _ in range(2):
        assert told(_study(uid, reference, instances)) == expected
