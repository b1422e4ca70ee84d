"""Persons across establishments: the records that carry one national identifier.

Two establishments may each have a Patient of the same person. What the person refuses, opposition and restrictions,
then counts for both (docs/policy.md); what the person opens stays with the record it was said of, since whoever writes
a second record could otherwise open the first.

`identities` has one document for each identifier: the patients that carry it. Whoever adds a record or a refusal takes
that document, so that neither can miss the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pymongo import ReturnDocument
from pymongo.client_session import ClientSession

from fhirserver.store.database import Database, Document

# The INS by NIR and NIA, their test and demonstration ranges, and the old calculated one (FR Core, Patient.identifier).
NATIONAL = frozenset(f"urn:oid:1.2.250.1.213.1.4.{number}" for number in (8, 9, 10, 11, 2))

_REFUSALS = frozenset({"opposition", "restriction"})


def identities_of(patient: Mapping[str, Any] | None) -> list[str]:
    """The national identifiers of a Patient resource, as `system|value`."""
    return sorted(
        {
            f"{identifier['system']}|{identifier['value']}"
            for identifier in (patient or {}).get("identifier", ())
            if identifier.get("system") in NATIONAL and identifier.get("value")
        }
    )


def carriers(database: Database, session: ClientSession, identities: Iterable[str], patient: str) -> set[str]:
    """All patients that carry one of the identifiers, `patient` among them; takes the identifiers' documents."""
    found: set[str] = set()
    for identity in identities:
        document = database.identities.find_one_and_update(
            {"_id": identity},
            {"$addToSet": {"patients": patient}, "$inc": {"taken": 1}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
            session=session,
        )
        if document is not None:
            found.update(document["patients"])
    return found


def refusals(directives: Iterable[Document], *, of: str) -> list[Document]:
    """What of a record's directives counts for another record, `of`, of the same person."""
    return [{**one, "patient": of} for one in directives if one["family"] in _REFUSALS and one["effect"] == "deny"]
