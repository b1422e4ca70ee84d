"""WADO-RS: bytes leave as they came in, to those who may read the study, and to nobody else."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid
from werkzeug.test import EnvironBuilder, TestResponse

from fhirserver.dicomweb.multipart import boundary_of, parts
from fhirserver.dicomweb.wado import _SMALL
from fhirserver.store.objects import CHUNK
from tests.fhirserver.dicomweb.conftest import Caller, Person, instance, written

SOME = 'multipart/related; type="application/dicom"; transfer-syntax=*'


def parts_of(response: TestResponse, content: str = "application/dicom") -> list[tuple[str, bytes]]:
    """Content type and content of each part of an answer, whose length must be what it said."""
    assert response.status_code == 200, response.text
    assert int(response.headers["Content-Length"]) == len(response.data)
    boundary = boundary_of(response.content_type, content)
    return [(part.content_type, b"".join(part.content)) for part in parts(io.BytesIO(response.data).read, boundary)]


def address(file: bytes, level: str = "instance") -> str:
    """Where an instance, its series or its study is retrieved."""
    dataset = dcmread(io.BytesIO(file), stop_before_pixels=True)
    study = f"/studies/{dataset.StudyInstanceUID}"
    series = f"{study}/series/{dataset.SeriesInstanceUID}"
    return {"study": study, "series": series, "instance": f"{series}/instances/{dataset.SOPInstanceUID}"}[level]


@pytest.fixture
def study(his: Caller, patient: Person) -> list[bytes]:
    """A stored study: two CT images of one series and an MR image of another."""
    uid, series = generate_uid(), generate_uid()
    files = [
        instance(patient, StudyInstanceUID=uid, SeriesInstanceUID=series, InstanceNumber=1),
        instance(patient, StudyInstanceUID=uid, SeriesInstanceUID=series, InstanceNumber=2),
        instance(patient, StudyInstanceUID=uid, file="MR_small_RLE.dcm", InstanceNumber=1),
    ]
    assert his.store(*files).status_code == 200
    return files


def test_a_study_comes_back_byte_for_byte(doctor: Caller, study: list[bytes]):
    response = doctor.get(address(study[0], "study"), Accept=SOME)
    assert sorted(content for _, content in parts_of(response)) == sorted(study)
    assert {kind for kind, _ in parts_of(response)} == {
        "application/dicom; transfer-syntax=1.2.840.10008.1.2.1",
        "application/dicom; transfer-syntax=1.2.840.10008.1.2.5",
    }


def test_a_series_comes_back_in_instance_order(doctor: Caller, study: list[bytes]):
    response = doctor.get(address(study[0], "series"))
    assert [content for _, content in parts_of(response)] == study[:2]


@pytest.mark.parametrize(
    "accept",
    [
        "application/dicom",
        "application/dicom; transfer-syntax=*",
        'application/dicom; transfer-syntax="1.2.840.10008.1.2.1"',
    ],
)
def test_an_instance_comes_by_itself_where_that_is_asked_for(doctor: Caller, study: list[bytes], accept: str):
    response = doctor.get(address(study[0]), Accept=accept)
    assert response.status_code == 200
    assert response.content_type == "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"
    assert response.data == study[0]


@pytest.mark.parametrize("accept", [None, "*/*", SOME, "multipart/related; type=application/dicom"])
def test_an_instance_comes_in_one_part_otherwise(doctor: Caller, study: list[bytes], accept: str | None):
    headers = {"Accept": accept} if accept else {}
    assert [content for _, content in parts_of(doctor.get(address(study[0]), **headers))] == [study[0]]


@pytest.mark.parametrize(
    "accept",
    ["image/jpeg", "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50", "multipart/related; type=image/jls"],
)
def test_another_representation_is_not_acceptable(doctor: Caller, study: list[bytes], accept: str):
    assert doctor.get(address(study[0]), Accept=accept).status_code == 406


def test_a_study_does_not_come_without_parts(doctor: Caller, study: list[bytes]):
    assert doctor.get(address(study[0], "study"), Accept="application/dicom").status_code == 406


# Metadata


@pytest.mark.parametrize(("level", "count"), [("study", 3), ("series", 2), ("instance", 1)])
def test_metadata_come_at_every_level_without_pixels(doctor: Caller, study: list[bytes], level: str, count: int):
    response = doctor.get(f"{address(study[0], level)}/metadata")
    assert response.content_type == "application/dicom+json"
    assert len(response.json) == count
    assert all("7FE00010" not in one for one in response.json)
    assert {one["00100020"]["Value"][0] for one in response.json} == {dcmread(io.BytesIO(study[0])).PatientID}


def test_bulk_data_are_where_the_metadata_say(his: Caller, doctor: Caller, patient: Person):
    dataset = dcmread(io.BytesIO(instance(patient)))
    dataset.RedPaletteColorLookupTableData = bytes(range(256)) * 8
    file = written(dataset)
    his.store(file)
    (metadata,) = doctor.get(f"{address(file)}/metadata").json
    uri = metadata["00281201"]["BulkDataURI"]
    assert uri.startswith("http://fhir.example/dicomweb/studies/")
    response = doctor.get(uri.removeprefix("http://fhir.example/dicomweb"), Accept="application/octet-stream")
    assert (response.status_code, response.data) == (200, bytes(range(256)) * 8)
    path = uri.removeprefix("http://fhir.example/dicomweb")
    response = doctor.get(path, Accept='multipart/related; type="application/octet-stream"')
    assert parts_of(response, "application/octet-stream") == [("application/octet-stream", bytes(range(256)) * 8)]
    assert doctor.get(f"{path}/0/00100010").status_code == 404
    assert doctor.get(path, Accept="image/png").status_code == 406


# Frames


def test_native_frames_are_octets(doctor: Caller, study: list[bytes]):
    response = doctor.get(f"{address(study[0])}/frames/1", Accept="application/octet-stream")
    assert response.content_type == "application/octet-stream"
    assert response.data == dcmread(io.BytesIO(study[0])).PixelData


def test_compressed_frames_are_of_their_own_type(doctor: Caller, study: list[bytes]):
    (frame,) = generate_frames(dcmread(io.BytesIO(study[2])).PixelData, number_of_frames=1)
    response = doctor.get(f"{address(study[2])}/frames/1", Accept="multipart/related; type=image/dicom-rle")
    kind = "image/dicom-rle; transfer-syntax=1.2.840.10008.1.2.5"
    assert parts_of(response, "image/dicom-rle") == [(kind, frame)]


def test_compressed_frames_are_octets_for_who_takes_any_transfer_syntax(doctor: Caller, study: list[bytes]):
    path = f"{address(study[2])}/frames/1"
    octets = 'multipart/related; type="application/octet-stream"'
    response = doctor.get(path, Accept=f"{octets}; transfer-syntax=*")
    ((kind, _),) = parts_of(response, "application/octet-stream")
    assert kind == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.5"
    assert doctor.get(path, Accept=octets).status_code == 406


@pytest.mark.parametrize("name", ["rtdose.dcm", "SC_rgb_rle_2frame.dcm", "examples_ybr_color.dcm"])
def test_frames_come_in_the_order_asked_for(his: Caller, doctor: Caller, patient: Person, name: str):
    file = instance(patient, file=name)
    assert his.store(file).status_code == 200
    dataset = dcmread(io.BytesIO(file))
    count = int(dataset.NumberOfFrames)
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        expected = list(generate_frames(dataset.PixelData, number_of_frames=count))
    else:
        size = len(dataset.PixelData) // count
        expected = [dataset.PixelData[at * size : (at + 1) * size] for at in range(count)]
    response = doctor.get(f"{address(file)}/frames/2,1")
    content = response.content_type.split('"')[1]
    assert [frame for _, frame in parts_of(response, content)] == [expected[1], expected[0]]


@pytest.mark.parametrize(("numbers", "status"), [("0", 400), ("a", 400), ("1,,2", 400), ("2", 404), ("1,99", 404)])
def test_frames_that_are_not_there_are_refused(doctor: Caller, study: list[bytes], numbers: str, status: int):
    assert doctor.get(f"{address(study[0])}/frames/{numbers}").status_code == status


def test_an_instance_without_pixels_has_no_frames(his: Caller, doctor: Caller, patient: Person):
    file = instance(patient, file="reportsi.dcm")
    assert his.store(file).status_code == 200
    assert doctor.get(f"{address(file)}/frames/1").status_code == 404


# Who may


@pytest.mark.parametrize("suffix", ["", "/metadata"])
def test_refused_and_absent_are_the_same_answer(stranger: Caller, study: list[bytes], suffix: str):
    refused = stranger.get(address(study[0], "study") + suffix)
    absent = stranger.get(f"/studies/{generate_uid()}{suffix}")
    assert refused.status_code == absent.status_code == 404
    assert refused.data == absent.data
    drop = {"X-Request-Id", "Date"}
    assert [item for item in refused.headers if item[0] not in drop] == [
        item for item in absent.headers if item[0] not in drop
    ]


def test_the_patient_opens_their_own_images(caller: Callable[..., Caller], study: list[bytes], patient: Person):
    own = caller(patient.reference)
    assert own.get(address(study[0]), Accept="application/dicom").data == study[0]


def test_a_token_without_scope_for_imaging_retrieves_nothing(
    caller: Callable[..., Caller], operator: Caller, study: list[bytes]
):
    narrow = caller("Practitioner/d", organization="Organization/e1", scope="user/Patient.rs")
    assert narrow.get(address(study[0])).status_code == 403


def test_nobody_retrieves_without_a_token(doctor: Caller, study: list[bytes]):
    assert doctor.http.get(f"/dicomweb{address(study[0])}").status_code == 401


@pytest.mark.parametrize("change", ["study", "series", "instance"])
def test_a_path_must_name_all_levels_rightly(doctor: Caller, study: list[bytes], change: str):
    uid = dict(zip(["study", "series", "instance"], address(study[0]).split("/")[2::2], strict=True))[change]
    assert doctor.get(address(study[0]).replace(uid, generate_uid())).status_code == 404


def test_a_retrieval_is_told_to_the_audit_before_the_bytes(
    doctor: Caller, study: list[bytes], patient: Person, audit_of: Callable[[], list[dict[str, Any]]]
):
    doctor.get(address(study[0], "study"))
    told = [json.dumps(event) for event in audit_of()]
    uid = address(study[0], "study").removeprefix("/studies/")
    assert any("110104" in one and uid in one and patient.reference in one and "Practitioner/d" in one for one in told)


def test_a_refused_retrieval_is_told_to_the_audit(
    stranger: Caller, study: list[bytes], audit_of: Callable[[], list[dict[str, Any]]]
):
    before = len(audit_of())
    stranger.get(address(study[0], "study"))
    events = audit_of()[before:]
    assert events
    assert all(event["outcome"] != "0" for event in events)


@pytest.mark.parametrize("kind", ["rendered", "thumbnail"])
def test_rendered_images_are_refused_clearly(doctor: Caller, study: list[bytes], kind: str):
    response = doctor.get(f"{address(study[0])}/{kind}")
    assert response.status_code == 400
    assert "not offered" in response.text


def test_a_large_study_is_streamed(his: Caller, doctor: Caller, patient: Person):
    uid = generate_uid()
    files = [instance(patient, StudyInstanceUID=uid, file="examples_overlay.dcm") for _ in range(16)]
    assert sum(map(len, files)) > _SMALL
    his.store(*files)
    assert not isinstance(sent(doctor, f"/studies/{uid}", SOME), list)
    response = doctor.get(f"/studies/{uid}")
    assert sorted(content for _, content in parts_of(response)) == sorted(files)


def sent(caller: Caller, path: str, accept: str) -> Iterable[bytes]:
    """The body as the application hands it to the WSGI server."""
    headers = {"Authorization": f"Bearer {caller.token}", "Accept": accept}
    environ = EnvironBuilder(f"/dicomweb{path}", headers=headers).get_environ()
    return caller.http.application.wsgi_app(environ, lambda *_: None)


@pytest.mark.parametrize("accept", [SOME, "application/dicom"])
def test_a_large_instance_is_streamed(his: Caller, doctor: Caller, patient: Person, accept: str):
    file = instance(patient, PixelData=bytes(_SMALL), Rows=1024, Columns=2048)
    assert his.store(file).status_code == 200
    body = sent(doctor, address(file), accept)
    assert not isinstance(body, list)
    chunks = list(body)
    assert max(map(len, chunks)) <= CHUNK
    assert file in b"".join(chunks)


@pytest.mark.parametrize("accept", [SOME, "application/dicom"])
def test_a_small_instance_is_handed_over_at_once(doctor: Caller, study: list[bytes], accept: str):
    body = sent(doctor, address(study[0]), accept)
    assert isinstance(body, list)
    assert study[0] in body


def test_the_head_of_an_instance_tells_its_length_and_sends_nothing(doctor: Caller, study: list[bytes]):
    response = doctor.ask("HEAD", f"/dicomweb{address(study[0])}", Accept="application/dicom")
    assert (response.status_code, response.content_length, response.data) == (200, len(study[0]), b"")


def test_what_one_caller_views_stays_closed_to_another(doctor: Caller, stranger: Caller, study: list[bytes]):
    for _ in range(3):
        assert doctor.get(address(study[0]), Accept=SOME).status_code == 200
    for level in ("instance", "series", "study"):
        assert stranger.get(address(study[0], level), Accept=SOME).status_code == 404


def test_an_instance_added_to_a_series_that_is_being_viewed_is_there(
    his: Caller, doctor: Caller, patient: Person, study: list[bytes]
):
    for _ in range(3):
        doctor.get(address(study[0]), Accept=SOME)
    present = dcmread(io.BytesIO(study[0]), stop_before_pixels=True)
    added = instance(
        patient,
        StudyInstanceUID=present.StudyInstanceUID,
        SeriesInstanceUID=present.SeriesInstanceUID,
        InstanceNumber=3,
    )
    assert doctor.get(address(added), Accept=SOME).status_code == 404
    assert his.store(added).status_code == 200
    assert doctor.get(address(added), Accept="application/dicom").data == added
    assert len(parts_of(doctor.get(address(added, "series"), Accept=SOME))) == 3


def test_every_stored_file_of_pydicoms_comes_back_as_it_was(his: Caller, doctor: Caller, patient: Person):
    names = ["JPEG2000.dcm", "image_dfl.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "waveform_ecg.dcm"]
    for name in names:
        file = instance(patient, file=name) if name != "image_dfl.dcm" else _deflated(patient)
        response = his.store(file)
        assert response.status_code == 200, (name, response.text)
        assert doctor.get(address(file), Accept="application/dicom").data == file
        assert len(doctor.get(f"{address(file)}/metadata").json) == 1


def _deflated(patient: Person) -> bytes:
    dataset = dcmread(Path(get_testdata_file("image_dfl.dcm")))
    dataset.PatientID = patient.number
    dataset.Modality = "OT"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.SOPInstanceUID = generate_uid()
    return written(dataset)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"])
def test_bulk_data_are_little_endian_whatever_the_file_used(his: Caller, doctor: Caller, patient: Person, syntax: str):
    dataset = dcmread(io.BytesIO(instance(patient)))
    words = b"".join(
        number.to_bytes(2, "little" if syntax != "1.2.840.10008.1.2.2" else "big") for number in range(900)
    )
    del dataset.PixelData
    dataset.remove_private_tags()
    dataset.file_meta.TransferSyntaxUID = syntax
    item = Dataset()
    item.RedPaletteColorLookupTableData = words
    dataset.IconImageSequence = Sequence([item])
    file = written(dataset, little_endian=syntax != "1.2.840.10008.1.2.2", implicit_vr=syntax == "1.2.840.10008.1.2")
    assert his.store(file).status_code == 200
    path = f"{address(file)}/bulkdata/00880200/0/00281201"
    expected = b"".join(number.to_bytes(2, "little") for number in range(900))
    assert doctor.get(path, Accept="application/octet-stream").data == expected
