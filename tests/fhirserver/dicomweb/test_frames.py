"""Frames: found where they are, in native and in encapsulated pixels, and never beyond the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.uid import JPEGBaseline8Bit

from fhirserver.dicomweb.frames import Frames, locate
from fhirserver.dicomweb.part10 import NotDicom, Truncated, read_header
from tests.fhirserver.dicomweb.files import file_of, shipped


def content(file: bytes, frames: Frames, number: int) -> bytes:
    return b"".join(file[offset : offset + length] for offset, length in frames.of(number))


@pytest.mark.parametrize("path", list(shipped()), ids=lambda path: path.name)
def test_frames_of_a_shipped_file_are_those_that_pydicom_finds(path: Path):
    file = path.read_bytes()
    header = read_header(file)
    dataset = dcmread(path)
    try:
        found = locate(header, file)
    except NotDicom:
        assert path.name in {"MR_truncated.dcm", "JPEG2000-embedded-sequence-delimiter.dcm"}
        return
    if found is None:
        return
    assert found.count == int(dataset.get("NumberOfFrames") or 1)
    if header.pixels is not None and header.pixels.length is None:
        expected = list(generate_frames(dataset.PixelData, number_of_frames=found.count))
        assert [content(file, found, at) for at in range(1, found.count + 1)] == expected
    else:
        joined = b"".join(content(file, found, at) for at in range(1, found.count + 1))
        assert dataset.PixelData.startswith(joined)
        assert len(dataset.PixelData) - len(joined) <= 1 or path.name == "MR_small_padded.dcm"


@pytest.mark.parametrize(
    ("table", "fragments"), [("none", 1), ("none", 3), ("basic", 1), ("basic", 3), ("extended", 1)]
)
def test_fragments_are_grouped_by_the_offset_tables(table: str, fragments: int):
    frames = [bytes([at]) * 60 for at in range(1, 5)]
    dataset = Dataset()
    dataset.NumberOfFrames = len(frames)
    if table == "extended":
        dataset.PixelData, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = encapsulate_extended(
            frames
        )
    else:
        dataset.PixelData = encapsulate(frames, fragments_per_frame=fragments, has_bot=table == "basic")
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    file = file_of(dataset, JPEGBaseline8Bit)
    found = locate(read_header(file), file)
    if table == "none" and fragments > 1:
        assert found is None  # nothing says which fragments belong together
        return
    assert found is not None
    assert [content(file, found, at) for at in range(1, 5)] == frames


def test_frames_survive_being_kept_in_a_row():
    for name in ("CT_small.dcm", "SC_rgb_rle_2frame.dcm"):
        file = Path(get_testdata_file(name)).read_bytes()
        found = locate(read_header(file), file)
        assert found is not None
        kept = Frames.from_document(found.to_document())
        assert [list(kept.of(at)) for at in range(1, found.count + 1)] == [
            list(found.of(at)) for at in range(1, found.count + 1)
        ]


@pytest.mark.parametrize("number", [0, -1, 2])
def test_a_frame_that_is_not_there_is_an_index_error(number: int):
    file = Path(get_testdata_file("CT_small.dcm")).read_bytes()
    found = locate(read_header(file), file)
    assert found is not None
    with pytest.raises(IndexError):
        found.of(number)


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_RLE.dcm"])
def test_pixels_that_end_early_are_truncated(name: str):
    file = Path(get_testdata_file(name)).read_bytes()[:-500]
    with pytest.raises(Truncated):
        locate(read_header(file), file)


def test_a_file_without_pixels_has_no_frames():
    file = Path(get_testdata_file("reportsi.dcm")).read_bytes()
    assert locate(read_header(file), file) is None
