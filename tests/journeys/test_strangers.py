"""Clients that others wrote, used as their authors document them: fhirpy for FHIR, dicomweb-client for DICOMweb."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import OperationOutcome, ResourceNotFound
from pydicom import dcmread

from fhirserver.demo import images
from fhirserver.demo.region import REGION


def token_of(caller: Any) -> str:
    token: str = caller._token()
    return token


@pytest.fixture(scope="module")
def doctor(server: Any) -> SyncFHIRClient:
    return SyncFHIRClient(f"{server.base}/fhir", authorization=f"Bearer {token_of(server.demo.professional('durand'))}")


@pytest.fixture(scope="module")
def hospital(server: Any) -> SyncFHIRClient:
    return SyncFHIRClient(
        f"{server.base}/fhir", authorization=f"Bearer {token_of(server.demo.establishment('sainte-odile'))}"
    )


def dicomweb(server: Any, name: str) -> DICOMwebClient:
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {token_of(server.demo.professional(name))}"
    return DICOMwebClient(url=f"{server.base}/dicomweb", session=session)


@pytest.fixture(scope="module")
def viewer(server: Any) -> Iterator[DICOMwebClient]:
    client = dicomweb(server, "durand")
    yield client
    client._session.close()


# ------------------------------------------------------------------------------------------------------- fhirpy


def test_fhirpy_searches_sorts_and_follows_pages(doctor: SyncFHIRClient) -> None:
    studies = doctor.resources("ImagingStudy").search(patient="Patient/martin").sort("-started")

    assert len(studies.fetch()) == 2
    assert [study["id"] for study in studies.limit(1).fetch_all()] == [study["id"] for study in studies.fetch()]


def test_fhirpy_reads_a_reference_of_what_it_found(doctor: SyncFHIRClient) -> None:
    report = doctor.reference("DiagnosticReport", "martin-ct-report").to_resource()

    assert report["conclusion"] == "Absence de lésion suspecte."
    assert report["subject"].to_resource()["name"][0]["family"] == "Martin"


def test_fhirpy_is_told_that_what_it_may_not_see_is_not_found(doctor: SyncFHIRClient) -> None:
    with pytest.raises(ResourceNotFound):
        doctor.reference("Patient", "diallo").to_resource()


def test_fhirpy_creates_updates_and_deletes(hospital: SyncFHIRClient) -> None:
    patient = hospital.resource("Patient", name=[{"family": "Étranger"}], gender="unknown")
    patient.save()
    patient["gender"] = "other"
    patient.save()

    assert hospital.reference("Patient", patient["id"]).to_resource()["gender"] == "other"
    assert patient["meta"]["versionId"] == "2"
    patient.delete()
    with pytest.raises(ResourceNotFound, match="deleted"):
        hospital.reference("Patient", patient["id"]).to_resource()


def test_fhirpy_is_told_why_a_resource_is_invalid(hospital: SyncFHIRClient) -> None:
    with pytest.raises(OperationOutcome, match="gender"):
        hospital.resource("Patient", gender="none of these").save()


# ---------------------------------------------------------------------------------------------- dicomweb-client


def test_dicomweb_client_searches_studies_series_and_instances(viewer: DICOMwebClient) -> None:
    uid = images.study_instance_uid("martin-ct")

    (study,) = viewer.search_for_studies(search_filters={"StudyInstanceUID": uid})
    (series,) = viewer.search_for_series(uid)
    instances = viewer.search_for_instances(uid, series["0020000E"]["Value"][0])

    assert study["00080061"]["Value"] == ["CT"]
    assert len(instances) == 3


def test_dicomweb_client_retrieves_a_study_with_its_pixels(viewer: DICOMwebClient) -> None:
    came = viewer.retrieve_study(images.study_instance_uid("martin-ct"))

    assert [dataset.PatientName for dataset in came] == ["Martin^Jeanne"] * 3
    assert {dataset.pixel_array.shape for dataset in came} == {(128, 128)}


def test_dicomweb_client_retrieves_a_frame(viewer: DICOMwebClient) -> None:
    uid = images.study_instance_uid("martin-ct")
    (first, *_) = viewer.search_for_instances(uid)
    series, instance = first["0020000E"]["Value"][0], first["00080018"]["Value"][0]

    (frame,) = viewer.retrieve_instance_frames(uid, series, instance, frame_numbers=[1])
    whole = viewer.retrieve_instance(uid, series, instance)

    assert frame == whole.PixelData


def test_dicomweb_client_reads_metadata_without_pixels(viewer: DICOMwebClient) -> None:
    metadata = viewer.retrieve_study_metadata(images.study_instance_uid("martin-ct"))

    assert len(metadata) == 3
    assert {item["00100020"]["Value"][0] for item in metadata} == {REGION.patients["martin"].number}
    assert not any("InlineBinary" in item.get("7FE00010", {}) for item in metadata)


def test_dicomweb_client_finds_nothing_of_a_stranger(server: Any) -> None:
    stranger = dicomweb(server, "klein")
    uid = images.study_instance_uid("martin-ct")

    assert stranger.search_for_studies() == []
    with pytest.raises(requests.HTTPError) as refused:
        stranger.retrieve_study(uid)
    assert refused.value.response.status_code == 404
    stranger._session.close()


def test_dicomweb_client_stores_instances(server: Any) -> None:
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {token_of(server.demo.establishment('sainte-odile'))}"
    sender = DICOMwebClient(url=f"{server.base}/dicomweb", session=session)
    person = REGION.patients["diallo"]
    identity = images.Identity(
        person.number,
        "SAINTE-ODILE",
        REGION.establishments["sainte-odile"].oid,
        person.family,
        person.given,
        person.birth_date,
        person.gender,
    )
    origin = images.Origin(
        "diallo-stranger", "Radio", datetime(2026, 11, 20, 9, 30, tzinfo=UTC), "Centre hospitalier", "STRANGER1"
    )
    made = images.instances(["MR_small.dcm"], identity, origin)

    answer = sender.store_instances([dcmread(io.BytesIO(each)) for each in made])

    assert len(answer.ReferencedSOPSequence) == 3
    session.close()
