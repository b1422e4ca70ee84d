"""DICOMweb beside Orthanc: the same objects sent to both, and asked of both.

An object is made once and sent many times: its UIDs have a fixed length and are put in as bytes.
"""

from __future__ import annotations

import io
import random
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from benchmarks import compare, data, load
from benchmarks.programs import Program
from benchmarks.tokens import Tokens

PER_REQUEST = 50
CONNECTIONS = 4
BOUNDARY = "fhirserver-benchmark"
DICOM_JSON = "application/dicom+json"

# UIDs of one length, so that one template serves all objects.
_ROOT = "1.2.826.0.1.3680043.10.1474.9"
_STUDY, _SERIES, _INSTANCE = (f"{_ROOT}.{place}.{'0' * 12}" for place in (1, 2, 3))


@dataclass(frozen=True, slots=True)
class Study:
    """A study of one series: its number makes its UIDs."""

    number: int
    instances: int = PER_REQUEST

    @property
    def uid(self) -> str:
        """Study Instance UID."""
        return _numbered(_STUDY, self.number)

    @property
    def series_uid(self) -> str:
        """Series Instance UID."""
        return _numbered(_SERIES, self.number)

    def instance_uid(self, instance: int) -> str:
        """SOP Instance UID of the instance of that number."""
        return _numbered(_INSTANCE, self.number * 1_000 + instance)

    def objects(self, template: bytes) -> list[bytes]:
        """The instances as files, made from `template`."""
        own = template.replace(_STUDY.encode(), self.uid.encode()).replace(_SERIES.encode(), self.series_uid.encode())
        return [own.replace(_INSTANCE.encode(), self.instance_uid(n).encode()) for n in range(self.instances)]


def _numbered(uid: str, number: int) -> str:
    # A component of a UID may not begin with zero (PS3.5, 9.1).
    return f"{uid[:-12]}{100_000_000_000 + number}"


def template(side: int, patient_number: int) -> bytes:
    """A CT image of `side` x `side` x 16 bits, with the elements that a scanner usually fills in."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.MediaStorageSOPClassUID = CTImageStorage
    image.file_meta.MediaStorageSOPInstanceUID = UID(_INSTANCE)
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SpecificCharacterSet = "ISO_IR 192"
    image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, _INSTANCE
    image.StudyDate = image.SeriesDate = image.AcquisitionDate = image.ContentDate = "20260105"
    image.StudyTime = image.SeriesTime = image.AcquisitionTime = image.ContentTime = "081500"
    image.TimezoneOffsetFromUTC = "+0100"
    image.AccessionNumber, image.StudyID = "ACC1", "1"
    image.Modality, image.Manufacturer, image.ManufacturerModelName = "CT", "Bench", "Bench 64"
    image.InstitutionName, image.StationName = "Hôpital de la Mesure", "CT1"
    image.StudyDescription, image.SeriesDescription = "Scanner thoracique", "Thorax 1,5 mm"
    image.ReferringPhysicianName = "Mesure^Alix"
    image.PatientName, image.PatientID = "Martin^Camille", data.identifier_of(patient_number)
    image.IssuerOfPatientID = "NI"
    issuer = Dataset()
    issuer.UniversalEntityID = data.IDENTIFIER_SYSTEM.removeprefix("urn:oid:")
    issuer.UniversalEntityIDType = "ISO"
    image.IssuerOfPatientIDQualifiersSequence = Sequence([issuer])
    image.PatientBirthDate, image.PatientSex, image.PatientAge = "19700101", "F", "056Y"
    image.BodyPartExamined, image.PatientPosition = "CHEST", "HFS"
    image.SliceThickness, image.KVP, image.SpacingBetweenSlices = "1.5", "120", "1.5"
    image.XRayTubeCurrent, image.ExposureTime, image.ConvolutionKernel = "210", "500", "B60f"
    image.StudyInstanceUID, image.SeriesInstanceUID = _STUDY, _SERIES
    image.FrameOfReferenceUID = f"{_ROOT}.4"
    image.SeriesNumber, image.AcquisitionNumber, image.InstanceNumber = "1", "1", "1"
    image.ImagePositionPatient, image.ImageOrientationPatient = ["-180", "-180", "12"], ["1", "0", "0", "0", "1", "0"]
    image.SliceLocation, image.PixelSpacing = "12", ["0.7", "0.7"]
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows = image.Columns = side
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
    image.WindowCenter, image.WindowWidth = "-600", "1500"
    image.RescaleIntercept, image.RescaleSlope, image.RescaleType = "-1024", "1", "HU"
    image.PixelData = np.random.default_rng(1).integers(0, 4_096, (side, side), dtype=np.uint16).tobytes()
    target = io.BytesIO()
    image.save_as(target, enforce_file_format=True)
    return target.getvalue()


def stow(program: Program, study: Study, template_: bytes, token: str | None) -> bytes:
    """The STOW-RS request of one study (PS3.18, 10.5)."""
    part = b"--%b\r\nContent-Type: application/dicom\r\n\r\n" % BOUNDARY.encode()
    body = b"".join(part + instance + b"\r\n" for instance in study.objects(template_))
    body += b"--%b--\r\n" % BOUNDARY.encode()
    headers = _headers(token, DICOM_JSON)
    headers["Content-Type"] = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
    return load.request("POST", "/dicomweb/studies", host=program.host, headers=headers, body=body)


def _headers(token: str | None, accept: str) -> dict[str, str]:
    headers = {"Accept": accept}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return headers


@dataclass(frozen=True, slots=True)
class Retrieval:
    """A kind of DICOMweb request: its goal, as Orthanc's processor time over ours, and how often a round sends it."""

    name: str
    goal: float
    count: int
    accept: str
    path: str

    def request(self, program: Program, study: Study, instance: int, token: str | None) -> bytes:
        """The request for one instance, or for its series or study."""
        target = self.path.format(study=study.uid, series=study.series_uid, instance=study.instance_uid(instance))
        return load.request("GET", f"/dicomweb/{target}", host=program.host, headers=_headers(token, self.accept))


