"""Rows of DICOM instances: what is stored of each beside its object, written by STOW-RS with the study's ImagingStudy.

They carry no facts of their own. A row names the ImagingStudy it was stored with (`resource`) and may be shown exactly
when that may, so `of_study` takes its guarded row; another ImagingStudy with the same UID has no part in it. `stored`
is for the store transaction only, which tells its sender nothing of them but that an identifier is taken.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from fhirserver.store.database import Database, Document
from fhirserver.store.rows import Row

_IDENTITY = {"study": 1, "resource": 1, "series": 1, "class": 1, "number": 1, "sha256": 1}


def of_study(
    database: Database,
    study: Row,
    fields: Sequence[str],
    match: Mapping[str, Any] | None = None,
    *,
    limit: int = 0,
) -> Iterable[Document]:
    """The instances of a study that the guarded store has given out, in series and instance order, these fields only.

    `match` narrows to a series (`series`) or an instance (`_id`); `limit` is the most that are wanted, 0 for all.
    """
    if study.dicom is None:
        return ()
    if match is not None and "_id" in match:
        return _one(database, study, fields, match)
    wanted = {**(match or {}), "study": study.dicom["StudyInstanceUID"], "resource": study.reference}
    order = [("study", 1), ("series", 1), ("number", 1)]
    return database.instances.find(wanted, dict.fromkeys(fields, 1)).sort(order).limit(limit)


def _one(database: Database, study: Row, fields: Sequence[str], match: Mapping[str, Any]) -> Iterable[Document]:
    """One instance by its UID, if it is of that study and series: the request that viewers make most."""
    row = database.get(database.instances, match["_id"], dict.fromkeys((*fields, "resource", "series"), 1))
    if row is None or row["resource"] != study.reference or row["series"] != match.get("series", row["series"]):
        return ()
    return (row,)


@dataclass(frozen=True, slots=True)
class Place:
    """What retrieving an instance needs of its row: where its object is, how long, and in which transfer syntax.

    `frames` is the document of its frames, None where it has none that can be told apart.
    """

    uid: str
    object: str
    size: int
    syntax: str
    frames: Mapping[str, Any] | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Place:
        """The place that a row names."""
        return cls(row["_id"], row["object"], row["size"], row["syntax"], row["frames"])


_PLACE: Final = ("object", "size", "syntax", "frames")

MOST_KEPT: Final = 16_384
"""Places that one process keeps, some 400 bytes each."""

MOST_LISTED: Final = 2_048
"""Instances of a series that are kept; those of a longer one are looked up one by one."""

LONGEST_TABLE: Final = 1 << 10
"""Bytes of an instance's frame offsets that are kept; a series with more is not."""

_Listing = Mapping[str, Place]
# Two empty listings, told apart by identity: of a series that was asked for once, and of one that is not kept.
_ASKED_ONCE: Final[_Listing] = MappingProxyType({})
_NOT_KEPT: Final[_Listing] = MappingProxyType({})


class Directory:
    """Where the instances of the series lie that are being viewed: viewers ask for them one by one.

    Kept by the version of the ImagingStudy that the guarded store has just given out, never instead of it. A row is
    written once, and one that is added comes with a new version, so what is kept of a version stays true.
    """

    def __init__(self, database: Database) -> None:
        """Nothing is kept yet."""
        self._database = database
        self._listings: OrderedDict[tuple[str, int, str], _Listing] = OrderedDict()
        self._kept = 0
        self._lock = threading.Lock()

    def instance(self, study: Row, series: str, uid: str) -> Place | None:
        """One instance of a study that the guarded store has given out, or None."""
        listing = self._listing(study, series)
        if listing is _ASKED_ONCE:  # somebody is going through the series
            listing = self._list(study, series)
        if listing:
            return listing.get(uid)
        found = of_study(self._database, study, _PLACE, {"series": series, "_id": uid})
        return next((Place.of(row) for row in found), None)

    def series(self, study: Row, series: str | None) -> list[Place]:
        """The instances of a series, or of all, in series and instance order."""
        match = {} if series is None else {"series": series}
        if series is not None:
            listing = self._listing(study, series)
            if listing is None or listing is _ASKED_ONCE:
                listing = self._list(study, series)
            if listing:
                return list(listing.values())
        return [Place.of(row) for row in of_study(self._database, study, _PLACE, match)]

    def rows(self, study: Row, fields: Sequence[str], match: Mapping[str, Any]) -> list[Document]:
        """`of_study`, of which nothing is kept: for metadata and bulk data."""
        return list(of_study(self._database, study, fields, match))

    def _listing(self, study: Row, series: str) -> _Listing | None:
        """What is kept of a series; None at the first time, which is noted."""
        key = (study.reference, study.version, series)
        with self._lock:
            listing = self._listings.get(key)
            if listing is None:
                self._keep(key, _ASKED_ONCE)
            else:
                self._listings.move_to_end(key)
            return listing

    def _list(self, study: Row, series: str) -> _Listing:
        """Read a series and keep it, unless it takes too much room."""
        rows = of_study(self._database, study, _PLACE, {"series": series}, limit=MOST_LISTED + 1)
        listing: _Listing = {row["_id"]: Place.of(row) for row in rows}
        if not listing or len(listing) > MOST_LISTED or any(_table(one) > LONGEST_TABLE for one in listing.values()):
            listing = _NOT_KEPT
        with self._lock:
            self._keep((study.reference, study.version, series), listing)
        return listing

    def _keep(self, key: tuple[str, int, str], listing: _Listing) -> None:
        """Under the lock; what was not asked for the longest goes."""
        self._kept += _weight(listing) - _weight(self._listings.pop(key, None))
        self._listings[key] = listing
        while self._kept > MOST_KEPT:
            _, gone = self._listings.popitem(last=False)
            self._kept -= _weight(gone)


def _weight(listing: _Listing | None) -> int:
    return 0 if listing is None else max(len(listing), 1)


def _table(place: Place) -> int:
    return len((place.frames or {}).get("spans", b""))


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
