"""Which attributes belong to which level, and how to read them out of the DICOM JSON model.

The lists are PS3.18 Tables 10.6.1-5 and 10.6.3-3 to 10.6.3-5 (required matching and return attributes,
https://dicom.nema.org/medical/dicom/current/output/chtml/part18/sect_10.6.html) and, after them, what viewers ask for
besides. Keywords are PS3.6's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any, Final

from pydicom.datadict import tag_for_keyword

Dataset = Mapping[str, Any]


class Level(IntEnum):
    """The levels of the Study Root information model, outermost first."""

    STUDY = 0
    SERIES = 1
    INSTANCE = 2


def tag(keyword: str) -> str:
    """The tag of a standard attribute as DICOM JSON writes it."""
    number = tag_for_keyword(keyword)
    if number is None:
        raise KeyError(keyword)
    return f"{number:08X}"


RETURNED: Final[Mapping[Level, tuple[str, ...]]] = {
    Level.STUDY: (
        "SpecificCharacterSet",
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "InstanceAvailability",
        "ModalitiesInStudy",
        "ReferringPhysicianName",
        "TimezoneOffsetFromUTC",
        "StudyDescription",
        "RetrieveURL",
        "PatientName",
        "PatientID",
        "IssuerOfPatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyInstanceUID",
        "StudyID",
        "NumberOfStudyRelatedSeries",
        "NumberOfStudyRelatedInstances",
    ),
    Level.SERIES: (
        "SpecificCharacterSet",
        "Modality",
        "TimezoneOffsetFromUTC",
        "SeriesDescription",
        "RetrieveURL",
        "SeriesInstanceUID",
        "SeriesNumber",
        "NumberOfSeriesRelatedInstances",
        "PerformedProcedureStepStartDate",
        "PerformedProcedureStepStartTime",
        "RequestAttributesSequence",
    ),
    Level.INSTANCE: (
        "SpecificCharacterSet",
        "SOPClassUID",
        "SOPInstanceUID",
        "InstanceAvailability",
        "TimezoneOffsetFromUTC",
        "RetrieveURL",
        "InstanceNumber",
        "Rows",
        "Columns",
        "BitsAllocated",
        "NumberOfFrames",
    ),
}
"""What an answer holds at each level without being asked."""

OFFERED: Final[Mapping[Level, tuple[str, ...]]] = {
    Level.STUDY: (
        "IssuerOfPatientIDQualifiersSequence",
        "OtherPatientIDsSequence",
        "PatientAge",
        "PatientSize",
        "PatientWeight",
        "IssuerOfAccessionNumberSequence",
        "ProcedureCodeSequence",
        "NameOfPhysiciansReadingStudy",
        "ConsultingPhysicianName",
        "AdmittingDiagnosesDescription",
        "SOPClassesInStudy",
    ),
    Level.SERIES: (
        "SeriesDate",
        "SeriesTime",
        "BodyPartExamined",
        "Laterality",
        "ProtocolName",
        "PerformingPhysicianName",
        "OperatorsName",
        "Manufacturer",
        "ManufacturerModelName",
        "StationName",
        "InstitutionName",
        "InstitutionalDepartmentName",
        "FrameOfReferenceUID",
    ),
    Level.INSTANCE: (),  # all attributes of the stored metadata
}
"""What includefield may ask for besides."""

_KEPT = {
    level: frozenset(tag(keyword) for keyword in (*RETURNED[level], *OFFERED[level]))
    for level in (Level.STUDY, Level.SERIES)
}


def kept(dataset: Dataset, level: Level) -> dict[str, Any]:
    """The attributes of a level that are kept beside the ImagingStudy, in order of their tags."""
    return {key: dataset[key] for key in sorted(_KEPT[level].intersection(dataset))}


def values(dataset: Dataset, keyword: str) -> list[Any]:
    """All values of an attribute; none where it is absent or empty."""
    return [value for value in dataset.get(tag(keyword), {}).get("Value", ()) if value is not None]


def first(dataset: Dataset, keyword: str) -> Any:
    """The first value of an attribute, or None."""
    return next(iter(values(dataset, keyword)), None)


def text(dataset: Dataset, keyword: str) -> str:
    """The first value as text; "" where there is none. A person name gives its first group."""
    value = first(dataset, keyword)
    if isinstance(value, Mapping):
        return str(next(iter(value.values()), ""))
    return "" if value is None else str(value)


def items(dataset: Dataset, keyword: str) -> Iterable[Dataset]:
    """The items of a sequence."""
    return [item for item in values(dataset, keyword) if isinstance(item, Mapping)]
