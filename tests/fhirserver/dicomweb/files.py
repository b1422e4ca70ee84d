"""DICOM files for the tests: those that pydicom ships, and small ones made here."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from fhirserver.dicomweb.part10 import NotDicom, read_header

FILES = Path(pydicom.data.__file__).parent / "test_files"


def shipped() -> Iterator[Path]:
    """Every file of pydicom's that is a DICOM file as PS3.10 has it."""
    for path in sorted(FILES.rglob("*.dcm")):
        try:
            read_header(path.read_bytes())
        except NotDicom:
            continue
        if path.name != "badVR.dcm":  # an integer string of it is none, which pydicom does not convert
            yield path


def file_of(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """A DICOM file of this data set."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    out = io.BytesIO()
    pydicom.dcmwrite(out, dataset, enforce_file_format=True)
    return out.getvalue()
