"""Headers of DICOM files: read like pydicom reads them, and refused when the bytes are not what they say."""

from __future__ import annotations

import contextlib
import io
import struct
import tracemalloc
import warnings
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from fhirserver.dicomweb.part10 import DEPTH, INFLATED, Bulk, NotDicom, Truncated, fragments, read_header
from tests.fhirserver.dicomweb.files import file_of, shipped

CT = Path(get_testdata_file("CT_small.dcm")).read_bytes()


def test_most_shipped_files_are_readable():
    assert len(list(shipped())) > 70


@pytest.mark.parametrize("path", list(shipped()), ids=lambda path: path.name)
def test_a_shipped_file_has_the_elements_that_pydicom_finds(path: Path):
    header = read_header(path.read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = pydicom.dcmread(path, stop_before_pixels=True)
    assert [element.tag for element in header.elements] == [int(one.tag) for one in expected if one.tag.element]
    assert header.transfer_syntax == expected.file_meta.TransferSyntaxUID


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
    ids=lambda uid: uid.name,
)
def test_numbers_and_text_read_alike_in_every_native_encoding(syntax: str):
    dataset = Dataset()
    dataset.PatientID = "p1"
    dataset.Rows = 258
    dataset.InstanceNumber = "12"
    dataset.ReferencedImageSequence = Sequence([Dataset()])
    dataset.ReferencedImageSequence[0].ReferencedSOPInstanceUID = "1.2.3"
    header = read_header(file_of(dataset, syntax))
    assert (header.text(0x00100020), header.short(0x00280010), header.integer(0x00200013)) == ("p1", 258, 12)
    (sequence,) = (element for element in header.elements if element.vr == "SQ")
    assert [[(inner.tag, inner.value) for inner in item] for item in sequence.value] == [[(0x00081155, b"1.2.3\0")]]


def test_pixels_are_found_and_not_read():
    header = read_header(CT)
    assert header.pixels is not None
    assert header.pixels.length == 128 * 128 * 2
    pixels = CT[header.pixels.offset : header.pixels.offset + header.pixels.length]
    assert pixels == pydicom.dcmread(io.BytesIO(CT)).PixelData
    assert all(element.tag < 0x7FE00010 for element in header.elements)


def test_encapsulated_pixels_have_no_length_and_can_be_walked():
    content = Path(get_testdata_file("MR_small_RLE.dcm")).read_bytes()
    header = read_header(content)
    assert header.pixels is not None
    assert header.pixels.length is None
    table, frame, end = fragments(content, header.pixels.offset, len(content))
    assert (table[1], frame[0], end[0]) == (4, 0xFFFEE000, 0xFFFEE0DD)


def test_a_long_binary_value_is_a_place_and_a_short_one_its_bytes():
    dataset = Dataset()
    dataset.RedPaletteColorLookupTableData = b"\1\2" * 2000
    dataset.GreenPaletteColorLookupTableData = b"\3\4" * 10
    content = file_of(dataset)
    values = {element.tag: element.value for element in read_header(content).elements}
    place = values[0x00281201]
    assert isinstance(place, Bulk)
    assert content[place.offset : place.offset + place.length] == b"\1\2" * 2000
    assert values[0x00281202] == b"\3\4" * 10


@pytest.mark.parametrize("end", [0, 100, 131, 140, 300, 2000, 5000])
def test_a_file_that_ends_in_its_header_is_truncated(end: int):
    with pytest.raises(Truncated):
        read_header(CT[:end])


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xd8\xff\xe0 a picture" * 50,
        bytes(132) + CT[132:],
        b"<html>" * 100,
        Path(get_testdata_file("no_meta.dcm")).read_bytes(),
        Path(get_testdata_file("meta_missing_tsyntax.dcm")).read_bytes(),
    ],
    ids=["jpeg", "no prefix", "html", "no file meta", "no transfer syntax"],
)
def test_what_is_not_a_dicom_file_is_refused(content: bytes):
    with pytest.raises(NotDicom):
        read_header(content)


def test_elements_out_of_order_are_refused():
    first = struct.pack("<HH2sH4s", 0x0010, 0x0020, b"LO", 4, b"abcd")
    second = struct.pack("<HH2sH4s", 0x0008, 0x0050, b"SH", 4, b"abcd")
    with pytest.raises(NotDicom, match="order"):
        read_header(file_of(Dataset()) + first + second)


def test_nesting_without_end_is_refused():
    level = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    with pytest.raises(NotDicom, match="deeply"):
        read_header(file_of(Dataset()) + level * (DEPTH + 1))


def test_a_deflated_data_set_that_does_not_inflate_is_refused():
    content = Path(get_testdata_file("image_dfl.dcm")).read_bytes()
    with pytest.raises(NotDicom):
        read_header(content[:-2000].replace(content[600:700], bytes(100)))


@settings(max_examples=300)
@given(st.integers(132, 6000), st.binary(min_size=1, max_size=12))
def test_changed_bytes_either_read_or_are_refused(at: int, change: bytes):
    content = CT[:at] + change + CT[at + len(change) :]
    with contextlib.suppress(NotDicom):
        read_header(content)


@given(st.binary(max_size=200))
def test_any_bytes_after_the_prefix_either_read_or_are_refused(tail: bytes):
    with contextlib.suppress(NotDicom):
        read_header(file_of(Dataset()) + tail)


def test_a_deflated_data_set_is_inflated_up_to_a_bound():
    dataset = Dataset()
    dataset.PatientID = "p1"
    dataset.PixelData = bytes(INFLATED * 3)
    dataset["PixelData"].VR = "OW"
    content = file_of(dataset, DeflatedExplicitVRLittleEndian)
    assert len(content) < INFLATED // 100
    tracemalloc.start()
    header = read_header(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert header.text(0x00100020) == "p1"
    assert peak < INFLATED * 2.5
