"""The search values of a version as they lie beside it, with the generation that they are of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from fhirserver.config import Config
from fhirserver.errors import Unprocessable
from fhirserver.search import text, values
from fhirserver.search.stored import SEPARATOR
from fhirserver.store.database import Document
from fhirserver.store.search_parameters import Catalogue
from resources import SUPPORTED

MOST_CONTAINED = 1_000
"""Each is searched by parameters of its own, which takes about a millisecond of a write."""

MOST_CHARACTERS = 200_000
"""Of the texts of all that one resource contains, for phrases."""

_WORDS = tuple(name + SEPARATOR for name in sorted(text.PARAMETERS))


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
    if extracted.wo:
        found["wo"] = extracted.wo
    if inside := list(_contained(resource, config)):
        found["in"] = inside
    return found


def _contained(resource: Mapping[str, Any], config: Config) -> Iterator[Document]:
    """What its contained resources are searched by: the parameters of R4, so that none that is added later is missed.

    All together have as many words as one resource has; a type without parameters (Parameters) is not searched.
    Raises Unprocessable for more than are taken.
    """
    contained = resource.get("contained", ())
    if len(contained) > MOST_CONTAINED:
        raise Unprocessable(
            f"A resource may contain at most {MOST_CONTAINED} resources.",
            code="too-costly",
            expression=f"{resource['resourceType']}.contained",
        )
    left, room = text.MOST_WORDS, MOST_CHARACTERS
    for one in contained:
        declaration = SUPPORTED.get(one["resourceType"])
        if declaration is None:
            continue
        extracted = values.extract(declaration, one, ZoneInfo(config.zone), config.fhir_base)
        words = [atom for atom in extracted.tk if atom.startswith(_WORDS)]
        beyond = set(words[left:])
        left = max(0, left - len(words))
        found: Document = {
            "t": declaration.type,
            "tk": [atom for atom in extracted.tk if atom not in beyond],
            "rg": extracted.rg,
        }
        if extracted.place is not None:
            found["place"] = list(extracted.place)
        room -= sum(map(len, extracted.wo.values()))
        if extracted.wo and room >= 0:
            found["wo"] = extracted.wo
        yield found
