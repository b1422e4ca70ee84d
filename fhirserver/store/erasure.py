"""Erasing a person's record: decided and locked here in one transaction; `erasing` removes it afterwards.

From the commit of the lock on, every row of the record is refused to everybody by its facts (`consent.rules.erased`),
the Patient is gone, and its id belongs to nobody any more: what is written about that patient is refused as about one
who was never there. Whoever writes about a patient takes the patient's access document, as the lock does, so a write is
either before it, and erased, or after it, and refused (docs/adr/0029).

`erasures` has one document for each record that was erased, which holds no clinical content: it is what the job goes
on by, and in the end the receipt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pymongo.client_session import ClientSession

from consent.facts import PatientAccess, materialise
from consent.policy import Policy
from fhirserver.store.concealed import FIELD
from fhirserver.store.database import Database, Document
from fhirserver.store.facts import absent_facts
from fhirserver.store.identities import leave
from fhirserver.store.patient_access import PatientState

KINDS: Final = ("studies", "instances", "objects", "resources", "versions", "links", "sessions", "notices", "results")
"""What is counted, each thing once.

Studies and their DICOM instances; objects of the object store; resources (studies among them) and their past versions;
links to an exam; sessions of break-glass; notices; names in what was found for searches that are answered later.
"""


@dataclass(frozen=True, slots=True)
class Erasure:
    """One erasure: who asked, when, how far it is, and in the end the receipt.

    `by` names the caller: `reference`, `organization`, `client`, `request`. `custodians` are the establishments that
    answered for the Patient. `withheld` are resources and versions that other persons share. `digest` is the SHA-256 of
    the names of what is removed (`erasing`), None until they were gone through.
    """

    patient: str
    status: str
    by: Mapping[str, Any]
    custodians: tuple[str, ...]
    asked: datetime
    ended: datetime | None = None
    total: int = 0
    withheld: int = 0
    digest: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_running(self) -> bool:
        """Whether something is still to be removed."""
        return self.status == "running"

    @property
    def percent(self) -> int:
        """How far it is, in whole per cent; a hundred only when it is over."""
        if not self.is_running:
            return 100
        done = sum(self.counts[kind] for kind in ("instances", "resources", "versions"))
        return min(99, 100 * done // self.total) if self.total else 0

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Erasure:
        """The erasure of its document."""
        return cls(
            document["_id"],
            document["status"],
            document["by"],
            tuple(document["custodians"]),
            document["asked"],
            document.get("ended"),
            document.get("total", 0),
            document["withheld"],
            document.get("digest"),
            {kind: document["counts"].get(kind, 0) for kind in KINDS},
        )


def find(database: Database, patient: str, session: ClientSession | None = None) -> Erasure | None:
    """The erasure of that patient's record, None where there is none."""
    document = database.erasures.find_one({"_id": patient}, session=session)
    return None if document is None else Erasure.of(document)


def of_patient(patient: str, *, is_shared: bool) -> Document:
    """The rows, or past versions, of a record: those of this person alone, or those that others share."""
    return {"facts.subjects.patient": patient, "facts.subjects.1": {"$exists": is_shared}}


def lock(
    database: Database,
    session: ClientSession,
    state: PatientState,
    tombstone: Document,
    by: Mapping[str, Any],
    resource: Mapping[str, Any] | None,
) -> Erasure:
    """Lock the record of a patient whose access document the transaction holds, and write down that it is to go.

    `tombstone` takes the place of the Patient, `resource` is what that was before.
    """
    patient, now = state.patient, by["asked"]
    # What was hidden from the person stays unnamed in their trail, where nothing else will tell of it any more.
    hidden = [one["_id"] for one in database.resources.find(_hidden(patient), {"_id": 1}, session=session)]
    withheld = 0
    for rows in (database.resources, database.history):
        for is_shared, lifecycle in ((False, "erased"), (True, "withheld")):
            change = {"$set": {"facts.lifecycle": lifecycle}}
            found = rows.update_many(of_patient(patient, is_shared=is_shared), change, session=session)
            withheld += found.matched_count * is_shared
    database.resources.replace_one({"_id": patient}, tombstone, session=session)
    database.notices.delete_many({"patient": patient, "sent": None}, session=session)
    custodians = tombstone["facts"]["custodians"]
    leave(database, session, state, resource, custodians, now)
    state.forget()
    database.patient_access.update_one(
        {"_id": patient}, {"$set": {"erased": now, "hidden": sorted(hidden)}}, session=session
    )
    document = {
        "_id": patient,
        "status": "running",
        "by": {name: value for name, value in by.items() if name != "asked"},
        "custodians": custodians,
        "asked": now,
        "withheld": withheld,
        "counts": {"resources": 1},
    }
    database.erasures.insert_one(document, session=session)
    return Erasure.of(document)


def _hidden(patient: str) -> Document:
    return {"facts.subjects.patient": patient, FIELD: {"$exists": True}}


def tombstone_of(current: Document, lu: datetime, policy: Policy) -> Document:
    """What stays of a Patient: its id, which is nobody's any more, and who answered for it."""
    reference = current["_id"]
    facts = {
        **absent_facts("Patient", reference.partition("/")[2]),
        "kind": "patient",
        "lifecycle": "erased",
        "custodians": current["facts"]["custodians"],
        "subjects": [{"patient": reference}],
    }
    return {
        "_id": reference,
        "t": "~Patient",
        "v": current["v"] + 1,
        "lu": lu,
        "b": b"",
        "m": "DELETE",
        "del": True,
        "facts": materialise(facts, [PatientAccess(reference)], policy),
        "aud": [],
    }
