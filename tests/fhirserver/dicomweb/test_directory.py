"""The directory of instances: what is kept of a version is what its rows say, and no more than fits is kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydicom.uid import generate_uid

from fhirserver.store import instances
from fhirserver.store.database import Database
from fhirserver.store.instances import Directory
from fhirserver.store.rows import Row

NOW = datetime(2026, 1, 5, tzinfo=UTC)
SERIES, OTHER_SERIES = "1.2.1", "1.2.2"


@pytest.fixture
def study() -> Row:
    uid = generate_uid()
    return Row("ImagingStudy", uid[-20:], 1, NOW, b"", {}, dicom={"StudyInstanceUID": uid})


@pytest.fixture
def directory(database: Database) -> Directory:
    return Directory(database)


def put(database: Database, study: Row, number: int, *, series: str = SERIES, **others: Any) -> str:
    """A row as STOW-RS writes it; its UID."""
    uid = generate_uid()
    row = {"study": (study.dicom or {})["StudyInstanceUID"], "resource": study.reference, "series": series}
    place = {"object": f"dicom/{uid}", "size": number, "syntax": "1.2.840.10008.1.2.1", "frames": None}
    database.instances.insert_one({"_id": uid, "number": number, **row, **place, **others})
    return uid


def forget(database: Database, *uids: str) -> None:
    """Remove rows behind the directory's back, so that only what is kept can answer."""
    database.instances.delete_many({"_id": {"$in": list(uids)}})


def test_an_instance_is_found_whether_or_not_its_series_is_kept(database: Database, directory: Directory, study: Row):
    uids = [put(database, study, number) for number in (1, 2, 3)]
    for uid in [*uids, *uids]:
        place = directory.instance(study, SERIES, uid)
        assert place is not None
        assert (place.uid, place.object, place.size) == (uid, f"dicom/{uid}", uids.index(uid) + 1)


def test_whoever_asks_twice_is_answered_without_the_rows(database: Database, directory: Directory, study: Row):
    uids = [put(database, study, number) for number in (1, 2, 3)]
    directory.instance(study, SERIES, uids[0])
    directory.instance(study, SERIES, uids[1])
    forget(database, *uids)
    assert directory.instance(study, SERIES, uids[2]) is not None
    assert [place.uid for place in directory.series(study, SERIES)] == uids


def test_a_series_that_was_sent_whole_is_kept(database: Database, directory: Directory, study: Row):
    uids = [put(database, study, number) for number in (2, 1)]
    assert [place.uid for place in directory.series(study, SERIES)] == [uids[1], uids[0]]
    forget(database, *uids)
    assert directory.instance(study, SERIES, uids[0]) is not None


def test_a_new_version_of_the_study_is_read_anew(database: Database, directory: Directory, study: Row):
    first = put(database, study, 1)
    directory.series(study, SERIES)
    second = put(database, study, 2)
    assert directory.instance(study, SERIES, second) is None
    following = replace(study, version=2)
    assert [place.uid for place in directory.series(following, SERIES)] == [first, second]
    assert directory.instance(following, SERIES, second) is not None


@pytest.mark.parametrize("times", [1, 3], ids=["at first", "when kept"])
def test_an_instance_of_another_series_is_not_found(database: Database, directory: Directory, study: Row, times: int):
    own, other = put(database, study, 1), put(database, study, 1, series=OTHER_SERIES)
    for _ in range(times):
        directory.instance(study, SERIES, own)
    assert directory.instance(study, SERIES, other) is None


@pytest.mark.parametrize("times", [1, 3], ids=["at first", "when kept"])
def test_what_was_stored_with_another_study_resource_has_no_part_in_it(
    database: Database, directory: Directory, study: Row, times: int
):
    own, foreign = put(database, study, 1), put(database, study, 2, resource="ImagingStudy/another")
    for _ in range(times):
        directory.instance(study, SERIES, own)
    assert directory.instance(study, SERIES, foreign) is None
    assert [place.uid for place in directory.series(study, SERIES)] == [own]
    assert [place.uid for place in directory.series(study, None)] == [own]


def test_a_study_without_images_has_no_places(database: Database, directory: Directory, study: Row):
    uid = put(database, study, 1)
    bare = replace(study, dicom=None)
    assert directory.series(bare, SERIES) == []
    assert [directory.instance(bare, SERIES, uid) for _ in range(3)] == [None, None, None]


def test_a_series_longer_than_is_kept_is_still_sent_whole(
    database: Database, directory: Directory, study: Row, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(instances, "MOST_LISTED", 2)
    uids = [put(database, study, number) for number in (1, 2, 3)]
    for _ in range(2):
        assert [place.uid for place in directory.series(study, SERIES)] == uids
        assert directory.instance(study, SERIES, uids[2]) is not None
    forget(database, *uids)
    assert directory.instance(study, SERIES, uids[0]) is None


def test_a_series_with_long_frame_tables_is_not_kept(database: Database, directory: Directory, study: Row):
    table = {"count": 100, "spans": bytes(20 * 100)}
    uid = put(database, study, 1, frames=table)
    for _ in range(3):
        place = directory.instance(study, SERIES, uid)
        assert place is not None
        assert place.frames == table
    forget(database, uid)
    assert directory.instance(study, SERIES, uid) is None


def test_what_was_not_asked_for_the_longest_makes_room(
    database: Database, directory: Directory, study: Row, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(instances, "MOST_KEPT", 5)
    all_uids = {series: [put(database, study, n, series=series) for n in (1, 2)] for series in ("1.1", "1.2", "1.3")}
    for series in ("1.1", "1.2"):
        directory.series(study, series)
    directory.series(study, "1.1")
    directory.series(study, "1.3")
    forget(database, *(uid for uids in all_uids.values() for uid in uids))
    kept = {series for series, uids in all_uids.items() if directory.instance(study, series, uids[0]) is not None}
    assert kept == {"1.1", "1.3"}
