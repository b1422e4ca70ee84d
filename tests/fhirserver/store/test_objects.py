"""Objects: nothing is visible before it is finished, and nothing is left of what is not."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fhirserver.config import Config
from fhirserver.errors import NotFound, Unavailable
from fhirserver.store.objects import CHUNK, Objects, Upload


@pytest.fixture(params=["folder", "obstore"])
def objects(request, tmp_path: Path, monkeypatch) -> Objects:
    store = Objects(Config(data=tmp_path))
    if request.param == "obstore":  # the same promises through obstore, whose memory store needs no bucket
        store = Objects(Config(data=tmp_path, objects_uri="memory:///"))
    return store


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def stored(objects: Objects, key: str, content: bytes) -> None:
    upload = objects.begin()
    upload.write(content)
    upload.finish(key)


def test_a_finished_object_reads_back_as_it_was_written(objects: Objects):
    upload = objects.begin()
    upload.write(b"first ")
    upload.write(b"second")
    upload.finish("dicom/1.2.3/a")
    assert b"".join(objects.open("dicom/1.2.3/a")) == b"first second"
    assert objects.size("dicom/1.2.3/a") == 12
    assert upload.digest == hashlib.sha256(b"first second").hexdigest()


def test_an_object_is_invisible_until_it_is_finished(objects: Objects):
    upload = objects.begin()
    upload.write(b"x" * 10)
    with pytest.raises(NotFound):
        objects.open("dicom/a")
    with pytest.raises(NotFound):
        objects.size("dicom/a")
    upload.finish("dicom/a")
    assert objects.size("dicom/a") == 10


def test_an_abandoned_upload_leaves_no_file(objects: Objects, tmp_path: Path):
    upload = objects.begin()
    upload.write(b"x" * (CHUNK + 1))
    upload.abandon()
    assert files(tmp_path) == []


def test_an_error_inside_a_with_block_abandons_the_upload(objects: Objects, tmp_path: Path):
    def interrupted() -> None:
        with objects.begin() as upload:
            upload.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert files(tmp_path) == []


def test_a_finished_upload_survives_the_end_of_its_with_block(objects: Objects):
    with objects.begin() as upload:
        upload.write(b"whole")
        upload.finish("b/1")
    assert b"".join(objects.open("b/1")) == b"whole"


def test_a_range_is_cut_where_the_object_ends(objects: Objects):
    stored(objects, "b/2", bytes(range(200)))
    assert b"".join(objects.open_range("b/2", 10, 5)) == bytes(range(10, 15))
    assert objects.read_range("b/2", 190, 100) == bytes(range(190, 200))
    assert objects.read_range("b/2", 300, 5) == b""


def test_a_long_object_comes_in_bounded_chunks(objects: Objects):
    content = bytes(CHUNK) + b"tail"
    stored(objects, "b/3", content)
    chunks = list(objects.open("b/3"))
    assert [len(chunk) for chunk in chunks] == [CHUNK, 4]


def test_a_deleted_object_is_gone_and_may_be_deleted_again(objects: Objects):
    stored(objects, "b/4", b"x")
    objects.delete("b/4")
    objects.delete("b/4")
    with pytest.raises(NotFound):
        objects.open("b/4")


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../a", "a/../b", "a//b", "a\\b", ".hidden", "uploads/x", "a\n"])
def test_a_key_cannot_leave_the_store(objects: Objects, key: str):
    with pytest.raises(ValueError):
        objects.open(key)


def test_the_head_and_the_view_show_what_was_written_so_far(objects: Objects):
    upload = objects.begin()
    content = bytes(range(256)) * 2048
    upload.write(content)
    assert bytes(upload.head) == content[: Upload.HEAD]
    assert bytes(upload.view()[-3:]) == content[-3:]
    upload.abandon()


def test_a_resting_upload_holds_no_memory_and_can_still_be_finished(objects: Objects):
    upload = objects.begin()
    upload.write(b"abc")
    upload.rest()
    assert not upload.head
    with pytest.raises(ValueError):
        upload.write(b"d")
    upload.finish("b/5", settle=False)
    objects.settle(["b/5"])
    assert b"".join(objects.open("b/5")) == b"abc"


def test_objects_whose_rows_are_not_committed_are_deleted(objects: Objects, tmp_path: Path):
    def failing() -> None:
        upload = objects.begin()
        upload.write(b"abc")
        with objects.pending(["b/6"]):
            upload.finish("b/6")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    with pytest.raises(NotFound):
        objects.size("b/6")
    assert files(tmp_path) == []


def test_committed_objects_leave_no_note(objects: Objects, tmp_path: Path):
    upload = objects.begin()
    upload.write(b"abc")
    with objects.pending(["b/7"]):
        upload.finish("b/7")
    assert objects.size("b/7") == 3
    assert not [path for path in files(tmp_path) if path.suffix in {".pending", ".upload"}]


def test_sweeping_removes_uploads_and_objects_that_a_crash_left_behind(objects: Objects):
    interrupted = objects.begin()
    interrupted.write(b"half")
    stored(objects, "b/kept", b"1")
    stored(objects, "b/orphan", b"2")
    crashed = objects.pending(["b/kept", "b/orphan"])
    crashed.__enter__()  # and never left: the process dies here
    assert objects.sweep(lambda keys: {"b/kept"} & set(keys)) == 2
    assert objects.size("b/kept") == 1
    with pytest.raises(NotFound):
        objects.size("b/orphan")
    assert objects.sweep(lambda _: ()) == 0
    interrupted.abandon()


def test_a_disk_that_does_not_take_the_content_is_said_so_and_leaves_nothing(tmp_path: Path):
    objects = Objects(Config(data=tmp_path))
    upload = objects.begin()
    upload.write(b"abc")
    (tmp_path / "objects" / "b").write_bytes(b"a file where a folder should be")
    with pytest.raises(Unavailable):
        upload.finish("b/8")
    assert [path.name for path in files(tmp_path)] == ["b"]


def test_an_unread_object_does_not_keep_its_file_open(tmp_path: Path):
    objects = Objects(Config(data=tmp_path))
    stored(objects, "b/9", b"x")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(10):
        objects.open("b/9")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


class Refusing(BaseHTTPRequestHandler):
    """An S3 endpoint that is there and takes nothing."""

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815 - the names that http.server looks for

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def refusing_bucket(tmp_path: Path, monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as endpoint:
        thread = threading.Thread(target=endpoint.serve_forever)
        thread.start()
        for name, value in {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "eu-west-3",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{endpoint.server_port}",
        }.items():
            monkeypatch.setenv(name, value)
        yield Objects(Config(data=tmp_path, objects_uri="s3://images"))
        endpoint.shutdown()
        thread.join()


def test_a_bucket_that_refuses_is_unavailable_and_not_an_absence(refusing_bucket: Objects):
    with pytest.raises(Unavailable):
        refusing_bucket.size("b/1")
    with pytest.raises(Unavailable):
        refusing_bucket.open("b/1")
    with pytest.raises(Unavailable):
        refusing_bucket.delete("b/1")


def test_an_upload_that_a_bucket_refuses_leaves_no_file(refusing_bucket: Objects, tmp_path: Path):
    with refusing_bucket.begin() as upload:
        upload.write(b"abc")
        with pytest.raises(Unavailable):
            upload.finish("b/2")
    assert files(tmp_path) == []


def test_what_a_bucket_does_not_give_up_is_noted_for_the_next_start(refusing_bucket: Objects, tmp_path: Path):
    with pytest.raises(ValueError, match="the row was refused"), refusing_bucket.pending(["b/3"]):
        raise ValueError("the row was refused")
    (note,) = files(tmp_path)
    assert note.read_text() == "b/3"


def test_nothing_is_pending_where_the_note_cannot_be_written(tmp_path: Path):
    objects = Objects(Config(data=tmp_path))
    (tmp_path / "objects" / "uploads").rmdir()
    with pytest.raises(Unavailable), objects.pending(["b/4"]):
        pytest.fail("the objects were finished without a note of them")
