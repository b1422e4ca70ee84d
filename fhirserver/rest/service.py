"""What the routes of one process share: the database, the settings, and the keys of page links."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

from flask import has_request_context, request

from fhirserver.access import Access
from fhirserver.config import Config
from fhirserver.forwarded import BASE_KEY
from fhirserver.interactions.context import Context
from fhirserver.store.database import Database
from fhirserver.store.resource_store import ResourceStore
from fhirserver.store.search_parameters import Catalogue


@dataclass(frozen=True, slots=True)
class Service:
    """Made once a process; hands each request its own guarded store."""

    database: Database
    config: Config
    page_keys: Sequence[bytes]

    def context(self, access: Access) -> Context:
        """The context of one request."""
        config = self.config_here()
        store = ResourceStore(self.database, access, config)
        return Context(store, access, config, ZoneInfo(config.zone), self.page_keys)

    def config_here(self) -> Config:
        """The settings for the current request: its links begin where a listed proxy says that it came in."""
        base = request.environ.get(BASE_KEY) if has_request_context() else None
        return self.config if base is None else replace(self.config, public_base=base)

    def parameters(self) -> Catalogue:
        """The search parameters, those that the operator has added included."""
        return self.database.search_parameters.current()
