"""DICOM JSON: the same values as pydicom's own conversion, in UTF-8, with bulk data named and not written out."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from fhirserver.dicomweb.dicom_json import Converter, encode, joined, placed
from fhirserver.dicomweb.part10 import NotDicom, read_header
from tests.fhirserver.dicomweb.files import file_of, shipped

CHARACTER_SETS = Path(pydicom.data.__file__).parent / "charset_files"


def converted(content: bytes) -> dict[str, Any]:
    return json.loads(encode(Converter(read_header(content), "@/bulk").dataset()))


def expected_of(content: bytes) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
        return dataset.to_json_dict(bulk_data_threshold=1025, bulk_data_element_handler=lambda _: "@/bulk")


def comparable(value: Any) -> Any:
    """Values as both write them: pydicom keeps padding, empty strings, group lengths and empty sequences."""
    if isinstance(value, dict):
        out = {key: comparable(inner) for key, inner in value.items() if not (key.endswith("0000") and len(key) == 8)}
        if out.get("vr") == "UN" or "BulkDataURI" in out:
            return {"vr": "UN"}  # a private value: pydicom looks some of them up in a dictionary of its own
        if out.get("Value") == []:
            del out["Value"]
        return out
    if isinstance(value, list):
        return [comparable(inner) for inner in value]
    if isinstance(value, str):
        return value.strip() or None
    return value


@pytest.mark.parametrize("path", [*shipped(), *sorted(CHARACTER_SETS.glob("*.dcm"))], ids=lambda path: path.name)
def test_a_shipped_file_converts_as_pydicom_converts_it(path: Path):
    content = path.read_bytes()
    expected = comparable(expected_of(content))
    actual = comparable(converted(content))
    for document in (actual, expected):
        for key in ("00083002", "00080005"):
            document.pop(key, None)
    private = {key for key, value in actual.items() if value == {"vr": "UN"}}
    assert {key: actual[key] for key in actual.keys() - private} == {
        key: expected[key] for key in expected.keys() - private
    }


def test_names_come_by_their_groups_in_utf_8_whatever_the_file_used():
    metadata = converted((CHARACTER_SETS / "chrH32.dcm").read_bytes())
    assert metadata["00100010"]["Value"] == [
        {"Alphabetic": "ﾔﾏﾀﾞ^ﾀﾛｳ", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}
    ]
    assert metadata["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}


def test_the_stored_transfer_syntax_is_said():
    metadata = converted(Path(get_testdata_file("MR_small_RLE.dcm")).read_bytes())
    assert metadata["00083002"] == {"vr": "UI", "Value": ["1.2.840.10008.1.2.5"]}


def test_attributes_are_in_order_of_their_tags():
    metadata = converted(Path(get_testdata_file("CT_small.dcm")).read_bytes())
    assert list(metadata) == sorted(metadata)


def test_pixels_are_not_part_of_metadata():
    assert "7FE00010" not in converted(Path(get_testdata_file("CT_small.dcm")).read_bytes())


def test_decimal_strings_are_numbers_and_nonsense_stays_text():
    dataset = Dataset()
    dataset.add_new(0x00180050, "DS", "2.50")
    dataset.add_new(0x00181151, "IS", "300")
    metadata = converted(file_of(dataset))
    assert (metadata["00180050"]["Value"], metadata["00181151"]["Value"]) == ([2.5], [300])
    content = file_of(dataset).replace(b"2.50", b"wide").replace(b"300 ", b"inf ")
    metadata = converted(content)
    assert (metadata["00180050"]["Value"], metadata["00181151"]["Value"]) == (["wide"], ["inf"])


def test_a_float_that_json_cannot_write_is_a_string():
    dataset = Dataset()
    dataset.add_new(0x00189087, "FD", [float("nan"), float("inf"), 1.5])
    assert converted(file_of(dataset))["00189087"]["Value"] == ["NaN", "Infinity", 1.5]


def test_bulk_data_are_named_by_the_path_of_their_element():
    dataset = Dataset()
    dataset.IconImageSequence = Sequence([Dataset()])
    dataset.IconImageSequence[0].PixelData = bytes(4096)
    dataset.IconImageSequence[0]["PixelData"].VR = "OB"
    dataset.RedPaletteColorLookupTableData = bytes(2000)
    metadata = converted(file_of(dataset))
    assert metadata["00281201"] == {"vr": "OW", "BulkDataURI": "@/bulk/00281201"}
    assert metadata["00880200"]["Value"][0]["7FE00010"]["BulkDataURI"] == "@/bulk/00880200/0/7FE00010"


def test_binary_values_are_little_endian_whatever_the_file_used():
    dataset = Dataset()
    dataset.RedPaletteColorLookupTableData = b"\1\2\3\4"
    little = converted(file_of(dataset, ExplicitVRLittleEndian))
    big = Dataset()
    big.RedPaletteColorLookupTableData = b"\2\1\4\3"
    assert converted(file_of(big, ExplicitVRBigEndian))["00281201"] == little["00281201"]


def test_the_base_is_put_into_bulk_uris_only():
    dataset = Dataset()
    dataset.StudyDescription = '"BulkDataURI":"@/x'
    dataset.RedPaletteColorLookupTableData = bytes(2000)
    stored = encode(Converter(read_header(file_of(dataset)), "@/bulk").dataset())
    sent = json.loads(placed(stored, "https://imaging.example/dicomweb"))
    assert sent["00281201"]["BulkDataURI"] == "https://imaging.example/dicomweb/bulk/00281201"
    assert sent["00081030"]["Value"] == ['"BulkDataURI":"@/x']


def test_objects_are_joined_into_an_array():
    assert json.loads(joined([b'{"a":1}', b'{"b":2}'])) == [{"a": 1}, {"b": 2}]
    assert json.loads(joined([])) == []


def test_an_unknown_character_set_does_not_stop_the_conversion():
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.PatientName = "Müller"
    content = file_of(dataset).replace(b"ISO_IR 100", b"NO_SUCH_ST")
    assert converted(content)["00100010"]["Value"] == [{"Alphabetic": "Müller"}]


def test_only_dicom_is_converted():
    with pytest.raises(NotDicom):
        converted(b"nothing")
