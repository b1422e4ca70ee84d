"""On what grounds somebody may write: about patients they know, and naming nobody who could be somebody else.

Whoever declares a CareTeam opens a record, and whoever is in a named group is in. So what is written is looked at once
more for whom it opens: docs/policy.md, "Whom an establishment may write about".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from consent.decision import Decision
from consent.substitution import is_substitution
from fhirserver.errors import Unprocessable
from fhirserver.store.database import Document
from fhirserver.store.guard import Guard
from fhirserver.store.patient_access import PatientState
from resources import SUPPORTED
from resources.declaration import local_address, local_reference

# What opens or closes a patient's record to others: it cannot be written before the patient is known.
_GRANTING = frozenset({"CareTeam", "Consent", "RelatedPerson"})

# What tokens name, and what says who adheres.
_DIRECTORY = frozenset({"Organization", "OrganizationAffiliation", "Practitioner"})

# What gets members by its own content, so that a reference to one that is not here yet could be claimed; and the types
# whose references make members or recipients of it.
_CLAIMABLE = frozenset({"CareTeam", "Group", "PractitionerRole"})
_NAMING = frozenset({"CareTeam", "Consent", "Group"})


class Grounds:
    """The grounds of one unit of work."""

    def __init__(self, guard: Guard, state: Callable[[str], PatientState], is_known: Callable[[str], bool]) -> None:
        """`state` gives the access document of a patient, `is_known` whether the writer may know what is there."""
        self._guard = guard
        self._state = state
        self._is_known = is_known
        self.identified: set[str] = set()
        """Patients whom the writing establishment identified by an identifier, as DICOM headers do."""

    def check(self, document: Document, resource: Mapping[str, Any], *, is_new: bool) -> None:
        """Raise Unprocessable where a version is written without grounds; `resource` has relative references."""
        reference = document["_id"]
        if resource["resourceType"] == "Consent" and resource.get("status") != "active" and not is_new:
            return  # whatever has become of those whom it names, it can be withdrawn
        if not reference.startswith("Patient/"):
            self.require_known(document)
        if self._guard.custodian is not None:
            self._check_directory(document, resource, self._guard.custodian, is_new=is_new)
        self._check_named(reference.partition("/")[0], resource)

    def require_known(self, document: Document) -> None:
        """Raise Unprocessable unless the writer knows each patient concerned, in the same words where there is none.

        An establishment knows whom it has written itself and whom it identified; it need not have sent the Patient
        again after a deletion, but what opens or closes a record waits for that.
        """
        reference, custodian = document["_id"], self._guard.custodian
        type_ = reference.partition("/")[0]
        subjects = [subject["patient"] for subject in document["facts"]["subjects"]]
        if type_ == "Consent" and not subjects:
            raise Unprocessable("A Consent names a patient of this server.", expression="Consent.patient")
        for patient in subjects:
            state = self._state(patient)
            is_known = custodian in state.establishments or patient in self.identified
            opens = custodian is None or type_ in _GRANTING or state.holds(reference)
            if state.is_erased or not (custodian is None or is_known) or (opens and not state.is_present):
                self._note_refusal(document, patient)
                raise Unprocessable(f"{patient} is not known.", expression=type_)
            state.join(custodian)

    def _note_refusal(self, document: Document, patient: str) -> None:
        """Keep for the audit that somebody tried to write about a patient they do not know."""
        decision = Decision("deny", "no-relationship", self._guard.now, "absent")
        type_, _, id_ = document["_id"].partition("/")
        interaction = "create" if document["v"] == 1 else "update"
        self._guard.note(interaction, type_, id_, (patient,), decision)

    def _check_directory(
        self, document: Document, resource: Mapping[str, Any], custodian: str, *, is_new: bool
    ) -> None:
        """A role is written by the organisation in which it is held, and no id is taken that might be another's.

        What a person or an organisation is, active or a payer, counts for the tokens that name it.
        """
        reference = document["_id"]
        type_ = reference.partition("/")[0]
        if type_ in _DIRECTORY and is_new and document["m"] == "PUT" and reference != custodian:
            raise Unprocessable(
                f"The id of a {type_} is chosen by this server, or by its operator.", expression=f"{type_}.id"
            )
        if type_ == "PractitionerRole" and is_substitution(resource):
            raise Unprocessable("A substitution is recorded by the operator.", expression="PractitionerRole.extension")
        if type_ == "PractitionerRole" and local_reference(resource.get("organization")) != custodian:
            raise Unprocessable(
                "A role is written by the organisation in which it is held.", expression="PractitionerRole.organization"
            )

    def _check_named(self, type_: str, resource: Mapping[str, Any]) -> None:
        """Groups, roles and teams that are named must be here: else whoever came under their id would be in.

        Those that are somebody else's are answered as those that are not here: who is in them is not the writer's to
        know, nor that they are.
        """
        if type_ not in _NAMING:
            return
        for named in SUPPORTED[type_].references(resource):
            if named.partition("/")[0] in _CLAIMABLE and not self._is_known(local_address(named) or named):
                raise Unprocessable(f"{named} is not known.", expression=type_)
