"""Persons across establishments: the records that carry one national identifier, or that are linked to each other.

Two establishments may each have a Patient of the same person, and one of them may say so (`Patient.link`). What the
person refuses, opposition and restrictions, then counts for both (docs/policy.md); what the person opens stays with the
record it was said of, since whoever writes a second record could otherwise open the first.

`identities` has one document for each identifier, and for each record that others are linked to: the patients that
carry it, and what each refuses. Whoever adds a record or a refusal takes that document, so that neither can miss the
other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pymongo import ReturnDocument
from pymongo.client_session import ClientSession

from consent.reference import literal
from fhirserver.store.database import Database, Document

# The INS by NIR and NIA, their test and demonstration ranges, and the old calculated one (FR Core, Patient.identifier).
NATIONAL = frozenset(f"urn:oid:1.2.250.1.213.1.4.{number}" for number in (8, 9, 10, 11, 2))

_RECORD = "urn:fhirserver:record"
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


def linked_to(patient: Mapping[str, Any] | None) -> list[str]:
    """The other records of the same person that a Patient resource names, in whichever sense of `link.type`."""
    others = (literal(link.get("other")) for link in (patient or {}).get("link", ()))
    return sorted({one for one in others if one is not None and one.startswith("Patient/")})


def of_record(patient: str) -> str:
    """The identity that a record gives to those that are linked to it."""
    return f"{_RECORD}|{patient}"


def refusals(directives: Iterable[Document]) -> list[Document]:
    """What of a record's directives counts for every record of the person."""
    return [one for one in directives if one["family"] in _REFUSALS and one["effect"] == "deny"]


@dataclass(frozen=True, slots=True)
class Person:
    """What is said under the national identifiers of one record: who carries them, and what each refuses."""

    patients: frozenset[str]
    refused: Mapping[str, list[Document]]

    def others(self, patient: str) -> list[Document]:
        """What the person refuses on other records than this one, as directives of this one."""
        return [
            {**one, "patient": patient}
            for carrier, said in sorted(self.refused.items())
            if carrier != patient
            for one in said
        ]


def take(
    database: Database,
    session: ClientSession,
    identities: Iterable[str],
    patient: str,
    said: list[Document] | None = None,
) -> Person:
    """Note that a patient carries these identifiers and refuses this (None: as before); what is said under them all."""
    patients: set[str] = set()
    refused: dict[str, list[Document]] = {}
    change: Document = {"$addToSet": {"patients": patient}, "$inc": {"taken": 1}}
    if said is not None:
        change["$set"] = {f"refused.{_key(patient)}": {"patient": patient, "said": said}}
    for identity in identities:
        document = database.identities.find_one_and_update(
            {"_id": identity}, change, upsert=True, return_document=ReturnDocument.AFTER, session=session
        )
        if document is not None:
            patients.update(document["patients"])
            refused.update({one["patient"]: one["said"] for one in document.get("refused", {}).values()})
    return Person(frozenset(patients), refused)


def _key(patient: str) -> str:
    """A patient's reference as the name of a field, which may hold no dot."""
    return patient.replace(".", "\uff0e")
