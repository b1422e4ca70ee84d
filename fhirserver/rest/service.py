"""What the routes of one process share: the database, the settings, and the keys of page links."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from fhirserver.access import Access
from fhirserver.config import Config
from fhirserver.interactions.context import Context
from fhirserver.store.database import Database
from fhirserver.store.resource_store import ResourceStore


@dataclass(frozen=True, slots=True)
class Service:
    """Made once a process; hands each request its own guarded store."""

    database: Database
    config: Config
    page_keys: Sequence[bytes]

    def context(self, access: Access) -> Context:
        """The context of one request."""
        store = ResourceStore(self.database, access, self.config)
        return Context(store, access, self.config, ZoneInfo(self.config.zone), self.page_keys)
