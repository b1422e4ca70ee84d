"""The whole application over a real MongoDB, with callers of both bases.

`his` is the imaging system of Organization/e1, whose patient numbers are those of `NUMBERS`; `doctor` is declared in
the care team of every patient that `patient` makes; `stranger` is a doctor whom nobody declared.
"""

from __future__ import annotations

import io
import itertools
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid
from werkzeug.test import TestResponse

from tests.fhirserver.conftest import NUMBERS

INS = "urn:oid:1.2.250.1.213.1.4.10"
DICOM_PARTS = 'multipart/related; type="application/dicom"'

_COUNT = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller with a token, of FHIR and of DICOMweb."""

    http: FlaskClient
    token: str

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> TestResponse:
        """One request; header names are written with underscores."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.open(path, method=method, data=body, headers={"Authorization": f"Bearer {self.token}", **sent})

    def get(self, path: str, **headers: str) -> TestResponse:
        """GET below the DICOMweb base."""
        return self.ask("GET", f"/dicomweb{path}", **headers)

    def fhir(self, path: str) -> Any:
        """The JSON of a FHIR answer that must be a success."""
        response = self.ask("GET", f"/fhir/{path}")
        assert response.status_code == 200, response.text
        return response.json

    def put(self, resource: Mapping[str, Any]) -> dict[str, Any]:
        """Write a resource under its id."""
        path = f"/fhir/{resource['resourceType']}/{resource['id']}"
        response = self.ask("PUT", path, json.dumps(resource).encode(), Content_Type="application/fhir+json")
        assert response.status_code in {200, 201}, response.text
        return response.json

    def store(self, *files: bytes, study: str | None = None) -> TestResponse:
        """STOW these files."""
        path = "/dicomweb/studies" + (f"/{study}" if study else "")
        return self.ask("POST", path, body_of(files), Content_Type=f"{DICOM_PARTS}; boundary=b")


def body_of(files: Sequence[bytes]) -> bytes:
    """A multipart body of DICOM files, with boundary b."""
    return b"".join(b"--b\r\nContent-Type: application/dicom\r\n\r\n" + file + b"\r\n" for file in files) + b"--b--\r\n"


@dataclass(frozen=True, slots=True)
class Person:
    """A patient, by the number of Organization/e1 and the reference of the Patient."""

    number: str
    reference: str


@pytest.fixture(scope="module")
def caller(app: Flask, token_of: Callable[..., str]) -> Callable[..., Caller]:
    """Make a caller: a system of an establishment, or a person."""
    return lambda *who, **options: Caller(app.test_client(), token_of(*who, **options))


@pytest.fixture(scope="module")
def operator(caller: Callable[..., Caller]) -> Caller:
    operator = caller("Client/operator", category="operator")
    for id_ in ("e1", "e2"):
        operator.put({"resourceType": "Organization", "id": id_, "active": True, "name": id_})
    for id_ in ("d", "s"):
        operator.put({"resourceType": "Practitioner", "id": id_, "active": True})
    return operator


@pytest.fixture(scope="module")
def his(caller: Callable[..., Caller], operator: Caller) -> Caller:
    return caller("Client/his-e1", organization="Organization/e1")


@pytest.fixture(scope="module")
def other_his(caller: Callable[..., Caller], operator: Caller) -> Caller:
    return caller("Client/his-e2", organization="Organization/e2")


@pytest.fixture(scope="module")
def doctor(caller: Callable[..., Caller], operator: Caller) -> Caller:
    return caller("Practitioner/d", organization="Organization/e1")


@pytest.fixture(scope="module")
def stranger(caller: Callable[..., Caller], operator: Caller) -> Caller:
    return caller("Practitioner/s", organization="Organization/e2")


@pytest.fixture
def patient(his: Caller) -> Person:
    """A new patient of Organization/e1, who has declared Practitioner/d."""
    number = f"P{next(_COUNT)}-{uuid.uuid4().hex[:8]}"
    id_ = uuid.uuid4().hex
    his.put(
        {
            "resourceType": "Patient",
            "id": id_,
            "identifier": [{"system": NUMBERS, "value": number}, {"system": INS, "value": f"INS{number}"}],
            "name": [{"family": "Martin", "given": ["Ada"]}],
            "birthDate": "1985-12-10",
        }
    )
    his.put(
        {
            "resourceType": "CareTeam",
            "id": uuid.uuid4().hex,
            "status": "active",
            "subject": {"reference": f"Patient/{id_}"},
            "participant": [{"member": {"reference": "Practitioner/d"}, "period": {"start": "2020-01-01"}}],
        }
    )
    return Person(number, f"Patient/{id_}")


def instance(patient: Person, *, file: str = "CT_small.dcm", **attributes: Any) -> bytes:
    """One of pydicom's files with another identity; attributes by keyword, None to leave one out."""
    dataset = dcmread(get_testdata_file(file))
    dataset.PatientID = patient.number
    dataset.PatientName = "Martin^Ada"
    dataset.PatientBirthDate = "19851210"
    dataset.StudyInstanceUID = generate_uid()
    dataset.SeriesInstanceUID = generate_uid()
    dataset.SOPInstanceUID = generate_uid()
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return written(dataset)


def written(dataset: Dataset, **encoding: bool) -> bytes:
    """The file of a data set whose file meta information agrees with it; another encoding than it was read in."""
    if "SOPInstanceUID" in dataset:
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    out = io.BytesIO()
    dcmwrite(out, dataset, enforce_file_format=True, **encoding)
    return out.getvalue()


def reasons(response: TestResponse) -> list[int]:
    """The failure reasons of a STOW answer, named and unnamed instances alike."""
    failed = [item for tag in ("00081198", "0008119A") for item in response.json.get(tag, {}).get("Value", [])]
    return [item["00081197"]["Value"][0] for item in failed]
