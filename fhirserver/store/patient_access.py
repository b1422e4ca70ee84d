"""Who is related to a patient and what the patient's Consents say, kept beside the patient's resources.

`patient_access` has one document a patient. A write that concerns a patient takes that document first, in its own
transaction, so that a CareTeam or Consent which changes at the same moment conflicts with it instead of being missed.
From it the facts of each of the patient's resources are completed ("materialised"): one query can then decide exactly,
at any instant, without looking anything up (docs/adr/0007-materialised-access.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pymongo import ReturnDocument
from pymongo.client_session import ClientSession

from consent import care_team, directive, exams, related_person
from consent.directive import Directive
from consent.documents import Relation
from consent.facts import PatientAccess
from consent.policy import Policy
from fhirserver.store.database import Database, Document
from fhirserver.store.writes import update_of
from resources import SUPPORTED

T = TypeVar("T", bound=Mapping[str, Any])

# The types whose content says who is related to a patient, or what the patient permits.
SOURCES = frozenset({"CareTeam", "RelatedPerson", "Consent", "ImagingStudy", "DiagnosticReport"})


@dataclass(slots=True)
class PatientState:
    """The document of one patient while a transaction holds it.

    `establishments` are those that answer for something of the patient; `is_present` says that the Patient exists,
    `is_erased` that the record was erased.
    `identities` are the person's national identifiers, `borrowed` what the person refuses on other records of theirs.
    `is_changed` asks for the document to be kept, `is_stale` for the facts of the patient's resources to be completed
    anew.
    """

    patient: str
    relations: list[Relation] = field(default_factory=list)
    directives: list[Document] = field(default_factory=list)
    establishments: list[str] = field(default_factory=list)
    is_present: bool = False
    identities: list[str] = field(default_factory=list)
    borrowed: list[Document] = field(default_factory=list)
    is_erased: bool = False
    is_changed: bool = False
    is_stale: bool = False

    @classmethod
    def take(cls, database: Database, session: ClientSession, patient: str, token: str) -> PatientState:
        """Read the document and make this transaction conflict with every other that takes it."""
        document = database.patient_access.find_one_and_update(
            {"_id": patient},
            {"$set": {"taken": token}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
            session=session,
        )
        return cls.of(patient, document or {})

    @classmethod
    def of(cls, patient: str, document: Mapping[str, Any]) -> PatientState:
        """The state that a document holds; that of a patient without one is empty."""
        return cls(
            patient,
            document.get("relations", []),
            document.get("directives", []),
            document.get("establishments", []),
            document.get("present", False),
            document.get("identities", []),
            document.get("borrowed", []),
            "erased" in document,
        )

    def replace(self, source: str, contribution: Contribution) -> None:
        """Let `source` (a reference) say what it says now, and no longer what an earlier version of it said."""
        self.relations = self._replaced(self.relations, source, contribution.relations)
        self.directives = self._replaced(self.directives, source, contribution.directives)

    def _replaced(self, present: list[T], source: str, new: list[T]) -> list[T]:
        prefix = f"{source}/_history/"
        kept = [one for one in present if not one["source"].startswith(prefix)]
        if new or len(kept) != len(present):
            self.is_changed = self.is_stale = True
        return kept + new

    def borrow(self, refusals: list[Document]) -> None:
        """Let what the person refuses on other records count for this one."""
        if refusals != self.borrowed:
            self.borrowed = refusals
            self.is_changed = self.is_stale = True

    def join(self, establishment: str | None) -> None:
        """Note that an establishment holds something of this patient."""
        if establishment is not None and establishment not in self.establishments:
            self.is_stale = self.is_stale or bool(self.establishments)
            self.establishments = sorted([*self.establishments, establishment])
            self.is_changed = True

    def appear(self, *, is_present: bool) -> None:
        """Note that the Patient itself was written or deleted."""
        if self.is_present != is_present:
            self.is_present = is_present
            self.is_changed = True

    def forget(self) -> None:
        """Let nothing be known of the patient any more: the record is erased, whose rows are told apart otherwise."""
        self.relations, self.directives, self.establishments, self.identities, self.borrowed = [], [], [], [], []
        self.is_present, self.is_changed, self.is_stale = False, True, False

    def access(self) -> PatientAccess:
        """The form that `consent` materialises from."""
        return PatientAccess(
            self.patient,
            tuple(self.relations),
            tuple(Directive.from_document(one) for one in (*self.directives, *self.borrowed)),
        )

    def holds(self, source: str) -> bool:
        """Whether `source` says who may see this patient's record."""
        prefix = f"{source}/_history/"
        return any(one["source"].startswith(prefix) for one in (*self.relations, *self.directives))

    def write(self) -> Document:
        """The write that keeps this state."""
        values = {
            "relations": self.relations,
            "directives": self.directives,
            "establishments": self.establishments,
            "present": self.is_present,
            "identities": self.identities,
            "borrowed": self.borrowed,
        }
        return update_of({"_id": self.patient}, {"$set": values}, upsert=True)


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one resource says about a patient's access."""

    relations: list[Relation] = field(default_factory=list)
    directives: list[Document] = field(default_factory=list)


def contribution(
    resource: Mapping[str, Any] | None,
    facts: Mapping[str, Any],
    version: int,
    policy: Policy,
    patient: Mapping[str, Any] | None,
) -> Contribution:
    """What a version of a source says; nothing where it was deleted (`resource` None).

    `patient` is the Patient resource, which ends the authority of those who represent a minor; None where unknown.
    """
    if resource is None:
        return Contribution()
    match resource["resourceType"]:
        case "CareTeam":
            return Contribution(relations=list(care_team.relations(resource, version)))
        case "RelatedPerson":
            return Contribution(relations=list(related_person.relations(resource, version, patient)))
        case "Consent":
            read = directive.read_consent(resource, version, policy)
            return Contribution(directives=[] if read is None else [read.to_document()])
        case "ImagingStudy" | "DiagnosticReport" as type_:
            source = f"{type_}/{facts['id']}/_history/{version}"
            return Contribution(
                relations=list(exams.relations(_performers(resource), facts["performed"], source, policy))
            )
    return Contribution()


def _performers(resource: Mapping[str, Any]) -> Iterable[str]:
    """Who performed or interpreted an exam: they treat the patient."""
    return SUPPORTED[resource["resourceType"]].authors(resource)
