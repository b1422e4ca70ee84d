"""One part taken in: refused for its size or the disk's, without an end to its neighbours."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from fhirserver.config import Config
from fhirserver.dicomweb.multipart import Part
from fhirserver.dicomweb.reason_codes import Reason
from fhirserver.dicomweb.received import Received, Refused, is_storage_class, is_uid, receive
from fhirserver.store.objects import Objects

CT = Path(get_testdata_file("CT_small.dcm")).read_bytes()


def part(content: bytes) -> Part:
    return Part({"content-type": "application/dicom"}, iter([content[:20_000], content[20_000:]]))


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return Objects(Config(data=tmp_path))


def taken(objects: Objects, content: bytes, *, max_size: int = 1 << 30) -> Received | Refused:
    return receive(
        part(content), objects.begin(), study=None, max_size=max_size, own_system="urn:x", keep=lambda *_: None
    )


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file may become longer than this, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_part_is_taken_with_its_identity_and_its_digest(objects: Objects):
    received = taken(objects, CT)
    assert isinstance(received, Received)
    row = received.row("dicom/x")
    assert (row["size"], row["number"], row["syntax"]) == (len(CT), 1, "1.2.840.10008.1.2.1")
    assert received.patient[0].value == "1CT1"


def test_an_instance_over_the_limit_is_refused_and_leaves_nothing(objects: Objects, tmp_path: Path):
    assert taken(objects, CT, max_size=len(CT) - 1) == Refused("", "", Reason.TOO_LARGE)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_instance_that_the_disk_does_not_take_is_refused_and_leaves_nothing(objects: Objects, tmp_path: Path):
    with room_for(25_000):
        assert taken(objects, CT) == Refused("", "", Reason.OUT_OF_RESOURCES)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert isinstance(taken(objects, CT), Received)


@pytest.mark.parametrize("uid", ["", "1", "1.", "1..2", "1.02", "a.b", "1.2 ", "1." * 40 + "1", ".1.2"])
def test_what_is_no_uid_is_not_taken_for_one(uid: str):
    assert not is_uid(uid)


def test_storage_classes_are_those_of_the_dictionary_and_private_ones():
    assert is_storage_class("1.2.840.10008.5.1.4.1.1.2")
    assert is_storage_class("1.2.840.10008.5.1.4.1.1.88.59")
    assert is_storage_class("1.3.12.2.1107.5.9.1")
    assert not is_storage_class("1.2.840.10008.1.20.1")
    assert not is_storage_class("1.2.840.10008.1.2.1")
    assert not is_storage_class("1.2.840.10008.5.1.4.1.1.99999")
