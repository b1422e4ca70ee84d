"""The embedded database: it starts, keeps what it acknowledged, comes back, and refuses to be shared."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socketserver
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from fhirserver import signals
from fhirserver.store import embedded
from fhirserver.store.embedded import EmbeddedMongo, EmbeddedMongoError, InUseError, reach


@pytest.fixture
def mongo(tmp_path):
    with EmbeddedMongo(tmp_path) as running:
        yield running


@pytest.fixture
def client(mongo):
    with MongoClient(mongo.uri) as connected:
        yield connected


def is_running(pid):
    """A process that ended and that nobody has waited for is still listed, as a zombie."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def mongos_on(data):
    """The mongod processes that have this data folder in their command line."""
    lines = {int(path.parent.name): command_line(path) for path in Path("/proc").glob("[0-9]*/cmdline")}
    return [pid for pid, line in lines.items() if b"/mongod\0" in line and os.fsencode(data) in line]


def command_line(path):
    try:
        return path.read_bytes()
    except OSError:  # ended meanwhile
        return b""


def test_a_fresh_folder_takes_a_transaction(client):
    def work(session):
        client.demo.studies.insert_one({"_id": "a"}, session=session)
        client.demo.reports.insert_one({"_id": "ra"}, session=session)

    with client.start_session() as session:
        session.with_transaction(work)
    assert client.demo.studies.count_documents({}) == 1


def test_nobody_enters_without_the_password(mongo):
    port = mongo.uri.split(":")[3].split("/")[0]
    with (
        MongoClient(f"mongodb://127.0.0.1:{port}/?directConnection=true") as stranger,
        pytest.raises(OperationFailure, match="requires authentication"),
    ):
        stranger.demo.studies.find_one()


def test_secrets_are_readable_by_their_owner_only(mongo):
    for name in ("key", "password"):
        assert stat.S_IMODE((mongo.folder / name).stat().st_mode) == 0o600


def test_the_wire_is_not_compressed_and_snapshots_live_as_long_as_page_links(tmp_path):
    with EmbeddedMongo(tmp_path, snapshot_window=77) as mongo, MongoClient(mongo.uri) as client:
        options = client.admin.command("getCmdLineOpts")["parsed"]
    assert options["net"]["compression"]["compressors"] == "disabled"
    assert options["net"]["bindIp"] == "127.0.0.1"
    assert options["setParameter"]["minSnapshotHistoryWindowInSeconds"] == "77"


def test_a_killed_mongod_comes_back_with_everything_it_acknowledged(mongo, client):
    client.demo.studies.insert_one({"_id": "before"})
    killed = mongo.pid
    os.kill(killed, signal.SIGKILL)
    client.demo.studies.insert_one({"_id": "after"})  # pymongo selects the server again and repeats the write
    assert mongo.pid != killed
    assert [row["_id"] for row in client.demo.studies.find().sort("_id")] == ["after", "before"]


def test_a_second_start_finds_the_data_of_the_first(tmp_path):
    for start in ("first", "second"):
        with EmbeddedMongo(tmp_path) as mongo, MongoClient(mongo.uri) as client:
            client.demo.starts.insert_one({"_id": start})
            seen = client.demo.starts.count_documents({})
    assert seen == 2


def test_stop_leaves_no_process_and_may_be_repeated(tmp_path):
    mongo = EmbeddedMongo(tmp_path)
    mongo.start()
    pid = mongo.pid
    mongo.stop()
    mongo.stop()
    assert not is_running(pid)


class InterruptedAt:
    """Ctrl-C in this thread before the nth line that a start executes."""

    FILES = embedded.__file__, signals.__file__
    LEFT_OUT = "stop", "_stop_orphans", "_is_ours"  # the way out, and many lines for each process of the machine

    def __init__(self, line):
        self.line, self.passed = line, 0

    def __enter__(self):
        self.before = sys.gettrace()
        sys.settrace(self.trace)

    def __exit__(self, *_):
        sys.settrace(self.before)

    def trace(self, frame, event, _):
        code = frame.f_code
        if code.co_filename not in self.FILES or code.co_name in self.LEFT_OUT:
            return None
        if event == "line":
            self.passed += 1
            if self.passed == self.line:
                sys.settrace(None)
                signal.raise_signal(signal.SIGINT)
        return self.trace


def test_a_start_that_is_interrupted_at_any_line_leaves_no_process_and_gives_the_folder_back(tmp_path):
    with EmbeddedMongo(tmp_path):
        pass  # founded, so that each start from here on is short
    for line in itertools.count(1):
        mongo, moment = EmbeddedMongo(tmp_path), InterruptedAt(line)
        with contextlib.suppress(KeyboardInterrupt), moment:
            mongo.__enter__()  # the block of a with statement would end in lines of its own
        if moment.passed < line:
            break
        assert mongos_on(tmp_path) == [], f"interrupted at line {line}"
    mongo.stop()
    assert line > 30


def test_a_folder_in_use_is_refused_to_a_second_server(mongo, tmp_path):
    with pytest.raises(InUseError, match=f"in use by process {os.getpid()}"):
        EmbeddedMongo(tmp_path).start()


def test_a_folder_that_was_never_started_has_no_uri(tmp_path):
    with pytest.raises(EmbeddedMongoError, match="never been started"):
        _ = EmbeddedMongo(tmp_path).uri


