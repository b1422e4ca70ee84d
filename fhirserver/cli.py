"""The command line: run the server, register clients, make tokens, explain decisions, verify the audit, and remove.

Commands print their answer on standard output and everything else on standard error. Exit status: 0 done; 1 the answer
is bad news (a broken audit chain, a story that went another way); 2 the command was not understood; 3 the server or
its database cannot be had; 4 what was named does not exist.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, cast

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from fhirserver import __version__
from fhirserver.config import MOST_PORTS, Config
from fhirserver.errors import FhirError, NotFound, Unavailable
from fhirserver.signals import HeldSignals, interrupt_once

# Commands load the store, Authlib and the rest when they run: `version` and `--help` answer at once.
if TYPE_CHECKING:
    from fhirserver.explanation import Explanation
    from fhirserver.oauth.access_token import Claims
    from fhirserver.oauth.keys import SigningKeys
    from fhirserver.store.audit_witness import Testimony
    from fhirserver.store.database import Database
    from fhirserver.store.erasure import Erasure

BAD_NEWS, NOT_UNDERSTOOD, CANNOT_BE_HAD, UNKNOWN = 1, 2, 3, 4

_READY_TIMEOUT = 60.0
_POLL_INTERVAL = 0.05
_SETTLED = timedelta(minutes=1)  # after which no event comes any more that belongs before
_AT_ONCE = 1_000  # versions that one transaction removes

# What a person's token covers when nothing else is asked for; what it opens is decided by consent.
_DEFAULT_SCOPES = {
    "Practitioner": "user/*.rs",
    "Patient": "patient/*.rs patient/Consent.cruds",
    "RelatedPerson": "user/*.rs user/Consent.cruds",
}
_PERSON = re.compile(rf"({'|'.join(_DEFAULT_SCOPES)})/[A-Za-z0-9.-]{{1,64}}")
_ORGANIZATION = re.compile(r"Organization/[A-Za-z0-9.-]{1,64}")
_RESOURCE = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64}")
_PURPOSE = re.compile(r"[A-Z]{3,20}")

app = typer.Typer(
    name="fhirserver",
    help="FHIR R4 and DICOMweb server for sharing medical imaging in a region.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
client_app = typer.Typer(help="The systems of establishments, which obtain tokens by a key.", no_args_is_help=True)
app.add_typer(client_app, name="client")

told = Console(stderr=True, highlight=False)

DataOption = Annotated[Path | None, typer.Option("--data", help="Data folder (FHIRSERVER_DATA).")]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer in JSON, for scripts.")]
AsOption = Annotated[
    str,
    typer.Option("--as", help="Practitioner/ID, Patient/ID, RelatedPerson/ID or client:ID.", metavar="WHO"),
]
OrganizationOption = Annotated[
    str | None, typer.Option(help="Organization/ID for whom the person acts.", metavar="Organization/ID")
]
PurposeOption = Annotated[str | None, typer.Option(help="Purpose of use, a v3-ActReason code such as TREAT.")]


def main() -> None:
    """Run the command line."""
    os.umask(0o077)  # what this server keeps is for its own account alone
    interrupt_once()
    app()


# Serve


@app.command()
def serve(
    data: DataOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on (FHIRSERVER_HOST).")] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=MOST_PORTS, help="Port to listen on (FHIRSERVER_PORT).")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes (FHIRSERVER_WORKERS).")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Fill an empty server with the demo region.")] = False,
) -> None:
    """Run the server until Ctrl-C, with a MongoDB of its own unless FHIRSERVER_MONGODB_URI names one."""
    config = _config(data=data, host=host, port=port, workers=workers)
    with _errors_told():
        _check_address(config)
        try:
            with _serving_database(config) as served:
                with HeldSignals():
                    is_empty = _prepare(served, exclusive=not config.mongodb_uri)
                os.environ.update(_environment(served))
                threading.Thread(target=_announce, args=(served, demo, is_empty), daemon=True).start()
                _run_workers(served)
        except KeyboardInterrupt:
            told.print("Stopped before it was ready.")


def _run_workers(config: Config) -> None:
    from fhirserver import workers

    try:
        workers.run(config)
    except workers.CannotStartError as error:
        _fail(CANNOT_BE_HAD, str(error))


@contextmanager
def _serving_database(config: Config) -> Iterator[Config]:
    if config.mongodb_uri:
        yield config
        return
    from fhirserver.store.embedded import EmbeddedMongo
    from fhirserver.store.generation import Generation

    with EmbeddedMongo(config.data, snapshot_window=config.page_lifetime) as mongo:
        Generation.begin_anew(config.data)
        try:
            yield replace(config, mongodb_uri=mongo.uri)
        finally:
            Generation.end(config.data)


def _prepare(config: Config, *, exclusive: bool) -> bool:
    """Indexes, keys, and what a crash left behind. Returns whether there is no resource yet."""
    from fhirserver.oauth.keys import SigningKeys
    from fhirserver.store import documents
    from fhirserver.store.audit_log import AuditLog
    from fhirserver.store.binary_content import named_contents
    from fhirserver.store.indexes import create_indexes
    from fhirserver.store.instances import named_objects
    from fhirserver.store.integrity import establish

    database = _connect(config)
    try:
        create_indexes(database)
        establish(database, config.fhir_base, is_wanted=config.keeps_references)
        documents.create_indexes()
        documents.remember_base(config.base)
        SigningKeys.load()
        log = AuditLog(database, _checkpoint(config))
        recovered = log.adopt(exclusive=exclusive)
        log.close()

        swept = database.objects.sweep(lambda keys: named_objects(database, keys) | named_contents(database, keys))
        if recovered or swept:
            told.print(f"Recovered from an unclean stop: {recovered} audit events sealed, {swept} objects removed.")
        return database.is_empty
    finally:
        database.close()


def _announce(config: Config, is_demo: bool, is_empty: bool) -> None:
    """Once the server is ready: its addresses, and with --demo the region, who is in it, and what to try."""
    is_everywhere = config.host in {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound
    local = f"http://{'127.0.0.1' if is_everywhere else config.host}:{config.port}"
    if not _becomes_ready(local):
        told.print("[red]The server is not ready after a minute; its log says why.")
        return
    out = Console(highlight=False)
    table = Table(show_header=False, box=None)
    for name, address in (
        ("FHIR", config.fhir_base),
        ("DICOMweb", config.dicomweb_base),
        ("OAuth", f"{config.base}/oauth"),
        ("API", f"{config.base}/docs, {config.base}/openapi.json"),
        ("Health", f"{config.base}/healthz, {config.base}/readyz"),
    ):
        table.add_row(name, address)
    out.print(table)
    if is_everywhere and not config.public_base:
        told.print("Set FHIRSERVER_PUBLIC_BASE to the address that clients use: links and tokens are for that address.")
    if is_demo:
        _show_demo(local, config, out, is_empty)
    out.print("Ready. Ctrl-C stops everything.")


def _show_demo(local: str, config: Config, out: Console, is_empty: bool) -> None:
    from fhirserver import demo

    try:
        if is_empty:
            demo.build(local, config.data, out)
        wide = Console(file=out.file, highlight=False, width=max(out.width, 80))  # narrower, it would break names
        wide.print(demo.who_may_what())
        for command in demo.three_commands(config.base, config.data):
            out.print(command, soft_wrap=True)
    except Exception as error:  # noqa: BLE001 - the server runs and must go on; the demo is what failed
        told.print(f"[red]The demo region is not complete:[/red] {error}", soft_wrap=True)
        told.print("Start again with an empty data folder to have it whole.")


def _becomes_ready(base: str) -> bool:
    deadline = time.monotonic() + _READY_TIMEOUT
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{base}/readyz", timeout=5):  # noqa: S310 - our own http address
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(_POLL_INTERVAL)
    return False


def _check_address(config: Config) -> None:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.host, config.port))
        except OSError as error:
            _fail(CANNOT_BE_HAD, f"cannot listen on {config.host} port {config.port}: {error.strerror}")


# Each thread of glibc's allocator and of OpenBLAS would otherwise keep memory of its own: some 100 MB a worker.
_FRUGAL = {"MALLOC_ARENA_MAX": "2", "OPENBLAS_NUM_THREADS": "1"}


def _environment(config: Config) -> dict[str, str]:
    """The settings as the workers read them."""
    values = {setting.metadata["variable"]: str(getattr(config, setting.name)) for setting in fields(config)}
    return {**_FRUGAL, **values, "FHIRSERVER_DATA": str(config.data.absolute())}


# Token


@app.command()
def token(
    who: AsOption,
    organization: OrganizationOption = None,
    purpose: PurposeOption = None,
    scope: Annotated[str | None, typer.Option(help="SMART scopes; by default what suits the person.")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print an access token that is good for five minutes, for tests and support. It is audited."""
    with _opened(data) as opened:
        from fhirserver.oauth import access_token

        claims = _claims(who, organization, purpose, scope)
        now = datetime.now(UTC)
        text, issued = access_token.issue(opened.keys, opened.config, claims, now)
        opened.note("token", who, {"scope": issued.scope, "jti": issued.token_id})
        if as_json:
            answer = {
                "access_token": text,
                "token_type": "Bearer",
                "expires_in": issued.expires - int(now.timestamp()),
                "scope": issued.scope,
            }
            print(json.dumps(answer))
        else:
            print(text)


