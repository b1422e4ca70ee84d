"""Rows of DICOM instances: what is stored of each beside its object, written by STOW-RS with the study's ImagingStudy.

They carry no facts of their own. A row names the ImagingStudy it was stored with (`resource`) and may be shown exactly
when that may, so `of_study` takes its guarded row; another ImagingStudy with the same UID has no part in it. `stored`
is for the store transaction only, which tells its sender nothing of them but that an identifier is taken.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from fhirserver.store.database import Database, Document
from fhirserver.store.rows import Row

_IDENTITY = {"study": 1, "resource": 1, "series": 1, "class": 1, "number": 1, "sha256": 1}


def of_study(
    database: Database, study: Row, fields: Sequence[str], match: Mapping[str, Any] | None = None
) -> Iterable[Document]:
    """The instances of a study that the guarded store has given out, in series and instance order, these fields only.

    `match` narrows to a series (`series`) or an instance (`_id`).
    """
    if study.dicom is None:
        return ()
    if match is not None and "_id" in match:
        return _one(database, study, fields, match)
    wanted = {**(match or {}), "study": study.dicom["StudyInstanceUID"], "resource": study.reference}
    order = [("study", 1), ("series", 1), ("number", 1)]
    return database.instances.find(wanted, dict.fromkeys(fields, 1)).sort(order)


def _one(database: Database, study: Row, fields: Sequence[str], match: Mapping[str, Any]) -> Iterable[Document]:
    """One instance by its UID, if it is of that study and series: the request that viewers make most."""
    row = database.get(database.instances, match["_id"], dict.fromkeys((*fields, "resource", "series"), 1))
    if row is None or row["resource"] != study.reference or row["series"] != match.get("series", row["series"]):
        return ()
    return (row,)


def stored(database: Database, study_instance_uid: str, sop_instance_uids: Collection[str]) -> list[Document]:
    """What identifies each instance of a study, and each of these instances wherever it is.

    Called inside a transaction that has matched the study's ImagingStudy. It need not read with the transaction's
    session: whoever writes to the same study conflicts with the match, and whoever writes the same instance with the
    write, and either runs the transaction again.
    """
    wanted = {"$or": [{"study": study_instance_uid}, {"_id": {"$in": list(sop_instance_uids)}}]}
    return database.instances.find(wanted, _IDENTITY).to_list()


def metadata_of(database: Database, study_instance_uid: str, series_instance_uid: str) -> bytes:
    """The stored metadata of one instance of a series, for the store transaction. Raises LookupError."""
    row = database.instances.find_one({"study": study_instance_uid, "series": series_instance_uid}, {"metadata": 1})
    if row is None:
        raise LookupError(series_instance_uid)
    return bytes(row["metadata"])


def named_objects(database: Database, keys: Sequence[str]) -> set[str]:
    """Those of the object keys that a row names: what `Objects.sweep` must keep."""
    found = database.instances.find({"object": {"$in": list(keys)}}, {"object": 1})
    return {row["object"] for row in found}