def test_a_server_killed_outright_leaves_a_mongod_that_the_next_start_stops(tmp_path):
    program = (
        "import sys, pathlib, signal\n"
        "from fhirserver.store.embedded import EmbeddedMongo\n"
        "mongo = EmbeddedMongo(pathlib.Path(sys.argv[1]))\n"
        "mongo.start()\n"
        "print(mongo.pid, flush=True)\n"
        "signal.pause()\n"
    )
    server = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    with server:
        orphan = int(server.stdout.readline())
        server.kill()
    assert is_running(orphan)
    with EmbeddedMongo(tmp_path) as mongo, MongoClient(mongo.uri) as client:
        assert not is_running(orphan)
        client.demo.studies.insert_one({})


def test_another_program_that_looks_at_the_data_is_left_alone(tmp_path):
    folder = tmp_path / "mongodb" / "db"
    stranger = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()", str(folder)])
    try:
        with EmbeddedMongo(tmp_path):
            assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("moment", [0.0, 0.05, 0.15, 0.3])
def test_a_first_start_that_is_killed_at_any_moment_is_completed_by_the_next(tmp_path, moment):
    program = (
        "import sys, pathlib\n"
        "from fhirserver.store.embedded import EmbeddedMongo\n"
        "print(flush=True)\n"
        "EmbeddedMongo(pathlib.Path(sys.argv[1])).start()\n"
    )
    server = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE)
    with server:
        server.stdout.readline()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(moment)
        server.kill()
    with EmbeddedMongo(tmp_path) as mongo, MongoClient(mongo.uri) as client:
        client.demo.studies.insert_one({})


def test_a_first_start_that_was_cut_short_is_made_again_and_its_password_told_to_nobody(tmp_path):
    with EmbeddedMongo(tmp_path) as mongo:
        before = mongo.uri
    (tmp_path / "mongodb" / "founding").touch()
    with pytest.raises(EmbeddedMongoError, match="for the first time"):
        _ = EmbeddedMongo(tmp_path).uri
    with EmbeddedMongo(tmp_path) as mongo, MongoClient(mongo.uri) as client:
        client.demo.studies.insert_one({})
        assert mongo.uri != before


def test_data_whose_password_is_missing_are_kept_and_refused(tmp_path):
    with EmbeddedMongo(tmp_path):
        pass
    password = (tmp_path / "mongodb" / "password").read_text()
    (tmp_path / "mongodb" / "password").unlink()
    with pytest.raises(EmbeddedMongoError, match="password is missing"):
        EmbeddedMongo(tmp_path).start()
    (tmp_path / "mongodb" / "password").write_text(password)
    with EmbeddedMongo(tmp_path):
        pass


def test_a_port_taken_meanwhile_is_replaced_and_the_data_stay(tmp_path):
    class HangUp(socketserver.BaseRequestHandler):
        pass

    class Squatter(socketserver.ThreadingTCPServer):
        allow_reuse_address = True

    with EmbeddedMongo(tmp_path) as mongo, MongoClient(mongo.uri) as client:
        client.demo.studies.insert_one({})
    port = int((tmp_path / "mongodb" / "port").read_text())
    with Squatter(("127.0.0.1", port), HangUp) as squatter:
        threading.Thread(target=squatter.serve_forever, daemon=True).start()
        with EmbeddedMongo(tmp_path) as mongo, MongoClient(mongo.uri) as client:
            assert client.address[1] != port
            assert client.demo.studies.count_documents({}) == 1
        squatter.shutdown()


def test_reach_uses_the_database_of_a_running_server(mongo, tmp_path):
    with reach(tmp_path) as uri:
        assert uri == mongo.uri


def test_reach_starts_a_database_for_the_moment_where_none_runs(tmp_path):
    with reach(tmp_path) as uri, MongoClient(uri) as client:
        client.demo.studies.insert_one({})
    with EmbeddedMongo(tmp_path) as mongo, MongoClient(mongo.uri) as client:
        assert client.demo.studies.count_documents({}) == 1


def test_a_system_without_the_libraries_is_told_which_are_missing(tmp_path, monkeypatch):
    binary = tmp_path / "mongod"
    binary.write_text("#!/bin/sh\nexit 127\n")
    binary.chmod(0o700)
    monkeypatch.setattr(embedded, "mongod_binary", lambda: binary)
    monkeypatch.setattr(embedded, "missing_libraries", lambda _: ["libcurl.so.4"])
    with pytest.raises(EmbeddedMongoError, match=r"the system lacks libcurl\.so\.4.*FHIRSERVER_MONGODB_URI"):
        EmbeddedMongo(tmp_path).start()


def test_a_binary_for_another_machine_is_named(tmp_path, monkeypatch):
    binary = tmp_path / "mongod"
    binary.write_bytes(b"\x7fELF\x00 not for this machine")
    binary.chmod(0o700)
    monkeypatch.setattr(embedded, "mongod_binary", lambda: binary)
    with pytest.raises(EmbeddedMongoError, match=r"cannot run .*mongod"):
        EmbeddedMongo(tmp_path).start()


def test_another_processor_is_told_to_bring_its_own_mongodb(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(EmbeddedMongoError, match=r"aarch64.*FHIRSERVER_MONGODB_URI"):
        embedded.mongod_binary()


def test_every_library_of_the_shipped_binary_is_here():
    assert embedded.missing_libraries(embedded.mongod_binary()) == []