def _claims(who: str, organization: str | None, purpose: str | None, scope: str | None) -> Claims:
    """What a token for WHO says. Ends the command where WHO or an option is not of its form."""
    from fhirserver.oauth.access_token import Claims
    from fhirserver.oauth.bearer import COMMAND_LINE
    from fhirserver.oauth.scopes import unknown

    if purpose is not None and not _PURPOSE.fullmatch(purpose):
        _fail(NOT_UNDERSTOOD, f"{purpose} is not a v3-ActReason code")
    if organization is not None and not _ORGANIZATION.fullmatch(organization):
        _fail(NOT_UNDERSTOOD, f"{organization} is not of the form Organization/ID")
    if scope is not None and (words := unknown(scope)):
        _fail(NOT_UNDERSTOOD, f"not a scope that this server grants: {' '.join(words)}")
    if who.startswith("client:"):
        if organization is not None:
            _fail(NOT_UNDERSTOOD, "a client acts for the organization that it is registered with")
        return _client_claims(who.removeprefix("client:"), purpose, scope)
    if not (person := _PERSON.fullmatch(who)):
        _fail(NOT_UNDERSTOOD, f"{who} is not Practitioner/ID, Patient/ID, RelatedPerson/ID or client:ID")
    type_, _, id_ = who.partition("/")
    return Claims(
        subject=who,
        client_id=COMMAND_LINE,
        scope=scope or _DEFAULT_SCOPES[person[1]],
        purpose=purpose,
        organization=organization,
        person=who,
        patient=id_ if type_ == "Patient" else None,
    )


