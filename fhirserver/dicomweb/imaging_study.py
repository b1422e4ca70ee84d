"""The ImagingStudy of a DICOM study (https://hl7.org/fhir/R4/imagingstudy.html), computed from its stored instances.

What the images themselves say (series, instances, counts, modalities) follows the store, always. What a client may
have said better (who referred, why, which labels) is filled in where it is missing and never overwritten, so that a
study may be announced in FHIR before its images arrive, and amended afterwards.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Final
from zoneinfo import ZoneInfo

from fhirserver.dicomweb import attributes
from fhirserver.dicomweb.attributes import Dataset, first, items, values
from fhirserver.dicomweb.patient_identity import system_of

DCM: Final = "http://dicom.nema.org/resources/ontology/DCM"
_IDENTIFIER_TYPES: Final = "http://terminology.hl7.org/CodeSystem/v2-0203"
_TZ_CODE: Final = "http://hl7.org/fhir/StructureDefinition/tz-code"

# PS3.16 8: coding scheme designators that HL7 gives a URI (https://hl7.org/fhir/R4/terminologies-systems.html).
_CODING_SCHEMES = {
    "DCM": DCM,
    "LN": "http://loinc.org",
    "SCT": "http://snomed.info/sct",
    "UCUM": "http://unitsofmeasure.org",
}


@dataclass(frozen=True, slots=True)
class Instance:
    """What the resource says of one stored instance."""

    uid: str
    sop_class: str
    series: str
    number: int | None


@dataclass(frozen=True, slots=True)
class Study:
    """A stored study: attributes of its header, of each series' header, and its instances."""

    uid: str
    attributes: Dataset
    series: Mapping[str, Dataset]
    instances: Sequence[Instance]


def identifier_of(study_instance_uid: str) -> str:
    """The search token by which a study's ImagingStudy is found."""
    return f"urn:dicom:uid|urn:oid:{study_instance_uid}"


def id_of(study_instance_uid: str) -> str:
    """The id of a study that no client has announced: the same for everybody who sends a part of it."""
    return hashlib.sha256(f"urn:oid:{study_instance_uid}".encode()).hexdigest()[:32]


