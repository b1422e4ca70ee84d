"""Images of an exam that is not released are not there for the person, neither listed nor retrieved."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from pydicom import dcmread

from consent.release import EXTENSION
from tests.fhirserver.dicomweb.conftest import Caller, Person, instance


def test_an_exam_is_neither_found_nor_retrieved_by_the_person_before_its_release(
    his: Caller, doctor: Caller, caller: Callable[..., Caller], patient: Person
):
    file = instance(patient)
    assert his.store(file).status_code == 200
    uid = dcmread(io.BytesIO(file), stop_before_pixels=True).StudyInstanceUID
    person = caller(patient.reference)
    places = (f"/studies/{uid}/metadata", f"/studies/{uid}/series")
    study = his.fhir(f"ImagingStudy?identifier=urn:dicom:uid|urn:oid:{uid}")["entry"][0]["resource"]
    query = f"/studies?StudyInstanceUID={uid}"
    assert person.get(query).status_code == 200
    assert len(person.get(query).json) == 1

    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="seconds")
    his.put({**study, "extension": [{"url": EXTENSION, "valueInstant": tomorrow}]})

    assert person.get(query).json == []
    assert (
        person.get(
            f"/studies/{uid}", Accept='multipart/related; type="application/dicom"; transfer-syntax=*'
        ).status_code
        == 404
    )
    assert person.get(places[0]).status_code == 404
    assert person.get(places[1]).json in ([], None)
    assert len(doctor.get(query).json) == 1
    assert doctor.get(places[0]).status_code == 200
