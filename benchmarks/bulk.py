"""The region, written into a server's data folder before it starts: from a thousand studies to a million.

It goes through the gate and through the server's own units of work, a number of patients in each transaction, so what
is stored is what requests would have stored. Only the HTTP, the tokens and the audit of those requests are left out.
"""

from __future__ import annotations

import itertools
import multiprocessing
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import data
from consent.request import Actor, parse_scopes
from fhirserver.access import Access, SystemAccess
from fhirserver.config import Config
from fhirserver.store.database import Database, connect
from fhirserver.store.embedded import EmbeddedMongo
from fhirserver.store.indexes import create_indexes
from fhirserver.store.resource_store import ResourceStore
from fhirserver.store.unit import Unit
from resources import validation

PER_TRANSACTION = 50
PROCESSES = 2


def fill(folder: Path, region: data.Region) -> None:
    """Write the directory and all records. The folder's database is started for it and stopped afterwards."""
    with EmbeddedMongo(folder) as mongo:
        config = Config(data=folder)
        database = connect(mongo.uri, config)
        create_indexes(database)
        operator = SystemAccess.named("operator", datetime.now(UTC), uuid.uuid4().hex)
        _write(ResourceStore(database, operator, config), data.directory())
        database.close()
        context = multiprocessing.get_context("spawn")
        shares = [context.Process(target=_fill_share, args=(mongo.uri, config, region, n)) for n in range(PROCESSES)]
        for share in shares:
            share.start()
        for share in shares:
            share.join()
        if any(share.exitcode for share in shares):
            raise RuntimeError("the region could not be written")


def _fill_share(uri: str, config: Config, region: data.Region, share: int) -> None:
    """Every other group of patients, in a process of its own."""
    database = connect(uri, config)
    for group in itertools.islice(_groups(region), share, None, PROCESSES):
        _write(_hospital_store(database, config), group)
    database.close()


def _groups(region: data.Region) -> Iterator[list[data.Resource]]:
    records = iter(region.records())
    while chunk := list(itertools.islice(records, PER_TRANSACTION)):
        yield [
            resource
            for number, (patient, *exams) in chunk
            for resource in (patient, data.care_team(number), *exams)
        ]  # fmt: skip


def _hospital_store(database: Database, config: Config) -> ResourceStore:
    organization = f"Organization/{data.ESTABLISHMENT}"
    actor = Actor("system", "Client/bench", organization=organization, scopes=parse_scopes("system/*.cruds"))
    return ResourceStore(database, Access(actor, "TREAT", datetime.now(UTC), uuid.uuid4().hex), config)


def _write(store: ResourceStore, resources: Iterable[data.Resource]) -> None:
    checked = [validation.check(resource["resourceType"], data.encoded(resource)) for resource in resources]

    def work(unit: Unit) -> None:
        for parsed in checked:
            unit.create(parsed, id_=parsed.resource["id"], is_fresh=True)  # the database was empty

    store.transact(work)
