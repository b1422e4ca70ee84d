"""The command line, against real processes: a server that is started, used, killed and started again."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import ECKey, KeySet
from pymongo import MongoClient
from rich.console import Console
from typer.testing import CliRunner

from fhirserver import __version__
from fhirserver.cli import _show_demo, app
from fhirserver.config import Config
from fhirserver.store.embedded import EmbeddedMongo

KEY = ECKey.generate_key("P-384", auto_kid=True)
PATIENT = b'{"resourceType":"Patient","id":"ada","active":true}'


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server process and what it says."""

    def __init__(self, data: Path, port: int, *options: str):
        self.data, self.port = data, port
        command = [sys.executable, "-m", "fhirserver", "serve", "--data", str(data), "--port", str(port), *options]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )

    def until_ready(self):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                return self.call("GET", "/readyz")[0] == 200 and self
            except OSError:
                time.sleep(0.05)
        raise AssertionError(self.process.communicate(timeout=5)[0])

    def call(self, method, path, token=None, body=None):
        headers = {"Content-Type": "application/fhir+json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def stop(self, with_signal=signal.SIGINT):
        if with_signal == signal.SIGINT:  # Ctrl-C: a terminal sends it to the whole group in front
            os.killpg(self.process.pid, with_signal)
        else:
            self.process.send_signal(with_signal)
        said = self.process.communicate(timeout=60)[0]
        return self.process.returncode, said


def processes_of(data):
    """The processes that have this data folder or its mongod in their command line, zombies not counted."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if str(data).encode() in line:
            found.append(int(folder.name))
    return found


def workers_of(main):
    """The processes that answer requests for this main process."""
    children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
    workers = [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert workers
    return workers


@contextmanager
def serving(data, *options):
    server = Server(data, free_port(), *options)
    try:
        yield server.until_ready()
    finally:
        if server.process.poll() is None:
            server.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("served"), "--workers", "1") as running:
        yield running


@pytest.fixture(scope="module")
def jwks(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "jwks.json"
    path.write_text(json.dumps(KeySet([KEY]).as_dict(private=False)))
    return path


@pytest.fixture
def run(server, monkeypatch):
    """Run a command on the data folder of the running server; the result has exit_code, stdout and stderr."""
    monkeypatch.delenv("FHIRSERVER_PUBLIC_BASE", raising=False)

    def command(*arguments):
        return CliRunner().invoke(app, [*arguments, "--data", str(server.data)])

    return command


@pytest.fixture(scope="module", autouse=True)
def his(server, jwks):
    """The system of hospital e1 is registered and has sent a patient."""
    added = CliRunner().invoke(
        app,
        f"client add --id his --name HIS --organization Organization/e1 --jwks {jwks} --data {server.data}".split(),
    )
    assert added.exit_code == 0, added.stderr
    token = CliRunner().invoke(app, ["token", "--as", "client:his", "--data", str(server.data)]).stdout.strip()
    assert server.call("PUT", "/fhir/Patient/ada", token, PATIENT)[0] in {200, 201}


# Tokens


def test_a_token_and_nothing_else_is_printed_and_it_opens_the_server(run, server):
    result = run("token", "--as", "client:his")
    assert result.exit_code == 0
    assert result.stdout.count("\n") == 1
    assert server.call("GET", "/fhir/Patient/ada", result.stdout.strip())[0] == 200


def test_a_patient_reads_their_own_record_and_no_other(run, server):
    ada = run("token", "--as", "Patient/ada").stdout.strip()
    bob = run("token", "--as", "Patient/bob").stdout.strip()
    assert server.call("GET", "/fhir/Patient/ada", ada)[0] == 200
    assert server.call("GET", "/fhir/Patient/ada", bob)[0] == 404


def test_a_professional_without_relation_finds_nothing(run, server):
    token = run("token", "--as", "Practitioner/d", "--organization", "Organization/e1").stdout.strip()
    assert server.call("GET", "/fhir/Patient/ada", token)[0] == 404


def test_a_purpose_that_is_banned_is_forbidden(run, server):
    token = run("token", "--as", "Practitioner/d", "--purpose", "HPAYMT").stdout.strip()
    assert server.call("GET", "/fhir/Patient/ada", token)[0] == 403


def test_a_scope_limits_the_token(run, server):
    token = run("token", "--as", "client:his", "--scope", "system/ImagingStudy.rs").stdout.strip()
    assert server.call("GET", "/fhir/Patient/ada", token)[0] == 403


def test_a_token_in_json_says_how_long_it_is_good(run):
    answer = json.loads(run("token", "--as", "RelatedPerson/mother", "--json").stdout)
    assert answer["token_type"] == "Bearer"
    assert 290 <= answer["expires_in"] <= 300
    assert answer["scope"] == "user/*.rs user/Consent.cruds"


def test_a_token_made_by_the_operator_is_audited(run, server):
    run("token", "--as", "Practitioner/audited")
    with MongoClient(EmbeddedMongo(server.data).uri) as client:
        bodies = [row["b"].decode() for row in client.fhirserver.audit.find()]
    assert any("Practitioner/audited" in body and "fhirserver command line" in body for body in bodies)


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (["--as", "Doctor/d"], 2, "is not Practitioner/ID"),
        (["--as", "Practitioner/"], 2, "is not Practitioner/ID"),
        (["--as", "Practitioner/a b"], 2, "is not Practitioner/ID"),
        (["--as", "client:nobody"], 4, "no client nobody is registered"),
        (["--as", "client:his", "--organization", "Organization/e2"], 2, "registered with"),
        (["--as", "client:his", "--scope", "user/*.rs"], 2, "not registered for"),
        (["--as", "Practitioner/d", "--organization", "e1"], 2, "Organization/ID"),
        (["--as", "Practitioner/d", "--purpose", "treat"], 2, "v3-ActReason"),
        (["--as", "Practitioner/d", "--scope", "user/*.rs nonsense"], 2, "nonsense"),
    ],
)
def test_a_token_that_cannot_be_is_refused(run, arguments, status, reason):
    result = run("token", *arguments)
    assert (result.exit_code, result.stdout) == (status, "")
    assert reason in result.stderr


def test_a_token_can_be_made_while_no_server_runs(tmp_path):
    result = CliRunner().invoke(app, ["token", "--as", "Patient/p", "--data", str(tmp_path)])
    assert result.exit_code == 0
    assert result.stdout.count(".") == 2
    assert processes_of(tmp_path) == []


def test_a_command_says_where_it_looked_if_no_server_ever_ran_there(run, tmp_path):
    result = CliRunner().invoke(app, ["token", "--as", "Patient/p", "--data", str(tmp_path / "wrong")])
    told = " ".join(result.stderr.split())
    assert told.startswith("No server has run on these data yet; yours may have another --data than ")
    assert run("token", "--as", "Patient/p").stderr == ""


# Clients


def test_a_client_is_listed_until_it_is_removed(run, tmp_path):
    pem = tmp_path / "key.pem"
    pem.write_bytes(KEY.as_pem(private=False))
    registration = ["--name", "PACS", "--organization", "Organization/e2", "--patient-id-system", "urn:oid:1.2"]
    added = run("client", "add", "--id", "pacs", *registration, "--public-key", str(pem))
    assert (added.exit_code, added.stdout) == (0, "")
    assert KEY.thumbprint() in added.stderr
    (listed,) = [c for c in json.loads(run("client", "list", "--json").stdout) if c["client_id"] == "pacs"]
    assert listed == {
        "client_id": "pacs",
        "name": "PACS",
        "organization": "Organization/e2",
        "category": "care",
        "scopes": "system/*.cruds",
        "patient_id_system": "urn:oid:1.2",
        "active": True,
    }
    shown = run("client", "list").stdout
    assert "pacs\n  name: PACS\n  organization: Organization/e2\n" in shown
    assert "  active: yes\n" in shown
    assert run("client", "remove", "pacs").exit_code == 0
    assert "pacs" not in run("client", "list", "--json").stdout
    assert "pacs" in run("client", "list", "--json", "--all").stdout
    assert run("client", "remove", "pacs").exit_code == 4
    assert run("token", "--as", "client:pacs").exit_code == 4


def test_an_id_that_is_taken_is_overwritten_only_on_request(run, jwks):
    again = ["client", "add", "--id", "his", "--name", "HIS", "--organization", "Organization/e1", "--jwks", str(jwks)]
    refused = run(*again)
    assert refused.exit_code == 1
    assert "--replace" in refused.stderr
    assert run(*again, "--replace").exit_code == 0


def private_jwks(path):
    path.write_text(json.dumps(KeySet([KEY]).as_dict(private=True)))
    return ["--jwks", str(path)]


def no_json(path):
    path.write_text("{")
    return ["--jwks", str(path)]


def no_object(path):
    path.write_text("[]")
    return ["--jwks", str(path)]


def no_pem(path):
    path.write_text("{")
    return ["--public-key", str(path)]


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (private_jwks, "private key"),
        (no_json, "not a JSON Web Key Set"),
        (no_object, "not a JSON Web Key Set"),
        (no_pem, "not a key"),
        (lambda _: [], "one of --jwks and --public-key"),
    ],
)
def test_a_key_that_cannot_be_registered_is_refused(run, tmp_path, key, reason):
    options = ["--id", "new", "--name", "New", "--organization", "Organization/e3"]
    result = run("client", "add", *options, *key(tmp_path / "key"))
    assert result.exit_code == 2
    assert reason in result.stderr
    assert "new" not in run("client", "list", "--json", "--all").stdout


@pytest.mark.parametrize(
    "changes",
    [
        {"--id": "a b"},
        {"--category": "bank"},
        {"--organization": "Patient/p"},
        {"--organization": None},
        {"--category": "operator"},
        {"--scope": "system/*.xyz"},
        {"--jwks": "/nowhere"},
    ],
)
def test_a_registration_that_is_wrong_is_refused(run, jwks, changes):
    options = {"--id": "new", "--name": "New", "--organization": "Organization/e3", "--jwks": str(jwks), **changes}
    given = [text for name, value in options.items() if value is not None for text in (name, value)]
    assert run("client", "add", *given).exit_code == 2
    assert '"new"' not in run("client", "list", "--json", "--all").stdout


def test_a_registered_client_obtains_its_token_from_what_the_server_says_of_itself(server):
    discovery = json.loads(server.call("GET", "/fhir/.well-known/smart-configuration")[1])
    endpoint = discovery["token_endpoint"]
    session = OAuth2Session("his", KEY, token_endpoint_auth_method="private_key_jwt", scope="system/*.rs")
    short = {"exp": int(time.time()) + 240}  # by itself this library asks for an hour
    session.register_client_auth_method(PrivateKeyJWT(endpoint, short, {"kid": KEY.kid}, alg="ES384"))
    with session:
        token = session.fetch_token(endpoint, grant_type="client_credentials")
        assert token["scope"] == "system/*.rs"
        assert session.get(f"http://127.0.0.1:{server.port}/fhir/Patient/ada").json()["id"] == "ada"


# Decisions and audit


def test_a_decision_is_explained(run):
    refused = json.loads(run("explain-decision", "Patient/ada", "--as", "Practitioner/d", "--json").stdout)
    assert (refused["effect"], refused["code"], refused["status"]) == ("deny", "no-relationship", "absent")
    assert refused["text"]["en"]
    assert refused["reasons"]
    permitted = json.loads(run("explain-decision", "Patient/ada", "--as", "Patient/ada", "--json").stdout)
    assert (permitted["effect"], permitted["code"]) == ("permit", "permit-self")
    assert "permit-self" in run("explain-decision", "Patient/ada", "--as", "Patient/ada").stdout
    said = run("explain-decision", "Patient/ada", "--as", "Practitioner/d").stdout
    assert said.startswith("deny: no-relationship\n")
    assert "rule " in said


def test_a_refusal_by_the_token_alone_is_explained_too(run):
    arguments = ["explain-decision", "Patient/ada", "--as", "Practitioner/d", "--purpose", "HPAYMT", "--json"]
    assert json.loads(run(*arguments).stdout)["code"] == "ban-payer"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["Patient/nobody", "--as", "Practitioner/d"], 4),
        (["Patient", "--as", "Practitioner/d"], 2),
        (["Patient/ada", "--as", "Practitioner/d", "--interaction", "look"], 2),
        (["Patient/ada", "--as", "nobody"], 2),
    ],
)
def test_a_decision_about_nothing_is_not_explained(run, arguments, status):
    result = run("explain-decision", *arguments)
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr


COLOUR = b"""{"resourceType":"SearchParameter","id":"colour","url":"http://example.org/colour","name":"Colour",
"status":"active","description":"x","code":"colour","base":["Patient"],"type":"token",
"expression":"Patient.extension('http://example.org/colour').value.ofType(code)"}"""


def test_an_operator_adds_a_search_parameter_and_indexes_what_is_stored(run, server, jwks):
    run("client", "add", "--id", "region", "--name", "Region", "--category", "operator", "--jwks", str(jwks))
    operator = run("token", "--as", "client:region").stdout.strip()
    reader = run("token", "--as", "Patient/ada").stdout.strip()
    assert server.call("PUT", "/fhir/SearchParameter/colour", operator, COLOUR)[0] == 201
    assert json.loads(run("reindex", "--status", "--json").stdout)["parameters"] == {
        "SearchParameter/colour": "indexing"
    }
    assert server.call("GET", "/fhir/Patient?colour:missing=true", reader)[0] == 400
    done = json.loads(run("reindex", "--json").stdout)
    assert (done["status"], done["behind"]) == ("done", 0)
    assert done["done"] == done["total"] >= 1
    assert "SearchParameter/colour (colour of Patient): usable" in run("reindex", "--status").stdout
    deadline = time.monotonic() + 30
    for _ in range(4):  # each of the workers knows within a second
        status, found = 0, b""
        while status != 200 and time.monotonic() < deadline:
            status, found = server.call("GET", "/fhir/Patient?colour:missing=true", reader)
        assert (status, json.loads(found)["total"]) == (200, 1)


def test_a_type_that_is_not_indexed_is_not_understood(run):
    assert run("reindex", "--type", "AuditEvent").exit_code == 2


def token_of_his(run):
    return run("token", "--as", "client:his").stdout.strip()


def a_basic(server, token, versions):
    """The id of a resource of so many versions, about Patient/ada."""
    basic = {"resourceType": "Basic", "code": {"text": "x"}, "subject": {"reference": "Patient/ada"}}
    made = json.loads(server.call("POST", "/fhir/Basic", token, json.dumps(basic).encode())[1])
    for number in range(1, versions):
        body = json.dumps({**basic, "id": made["id"], "code": {"text": f"{number}"}}).encode()
        assert server.call("PUT", f"/fhir/Basic/{made['id']}", token, body)[0] == 200
    return f"Basic/{made['id']}"


def test_an_operator_removes_for_good_and_the_patient_is_told(run, server):
    token = token_of_his(run)
    changed, deleted = a_basic(server, token, 3), a_basic(server, token, 2)
    assert server.call("DELETE", f"/fhir/{deleted}", token)[0] == 204
    assert run("expunge", changed, "--previous", "--yes").stdout == "2 versions removed\n"
    assert server.call("GET", f"/fhir/{changed}", token)[0] == 200
    assert server.call("GET", f"/fhir/{changed}/_history/1", token)[0] == 404
    assert json.loads(run("expunge", "Basic", "--deleted", "--limit", "2", "--yes", "--json").stdout) == {
        "removed": 2,
        "limited": True,
    }
    assert json.loads(run("expunge", "--deleted", "--yes", "--json").stdout) == {"removed": 1, "limited": False}
    assert server.call("GET", f"/fhir/{deleted}", token)[0] == 404
    reader = run("token", "--as", "Patient/ada", "--scope", "patient/*.rs").stdout.strip()
    trail = json.loads(server.call("GET", "/fhir/AuditEvent?patient=Patient/ada&subtype=destroy", reader)[1])
    told = [
        detail["valueString"]
        for entry in trail["entry"]
        for entity in entry["resource"]["entity"]
        for detail in entity.get("detail", ())
        if detail["type"] == "versions"
    ]
    assert sorted(told) == ["1", "2", "2"]
    assert json.loads(run("verify-audit", "--json").stdout)["intact"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["Basic", "--yes"], "say what to remove"),
        (["Basic", "--deleted"], "--yes says that it is meant"),
        (["Basics", "--deleted", "--yes"], "no resource type of R4"),
        (["Basic/", "--deleted", "--yes"], "no resource type of R4"),
        (["Consent", "--previous", "--yes"], "Nothing of a Consent is removed"),
        (["AuditEvent/1", "--previous", "--yes"], "Nothing of a AuditEvent is removed"),
        (["Patient/ada", "--deleted", "--yes"], "A deleted Patient stays"),
    ],
)
def test_what_is_never_removed_or_not_meant_is_refused(run, server, arguments, reason):
    refused = run("expunge", *arguments)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert reason in refused.stderr
    assert server.call("GET", "/fhir/Patient/ada", token_of_his(run))[0] == 200


def test_an_operator_erases_a_record_and_is_given_the_receipt(run, server):
    token = token_of_his(run)
    patient = b'{"resourceType":"Patient","id":"eve","active":true}'
    assert server.call("PUT", "/fhir/Patient/eve", token, patient)[0] == 201
    basic = json.dumps({"resourceType": "Basic", "code": {"text": "x"}, "subject": {"reference": "Patient/eve"}})
    made = json.loads(server.call("POST", "/fhir/Basic", token, basic.encode())[1])
    assert run("erase", "Patient/eve", "--status").exit_code == 4
    receipt = json.loads(run("erase", "Patient/eve", "--yes", "--json").stdout)
    assert (receipt["status"], receipt["removed"]["resources"], receipt["withheld"]) == ("done", 2, 0)
    assert json.loads(run("erase", "Patient/eve", "--status", "--json").stdout) == receipt
    assert json.loads(run("erase", "Patient/eve", "--yes", "--json").stdout) == receipt
    assert receipt["digest"] in run("erase", "Patient/eve", "--status").stdout
    assert server.call("GET", f"/fhir/Basic/{made['id']}", token)[0] == 404
    assert json.loads(run("verify-audit", "--json").stdout)["intact"]


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (["Patient/ada"], 2, "--yes says that it is meant"),
        (["Basic/ada", "--yes"], 2, "not of the form Patient/ID"),
        (["Patient/nobody", "--yes"], 4, "Patient/nobody is not known"),
        (["Patient/ada", "--status"], 4, "No erasure of Patient/ada is known"),
    ],
)
def test_what_cannot_be_erased_or_is_not_meant_is_refused(run, server, arguments, status, reason):
    refused = run("erase", *arguments)
    assert (refused.exit_code, refused.stdout) == (status, "")
    assert reason in refused.stderr
    assert server.call("GET", "/fhir/Patient/ada", token_of_his(run))[0] == 200


def test_the_audit_is_intact_and_an_altered_event_is_found(tmp_path):
    def command(*arguments):
        return CliRunner().invoke(app, [*arguments, "--data", str(tmp_path)])

    with EmbeddedMongo(tmp_path) as mongo:  # as if a server ran
        command("token", "--as", "Patient/p")
        verdict = json.loads(command("verify-audit", "--json").stdout)
        assert (verdict["intact"], verdict["faults"]) == (True, [])
        assert verdict["events"] >= 1
        assert command("verify-audit").stdout.startswith("intact: ")
        with MongoClient(mongo.uri) as client:
            lines = command("export-traces", "--since", "2020", "--until", "2100").stdout.splitlines()
            assert {len(json.loads(line)["agent"]) for line in lines} == {2}
            assert command("export-traces", "--since", "yesterday").exit_code == 2
            segment = client.fhirserver.audit_seals.find_one()["_id"]
            alone = json.loads(command("verify-audit", "--segment", segment, "--json").stdout)
            assert (alone["intact"], alone["segments"]) == (True, 1)
            assert command("verify-audit", "--segment", "nothing").exit_code == 4
            client.fhirserver.audit.update_one({"seq": 1}, {"$set": {"b": b"{}"}})
        broken = command("verify-audit", "--json")
        assert broken.exit_code == 1
        assert "was altered" in json.loads(broken.stdout)["faults"][0]
        assert "BROKEN" in command("verify-audit").stdout


# Serving


def test_a_second_server_on_the_same_folder_is_refused(server):
    second = Server(server.data, free_port())
    status, said = second.process.wait(60), second.process.stdout.read()
    assert status == 3
    assert f"in use by process {server.process.pid}" in said
    assert "Traceback" not in said
    second.process.stdout.close()


def test_a_port_that_is_taken_is_refused(server, tmp_path):
    second = Server(tmp_path, server.port)
    status, said = second.process.wait(60), second.process.stdout.read()
    assert status == 3
    assert f"port {server.port}" in said
    second.process.stdout.close()


@pytest.mark.parametrize("with_signal", [signal.SIGINT, signal.SIGTERM])
def test_a_server_says_where_it_is_stops_cleanly_and_keeps_its_data(tmp_path, jwks, with_signal):
    data = tmp_path / "data"
    with serving(data) as server:
        registered = f"client add --id his --name HIS --organization Organization/e1 --jwks {jwks} --data {data}"
        assert CliRunner().invoke(app, registered.split()).exit_code == 0
        token = CliRunner().invoke(app, ["token", "--as", "client:his", "--data", str(data)]).stdout.strip()
        assert server.call("PUT", "/fhir/Patient/ada", token, PATIENT)[0] == 201
        status, said = server.stop(with_signal)
        assert status == 0
        assert f"http://127.0.0.1:{server.port}/fhir" in said
        assert "Traceback" not in said
        assert processes_of(data) == []
    with serving(data) as server:
        token = CliRunner().invoke(app, ["token", "--as", "client:his", "--data", str(data)]).stdout.strip()
        assert server.call("GET", "/fhir/Patient/ada", token)[0] == 200


def test_ctrl_c_is_for_the_main_process_alone_and_ends_the_workers_at_once(tmp_path):
    server = Server(tmp_path, free_port(), "--workers", "2").until_ready()
    main = server.process.pid
    in_front = [pid for pid in workers_of(main) if os.getpgid(pid) == main]
    began = time.monotonic()
    assert server.stop()[0] == 0
    assert time.monotonic() - began < 10
    assert in_front == []
    assert processes_of(tmp_path) == []


def test_a_server_that_is_killed_leaves_the_port_free_and_starts_again(tmp_path):
    first = Server(tmp_path, free_port()).until_ready()
    first.process.kill()
    first.process.communicate(timeout=60)
    second = Server(tmp_path, first.port).until_ready()
    assert second.stop()[0] == 0
    assert processes_of(tmp_path) == []


def test_a_server_outlives_its_mongod(tmp_path):
    with serving(tmp_path, "--workers", "1") as server:
        (mongod,) = [pid for pid in processes_of(tmp_path) if b"--replSet" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(mongod, signal.SIGKILL)
        server.until_ready()
        assert server.call("GET", "/readyz")[0] == 200


def until_there(path, process):
    """Return when a process that starts has come to where it makes this file, or has ended: nothing else tells."""
    while not path.exists() and process.poll() is None:
        time.sleep(0.002)


@pytest.mark.parametrize("sign", ["lock", "key", "port", "db/WiredTiger", "password"])
def test_a_stop_while_starting_leaves_nothing_behind(tmp_path, sign):
    server = Server(tmp_path, free_port())
    until_there(tmp_path / "mongodb" / sign, server.process)
    server.stop(signal.SIGTERM)
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize("sign", ["lock", "port", "password"])
def test_a_command_that_is_stopped_leaves_no_mongod_behind(tmp_path, sign):
    command = [sys.executable, "-m", "fhirserver", "verify-audit", "--data", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until_there(tmp_path / "mongodb" / sign, process)
        process.terminate()
        process.wait(timeout=60)
    assert processes_of(tmp_path) == []


def test_a_worker_that_cannot_start_ends_the_server_with_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif '--multiprocessing-fork' in sys.orig_argv: sys.modules['fhirserver.app'] = None\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    server = Server(tmp_path / "data", free_port(), "--workers", "2")
    try:
        said = server.process.communicate(timeout=60)[0]
    finally:
        if server.process.poll() is None:
            server.stop()
    assert server.process.returncode == 3
    assert said.rstrip().endswith("fhirserver: a worker could not start; what it said is above")
    assert "import of fhirserver.app halted" in said
    assert processes_of(tmp_path) == []


def test_a_worker_that_is_killed_while_it_starts_ends_the_server_with_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\nif '--multiprocessing-fork' in sys.orig_argv: os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    server = Server(tmp_path / "data", free_port(), "--workers", "2")
    try:
        said = server.process.communicate(timeout=60)[0]
    finally:
        if server.process.poll() is None:
            server.stop()
    assert server.process.returncode == 3
    assert said.rstrip().endswith("fhirserver: a worker was ended by SIGKILL while it was starting")
    assert processes_of(tmp_path) == []


def test_workers_are_started_anew_on_request_and_the_server_goes_on(tmp_path):
    with serving(tmp_path, "--workers", "2") as server:
        before = workers_of(server.process.pid)
        server.process.send_signal(signal.SIGHUP)
        while any(Path(f"/proc/{worker}").exists() for worker in before):
            os.sched_yield()
        server.until_ready()
        assert set(workers_of(server.process.pid)).isdisjoint(before)
        assert server.stop()[0] == 0


def test_a_worker_that_dies_later_is_replaced(tmp_path):
    with serving(tmp_path, "--workers", "1") as server:
        (worker,) = workers_of(server.process.pid)
        os.kill(worker, signal.SIGKILL)
        while Path(f"/proc/{worker}").exists():  # until it is waited for
            os.sched_yield()
        server.until_ready()
        assert worker not in workers_of(server.process.pid)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ZONE", "Europe/Nowhere"),
        ("ZONE", "Europe"),
        ("ZONE", "../etc"),
        ("TREATING_SPAN", "exams"),
        ("THREADS", "0"),
        ("WORKERS", "-1"),
        ("PORT", "65536"),
        ("PORT", "0"),
    ],
)
def test_a_setting_that_no_worker_could_start_with_is_refused_before_there_is_one(tmp_path, variable, value):
    environment = {f"FHIRSERVER_{variable}": value}
    refused = CliRunner().invoke(app, ["serve", "--data", str(tmp_path / "data")], env=environment)
    assert refused.exit_code == 2
    assert value in refused.stderr
    assert not (tmp_path / "data").exists()


def test_the_keys_and_data_are_their_owners_only(server):
    folder = server.data / "mongodb"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_two_servers_share_a_replica_set_of_its_own(tmp_path, jwks, monkeypatch):
    with EmbeddedMongo(tmp_path / "elsewhere") as mongo:
        monkeypatch.setenv("FHIRSERVER_MONGODB_URI", mongo.uri)
        monkeypatch.setenv("FHIRSERVER_PUBLIC_BASE", "https://imaging.example.org")
        one, two = tmp_path / "one", tmp_path / "two"
        with serving(one, "--workers", "1") as first, serving(two, "--workers", "1") as second:
            assert not (one / "mongodb").exists()
            added = f"client add --id his --name HIS --organization Organization/e1 --jwks {jwks} --data {one}"
            assert CliRunner().invoke(app, added.split()).exit_code == 0
            token = CliRunner().invoke(app, ["token", "--as", "client:his", "--data", str(two)]).stdout.strip()
            assert first.call("PUT", "/fhir/Patient/ada", token, PATIENT)[0] == 201
            assert second.call("GET", "/fhir/Patient/ada", token)[0] == 200
            discovery = json.loads(second.call("GET", "/fhir/.well-known/smart-configuration")[1])
            assert discovery["token_endpoint"] == "https://imaging.example.org/oauth/token"
        assert mongo.pid is not None


@pytest.mark.parametrize("width", [40, 80, 200])
def test_what_the_demo_prints_to_be_copied_stands_whole_on_its_line(width, tmp_path):
    out = Console(file=io.StringIO(), width=width)
    _show_demo("http://127.0.0.1:8080", Config(data=tmp_path), out, is_empty=False)
    said = out.file.getvalue()
    assert "RelatedPerson/claire-hoffmann " in said
    assert "--organization Organization/imagerie-vosges" in said
    commands = [line for line in said.splitlines() if line.startswith("curl ")]
    assert len(commands) == 3
    assert all(line.endswith('"') and str(tmp_path) in line for line in commands)


# Understanding


def test_the_version_is_printed():
    result = CliRunner().invoke(app, ["version"])
    assert (result.exit_code, result.stdout) == (0, f"{__version__}\n")


def test_the_help_names_the_variable_of_each_option_that_has_one():
    result = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200"})
    for name in ("DATA", "HOST", "PORT", "WORKERS"):
        assert f"FHIRSERVER_{name}" in result.stdout


@pytest.mark.parametrize("arguments", [["serve", "--port", "x"], ["token"], ["nonsense"], ["serve", "--workers", "0"]])
def test_a_command_that_is_not_understood_ends_with_two(arguments):
    assert CliRunner().invoke(app, arguments).exit_code == 2


def test_a_setting_that_is_no_number_is_named(monkeypatch):
    monkeypatch.setenv("FHIRSERVER_WORKERS", "many")
    result = CliRunner().invoke(app, ["serve"])
    assert result.exit_code == 2
    assert "many" in result.stderr


def test_a_database_address_that_is_none_is_told_without_a_traceback(monkeypatch, tmp_path):
    monkeypatch.setenv("FHIRSERVER_MONGODB_URI", "mongodb://:-1")
    result = CliRunner().invoke(app, ["client", "list", "--data", str(tmp_path)])
    assert result.exit_code == 2
    assert result.stderr.startswith("fhirserver: FHIRSERVER_MONGODB_URI is not a MongoDB address")
