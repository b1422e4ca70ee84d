"""What tests of every folder share: a real MongoDB, and a small region that writes through the store.

The people of the region are named by what they are to Patient/ada, so that a test reads as a sentence.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from consent.request import DEFAULT_PURPOSE, Actor, parse_scopes
from fhirserver import audit
from fhirserver.access import Access
from fhirserver.audit import trail
from fhirserver.config import Config
from fhirserver.store import actors
from fhirserver.store.audit_log import AuditLog
from fhirserver.store.database import Database, connect
from fhirserver.store.embedded import EmbeddedMongo
from fhirserver.store.indexes import create_indexes
from fhirserver.store.resource_store import ResourceStore
from fhirserver.store.rows import Row
from resources import validation

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)

_NUMBERS = itertools.count(1)
_TOLD = "told"


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Say a line at the end of the run: counts of published cases, and which were not to be had."""
    return lambda line: record_property(_TOLD, line)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Write what the tests told."""
    reports = [report for several in terminalreporter.stats.values() for report in several]
    told = [value for report in reports for name, value in getattr(report, "user_properties", ()) if name == _TOLD]
    if told:
        terminalreporter.section("published cases")
        for line in dict.fromkeys(told):
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def mongo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedMongo]:
    """One mongod for all tests of this process."""
    with EmbeddedMongo(tmp_path_factory.mktemp("mongo")) as running:
        yield running


@pytest.fixture(scope="module")
def config(mongo: EmbeddedMongo, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Settings with a database of this module's own."""
    return Config(
        data=Path(tmp_path_factory.mktemp("data")),
        mongodb_uri=mongo.uri,
        database=f"test-{next(_NUMBERS)}",
        public_base="http://fhir.example",
    )


@pytest.fixture(scope="module")
def database(config: Config) -> Iterator[Database]:
    """The database of this module, empty at first, with its audit log open."""
    database = connect(config.mongodb_uri, config)
    create_indexes(database)
    log = AuditLog(database, config.data / "audit-checkpoint")
    database.sealer = log
    trail.use(log)
    yield database
    log.close()
    trail.use(None)
    database.client.drop_database(config.database)
    database.close()


@dataclass(slots=True)
class Region:
    """Builds accesses and writes resources as an establishment would."""

    database: Database
    config: Config
    now: datetime = NOW
    written: list[Row] = field(default_factory=list)

    def access(
        self,
        reference: str,
        *,
        organization: str | None = None,
        purpose: str | None = None,
        scope: str | None = None,
        now: datetime | None = None,
        category: str = "care",
    ) -> Access:
        """The access that a token of this actor gives at `now`."""
        kind = {
            "Practitioner": "professional",
            "Patient": "patient",
            "RelatedPerson": "representative",
            "Client": "operator" if category == "operator" else "system",
        }[reference.partition("/")[0]]
        context = {"patient": "patient", "representative": "user", "professional": "user"}.get(kind, "system")
        now = now or self.now
        found = actors.standing(self.database, reference, organization, now)
        actor = Actor(
            kind,
            reference,
            organization=organization,
            keys=found.keys,
            patients=frozenset({reference}) if kind == "patient" else frozenset(),
            client_category=category,
            organization_types=found.organization_types,
            professions=found.professions,
            specialties=found.specialties,
            is_active=found.is_active,
            scopes=parse_scopes(scope or f"{context}/*.cruds"),
            client_id=reference.partition("/")[2],
        )
        return Access(actor, purpose or DEFAULT_PURPOSE[kind], now, f"request-{next(_NUMBERS)}", token_id="token")

    def store(self, reference: str, **options: Any) -> ResourceStore:
        """The store as this actor sees it."""
        return ResourceStore(self.database, self.access(reference, **options), self.config)

    def put(self, resource: dict[str, Any], *, by: str = "Organization/e1", now: datetime | None = None) -> Row:
        """Write a resource under its own id, as the hospital system of `by`, or as the operator."""
        if by == "operator":
            access = self.access("Client/operator", category="operator", now=now)
        else:
            access = self.access(f"Client/{by.partition('/')[2]}", organization=by, now=now)
        parsed = validation.check(resource["resourceType"], json.dumps(resource).encode())
        store = ResourceStore(self.database, access, self.config)

        def work(unit: Any) -> Row:
            row = unit.update(parsed, resource["id"]).row
            unit.record(event.document for event in audit.write_events(access, "update", row))
            return row

        row = store.transact(work)
        self.written.append(row)
        return row


@pytest.fixture(scope="module")
def region(database: Database, config: Config) -> Region:
    """An empty region over this module's database."""
    return Region(database, config)