_PARTS = 'multipart/related; type="application/dicom"; transfer-syntax=*'

RETRIEVALS = (
    Retrieval("WADO instance", 2.0, 400, _PARTS, "studies/{study}/series/{series}/instances/{instance}"),
    Retrieval("WADO series", 0.8, 12, _PARTS, "studies/{study}/series/{series}"),
    Retrieval("WADO metadata", 5.0, 40, DICOM_JSON, "studies/{study}/series/{series}/metadata"),
    Retrieval("QIDO studies", 2.0, 200, DICOM_JSON, "studies?StudyInstanceUID={study}"),
)


@dataclass(slots=True)
class Sender:
    """Sends studies that were never sent before, the same to each program, and remembers them for the retrievals."""

    template: bytes
    first: int
    requests: int

    def turn(self, program: Program, number: int, token: str | None) -> compare.Figure:
        """One round: `requests` studies to one program. The figures are of one instance."""
        begin = self.first + number * self.requests
        studies = [Study(begin + place) for place in range(self.requests)]
        wire = [stow(program, study, self.template, token) for study in studies]
        figure = compare.measure(program, wire, 200, connections=CONNECTIONS)
        return compare.Figure(figure.cpu / PER_REQUEST, figure.p50 / PER_REQUEST, figure.rate * PER_REQUEST)


def beside(
    orthanc: Program, server: Program, tokens: Tokens, times: int, patient_number: int
) -> list[compare.Comparison]:
    """All DICOMweb workloads, in rounds that alternate. The system stores and the doctor reads."""
    results = []
    large = Sender(template(512, patient_number), first=0, requests=4)
    small = Sender(template(64, patient_number), first=10_000, requests=8)
    for name, sender in (("STOW 512 x 512", large), ("STOW 64 x 64", small)):
        turns = {
            "orthanc": lambda number, sender=sender: sender.turn(orthanc, number, None),
            "server": lambda number, sender=sender: sender.turn(server, number, tokens.of("system")),
        }
        results.append(_compared(name, 1.0, compare.rounds(times, turns)))
    stored = large.requests * (times + 1)
    for retrieval in RETRIEVALS:

        def turn(program: Program, number: int, token: str | None, retrieval: Retrieval = retrieval) -> compare.Figure:
            chance = random.Random(number)
            wire = [
                retrieval.request(program, Study(chance.randrange(stored)), chance.randrange(PER_REQUEST), token)
                for _ in range(retrieval.count)
            ]
            return compare.measure(program, wire, 200, connections=CONNECTIONS)

        turns = {
            "orthanc": lambda number, turn=turn: turn(orthanc, number, None),
            "server": lambda number, turn=turn: turn(server, number, tokens.of("doctor")),
        }
        results.append(_compared(retrieval.name, retrieval.goal, compare.rounds(times, turns)))
    return results


def _compared(name: str, goal: float, figures: dict[str, compare.Figure]) -> compare.Comparison:
    """Orthanc's processor time over ours: above one, we cost less."""
    orthanc, server = figures["orthanc"], figures["server"]
    return compare.Comparison(name, orthanc, server, orthanc.cpu / server.cpu, goal, faster_is_more=True)
