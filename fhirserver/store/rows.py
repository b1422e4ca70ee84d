"""One stored version of one resource, as the layers above see it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

# As many digits as the store can hold.
_VERSION_ID = re.compile(r"[1-9][0-9]{0,17}")


@dataclass(frozen=True, slots=True)
class Row:
    """A version at rest: its bytes are what a client receives, unparsed.

    `facts` is the document that the Condition was decided on; `dicom` is what DICOM ingestion keeps beside an
    ImagingStudy. `last_updated` is in UTC with milliseconds. `method` is the verb that made the version, and `is_new`
    says that it made the resource: the first version, or one that came after a deletion.
    """

    type: str
    id: str
    version: int
    last_updated: datetime
    body: bytes
    facts: Mapping[str, Any]
    deleted: bool = False
    method: str = "PUT"
    dicom: Mapping[str, Any] | None = None
    is_new: bool = False

    @property
    def reference(self) -> str:
        """The literal reference of the resource, `Type/id`."""
        return f"{self.type}/{self.id}"

    @property
    def patients(self) -> tuple[str, ...]:
        """References of the patients whose record this row belongs to."""
        return tuple([subject["patient"] for subject in self.facts.get("subjects", ())])


@dataclass(frozen=True, slots=True)
class Written:
    """What an update did: the row as it now stands, and whether a new resource came to be."""

    row: Row
    created: bool


def version_of(text: str) -> int | None:
    """The version that an id names; None for what this server never gave, since ids are compared as written."""
    return int(text) if _VERSION_ID.fullmatch(text) else None


def row_of(document: Mapping[str, Any]) -> Row:
    """The Row of a document of `resources`, `audit` or `history`."""
    type_, _, id_ = document.get("r", document["_id"]).partition("/")
    return Row(
        type=type_,
        id=id_,
        version=document["v"],
        last_updated=document["lu"],
        body=document.get("b", b""),
        facts=document.get("facts") or {},
        deleted=document.get("del", False),
        method=document.get("m", "PUT"),
        dicom=document.get("dicom"),
        is_new=document["v"] == 1 or document.get("new", False),
    )
