"""One part of a STOW-RS request: streamed to the object store, its header read, its identity checked.

What is wrong with one instance is a `Refused` with its reason, kept beside the others; it does not fail its neighbours.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from pydicom.uid import UID_dictionary  # type: ignore[attr-defined]  # documented

from fhirserver.dicomweb import frames
from fhirserver.dicomweb.attributes import Dataset, first, text
from fhirserver.dicomweb.dicom_json import BASE, BulkPlace, Converter, encode
from fhirserver.dicomweb.imaging_study import Instance
from fhirserver.dicomweb.media_types import DICOM, parse
from fhirserver.dicomweb.multipart import Part
from fhirserver.dicomweb.part10 import DEFLATED, Header, NotDicom, Truncated, read_header
from fhirserver.dicomweb.patient_identity import PatientIdentifier, patient_identifiers
from fhirserver.dicomweb.reason_codes import Reason
from fhirserver.errors import Unavailable
from fhirserver.store.objects import Upload

_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
_MEDIA_STORAGE_CLASS, _MEDIA_STORAGE_INSTANCE = 0x00020002, 0x00020003


@dataclass(frozen=True, slots=True)
class Refused:
    """An instance that is not stored, and why; its UIDs are "" where they could not be read."""

    sop_class: str
    sop_instance: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Received:
    """An instance that could be stored: everything its row needs, and its upload, which rests."""

    upload: Upload
    instance: Instance
    study: str
    transfer_syntax: str
    metadata: bytes
    frames: dict[str, Any] | None
    bulk: list[BulkPlace]
    patient: tuple[PatientIdentifier, ...]
    digest: str

    def refused(self, reason: Reason) -> Refused:
        """The same, not stored after all."""
        return Refused(self.instance.sop_class, self.instance.uid, reason)

    def row(self, key: str) -> dict[str, Any]:
        """The document of the instance, its object being `key`."""
        return {
            "_id": self.instance.uid,
            "study": self.study,
            "series": self.instance.series,
            "class": self.instance.sop_class,
            "number": self.instance.number,
            "object": key,
            "size": self.upload.size,
            "sha256": self.digest,
            "syntax": self.transfer_syntax,
            "metadata": self.metadata,
            "frames": self.frames,
            "bulk": [list(place) for place in self.bulk],
        }


def receive(
    part: Part,
    upload: Upload,
    *,
    study: str | None,
    max_size: int,
    own_system: str | None,
    keep: Callable[[Received, Dataset], None],
) -> Received | Refused:
    """Take one part in. `keep` sees the header's dataset while it is at hand, for what the study's resource needs.

    The upload is abandoned where the instance is refused. A body that ends early raises, as it fails the whole request.
    """
    reason = _write(part, upload, max_size)
    outcome: Received | Refused
    if reason is not None:
        outcome = Refused("", "", reason)
    elif part.content_type and parse(part.content_type).name != DICOM:
        outcome = Refused("", "", Reason.CANNOT_UNDERSTAND)
    else:
        outcome = _examine(upload, study, own_system, keep)
    if isinstance(outcome, Refused):
        upload.abandon()
    else:
        upload.rest()
    return outcome


def _write(part: Part, upload: Upload, max_size: int) -> Reason | None:
    """Stream the part into its upload, and past it once that is of no use any more; why, in that case."""
    reason: Reason | None = None
    for chunk in part.content:
        if reason is None and upload.size + len(chunk) > max_size:
            reason = Reason.TOO_LARGE
        if reason is None:
            try:
                upload.write(chunk)
            except Unavailable:
                reason = Reason.OUT_OF_RESOURCES
    return reason


def _examine(
    upload: Upload, study: str | None, own_system: str | None, keep: Callable[[Received, Dataset], None]
) -> Received | Refused:
    try:
        header = _header(upload)
    except Truncated:
        return Refused("", "", Reason.TRUNCATED)
    except NotDicom:
        return Refused("", "", Reason.CANNOT_UNDERSTAND)
    uids = [header.text(tag) for tag in (_STUDY, _SERIES, _SOP_INSTANCE, _SOP_CLASS)]
    study_uid, series_uid, instance_uid, class_uid = uids
    named = Refused(
        class_uid if is_uid(class_uid) else "", instance_uid if is_uid(instance_uid) else "", Reason.PROCESSING_FAILURE
    )
    if not all(is_uid(uid) for uid in uids):
        return replace(named, reason=Reason.MISSING_ATTRIBUTE)
    if (reason := _objection(header, class_uid, instance_uid)) is not None:
        return replace(named, reason=reason)
    if study is not None and study != study_uid:
        return replace(named, reason=Reason.STUDY_MISMATCH)
    try:
        located = frames.locate(header, upload.view())
    except NotDicom:  # truncated, or broken encapsulation: the pixels are not all there
        return replace(named, reason=Reason.TRUNCATED)
    path = f"{BASE}/studies/{study_uid}/series/{series_uid}/instances/{instance_uid}/bulkdata"
    converter = Converter(header, path)
    dataset = converter.dataset()
    patient = patient_identifiers(dataset, own_system)
    if not text(dataset, "PatientID") or not text(dataset, "Modality"):
        return replace(named, reason=Reason.MISSING_ATTRIBUTE)
    number = first(dataset, "InstanceNumber")
    received = Received(
        upload,
        Instance(instance_uid, class_uid, series_uid, number if isinstance(number, int) else None),
        study_uid,
        header.transfer_syntax,
        encode(dataset),
        located.to_document() if located is not None else None,
        converter.bulk,
        patient,
        upload.digest,
    )
    keep(received, dataset)
    return received


def _header(upload: Upload) -> Header:
    """From the head, which is at hand; from the whole file where it is longer or deflated."""
    try:
        header = read_header(bytes(upload.head))
    except Truncated:
        if upload.size <= len(upload.head):
            raise
        return read_header(upload.view())
    if header.transfer_syntax == DEFLATED and upload.size > len(upload.head):
        return read_header(upload.view())
    return header


def _objection(header: Header, class_uid: str, instance_uid: str) -> Reason | None:
    meta = {tag: value.decode("ascii", "replace").strip(" \0") for tag, value in header.meta.items()}
    if meta.get(_MEDIA_STORAGE_CLASS, class_uid) != class_uid:
        return Reason.DATA_SET_MISMATCH
    if meta.get(_MEDIA_STORAGE_INSTANCE, instance_uid) != instance_uid:
        return Reason.DATA_SET_MISMATCH
    if not is_storage_class(class_uid):
        return Reason.SOP_CLASS_NOT_SUPPORTED
    if not _is_transfer_syntax(header.transfer_syntax):
        return Reason.TRANSFER_SYNTAX_NOT_SUPPORTED
    return None


def is_uid(text: str) -> bool:
    """PS3.5 9.1: components without leading zeros, at most 64 characters."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


@cache
def is_storage_class(uid: str) -> bool:
    """Whether instances of this class may be stored: DICOM's storage classes, and any that is not DICOM's own."""
    if not uid.startswith("1.2.840.10008."):
        return True
    name, kind, *_ = UID_dictionary.get(uid, ("", ""))
    return kind == "SOP Class" and "Storage" in name and not name.startswith(("Media Storage", "Storage Commitment"))


@cache
def _is_transfer_syntax(uid: str) -> bool:
    return UID_dictionary.get(uid, ("", ""))[1] == "Transfer Syntax"
