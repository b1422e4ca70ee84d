"""Persons across establishments: the records that carry one national identifier, or that are linked to each other.

Two establishments may each have a Patient of the same person, and one of them may say so (`Patient.link`). What the
person refuses, opposition and restrictions, then counts for both (docs/policy.md); what the person opens stays with the
record it was said of, since whoever writes a second record could otherwise open the first.

`identities` has one document for each identifier, and for each record that others are linked to: the patients that
carry it, and what each refuses. Whoever adds a record or a refusal takes that document, so that neither can miss the
other. What a person refused outlives an erased record here, and then under its other identifiers too (`leave`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pymongo import ReturnDocument
from pymongo.client_session import ClientSession

from consent.reference import literal
from fhirserver.store.database import Database, Document

if TYPE_CHECKING:
    from fhirserver.store.patient_access import PatientState

# The INS by NIR and NIA, their test and demonstration ranges, and the old calculated one (FR Core, Patient.identifier).
NATIONAL = frozenset(f"urn:oid:1.2.250.1.213.1.4.{number}" for number in (8, 9, 10, 11, 2))

MOST_LINKS = 20
"""To how many others one record may be linked."""

_RECORD = "urn:fhirserver:record"
# What counts for itself, and what this server alone says (`of_record`), whoever may write it as an identifier.
_APART = NATIONAL | {_RECORD}
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


def others_of(patient: Mapping[str, Any] | None) -> list[str]:
    """The identifiers of a Patient resource that are not national, as `system|value`."""
    return sorted(
        {
            f"{identifier['system']}|{identifier['value']}"
            for identifier in (patient or {}).get("identifier", ())
            if identifier.get("system") and identifier["system"] not in _APART and identifier.get("value")
        }
    )


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


def of_one_person(
    database: Database,
    session: ClientSession,
    identities: Iterable[str],
    carried_by: Callable[[Iterable[str]], Mapping[str, Collection[str]]],
) -> tuple[set[str], dict[str, Collection[str]]]:
    """All identities of the person who has these, and the person's records with what each carries of them now.

    `carried_by` tells the latter. Records of one person are meant to carry the same, so what joins two persons joins
    all records of both.
    """
    whole, records = set(identities), dict[str, Collection[str]]()
    waiting = set(whole)
    while waiting:
        found = database.identities.find({"_id": {"$in": sorted(waiting)}}, {"patients": 1}, session=session)
        met = carried_by({patient for one in found.to_list() for patient in one["patients"]} - set(records))
        records |= met
        waiting = {identity for carried in met.values() for identity in carried} - whole
        whole |= waiting
    return whole, records


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


# Records that were erased


def leave(
    database: Database,
    session: ClientSession,
    state: PatientState,
    resource: Mapping[str, Any] | None,
    custodians: list[str],
    now: datetime,
) -> None:
    """Take a record that is erased from the identifiers of the person, and keep what must outlive it.

    An opposition in force is kept under every identifier that the record had, so that whoever writes the person anew
    writes somebody who is opposed; of restrictions, those that count for another record of the person. `custodians` may
    let go of it (`release`).
    """
    lasting = [one for one in refusals(state.directives) if one["until"] > now]
    key = f"refused.{_key(state.patient)}"
    own = _oppositions(state.directives, now)
    opposed = own or _oppositions(state.borrowed, now)
    for identity in {*state.identities, *(others_of(resource) if opposed else ())}:
        document = database.identities.find_one({"_id": identity}, session=session) or {"patients": []}
        others = [one for one in document["patients"] if one != state.patient]
        # What was borrowed is kept here already, by the record that it is of, which may withdraw it.
        said = lasting if others else own if identity in state.identities else opposed
        if not (said or others or document.get("refused", {}).keys() - {_key(state.patient)}):
            database.identities.delete_one({"_id": identity}, session=session)
            continue
        kept = {"patient": state.patient, "said": said, "custodians": custodians, "erased": now}
        change = (
            {"$set": {"patients": others, key: kept}} if said else {"$set": {"patients": others}, "$unset": {key: ""}}
        )
        database.identities.update_one(
            {"_id": identity}, {**change, "$inc": {"taken": 1}}, upsert=True, session=session
        )


def _oppositions(directives: Iterable[Document], now: datetime) -> list[Document]:
    return [one for one in refusals(directives) if one["family"] == "opposition" and one["until"] > now]


def remembered(database: Database, session: ClientSession, resource: Mapping[str, Any] | None) -> list[str]:
    """Those identifiers of a Patient, national ones apart, under which an opposition was kept."""
    if not (asked := others_of(resource)):
        return []
    return [one["_id"] for one in database.identities.find({"_id": {"$in": asked}}, {"_id": 1}, session=session)]


def release(database: Database, session: ClientSession, identities: Iterable[str], establishment: str) -> set[str]:
    """Let go of what is kept of erased records that this establishment answered for; whom the identifiers name."""
    patients: set[str] = set()
    for document in database.identities.find({"_id": {"$in": [*identities]}}, session=session).to_list():
        gone = [
            f"refused.{key}"
            for key, one in document.get("refused", {}).items()
            if "erased" in one and establishment in one["custodians"]
        ]
        if gone:
            change: Document = {"$unset": dict.fromkeys(gone, ""), "$inc": {"taken": 1}}
            database.identities.update_one({"_id": document["_id"]}, change, session=session)
            patients.update(document["patients"])
    return patients


def _key(patient: str) -> str:
    """A patient's reference as the name of a field, which may hold no dot."""
    return patient.replace(".", "\uff0e")
