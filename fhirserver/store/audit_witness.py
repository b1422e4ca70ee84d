"""A witness of the audit trail: a place that whoever runs the database cannot write, told of every seal and head.

`s3://bucket/prefix` (with object lock), or any other store that obstore speaks, gets one object for each, which is
created and never overwritten; an `https://` address gets each by POST. Seals wait in the database until the witness has
them, and are told in their order, so that none is lost while it does not answer. The head of a log that is being
written is told now and then; a later one stands for those before it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Protocol

import msgspec
import structlog
import urllib3

from fhirserver.config import Config
from fhirserver.errors import Unavailable
from fhirserver.store.audit_checkpoint import Head
from fhirserver.store.database import Database, Document

log = structlog.get_logger()

_SEALS, _HEADS = "seals", "heads"
_TIMEOUT: Final = 10.0
_OK = range(200, 300)
_CONFLICT = 409


@dataclass(slots=True)
class Testimony:
    """What a witness knows: the seals by name, and how far each log went at the least."""

    seals: dict[str, Document] = field(default_factory=dict)
    heads: dict[str, Head] = field(default_factory=dict)

    def add(self, name: str, told: Mapping[str, Any]) -> None:
        """Take in what was told under a name."""
        kind, _, own = name.partition("/")
        if kind == _SEALS:
            self.seals[own] = dict(told)
            self._reaches(told["log"], Head(int(told["last"]), told["head"]))
        else:
            self._reaches(told["log"], Head(int(told["sequence"]), told["hash"]))

    def _reaches(self, of: str, head: Head) -> None:
        self.heads[of] = max(self.heads.get(of, head), head)


class Witness(Protocol):
    """Where seals and heads are told."""

    def tell(self, name: str, body: bytes) -> None:
        """Keep it durably under a name; the same again is no error. Raises Unavailable where that cannot be."""

    def told(self) -> Iterator[tuple[str, bytes]]:
        """What was told, by name. Raises Unavailable where it cannot be read, or is for somebody else to give."""


def witness_at(uri: str) -> Witness:
    """The witness at an address. Raises Unavailable for one that is none."""
    return Endpoint(uri) if uri.startswith(("https://", "http://")) else Store(uri)


class Store:
    """An object store: object lock, or rights to create and not to overwrite, are for its administrator to set."""

    def __init__(self, uri: str) -> None:
        """Nothing is asked of the store yet."""
        import obstore
        import obstore.exceptions
        from obstore.store import from_url

        self._obstore = obstore
        options: dict[str, Any] = {"mkdir": True}
        if not uri.startswith("file:"):
            retries = {"max_retries": 1, "retry_timeout": timedelta(seconds=_TIMEOUT)}
            options = {"client_options": {"timeout": timedelta(seconds=_TIMEOUT)}, "retry_config": retries}
        try:
            self._store = from_url(uri, **options)
        except (self._obstore.exceptions.BaseError, ValueError) as error:
            raise Unavailable(f"This is not the address of a witness: {uri}") from error

    def tell(self, name: str, body: bytes) -> None:
        """Create the object; one that is there must be the same."""
        key = f"{name}.json"
        try:
            self._obstore.put(self._store, key, body, mode="create", use_multipart=False)
        except self._obstore.exceptions.AlreadyExistsError:
            if self._read(key) != body:
                raise Unavailable(f"The witness knows another {name}.") from None
        except self._obstore.exceptions.BaseError as error:
            raise Unavailable("The witness does not answer.") from error

    def told(self) -> Iterator[tuple[str, bytes]]:
        """Every object, one request each."""
        try:
            for page in self._obstore.list(self._store):
                for one in page:
                    if one["path"].endswith(".json"):
                        yield one["path"].removesuffix(".json"), self._read(one["path"])
        except self._obstore.exceptions.BaseError as error:
            raise Unavailable("The witness does not answer.") from error

    def _read(self, key: str) -> bytes:
        try:
            return bytes(self._obstore.get(self._store, key).bytes())
        except self._obstore.exceptions.BaseError as error:
            raise Unavailable("The witness does not answer.") from error


class Endpoint:
    """An HTTP address that takes each by POST, named by `Idempotency-Key`; 409 says that it is there already."""

    def __init__(self, uri: str) -> None:
        """Nothing is asked yet."""
        self._uri = uri
        self._pool = urllib3.PoolManager(timeout=_TIMEOUT, retries=False)

    def tell(self, name: str, body: bytes) -> None:
        """One request."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": name}
        try:
            answer = self._pool.request("POST", self._uri, body=body, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise Unavailable("The witness does not answer.") from error
        if answer.status not in _OK and answer.status != _CONFLICT:
            raise Unavailable(f"The witness answers {answer.status}.")

    def told(self) -> Iterator[tuple[str, bytes]]:
        """What an endpoint was told is for its keeper to give, as a file."""
        raise Unavailable("What this witness was told is read from a file that its keeper gives (--testimony).")


def known_by(witness: Witness) -> Testimony:
    """What a witness was told. Raises Unavailable."""
    found = Testimony()
    for name, body in witness.told():
        found.add(name, msgspec.json.decode(body))
    return found


def known_from(lines: Iterator[str]) -> Testimony:
    """What a keeper gives as lines of JSON, as they were told. Raises ValueError for a line that is none."""
    found = Testimony()
    for line in lines:
        if line.strip():
            told = msgspec.json.decode(line)
            found.add(f"{_SEALS if 'number' in told else _HEADS}/{_name_of(told)}", told)
    return found


def _name_of(told: Mapping[str, Any]) -> str:
    return f"{told['log']}-{told['number']:010d}" if "number" in told else f"{told['log']}-{told['sequence']:020d}"


def reporter(database: Database, config: Config) -> Reporter | None:
    """Who tells the witness of the settings; None where there is none. Raises Unavailable where it has no address."""
    if not config.audit_witness_uri:
        return None
    return Reporter(database, witness_at(config.audit_witness_uri), config.audit_witness_seconds)


class Reporter:
    """Tells a witness, in a thread of its own; nothing that is audited waits for it."""

    def __init__(self, database: Database, witness: Witness, interval: float) -> None:
        """Nothing is told before the first `reach`."""
        self._database = database
        self._witness = witness
        self._interval = interval
        self._wake = threading.Condition()
        self._head: tuple[str, Head] | None = None
        self._told: tuple[str, Head] | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def reach(self, of: str, head: Head) -> None:
        """A log goes as far as this."""
        self._head = (of, head)
        if self._thread is None and not self._is_closed:  # called under the commit lock of the log
            self._thread = threading.Thread(target=self._go_on, name="audit-witness", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Tell what is left, once."""
        with self._wake:
            self._is_closed = True
            self._wake.notify_all()
        if self._thread is not None:
            self._thread.join()
        elif self._head is not None:
            self.report()

    def report(self) -> bool:
        """Tell everything that the witness does not know yet; False where it does not answer."""
        try:
            for document in self._database.audit_seals.find({"told": None}).sort([("_id", 1)]):
                name = document.pop("_id")
                del document["told"]
                self._witness.tell(f"{_SEALS}/{name}", msgspec.json.encode(document))
                self._database.audit_seals.update_one({"_id": name}, {"$set": {"told": True}})
            reached = self._head
            if reached is not None and reached != self._told:
                of, head = reached
                told = {"log": of, "sequence": head.sequence, "hash": head.digest}
                self._witness.tell(f"{_HEADS}/{_name_of(told)}", msgspec.json.encode(told))
                self._told = reached
        except Exception as error:  # noqa: BLE001 - whatever it is, what waits is told later
            log.warning("audit witness", error=type(error).__name__, said=str(error)[:200])
            return False
        return True

    def _go_on(self) -> None:
        while True:
            self.report()
            with self._wake:
                if self._wake.wait_for(lambda: self._is_closed, timeout=self._interval):
                    break
        self.report()
