"""Multipart bodies: read part by part from any chunking, and refused when they end early."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.dicomweb.multipart import HEADERS, boundary_of, envelope, head, new_boundary, parts, write
from fhirserver.errors import BadRequest, UnsupportedMediaType

BODY = (
    b"--b\r\nContent-Type: application/dicom\r\n\r\none\r\n"
    b"--b\r\nContent-Type: application/dicom\r\nContent-ID: 2\r\n\r\ntwo\r\n--b--\r\n"
)


def trickle(body: bytes, size: int) -> Callable[[int], bytes]:
    """A stream that gives at most `size` bytes at a time, as a slow client would."""
    stream = io.BytesIO(body)
    return lambda wanted: stream.read(min(wanted, size))


def read(body: bytes, size: int = 1 << 20, boundary: bytes = b"b") -> list[tuple[dict[str, str], bytes]]:
    return [(dict(part.headers), b"".join(part.content)) for part in parts(trickle(body, size), boundary)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_parts_are_the_same_however_the_bytes_arrive(size: int):
    assert read(BODY, size) == [
        ({"content-type": "application/dicom"}, b"one"),
        ({"content-type": "application/dicom", "content-id": "2"}, b"two"),
    ]


def test_a_preamble_an_epilogue_and_padding_have_no_meaning():
    body = b"preamble\r\n--b \t\r\n\r\none\r\n--b--\r\nepilogue --b\r\n"
    assert read(body) == [({}, b"one")]


def test_a_part_may_be_empty_and_may_have_no_headers():
    assert read(b"--b\r\n\r\n\r\n--b\r\n\r\n\r\n--b--") == [({}, b""), ({}, b"")]


def test_a_part_with_headers_may_be_empty():
    assert read(b"--b\r\nA: 1\r\n\r\n\r\n--b--") == [({"a": "1"}, b"")]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_part_that_ends_with_its_empty_line_is_empty_however_the_bytes_arrive(size: int):
    assert read(b"--b\r\nA: 1\r\n\r\n--b\r\n\r\n--b--", size) == [({"a": "1"}, b""), ({}, b"")]


def test_content_that_looks_like_a_delimiter_is_content():
    assert read(b"--b\r\n\r\nx--b\r\n-\r\n-b\r\n--b--\r\n") == [({}, b"x--b\r\n-\r\n-b")]


def test_a_part_that_is_not_read_is_passed_over():
    assert [part.headers.get("content-id") for part in parts(trickle(BODY, 5), b"b")] == [None, "2"]


@pytest.mark.parametrize("end", range(len(BODY) - 4))
def test_a_body_that_ends_early_is_refused(end: int):
    with pytest.raises(BadRequest):
        read(BODY[:end])


@pytest.mark.parametrize(
    "body",
    [
        b"--bX\r\n\r\none\r\n--b--",
        b"--b\n\none\n--b--\n",
        b"--b\r\nno colon\r\n\r\none\r\n--b--",
        b"--b\r\nA: 1\r\n--b--",
        b"--b\r\n" + b"A: 1\r\n" * HEADERS + b"\r\none\r\n--b--",
        b"--b" + b"x" * (HEADERS * 2),
    ],
)
def test_a_malformed_body_is_refused(body: bytes):
    with pytest.raises(BadRequest):
        read(body, size=512)


@pytest.mark.parametrize(
    "content_type",
    [
        'multipart/related; type="application/dicom"; boundary=b',
        'Multipart/Related;boundary="b";TYPE=application/dicom',
        "multipart/related; type=application/dicom; boundary=b; charset=utf-8",
    ],
)
def test_the_boundary_and_the_type_are_read_quoted_or_not(content_type: str):
    assert boundary_of(content_type, "application/dicom") == b"b"


def test_a_boundary_may_hold_what_only_quotes_allow():
    assert (
        boundary_of('multipart/related; type="application/dicom"; boundary="a=b, (c)"', "application/dicom")
        == b"a=b, (c)"
    )


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "application/dicom",
        "multipart/form-data; boundary=b",
        'multipart/related; type="text/xml"; boundary=b',
    ],
)
def test_another_content_type_is_not_supported(content_type: str | None):
    with pytest.raises(UnsupportedMediaType):
        boundary_of(content_type, "application/dicom")


@pytest.mark.parametrize("boundary", ["", '""', "x" * 71, '"trailing "', '"é"', '"a\r\nb"'])
def test_a_missing_or_malformed_boundary_is_refused(boundary: str):
    with pytest.raises(BadRequest):
        boundary_of(f'multipart/related; type="application/dicom"; boundary={boundary}', "application/dicom")


_NAMES = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12).filter(lambda name: name.strip("-"))
_VALUES = st.text("abc/;=\"' 019", max_size=20).map(str.strip)
_CONTENT = st.lists(st.sampled_from([b"\r\n", b"--", b"--b", b"\r\n--", b"x", b"\x00" * 50, b"--b--"])).map(b"".join)


@given(st.lists(st.tuples(st.dictionaries(_NAMES, _VALUES, max_size=3), _CONTENT), max_size=5), st.integers(1, 60))
def test_what_is_written_reads_back(items: list[tuple[dict[str, str], bytes]], size: int):
    boundary = new_boundary()
    pieces = envelope(boundary, [head(headers) for headers, _ in items])
    body = b"".join(write(pieces, [[content] for _, content in items]))
    assert len(body) == sum(map(len, pieces)) + sum(len(content) for _, content in items)
    assert read(body, size, boundary.encode()) == items


@given(
    st.lists(st.sampled_from([b"\r\n", b"--b", b"--", b"A: 1", b"\n", b"x", b"\r", b"\r\n\r\n", b"--b--"])).map(
        b"".join
    )
)
def test_any_body_either_reads_or_is_refused(body: bytes):
    with contextlib.suppress(BadRequest):
        read(body, size=3)
