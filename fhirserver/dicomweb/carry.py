"""What is kept beside an ImagingStudy so that QIDO-RS is answered from the same guarded row.

A document of plain values: match keys under their keywords (names folded, dates and times in one form), the attributes
of the study and of each series as ready DICOM JSON, and the counts. `matching` writes filters over these keys.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from typing import Any

import orjson

from fhirserver.dicomweb.attributes import Dataset, Level, items, kept, tag, text, values
from fhirserver.dicomweb.dicom_json import element, encode
from fhirserver.dicomweb.imaging_study import Study


def carry(study: Study) -> dict[str, Any]:
    """The document of a study as it is stored now."""
    counts = Counter(instance.series for instance in study.instances)
    modalities = sorted({text(study.series[uid], "Modality") or "OT" for uid in counts})
    classes = sorted({instance.sop_class for instance in study.instances})
    attributes = kept(study.attributes, Level.STUDY) | {
        tag("ModalitiesInStudy"): element("CS", *modalities),
        tag("SOPClassesInStudy"): element("UI", *classes),
        tag("InstanceAvailability"): element("CS", "ONLINE"),
        tag("NumberOfStudyRelatedSeries"): element("IS", len(counts)),
        tag("NumberOfStudyRelatedInstances"): element("IS", len(study.instances)),
    }
    return {
        "StudyInstanceUID": study.uid,
        "StudyDate": date_key(text(study.attributes, "StudyDate")),
        "StudyTime": time_key(text(study.attributes, "StudyTime")),
        "AccessionNumber": text(study.attributes, "AccessionNumber"),
        "StudyID": text(study.attributes, "StudyID"),
        "StudyDescription": text(study.attributes, "StudyDescription"),
        "PatientID": text(study.attributes, "PatientID"),
        "IssuerOfPatientID": text(study.attributes, "IssuerOfPatientID"),
        "PatientName": name_key(text(study.attributes, "PatientName")),
        "PatientBirthDate": date_key(text(study.attributes, "PatientBirthDate")),
        "PatientSex": text(study.attributes, "PatientSex"),
        "ReferringPhysicianName": name_key(text(study.attributes, "ReferringPhysicianName")),
        "ModalitiesInStudy": modalities,
        "SOPClassesInStudy": classes,
        "attributes": encode(dict(sorted(attributes.items()))),
        "series": [_series(uid, study.series[uid], counts[uid]) for uid in sorted(counts)],
    }


def _series(uid: str, header: Dataset, count: int) -> dict[str, Any]:
    attributes = kept(header, Level.SERIES) | {tag("NumberOfSeriesRelatedInstances"): element("IS", count)}
    requests = list(items(header, "RequestAttributesSequence"))
    return {
        "SeriesInstanceUID": uid,
        "Modality": text(header, "Modality") or "OT",
        "SeriesNumber": text(header, "SeriesNumber"),
        "SeriesDescription": text(header, "SeriesDescription"),
        "BodyPartExamined": text(header, "BodyPartExamined"),
        "PerformedProcedureStepStartDate": date_key(text(header, "PerformedProcedureStepStartDate")),
        "PerformedProcedureStepStartTime": time_key(text(header, "PerformedProcedureStepStartTime")),
        "ScheduledProcedureStepID": _request_ids(requests, "ScheduledProcedureStepID"),
        "RequestedProcedureID": _request_ids(requests, "RequestedProcedureID"),
        "attributes": encode(dict(sorted(attributes.items()))),
    }


def _request_ids(requests: list[Dataset], keyword: str) -> list[str]:
    return [str(value) for request in requests for value in values(request, keyword)]


def headers(document: Mapping[str, Any]) -> tuple[Dataset, dict[str, Dataset]]:
    """The attributes of the study and of its series that an earlier `carry` kept."""
    series = {one["SeriesInstanceUID"]: orjson.loads(one["attributes"]) for one in document["series"]}
    return orjson.loads(document["attributes"]), series


def date_key(value: str) -> str:
    """YYYYMMDD, or "" for what is no date; the dots of DICOM's first edition are left out."""
    digits = value.replace(".", "")
    return digits if re.fullmatch(r"\d{8}", digits) else ""


def time_key(value: str) -> str:
    """HHMMSS.FFFFFF, so that times compare as text; "" for what is no time."""
    match = re.fullmatch(r"(\d{2,6})(?:\.(\d{1,6}))?", value.replace(":", ""))
    return f"{match[1]:0<6}.{match[2] or '':0<6}" if match else ""


def name_key(value: str) -> str:
    """A person name for comparison: case and accents apart (PS3.4 C.2.2.2.1 leaves both to the server)."""
    decomposed = unicodedata.normalize("NFKD", value)
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter)).casefold().rstrip("^ ")