def _client_claims(client_id: str, purpose: str | None, scope: str | None) -> Claims:
    from fhirserver.oauth.client_assertion import RegisteredClient
    from fhirserver.oauth.token import claims_of

    client = RegisteredClient.of(client_id)
    if client is None:
        _fail(UNKNOWN, f"no client {client_id} is registered")
    granted = client.get_allowed_scope(scope)
    if not granted:
        _fail(NOT_UNDERSTOOD, f"client {client_id} is not registered for {scope}")
    return claims_of(client, granted, purpose=purpose)


# Client


@client_app.command("add")
def client_add(
    client_id: Annotated[str, typer.Option("--id", help="Its client id.")],
    name: Annotated[str, typer.Option(help="What people call it.")],
    organization: Annotated[str | None, typer.Option(help="The establishment it acts for, Organization/ID.")] = None,
    category: Annotated[str, typer.Option(help="care, payer, employer, operator or auditor.")] = "care",
    jwks: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Its public keys, a JWKS.")] = None,
    public_key: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Its public key, PEM: RSA or P-384.")
    ] = None,
    scope: Annotated[str, typer.Option(help="The most it may ask for.")] = "system/*.cruds",
    patient_id_system: Annotated[
        str | None, typer.Option(help="Identifier system of the patient numbers in what it sends.")
    ] = None,
    replace_: Annotated[bool, typer.Option("--replace", help="Overwrite a client of this id.")] = False,
    data: DataOption = None,
) -> None:
    """Register a system of an establishment by its public key."""
    with _opened(data) as opened:
        from fhirserver.oauth.scopes import unknown
        from fhirserver.store import documents

        keys = _key_set(jwks, public_key)
        if words := unknown(scope):
            _fail(NOT_UNDERSTOOD, f"not a scope that this server grants: {' '.join(words)}")
        if (category in {"operator", "auditor"}) == (organization is not None):
            _fail(NOT_UNDERSTOOD, "a client acts for one --organization; an operator or auditor for none")
        try:
            documents.add_client(
                client_id,
                name=name,
                category=category,
                organization=organization,
                jwks=keys,
                scopes=scope,
                patient_id_system=patient_id_system,
                replace=replace_,
            )
        except documents.InvalidRecordError as error:
            _fail(NOT_UNDERSTOOD, f"the client cannot be registered: {error}")
        except ValueError as error:
            _fail(BAD_NEWS, f"{error}; --replace overwrites it")
        opened.note("client-add", f"client:{client_id}", {"organization": organization or "", "category": category})
        told.print(f"Client {client_id} is registered with {', '.join(key['kid'] for key in keys['keys'])}.")