def imaging_study(
    study: Study, patient: str, zone: ZoneInfo, *, endpoint: str, announced: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The resource. `announced` is the present version, whose other elements stay.

    `patient` and `endpoint` are literal references, the latter to where its images are served.
    """
    computed = _series(study, zone, {one.get("uid"): one for one in (announced or {}).get("series", ())})
    resource = _filled(announced or {}, _described(study, patient, zone, endpoint))
    resource |= {
        "resourceType": "ImagingStudy",
        "identifier": _identifiers(study, resource.get("identifier", ())),
        "modality": _modalities(one["modality"] for one in computed),
        "numberOfSeries": len(computed),
        "numberOfInstances": len(study.instances),
        "series": computed,
    }
    if resource["status"] == "registered":  # announced, and now there
        resource["status"] = "available"
    return resource


def text(header: Dataset, keyword: str) -> str:
    """The first value of an attribute as FHIR lets a string be: without control characters, spaces single."""
    return _clean(attributes.text(header, keyword))


def _clean(value: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in value).split())


def _filled(announced: Mapping[str, Any], described: Mapping[str, Any]) -> dict[str, Any]:
    """What was announced, and what is described of the rest; a primitive's extension goes with its value."""
    added = {name: value for name, value in described.items() if name.lstrip("_") not in announced}
    return {**added, **announced}


def _described(study: Study, patient: str, zone: ZoneInfo, endpoint: str) -> dict[str, Any]:
    """What the header says and a client may have said already."""
    header = study.attributes
    described: dict[str, Any] = {
        "status": "available",
        "subject": {"reference": patient},
        **started(text(header, "StudyDate"), text(header, "StudyTime"), text(header, "TimezoneOffsetFromUTC"), zone),
        "referrer": _person(text(header, "ReferringPhysicianName")),
        "interpreter": [one for name in _names(header, "NameOfPhysiciansReadingStudy") if (one := _person(name))],
        "endpoint": [{"reference": endpoint}],
        "procedureCode": [one for item in items(header, "ProcedureCodeSequence") if (one := _concept(item))],
        "description": text(header, "StudyDescription"),
    }
    return {name: value for name, value in described.items() if value}


def _identifiers(study: Study, announced: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The study's UID first, then the accession number with its issuer, then what a client added."""
    own: list[dict[str, Any]] = [{"system": "urn:dicom:uid", "value": f"urn:oid:{study.uid}"}]
    if accession := text(study.attributes, "AccessionNumber"):
        number: dict[str, Any] = {"type": {"coding": [{"system": _IDENTIFIER_TYPES, "code": "ACSN"}]}}
        for issuer in items(study.attributes, "IssuerOfAccessionNumberSequence"):
            if entity := text(issuer, "UniversalEntityID"):
                number["system"] = system_of(entity, text(issuer, "UniversalEntityIDType"))
            elif name := text(issuer, "LocalNamespaceEntityID"):
                number["assigner"] = {"display": name}
        own.append({name: value for name, value in {**number, "value": accession}.items() if value})
    present = {(one.get("system"), one["value"]) for one in own}
    said = [one for one in announced if (one.get("system"), one.get("value")) not in present]
    replaced = {one.get("value") for one in said}
    return [own[0], *(one for one in own[1:] if one["value"] not in replaced), *said]


def _series(study: Study, zone: ZoneInfo, announced: Mapping[Any, Mapping[str, Any]]) -> list[dict[str, Any]]:
    by_series: dict[str, list[Instance]] = {}
    for instance in study.instances:
        by_series.setdefault(instance.series, []).append(instance)
    all_series = []
    for uid, instances in by_series.items():
        header = study.series.get(uid, {})
        one: dict[str, Any] = {
            **_filled(announced.get(uid, {}), _described_series(header, zone)),
            "uid": uid,
            "modality": {"system": DCM, "code": text(header, "Modality") or "OT"},
            "numberOfInstances": len(instances),
            "instance": [_instance(instance) for instance in sorted(instances, key=_in_order)],
        }
        all_series.append(one)
    return sorted(all_series, key=lambda one: (one.get("number", 1 << 32), one["uid"]))


def _described_series(header: Dataset, zone: ZoneInfo) -> dict[str, Any]:
    offset = text(header, "TimezoneOffsetFromUTC")
    described: dict[str, Any] = {
        "number": _unsigned(first(header, "SeriesNumber")),
        "description": text(header, "SeriesDescription"),
        "bodySite": _display(text(header, "BodyPartExamined")),
        "laterality": _display(text(header, "Laterality")),
        **started(text(header, "SeriesDate"), text(header, "SeriesTime"), offset, zone),
        "performer": [{"actor": one} for name in _names(header, "PerformingPhysicianName") if (one := _person(name))],
    }
    return {name: value for name, value in described.items() if value not in (None, "", [])}


def _instance(instance: Instance) -> dict[str, Any]:
    one: dict[str, Any] = {
        "uid": instance.uid,
        "sopClass": {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{instance.sop_class}"},
    }
    if (number := _unsigned(instance.number)) is not None:
        one["number"] = number
    return one


def _in_order(instance: Instance) -> tuple[int, str]:
    return (instance.number if instance.number is not None else 1 << 32, instance.uid)


def _modalities(codings: Iterable[Mapping[str, str]]) -> list[Mapping[str, str]]:
    by_code = {coding["code"]: coding for coding in codings}
    return [by_code[code] for code in sorted(by_code)]


def started(date: str, time: str, offset: str, zone: ZoneInfo) -> dict[str, Any]:
    """`started` from DICOM's date, time and offset; the offset of `zone`, and a note of that, where there is none.

    A date alone stays a date: an offset would claim a precision that nobody recorded.
    """
    digits = re.sub(r"[.:-]", "", date)
    clock = re.fullmatch(r"(\d{2})(\d{2})?(\d{2})?(\.\d{1,6})?", time.replace(":", ""))
    try:
        day = datetime.strptime(digits, "%Y%m%d")  # noqa: DTZ007 - the zone follows below
    except ValueError:
        return {}
    if clock is None:
        return {"started": day.strftime("%Y-%m-%d")}
    hours, minutes, seconds = (int(part or 0) for part in clock.groups()[:3])
    try:
        instant = day.replace(hour=hours, minute=minutes, second=min(seconds, 59))  # DICOM has leap seconds
    except ValueError:
        return {"started": day.strftime("%Y-%m-%d")}
    known = _offset(offset)
    answer: dict[str, Any] = {"started": instant.replace(tzinfo=known or zone).isoformat()}
    if known is None:
        answer["_started"] = {"extension": [{"url": _TZ_CODE, "valueCode": zone.key}]}
    return answer


def _offset(offset: str) -> timezone | None:
    """Timezone Offset From UTC (0008,0201): &ZZXX, within what clocks on earth show."""
    match = re.fullmatch(r"([+-])(\d{2})(\d{2})", offset)
    if match is None:
        return None
    minutes = int(match[2]) * 60 + int(match[3])
    if minutes > 14 * 60 or int(match[3]) > 59:
        return None
    return timezone(timedelta(minutes=-minutes if match[1] == "-" else minutes))


def _names(header: Dataset, keyword: str) -> list[str]:
    return [_clean(next(iter(name.values()), "")) for name in values(header, keyword) if isinstance(name, Mapping)]


def _person(name: str) -> dict[str, str] | None:
    """A reference by display only: a name in a header identifies nobody."""
    family, given, middle, prefix, suffix = ([*name.split("^"), "", "", "", "", ""])[:5]
    words = " ".join(part.strip() for part in (prefix, given, middle, family, suffix) if part.strip())
    return {"display": words} if words else None


def _concept(item: Dataset) -> dict[str, Any] | None:
    """A code sequence item (PS3.3 8.8) as a CodeableConcept."""
    code = text(item, "CodeValue") or text(item, "LongCodeValue") or text(item, "URNCodeValue")
    meaning = text(item, "CodeMeaning")
    scheme = text(item, "CodingSchemeDesignator")
    coding = {
        "system": _CODING_SCHEMES.get(scheme) or system_of(text(item, "CodingSchemeUID"), "ISO"),
        "code": code,
        "display": meaning,
    }
    coding = {name: value for name, value in coding.items() if value}
    return {"coding": [coding]} if coding else None


def _display(value: str) -> dict[str, str] | None:
    """A Coding that only repeats the header's word: it is DICOM's, of no code system that FHIR expects here."""
    return {"display": value} if value else None


def _unsigned(value: Any) -> int | None:
    """FHIR's unsignedInt, where the value is one."""
    return value if isinstance(value, int) and 0 <= value < 1 << 31 else None
