"""Real DICOM files for made-up patients: the test images that pydicom ships, with new identities.

Each file keeps its pixels and transfer syntax. Who it is of, which study, series and instance it is, when and where it
was made are replaced; private elements and names of other persons are removed.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from typing import Final

from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID

_NAMESPACE: Final = uuid.UUID("5b0a6c0e-6f5b-4d0e-9a40-6f2a1b7f3c11")

_REMOVED: Final = (
    "OtherPatientIDs", "OtherPatientIDsSequence", "OtherPatientNames", "PatientAddress", "PatientAge",
    "PatientComments", "AdditionalPatientHistory", "PerformingPhysicianName", "NameOfPhysiciansReadingStudy",
    "OperatorsName", "PhysiciansOfRecord", "ReferencedStudySequence", "RequestAttributesSequence",
    "ReferencedPatientSequence", "InstitutionAddress", "InstitutionalDepartmentName",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a DICOM object is of: its identifier with the OID of the issuer, and the traits beside it."""

    identifier: str
    issuer: str
    issuer_oid: str
    family: str
    given: str
    birth_date: str
    gender: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Which study, when and where."""

    key: str
    title: str
    performed: datetime
    institution: str
    accession: str
    referrer: str = ""


def study_instance_uid(key: str) -> UID:
    """The UID of a study, always the same for the same key."""
    return _uid("study", key)


def _uid(*names: str) -> UID:
    """A UUID as a UID: DICOM PS3.5 section B.2."""
    return UID(f"2.25.{uuid.uuid5(_NAMESPACE, '/'.join(names)).int}")


def instances(files: Sequence[str], identity: Identity, origin: Origin) -> list[bytes]:
    """The files of pydicom, as instances of one study: one series a file; a single file gives three images."""
    copies = 3 if len(files) == 1 else 1
    return [
        _instance(name, number, image, identity, origin)
        for number, name in enumerate(files, start=1)
        for image in range(1, copies + 1)
    ]


def _instance(name: str, series: int, image: int, identity: Identity, origin: Origin) -> bytes:
    file = resources.files("pydicom") / "data" / "test_files" / name
    with file.open("rb") as opened:
        dataset = dcmread(io.BytesIO(opened.read()))
    dataset.remove_private_tags()
    for keyword in _REMOVED:
        if keyword in dataset:
            delattr(dataset, keyword)
    _identify(dataset, identity)
    _place(dataset, series, image, origin)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    written = io.BytesIO()
    dataset.save_as(written, enforce_file_format=True)
    return written.getvalue()


def _identify(dataset: Dataset, identity: Identity) -> None:
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = f"{identity.family}^{identity.given}"
    dataset.PatientID = identity.identifier
    dataset.IssuerOfPatientID = identity.issuer
    qualifiers = Dataset()
    qualifiers.UniversalEntityID = identity.issuer_oid
    qualifiers.UniversalEntityIDType = "ISO"
    dataset.IssuerOfPatientIDQualifiersSequence = DicomSequence([qualifiers])
    dataset.PatientBirthDate = identity.birth_date.replace("-", "")
    dataset.PatientSex = {"female": "F", "male": "M"}[identity.gender]


def _place(dataset: Dataset, series: int, image: int, origin: Origin) -> None:
    dataset.StudyInstanceUID = study_instance_uid(origin.key)
    dataset.SeriesInstanceUID = _uid("series", origin.key, str(series))
    dataset.SOPInstanceUID = _uid("instance", origin.key, str(series), str(image))
    day, hour = origin.performed.strftime("%Y%m%d"), origin.performed.strftime("%H%M%S")
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = dataset.AcquisitionDate = day
    dataset.StudyTime = dataset.SeriesTime = dataset.ContentTime = dataset.AcquisitionTime = hour
    dataset.TimezoneOffsetFromUTC = origin.performed.strftime("%z")
    dataset.StudyDescription = origin.title
    dataset.SeriesDescription = f"{origin.title} {series}"
    dataset.SeriesNumber = series
    dataset.InstanceNumber = image
    dataset.StudyID = origin.accession
    dataset.AccessionNumber = origin.accession
    dataset.InstitutionName = origin.institution
    dataset.ReferringPhysicianName = origin.referrer
