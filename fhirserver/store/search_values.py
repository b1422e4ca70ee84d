"""The search values of a version as they lie beside it, with the generation that they are of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from fhirserver.config import Config
from fhirserver.search import values
from fhirserver.store.database import Document
from fhirserver.store.search_parameters import Catalogue
from resources import SUPPORTED


def fhir_instant(instant: datetime) -> str:
    """An instant as FHIR writes it, in UTC with milliseconds."""
    return instant.strftime("%Y-%m-%dT%H:%M:%S.") + f"{instant.microsecond // 1000:03d}Z"


def search_values(
    catalogue: Catalogue, resource: Mapping[str, Any], last_updated: datetime, config: Config
) -> Document:
    """The fields of a row that a search goes by: values, intervals, sort keys, and their generation.

    The sort keys get names, since MongoDB cannot index two arrays together.
    """
    stamped = {**resource, "meta": {**resource.get("meta", {}), "lastUpdated": fhir_instant(last_updated)}}
    declaration = catalogue.written[resource["resourceType"]]
    extracted = values.extract(declaration, stamped, ZoneInfo(config.zone), config.fhir_base)
    found: Document = {
        "tk": extracted.tk,
        "rg": extracted.rg,
        "so": {name: {"a": low, "z": high} for name, (low, high) in extracted.so.items()},
        "g": catalogue.generation,
    }
    if extracted.place is not None:
        found["place"] = list(extracted.place)
    contained = (one for one in resource.get("contained", ()) if one["resourceType"] in SUPPORTED)
    if inside := [_contained(one, config) for one in contained]:
        found["in"] = inside
    return found


def _contained(resource: Mapping[str, Any], config: Config) -> Document:
    """What a contained resource is searched by: the parameters of R4, so that none that is added later is missed."""
    type_ = resource["resourceType"]
    extracted = values.extract(SUPPORTED[type_], resource, ZoneInfo(config.zone), config.fhir_base)
    found: Document = {"t": type_, "tk": extracted.tk, "rg": extracted.rg}
    if extracted.place is not None:
        found["place"] = list(extracted.place)
    return found