@client_app.command("list")
def client_list(
    data: DataOption = None,
    everyone: Annotated[bool, typer.Option("--all", help="Removed clients too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the registered systems."""
    with _opened(data):
        from fhirserver.store import documents

        clients = [client for client in documents.list_clients() if client.active or everyone]
        names = ("client_id", "name", "organization", "category", "scopes", "patient_id_system", "active")
        if as_json:
            print(json.dumps([{name: getattr(client, name) for name in names} for client in clients]))
            return
        for client in clients:
            print(client.client_id)
            for name in names[1:]:
                print(f"  {name.replace('_', ' ')}: {_shown(getattr(client, name))}")


def _shown(value: str | bool | None) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else value or "-"


@client_app.command("remove")
def client_remove(client_id: Annotated[str, typer.Argument(metavar="ID")], data: DataOption = None) -> None:
    """Remove a system: it obtains no more tokens, and those it has end within seconds."""
    with _opened(data) as opened:
        from fhirserver.store import documents

        if not documents.remove_client(client_id):
            _fail(UNKNOWN, f"no client {client_id} is registered")
        opened.note("client-remove", f"client:{client_id}", {})
        told.print(f"Client {client_id} is removed.")


def _key_set(jwks: Path | None, public_key: Path | None) -> dict[str, Any]:
    from fhirserver.oauth.keys import ClientKeyError, client_key_set, client_key_set_of_pem

    if (jwks is None) == (public_key is None):
        _fail(NOT_UNDERSTOOD, "give the public keys by one of --jwks and --public-key")
    try:
        if jwks is not None:
            return client_key_set(json.loads(jwks.read_bytes()))
        return client_key_set_of_pem(public_key.read_bytes() if public_key else b"")
    except ClientKeyError as error:
        _fail(NOT_UNDERSTOOD, str(error))
    except (ValueError, AttributeError):
        _fail(NOT_UNDERSTOOD, f"{jwks} is not a JSON Web Key Set")


# Explain


@app.command("explain-decision")
def explain_decision(
    resource: Annotated[str, typer.Argument(metavar="TYPE/ID")],
    who: AsOption,
    interaction: Annotated[str, typer.Option(help="read, search, update, delete, retrieve …")] = "read",
    organization: OrganizationOption = None,
    purpose: PurposeOption = None,
    scope: Annotated[str | None, typer.Option(help="SMART scopes of the token.")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether somebody may do something to a resource now, and why. It is audited."""
    with _opened(data) as opened:
        explanation = _explain(opened, resource, interaction, _claims(who, organization, purpose, scope)).document()
        if as_json:
            print(json.dumps(explanation, ensure_ascii=False))
            return
        print(f"{explanation['effect']}: {explanation['code']}", *explanation["text"].values(), sep="\n  ")
        for reason in explanation["reasons"]:
            print(f"\nrule {reason['rule']}: {reason['code']}, {reason['detail']}".removesuffix(", "))
            for source in reason["sources"]:
                print(f"  rests on {source}")


def _explain(opened: _Opened, resource: str, interaction: str, claims: Claims) -> Explanation:
    """The decision on the stored facts of the resource, audited for each patient concerned."""
    from consent.request import LETTER_OF, Interaction
    from fhirserver.access import visibility
    from fhirserver.explanation import explain
    from fhirserver.oauth.bearer import Bearer

    if not _RESOURCE.fullmatch(resource):
        _fail(NOT_UNDERSTOOD, f"{resource} is not of the form Type/ID")
    if interaction not in LETTER_OF:
        _fail(NOT_UNDERSTOOD, f"{interaction} is none of {', '.join(LETTER_OF)}")
    access = Bearer(opened.config, opened.database, opened.keys).access_of(claims, datetime.now(UTC), "command line")
    explained = explain(opened.database, opened.config, access, cast("Interaction", interaction), resource)
    patients: Sequence[str | None] = explained.row.patients or (None,)
    details = {"as": claims.subject, "code": explained.decision.code}
    for patient in patients:
        labels = visibility(explained.row.facts)
        opened.note("explain", resource, details, patient=patient, labels=labels, about=[resource])
    return explained


# Audit


@app.command("verify-audit")
def verify_audit(
    segment: Annotated[
        str | None, typer.Option("--segment", help="Only this segment, LOG-NUMBER.", metavar="NAME")
    ] = None,
    lines: Annotated[
        Path | None,
        typer.Option("--testimony", help="What the witness was told, as lines of JSON.", exists=True, dir_okay=False),
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute the hash chains of the audit trail; exit status 1 where one does not hold."""
    with _opened(data) as opened:
        from fhirserver.store.audit_verify import verify, verify_segment

        told_of = _testimony(opened.config, lines)
        with Progress(console=told, transient=True, disable=not told.is_terminal) as progress:
            task = progress.add_task("Verifying the audit trail", total=None)
            if segment is not None:
                verdict = verify_segment(opened.database, segment, told_of)
            else:
                verdict = verify(
                    opened.database,
                    _checkpoint(opened.config),
                    lambda done, total: progress.update(task, completed=done, total=total),
                    told_of,
                )
        opened.note("audit-verify", "audit trail", {"events": str(verdict.events), "intact": str(verdict.is_intact)})
        if as_json:
            answer = {
                "intact": verdict.is_intact,
                "logs": verdict.logs,
                "segments": verdict.segments,
                "events": verdict.events,
                "unsealed": verdict.unsealed,
                "faults": verdict.faults,
            }
            print(json.dumps(answer))
        else:
            state = "intact" if verdict.is_intact else "BROKEN"
            print(
                f"{state}: {verdict.events} events in {verdict.segments} segments of {verdict.logs} logs, "
                f"{verdict.unsealed} not yet sealed"
            )
            for fault in verdict.faults:
                print(f"  {fault}")
    if not verdict.is_intact:
        raise typer.Exit(BAD_NEWS)


@app.command("export-traces")
def export_traces(
    since: Annotated[str, typer.Option(help="From this date or instant on.", metavar="INSTANT")],
    until: Annotated[
        str | None, typer.Option(help="Before this date or instant; a minute ago if not given.", metavar="INSTANT")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="A file that does not exist yet; standard output.")] = None,
    data: DataOption = None,
) -> None:
    """Give the audit trail as the French national profile of traces (TDE) has it, one JSON object a line."""
    with _opened(data) as opened:
        from fhirserver.access import SystemAccess
        from fhirserver.operations.trace_export import traces
        from fhirserver.store.resource_store import ResourceStore

        now = datetime.now(UTC)
        begin = _instant_of(since, opened.config)
        end = now - _SETTLED if until is None else _instant_of(until, opened.config)
        try:
            written = sys.stdout.buffer if output is None else output.open("xb")
        except FileExistsError:
            _fail(NOT_UNDERSTOOD, f"{output} exists already")
        opened.note("trace-export", "audit trail", {"since": begin.isoformat(), "until": end.isoformat()})
        store = ResourceStore(opened.database, SystemAccess.named("operator", now, "export-traces"), opened.config)
        count = 0
        with Progress(console=told, transient=True, disable=not told.is_terminal) as progress:
            task = progress.add_task("Exporting traces", total=None)
            for line in traces(store, opened.config.fhir_base, begin, end):
                written.write(line + b"\n")
                count += 1
                progress.update(task, completed=count)
        written.flush()
        if output is not None:
            os.fsync(written.fileno())
            written.close()
        told.print(f"{count} events from {begin.isoformat()} to {end.isoformat()}")


def _instant_of(text: str, config: Config) -> datetime:
    """The first millisecond of a FHIR date or instant."""
    from zoneinfo import ZoneInfo

    from fhirserver.search.date import interval

    try:
        return interval(text, ZoneInfo(config.zone))[0]
    except ValueError:
        _fail(NOT_UNDERSTOOD, f"{text} is not a date or an instant")


def _testimony(config: Config, lines: Path | None) -> Testimony | None:
    """What the witness knows: by a file of its keeper, or from itself; None where there is none."""
    from fhirserver.store.audit_witness import known_by, known_from, witness_at

    if lines is not None:
        try:
            with lines.open(encoding="utf-8") as opened:
                return known_from(opened)
        except (ValueError, KeyError, TypeError) as error:
            _fail(NOT_UNDERSTOOD, f"{lines} is not what a witness was told: {error}")
    if not config.audit_witness_uri:
        return None
    return known_by(witness_at(config.audit_witness_uri))


# Search parameters


@app.command()
def reindex(
    types: Annotated[
        list[str] | None, typer.Option("--type", help="A resource type; all where none is named.", metavar="TYPE")
    ] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Every resource, also those that are up to date.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Only say how far it is.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring what is stored up to the search parameters. It is audited, and goes on where it was stopped."""
    from fhirserver.store.reindex import TYPES, Reindex

    if unknown := [name for name in types or () if name not in TYPES]:
        _fail(NOT_UNDERSTOOD, f"{unknown[0]} is not a resource type that is indexed")
    with _opened(data) as opened:
        job = Reindex(opened.database, opened.config)
        if not status:
            opened.note("reindex", "search parameters", {"types": " ".join(types or ()), "rebuild": str(rebuild)})
            job.begin(types or (), rebuild=rebuild)
            with Progress(console=told, transient=True, disable=not told.is_terminal) as progress:
                task = progress.add_task("Reindexing", total=None)
                job.run(lambda state: progress.update(task, completed=state.done, total=max(1, state.total)))
        found = job.job()
        added = opened.database.search_parameters.refresh().added
        if as_json:
            answer = {
                "status": found.status,
                "total": found.total,
                "done": found.done,
                "behind": job.behind(),
                "parameters": {f"{one.reference}": one.state for one in added},
            }
            print(json.dumps(answer))
        else:
            print(f"{found.status}: {found.done} of {found.total} resources indexed, {job.behind()} behind")
            for one in added:
                print(f"  {one.reference} ({one.definition.name} of {', '.join(one.definition.base)}): {one.state}")
        if found.reason:
            _fail(BAD_NEWS, found.reason)


# What is removed for good


@app.command()
def expunge(
    what: Annotated[
        str | None, typer.Argument(metavar="[TYPE|TYPE/ID]", help="Of a type or of one resource; else of all.")
    ] = None,
    deleted: Annotated[bool, typer.Option("--deleted", help="Resources that were deleted, with all versions.")] = False,
    previous: Annotated[bool, typer.Option("--previous", help="Versions that are not the last.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="So many versions at most; else all of them.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove for good what was deleted, or versions that are past. There is no way back. It is audited."""
    type_, id_ = _removable(what, deleted=deleted, previous=previous)
    if not (yes or (sys.stdin.isatty() and typer.confirm("This cannot be undone. Go on?", err=True))):
        _fail(NOT_UNDERSTOOD, "nothing was removed; --yes says that it is meant")
    with _opened(data) as opened:
        kinds = {"deleted": "yes" if deleted else "", "previous": "yes" if previous else ""}
        opened.note("expunge", what or "everything", {**kinds, "limit": str(limit or "")})
        removed = 0
        with Progress(console=told, transient=True, disable=not told.is_terminal) as progress:
            task = progress.add_task("Removing", total=limit)
            for count in _expunged(opened, type_, id_, deleted=deleted, previous=previous, limit=limit):
                removed += count
                progress.update(task, completed=removed)
        if as_json:
            print(json.dumps({"removed": removed, "limited": removed == limit}))
        else:
            print(f"{removed} versions removed" + (", which is the limit: there may be more" * (removed == limit)))


@app.command()
def erase(
    patient: Annotated[str, typer.Argument(metavar="Patient/ID")],
    status: Annotated[bool, typer.Option("--status", help="Only say how far it is, or give the receipt.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase the record of a person for good, and give the receipt. It is audited, and goes on where it was stopped."""
    if not re.fullmatch(r"Patient/[A-Za-z0-9.-]{1,64}", patient):
        _fail(NOT_UNDERSTOOD, f"{patient} is not of the form Patient/ID")
    if not (status or yes or (sys.stdin.isatty() and typer.confirm("This cannot be undone. Go on?", err=True))):
        _fail(NOT_UNDERSTOOD, "nothing was erased; --yes says that it is meant")
    with _opened(data) as opened:
        from fhirserver.operations.erase import receipt

        found = receipt(_erasure_told(opened, patient) if status else _erased(opened, patient))
        if as_json:
            print(json.dumps(found))
            return
        print(f"{found['status']}: {patient}, asked {found['asked']}, ended {found['ended'] or 'not yet'}")
        print(f"  by {found['by']}", *([] if found["organization"] is None else [f"for {found['organization']}"]))
        for kind, count in found["removed"].items():
            print(f"  {kind}: {count}")
        print(f"  withheld, since other persons share it: {found['withheld']}")
        print(f"  digest: {found['digest'] or 'not yet'}")


def _erased(opened: _Opened, patient: str) -> Erasure:
    """Lock the record, unless that was done before, and remove it or watch the server do so."""
    from fhirserver import audit
    from fhirserver.access import SystemAccess, policy_of
    from fhirserver.operations.erase import events_of_end
    from fhirserver.store.resource_store import ResourceStore
    from fhirserver.store.unit import Unit

    now = datetime.now(UTC)
    access = SystemAccess.named("operator", now, "command line", policy_of(opened.config))
    store = ResourceStore(opened.database, access, opened.config)
    by = {
        "reference": _operator(),
        "organization": None,
        "client": "fhirserver command line",
        "purpose": None,
        "request": None,
    }

    def work(unit: Unit) -> None:
        unit.erase(patient.partition("/")[2], by, is_operator=True)
        events = audit.operator_events(_operator(), "erase", patient, now=now, patient=patient)
        unit.record(event.document for event in events)

    store.transact(work)
    jobs = store.erasures
    with Progress(console=told, transient=True, disable=not told.is_terminal) as progress:
        task = progress.add_task("Erasing", total=100)

        def tell(erasure: Erasure) -> None:
            if erasure.patient == patient:
                progress.update(task, completed=erasure.percent)

        jobs.run(events_of_end, tell)
    return _erasure_of(opened, patient)


def _erasure_told(opened: _Opened, patient: str) -> Erasure:
    """The erasure as it stands, whose reading is audited."""
    found = _erasure_of(opened, patient)
    opened.note("erase", patient, {"status": found.status}, patient=patient)
    return found


def _erasure_of(opened: _Opened, patient: str) -> Erasure:
    from fhirserver.store.erasure import find

    found = find(opened.database, patient)
    if found is None:
        raise NotFound(f"No erasure of {patient} is known.")
    return found


def _removable(what: str | None, *, deleted: bool, previous: bool) -> tuple[str, str]:
    """Type and id, empty where all is meant. Ends the command where that cannot be removed."""
    from fhirserver.store.expunge import require_removable
    from resources import SUPPORTED

    type_, _, id_ = (what or "").partition("/")
    if what is not None and ((what != type_ and not _RESOURCE.fullmatch(what)) or type_ not in SUPPORTED):
        _fail(NOT_UNDERSTOOD, f"{what} is no resource type of R4, and not of the form Type/ID")
    if not (deleted or previous):
        _fail(NOT_UNDERSTOOD, "say what to remove: --deleted, --previous or both")
    try:
        require_removable(type_, deleted=deleted)
    except FhirError as error:
        _fail(NOT_UNDERSTOOD, error.diagnostics)
    return type_, id_


def _expunged(
    opened: _Opened, type_: str, id_: str, *, deleted: bool, previous: bool, limit: int | None
) -> Iterator[int]:
    """Remove in transactions of a bounded size; each tells the patients whom it concerned, and gives its number."""
    from fhirserver import audit
    from fhirserver.access import SystemAccess, policy_of
    from fhirserver.store.expunge import Purge
    from fhirserver.store.resource_store import ResourceStore
    from fhirserver.store.rows import Row
    from fhirserver.store.unit import Unit
    from resources import SUPPORTED

    types, target = (type_,) if type_ else tuple(SUPPORTED), "/".join(part for part in (type_, id_) if part)

    def record(unit: Unit, rows: Sequence[Row]) -> None:
        concerned: list[tuple[str | None, Sequence[str], int]] = [
            (patient, labels, count) for (patient, labels), count in audit.disclosed(rows, ()).items()
        ]
        for patient, labels, count in concerned or [(None, (), len(rows))]:
            events = audit.operator_events(
                _operator(),
                "expunge",
                target or "everything",
                now=datetime.now(UTC),
                details={"versions": str(count)},
                patient=patient,
                labels=labels,
            )
            unit.record(event.document for event in events)

    left = limit
    while left is None or left > 0:
        access = SystemAccess.named("operator", datetime.now(UTC), "command line", policy_of(opened.config))
        size = _AT_ONCE if left is None else min(_AT_ONCE, left)
        purge = Purge(types, id_, deleted=deleted, previous=previous, limit=size)
        count = ResourceStore(opened.database, access, opened.config).expunge(purge, record)
        yield count
        if count < size:
            return
        left = None if left is None else left - count


# Demo, version


@app.command("demo")
def demo_command(
    base: Annotated[str, typer.Option(help="Address of the running server, http://HOST:PORT.")],
    story: Annotated[bool, typer.Option("--story", help="Play the story; without it the region is built.")] = False,
    data: DataOption = None,
) -> None:
    """Send the demo region to a running server, or play its story and stop at the first difference."""
    config = _config(data=data)
    with _errors_told():
        from fhirserver import demo

        if story:
            raise typer.Exit(demo.story(base.rstrip("/"), config.data))
        demo.build(base.rstrip("/"), config.data)


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


# What commands share


@dataclass(frozen=True, slots=True)
class _Opened:
    """The database of a data folder, with the audit trail open."""

    config: Config
    database: Database
    keys: SigningKeys

    def note(
        self,
        act: Any,
        target: str,
        details: dict[str, str],
        *,
        patient: str | None = None,
        labels: Sequence[str] = (),
        about: Sequence[str] = (),
    ) -> None:
        """Audit what the operator did; the answer is printed only afterwards.

        `labels` say from whom the resource, and so the event, is hidden; `about` is the resource.
        """
        from fhirserver import audit

        details = {name: text for name, text in details.items() if text}
        events = audit.operator_events(
            _operator(),
            act,
            target,
            now=datetime.now(UTC),
            details=details,
            patient=patient,
            labels=labels,
            about=about,
        )
        audit.flush(None, events)


@contextmanager
def _opened(data: Path | None) -> Iterator[_Opened]:
    """The database of the running server, or of one started for the moment; errors are told without a traceback."""
    config = _config(data=data)
    with _errors_told():
        from fhirserver.store.embedded import reach

        if config.mongodb_uri:
            with _connected(config) as opened:
                yield opened
            return
        with (
            reach(config.data, snapshot_window=config.page_lifetime) as uri,
            _connected(replace(config, mongodb_uri=uri)) as opened,
        ):
            yield opened


@contextmanager
def _connected(config: Config) -> Iterator[_Opened]:
    from fhirserver import audit
    from fhirserver.oauth.keys import SigningKeys
    from fhirserver.store import documents
    from fhirserver.store.audit_log import AuditLog
    from fhirserver.store.audit_witness import reporter

    database = _connect(config)
    log = AuditLog(database, _checkpoint(config), reporter(database, config))
    try:
        database.sealer = log
        audit.use(log)
        if not config.public_base:
            # Tokens are for the address of the server, which was started with options that this command does not know.
            base = documents.known_base()
            if base is None:
                told.print(f"No server has run on these data yet; yours may have another --data than {config.data}.")
            config = replace(config, public_base=base or "")
        yield _Opened(config, database, SigningKeys.load())
    finally:
        audit.use(None)
        log.close()
        database.close()


def _connect(config: Config) -> Database:
    from fhirserver.store.database import connect

    try:
        return connect(config.mongodb_uri, config)
    except ValueError as error:
        _fail(NOT_UNDERSTOOD, f"FHIRSERVER_MONGODB_URI is not a MongoDB address: {error}")


@contextmanager
def _errors_told() -> Iterator[None]:
    """End the command with a sentence and an exit status instead of a traceback."""
    from fhirserver.store.documents import DatabaseError
    from fhirserver.store.embedded import EmbeddedMongoError

    try:
        yield
    except NotFound as error:
        _fail(UNKNOWN, error.diagnostics)
    except (EmbeddedMongoError, Unavailable, OSError) as error:
        _fail(CANNOT_BE_HAD, str(error))
    except DatabaseError as error:
        _fail(CANNOT_BE_HAD, f"database error: {str(error)[:300]}")
    except FhirError as error:
        _fail(BAD_NEWS, error.diagnostics)


def _config(**options: Any) -> Config:
    try:
        return Config.from_environment(**options)
    except ValueError as error:
        _fail(NOT_UNDERSTOOD, f"a setting is not of its form: {error}")


def _checkpoint(config: Config) -> Path:
    return config.data / "audit-checkpoint"


def _operator() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return f"uid-{os.getuid()}"


def _fail(status: int, message: str) -> NoReturn:
    print(f"fhirserver: {message}", file=sys.stderr)
    raise typer.Exit(status)
