"""Why an instance was not stored: the Failure Reason (0008,1197) values of this server.

PS3.18 Table I.2-2 gives the ranges
(https://dicom.nema.org/medical/dicom/current/output/chtml/part18/sect_I.2.2.html): A7xx out of resources, A9xx the data
set does not match, Cxxx cannot understand, and allows other codes for other issues; those are taken from PS3.7 Annex C
(https://dicom.nema.org/medical/dicom/current/output/chtml/part07/chapter_C.html). Each code of ours that lies inside a
range is listed in docs/conformance-dicom.md, as the standard asks.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Self


class Reason(IntEnum):
    """One Failure Reason. `meaning` is said to the sender; it names no patient."""

    meaning: str
    section: str

    def __new__(cls, code: int, section: str, meaning: str) -> Self:
        """An integer that knows where it is defined and what it means."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.section = section
        member.meaning = meaning
        return member

    PROCESSING_FAILURE = 0x0110, "PS3.18 I.2.2", "The instance could not be processed."
    DUPLICATE_INSTANCE = (
        0x0111,
        "PS3.7 C.5",
        "Another instance with this SOP Instance UID and other content is stored.",
    )
    SOP_CLASS_NOT_SUPPORTED = 0x0122, "PS3.18 I.2.2", "The SOP Class is not a storage class."
    NOT_AUTHORISED = 0x0124, "PS3.7 C.5", "Refused: not authorised."
    OUT_OF_RESOURCES = 0xA700, "PS3.18 I.2.2 (A7xx)", "There is no room for the instance."
    TOO_LARGE = 0xA701, "PS3.18 I.2.2 (A7xx)", "The instance is over the size that this server takes."
    DATA_SET_MISMATCH = (
        0xA900,
        "PS3.18 I.2.2 (A9xx)",
        "The file meta information and the data set contradict each other.",
    )
    STUDY_MISMATCH = 0xA901, "PS3.18 I.2.2 (A9xx)", "The instance belongs to another study than the request names."
    PATIENT_MISMATCH = 0xA902, "PS3.18 I.2.2 (A9xx)", "The study belongs to another patient."
    CANNOT_UNDERSTAND = 0xC000, "PS3.18 I.2.2 (Cxxx)", "The part is not a DICOM file that can be read."
    MISSING_ATTRIBUTE = 0xC001, "PS3.18 I.2.2 (Cxxx)", "A required attribute is missing, or is not a valid UID."
    TRUNCATED = 0xC002, "PS3.18 I.2.2 (Cxxx)", "The DICOM file ends too early."
    UNKNOWN_PATIENT = 0xC003, "PS3.18 I.2.2 (Cxxx)", "Patient ID and issuer name no patient, or no single one."
    TRANSFER_SYNTAX_NOT_SUPPORTED = 0xC122, "PS3.18 I.2.2", "The transfer syntax is not one of DICOM's."
