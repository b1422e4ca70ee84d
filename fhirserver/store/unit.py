"""One write and all that follows from it, as one MongoDB transaction.

What a unit of work has written waits in memory until `flush`, which completes the facts, rewrites those of the
patient's other resources where a relation or a Consent changed, and sends one bulk write per collection: resources,
history, relations, actors, audit. Either all of it is there afterwards or none.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from pymongo.client_session import ClientSession

from consent.decision import Decision
from consent.documents import Family
from consent.facts import audience, materialise
from consent.policy import Policy
from consent.reference import literal
from consent.request import Interaction
from fhirserver.config import Config
from fhirserver.errors import (
    Conflict,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    PreconditionFailed,
    TooCostly,
    Unprocessable,
)
from fhirserver.search.expression import Expression
from fhirserver.search.parse import Query
from fhirserver.store import actors, emergencies, erasure, share_links
from fhirserver.store.binary_content import Contents, is_whole, whole_row
from fhirserver.store.concealed import marked
from fhirserver.store.consent_succession import is_active, is_earlier, is_in_force, require_effect
from fhirserver.store.consent_write import check_consent, check_extensions
from fhirserver.store.database import Database, Document
from fhirserver.store.erasure import Erasure, tombstone_of
from fhirserver.store.expunge import Condemned, Purge, condemn, remove
from fhirserver.store.facts import absent_facts, relative, static_facts
from fhirserver.store.grounds import Grounds
from fhirserver.store.guard import Guard
from fhirserver.store.identities import (
    MOST_LINKS,
    identities_of,
    linked_to,
    of_one_person,
    of_record,
    refusals,
    release,
    remembered,
    take,
)
from fhirserver.store.indexes import stored_event
from fhirserver.store.integrity import Integrity
from fhirserver.store.patient_access import SOURCES, PatientState, contribution
from fhirserver.store.rows import Row, Written, row_of
from fhirserver.store.search_values import fhir_instant, search_values
from fhirserver.store.security_context import is_permitted
from fhirserver.store.writes import Writes, update_of
from resources.declaration import local_reference
from resources.exact import encode
from resources.validation import Parsed, parse, splice

_METHODS: Mapping[str, str] = {"update": "PUT", "patch": "PATCH"}
"""By which HTTP method a next version came."""


class NotAsPresent(PreconditionFailed):
    """A precondition does not hold for what is there: permitted to the caller, who is told of `row` by the refusal."""

    def __init__(self, diagnostics: str, row: Row) -> None:
        """`row` is the present version."""
        super().__init__(diagnostics)
        self.row = row


class Search(Protocol):
    """What a unit asks of the store that made it: searches within its transaction, for its access."""

    def matching(self, query: Query, session: ClientSession, limit: int) -> list[Row]:
        """At most so many permitted rows that match."""

    def followed(self, expression: Expression, session: ClientSession) -> Expression:
        """The expression without references to follow."""


@dataclass(slots=True)
class _Pending:
    """A version that this unit will write: the document, and the resources before and after."""

    document: Document
    previous: Document | None
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


class Unit:
    """The writes of one transaction, for one access. Made by `ResourceStore.transact` only."""

    def __init__(
        self,
        database: Database,
        guard: Guard,
        session: ClientSession,
        contents: Contents,
        config: Config,
        policy: Policy,
        search: Search,
    ) -> None:
        """Nothing is read or written yet; `search` is the guarded search of the store, for conditional criteria."""
        self._database = database
        self._guard = guard
        self._session = session
        self._contents = contents
        self._config = config
        self._policy = policy
        self._search = search
        self._instant = guard.instant()
        self._parameters = database.search_parameters
        self._token = uuid.uuid4().hex
        self._pending: dict[str, _Pending] = {}
        self._states: dict[str, PatientState] = {}
        self._grounds = Grounds(guard, self._state, self._is_present)
        self._integrity = (
            Integrity(database, session, self._token, guard.now, self._pending, self._is_known)
            if config.keeps_references
            else None
        )
        self.events: list[Document] = []
        self._superseded: list[Row] = []
        self._linked: list[str] = []
        self._consequences: set[str] = set()
        self._instances: list[Document] = []
        self._others: dict[str, list[Document]] = {}

    # The interactions

    def read(self, type_: str, id_: str) -> Row:
        """The current version if the access permits; NotFound otherwise."""
        document = self._current(f"{type_}/{id_}")
        if document is None:
            self._permits("read", absent_facts(type_, id_))  # decided like a refusal: see ResourceStore
            raise NotFound(f"{type_}/{id_} is not known.")
        if document.get("del") or not is_permitted(self._guard, "read", document, self._current):
            raise NotFound(f"{type_}/{id_} is not known.")
        return whole_row(document, self._database.objects)

    def match(self, query: Query, limit: int = 2) -> list[Row]:
        """Visible rows that meet conditional criteria, so many at most; a twin with the same criteria will conflict."""
        criteria = f"{query.type}?{query.expression!r}"
        self._database.locks.update_one(
            {"_id": hashlib.sha256(criteria.encode()).hexdigest()},
            {"$set": {"taken": self._token, "at": self._guard.now}},
            upsert=True,
            session=self._session,
        )
        return self._search.matching(query, self._session, limit)

    def followed(self, query: Query) -> Expression:
        """The criteria with equalities in the place of the references they follow, as this transaction sees them."""
        return self._search.followed(query.expression, self._session)

    def create(
        self,
        parsed: Parsed,
        *,
        id_: str | None = None,
        is_fresh: bool = False,
        dicom: Mapping[str, Any] | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> Row:
        """Store a new resource; `id_` only where the server itself computes it. Raises Forbidden where refused.

        `is_fresh` says that the id was drawn for this very resource, so that nothing can exist under it. `facts` are
        what the server itself knows of a resource that it makes.
        """
        type_ = parsed.resource["resourceType"]
        if id_ is None:
            id_, is_fresh = uuid.uuid4().hex, True
        if is_fresh:
            if type_ == "Patient":  # nobody can have written about a patient whose id was not known
                self._states.setdefault(f"Patient/{id_}", PatientState(f"Patient/{id_}"))
        elif self._current(f"{type_}/{id_}") is not None:
            raise Conflict(f"{type_}/{id_} exists already.")
        return self._write("create", parsed, id_, None, dicom, "POST", facts)

    def update(
        self,
        parsed: Parsed,
        id_: str,
        *,
        if_match: Sequence[int] | None = None,
        if_none_match_any: bool = False,
        dicom: Mapping[str, Any] | None = None,
        interaction: Literal["update", "patch"] = "update",
        facts: Mapping[str, Any] | None = None,
    ) -> Written:
        """Store the next version of a resource, or the first one under a client-chosen id; `facts` as for `create`.

        Raises NotFound where the present version is refused, Forbidden where the new state is, PreconditionFailed where
        `if_match` does not hold (asked after permission), MethodNotAllowed where the client may not choose ids.
        """
        type_ = parsed.resource["resourceType"]
        self._leave_to_writer(f"{type_}/{id_}")
        current = self._current(f"{type_}/{id_}")
        if current is None or current.get("del"):
            if if_match is not None:
                raise PreconditionFailed(f"{type_}/{id_} has no version that If-Match names.")
            if self._guard.actor.kind not in {"system", "operator"}:
                raise MethodNotAllowed("This client may not choose the id of a resource.")
            if current is not None:  # what was deleted stays with whom it was
                self._require(interaction, current)
            return Written(self._write("create", parsed, id_, current, dicom, "PUT"), created=True)
        self._require(interaction, current)
        _check_preconditions(current, if_match, if_none_match_any=if_none_match_any)
        if dicom is None:
            present = splice(parsed.body, id_, current["v"], fhir_instant(current["lu"]))
            if is_whole(current, present, self._database.objects):  # not a byte changes, so no version is made
                return Written(row_of({**current, "b": present}), created=False)
        row = self._write(interaction, parsed, id_, current, dicom, _METHODS[interaction], facts)
        return Written(row, created=False)

    def delete(self, type_: str, id_: str, *, if_match: Sequence[int] | None = None) -> Row | None:
        """Leave a deleted version; None where there was nothing, NotFound where refused."""
        reference = f"{type_}/{id_}"
        current = self._current(reference)
        if current is None or current.get("del"):
            return None
        self._refuse_twice(reference)
        self._require("delete", current)
        _check_preconditions(current, if_match, if_none_match_any=False)
        document = {
            "_id": reference,
            "t": f"~{type_}",
            "v": current["v"] + 1,
            "lu": self._after(current),
            "b": b"",
            "m": "DELETE",
            "del": True,
            "facts": current["facts"],
            "aud": current["aud"],
        }
        document |= marked(document, document["facts"])
        before = self._resource_of(current)
        pending = _Pending(document, current, before, None)
        self._pending[reference] = pending
        self._contribute(pending)
        if type_ == "SearchParameter":
            self._parameters.withdraw(self._session, reference)
        return row_of(document)

    def record(self, events: Iterable[Document]) -> None:
        """Write audit rows in this transaction; they take their place in the chain after it."""
        self.events.extend({**stored_event(event), "log": None} for event in events)

    def put_instances(self, instances: Iterable[Document]) -> None:
        """Write rows of DICOM instances in this transaction."""
        self._instances.extend(instances)

    def put(self, collection: Literal["emergencies", "notices", "share_links"], documents: Iterable[Document]) -> None:
        """Write new rows of a collection that holds no resources, in this transaction."""
        self._others.setdefault(collection, []).extend(documents)

    def end_emergencies(self, patient: str) -> Sequence[Document]:
        """End the caller's sessions of break-glass for a patient, in this transaction; those that lasted."""
        actor, now = self._guard.actor, self._guard.now
        return emergencies.end(self._database, self._session, (actor.reference, actor.organization), patient, now)

    def use_link(self, name: str, files: Iterable[share_links.File]) -> bool:
        """Count a use of a link and keep what it gives by addresses of their own, in this transaction.

        False where the link was used as often as it may be: nothing is kept.
        """
        if not share_links.use(self._database, self._session, name, self._guard.now):
            return False
        for file in files:
            share_links.keep_file(self._database, self._session, file)
        return True

    def expunge(self, purge: Purge) -> Condemned:
        """Remove rows for good, in this transaction; the objects that they name are the caller's to remove."""
        condemned = condemn(self._database, self._session, purge)
        remove(self._database, self._session, condemned)
        return condemned

    def erase(self, id_: str, by: Mapping[str, Any], *, is_operator: bool = False) -> tuple[Erasure, bool]:
        """Lock a person's record, which is as if it had never been from the commit on; whether that is new.

        `by` is who asks, for the receipt. The establishment of the Patient may, and the operator, who needs no decision
        on it. Raises NotFound for others, as for a Patient who is not there.
        """
        patient, actor = f"Patient/{id_}", self._guard.actor
        state = self._state(patient)
        begun = erasure.find(self._database, patient, self._session)
        if begun is not None and (is_operator or actor.organization in begun.custodians):
            return begun, False
        current = self._current(patient)
        if current is None:
            self._permits("delete", absent_facts("Patient", id_))  # decided like a refusal: see ResourceStore
            raise NotFound(f"{patient} is not known.")
        if not is_operator:
            self._require("delete", current)
        resource = None if current.get("del") else self._resource_of(current)
        tombstone = tombstone_of(current, self._after(current), self._policy)
        asked = {**by, "asked": self._guard.now}
        return erasure.lock(self._database, self._session, state, tombstone, asked, resource), True

    def let_go(self, patient: str) -> None:
        """Let go of what was refused on erased records of the same person that the writing establishment answered for.

        What is still refused elsewhere stays.
        """
        establishment = self._guard.custodian
        if establishment is None:
            return
        own = self._state(patient).identities
        for one in sorted(release(self._database, self._session, own, establishment)):
            state = self._state(one)
            state.borrow(take(self._database, self._session, state.identities, one).others(one))

    def identify(self, patient: str) -> None:
        """Say that the writing establishment identified this patient by an identifier, as DICOM headers do."""
        self._grounds.identified.add(patient)

    def require_integrity(self, reference: str) -> None:
        """Check the references of what was written so far under this reference, where the region wants that.

        Raises Conflict where it names what is not known, or where what is deleted is still referred to. Whatever has
        not been checked before is checked at the end; a transaction asks earlier to say which entry is at fault.
        """
        if self._integrity is not None:
            self._integrity.require(reference)

    def _is_known(self, reference: str, document: Document | None) -> bool:
        """Whether the writer may name what is stored under a reference: what they may read, or have identified."""
        if document is None:
            self._permits("read", absent_facts(*reference.split("/")))  # decided like a refusal: see ResourceStore
            return False
        return is_permitted(self._guard, "read", document, self._current) or reference in self._grounds.identified

    def _is_present(self, reference: str) -> bool:
        """Whether the writer may know that something is stored under a reference, now or after this transaction."""
        document = self._current(reference)
        return self._is_known(reference, None if document is None or document.get("del") else document)

    # The steps of a write

    def _write(
        self,
        interaction: Interaction,
        parsed: Parsed,
        id_: str,
        current: Document | None,
        dicom: Mapping[str, Any] | None,
        method: str,
        stated: Mapping[str, Any] | None = None,
    ) -> Row:
        type_ = parsed.resource["resourceType"]
        self._refuse_twice(f"{type_}/{id_}")
        document, local = self._next(parsed, id_, current, dicom, method, stated)
        decision = self._guard.decide(interaction, document["facts"])
        if decision.effect != "permit":
            self._require_linked()  # it may be for what is refused on a record that the writer does not know
            if self._guard.custodian is not None and type_ != "Patient":
                self._grounds.require_known(document)  # a stranger is not told that the patient has refused
            raise Forbidden(f"This {type_} may not be written by this client.")
        if type_ == "SearchParameter":
            self._offer(document, local)
        if type_ == "Consent":
            self._succeed(document["_id"], local)
        return row_of(document)

    def _next(
        self,
        parsed: Parsed,
        id_: str,
        current: Document | None,
        dicom: Mapping[str, Any] | None,
        method: str,
        stated: Mapping[str, Any] | None = None,
    ) -> tuple[Document, Mapping[str, Any]]:
        """The next version, complete with what follows from it, and the resource with references of this server."""
        resource = {**parsed.resource, "id": id_}
        type_ = resource["resourceType"]
        reference = f"{type_}/{id_}"
        version = 1 if current is None else current["v"] + 1
        instant = self._after(current)
        live = None if current is None or current.get("del") else current
        local = self._local(resource, parsed.body)
        check_extensions(local)
        facts = static_facts(local, id_, self._custodians(current), self._policy)
        if type_ == "Binary":
            facts |= self._security_context(local)
        facts |= stated or {}
        if type_ == "Consent":
            check_consent(local, self._policy, self._database, self._session)
        document: Document = {
            "_id": reference,
            "t": type_,
            "v": version,
            "lu": instant,
            "b": splice(parsed.body, id_, version, fhir_instant(instant)),
            "m": method,
            "facts": facts,
        }
        if current is not None and live is None:
            document["new"] = True
        if (kept := dicom if dicom is not None else (live or {}).get("dicom")) is not None:
            document["dicom"] = dict(kept)
        document |= search_values(self._parameters.current(), resource, instant, self._config)
        if self._integrity is not None:
            document["refs"] = self._integrity.note(reference, local)
        before = None if live is None or type_ not in actors.TYPES else self._resource_of(live)
        pending = _Pending(document, current, before, local)
        self._pending[reference] = pending
        self._contribute(pending)
        self._complete(document)
        return document, local

    def _succeed(self, reference: str, consent: Mapping[str, Any]) -> None:
        """Let a base Consent take the place of the one before, and refuse a grant that a restriction voids."""
        patient = literal(consent.get("patient"))
        if patient is not None and is_active(consent, "base", self._policy):
            others = {
                one["source"].partition("/_history/")[0]
                for one in self._state(patient).directives
                if one["family"] == "base"
            }
            for other in sorted(others - {reference}):
                if other in self._pending:
                    raise Conflict("Two base Consents of one patient in one transaction.", expression="Consent.policy")
                current = self._current(other)
                if current is None or not is_in_force(consent, self._instant, self._policy):
                    continue
                if is_earlier(self._resource_of(current), consent, self._instant, self._policy):
                    self._supersede(other, current)
        elif is_active(consent, "grant", self._policy) and self._guard.custodian is None:
            require_effect(consent, self._instant, self._policy, self._facts_to_be, self._may_read)

    def _supersede(self, reference: str, current: Document) -> None:
        """Make a Consent inactive, as a version of its own: whoever replaced it need not be who may change it."""
        resource = {**parse(current["b"]), "status": "inactive"}
        parsed, id_ = Parsed("Consent", encode(resource), resource), reference.partition("/")[2]
        document, _ = self._next(parsed, id_, current, None, "PUT")
        self._consequences.add(reference)
        self._superseded.append(row_of(document))

    def _leave_to_writer(self, reference: str) -> None:
        """Take back what followed for a Consent, where the same transaction goes on to write it itself.

        It says again what it said: should the write change nothing, it stays as active as it is.
        """
        if reference not in self._consequences:
            return
        self._consequences.remove(reference)
        previous = self._pending.pop(reference).previous
        self._superseded = [row for row in self._superseded if row.reference != reference]
        if previous is not None:
            said = contribution(self._resource_of(previous), previous["facts"], previous["v"], self._policy, None)
            for subject in previous["facts"]["subjects"]:
                self._state(subject["patient"]).replace(reference, said)

    def consents_of(self, patient: str, family: Family) -> list[Row]:
        """The active Consents of a family that the patient gave, those that the writer may read."""
        sources = {
            one["source"].partition("/_history/")[0]
            for one in self._state(patient).directives
            if one["family"] == family
        }
        return [self.read(*source.split("/")) for source in sorted(sources) if self._may_read(source)]

    def represents(self, reference: str, patient: str) -> bool:
        """Whether a RelatedPerson has authority for the patient now."""
        return any(
            one["kind"] == "representative" and one["key"] == reference and one["from"] <= self._instant < one["until"]
            for one in self._state(patient).relations
        )

    def is_said(self, patient: str, family: Family) -> bool:
        """Whether a Consent of the family is in force for the patient, also one of another record of the person."""
        state = self._state(patient)
        return any(
            one["family"] == family and one["from"] <= self._instant < one["until"]
            for one in (*state.directives, *state.borrowed)
        )

    def superseded(self) -> list[Row]:
        """The Consents that were made inactive since this was last asked; the caller writes their events."""
        found, self._superseded = self._superseded, []
        return found

    def _facts_to_be(self, reference: str) -> Mapping[str, Any] | None:
        """The facts of a resource as this transaction will leave them."""
        current = self._current(reference)
        if current is None or current.get("del"):
            return None
        document: Document = {"facts": current["facts"]}
        self._complete(document)
        facts: Mapping[str, Any] = document["facts"]
        return facts

    def _may_read(self, reference: str) -> bool:
        """Whether the writer may read a resource; it is not noted, as nothing is disclosed but its name."""
        facts = self._facts_to_be(reference)
        return facts is not None and self._guard.permission("read", reference.partition("/")[0]).holds(facts)

    def _offer(self, document: Document, resource: Mapping[str, Any]) -> None:
        """An active SearchParameter that the operator keeps is one of this server; that of an establishment is data."""
        is_own = self._guard.actor.kind == "operator" and not document["facts"]["custodians"]
        if is_own and resource["status"] == "active":
            self._parameters.offer(self._session, document["_id"], resource)
        else:
            self._parameters.withdraw(self._session, document["_id"])

    def _refuse_twice(self, reference: str) -> None:
        if reference in self._pending:
            raise Unprocessable(f"{reference} is written more than once in one transaction.")

    def _security_context(self, binary: Mapping[str, Any]) -> dict[str, Any]:
        """What the resource that a Binary names as its securityContext lends it: patients, labels, and of what it is.

        A read asks that resource again (`ResourceStore.read`), so a label that comes later counts at once.
        """
        reference = local_reference(binary.get("securityContext"))
        if reference is None:
            return {}
        context = self._current(reference)
        if context is None or context.get("del") or not self._permits("read", context["facts"]):
            raise Unprocessable(f"{reference} is not known.", expression="Binary.securityContext")
        lent = context["facts"]
        subjects = [{"patient": subject["patient"]} for subject in lent["subjects"]]
        copied = ("confidentiality", "sensitivities", "labels", "released")
        return {
            **{name: lent[name] for name in copied if name in lent},
            "instances": [f"Binary/{binary['id']}", *lent["instances"]],
            "kind": lent["kind"],
            "related": [reference],
            "subjects": subjects,
        }

    def _custodians(self, current: Document | None) -> Iterable[str]:
        """A resource stays with whoever answers for it, deleted or not; a new one is the writing establishment's."""
        if current is not None:
            return current["facts"]["custodians"]
        return () if self._guard.custodian is None else (self._guard.custodian,)

    def _contribute(self, pending: _Pending) -> None:
        """Let the patients' access documents say what follows from this version."""
        document = pending.document
        facts = document["facts"]
        type_ = document["_id"].partition("/")[0]
        patients = {subject["patient"] for subject in facts["subjects"]}
        if pending.previous is not None:
            patients |= {subject["patient"] for subject in pending.previous["facts"]["subjects"]}
        for patient in patients:
            state = self._state(patient)
            if type_ in SOURCES:
                concerns = any(subject["patient"] == patient for subject in facts["subjects"])
                person = self._patient(patient) if type_ == "RelatedPerson" else None
                before = refusals(state.directives)
                now = contribution(pending.after if concerns else None, facts, document["v"], self._policy, person)
                state.replace(document["_id"], now)
                if refusals(state.directives) != before:
                    self._tell_refusals(state)
        if type_ == "Patient":
            state = self._state(document["_id"])
            state.appear(is_present=pending.after is not None)
            state.join(self._guard.custodian)
            self._renew_representatives(state, pending.after)
            kept = remembered(self._database, self._session, pending.after)
            carried = {*identities_of(pending.after), *kept, *self._link(state, pending)}
            self._identify_person(state, carried)

    def _link(self, state: PatientState, pending: _Pending) -> set[str]:
        """The identities that a record shares with those to which it is linked.

        A link that is taken away has been said: what the person refused goes on to count for both. Who names another
        record for the first time must know it (`_require_linked`). Raises TooCostly where too many are named.
        """
        named = [one for one in linked_to(pending.after) if one != state.patient]
        if len(named) > MOST_LINKS:
            raise TooCostly(f"A Patient is linked to {MOST_LINKS} others at most.", expression="Patient.link")
        past = pending.previous
        before = () if not named or past is None or past.get("del") else linked_to(self._resource_of(past))
        self._linked += [one for one in named if one not in before]
        for other in named:
            if of_record(other) not in state.identities:
                self._carry(self._state(other), {of_record(other)})
        return {of_record(other) for other in named}

    def _require_linked(self) -> None:
        """Raise Unprocessable unless the writer knows every record that is newly linked.

        It is asked before anything else is told that could follow from what a person refuses on such a record.
        """
        for linked in self._linked:
            if not self._is_present(linked):
                raise Unprocessable(f"{linked} is not known.", expression="Patient.link")

    def _identify_person(self, state: PatientState, identities: set[str]) -> None:
        """Let a record carry more identities of its person; one that is taken away still names the person.

        Every record that is thereby of the same person then carries the same identities.
        """
        if identities <= set(state.identities):
            return
        whole, carried = of_one_person(
            self._database, self._session, {*state.identities, *identities}, self._identities_by_patient
        )
        others = sorted(set(carried) - {state.patient})
        lacking = [self._state(one) for one in others if not whole <= set(carried[one])]
        for one in lacking:
            self._carry(one, whole)
        state.identities, state.is_changed = sorted(whole), True
        person = take(self._database, self._session, whole, state.patient, refusals(state.directives))
        if any(refusals(one.directives) for one in (state, *lacking)):
            lacking = [self._state(one) for one in others]
        for one in (state, *lacking):
            one.borrow(person.others(one.patient))

    def _carry(self, state: PatientState, identities: Iterable[str]) -> None:
        """Note of one record that it carries these identities, and under them what the person refuses on it."""
        new = set(identities) - set(state.identities)
        if new:
            state.identities = sorted({*state.identities, *new})
            state.is_changed = True
            take(self._database, self._session, new, state.patient, refusals(state.directives))

    def _identities_by_patient(self, patients: Iterable[str]) -> Mapping[str, Sequence[str]]:
        """What these records carry, as this transaction will leave it."""
        wanted = set(patients)
        held = {one: self._states[one].identities for one in wanted & set(self._states)}
        unread = sorted(wanted - set(held))
        if not unread:
            return held
        stored = self._database.patient_access.find({"_id": {"$in": unread}}, {"identities": 1}, session=self._session)
        return {**held, **{one["_id"]: one.get("identities", ()) for one in stored.to_list()}}

    def _tell_refusals(self, state: PatientState) -> None:
        """What the person refuses on one record counts for all that are of the same person."""
        said = refusals(state.directives)
        person = take(self._database, self._session, state.identities, state.patient, said)
        for patient in sorted(person.patients - {state.patient}):
            other = self._state(patient)
            if other.identities == state.identities:
                other.borrow(person.others(patient))
            else:
                other.borrow(take(self._database, self._session, other.identities, patient).others(patient))

    def _renew_representatives(self, state: PatientState, resource: Mapping[str, Any] | None) -> None:
        """A corrected birth date moves the end of the representatives' authority."""
        sources = {
            one["source"].partition("/_history/")[0] for one in state.relations if one["kind"] == "representative"
        }
        for source in sorted(sources):
            current = self._current(source)
            if current is not None and not current.get("del"):
                representative = self._resource_of(current)
                said = contribution(representative, current["facts"], current["v"], self._policy, resource)
                state.replace(source, said)

    def _complete(self, document: Document) -> None:
        """Materialise the facts from the access documents of the patients, and the audience that follows."""
        facts = document["facts"]
        states = [self._state(subject["patient"]) for subject in facts["subjects"]]
        if facts["kind"] == "patient":
            held = {establishment for state in states for establishment in state.establishments}
            facts = {**facts, "establishments": sorted(held)}
        document["facts"] = materialise(facts, [state.access() for state in states], self._policy)
        document["aud"] = audience(document["facts"])
        document |= marked(document, document["facts"])

    # What the transaction reads

    def _current(self, reference: str) -> Document | None:
        if reference in self._pending:
            return self._pending[reference].document
        type_ = reference.partition("/")[0]
        return self._database.collection_of(type_).find_one({"_id": reference}, session=self._session)

    def _state(self, patient: str) -> PatientState:
        if patient not in self._states:
            self._states[patient] = PatientState.take(self._database, self._session, patient, self._token)
        return self._states[patient]

    def _patient(self, reference: str) -> Mapping[str, Any] | None:
        pending = self._pending.get(reference)
        if pending is not None:
            return pending.after
        current = self._current(reference)
        return None if current is None or current.get("del") else self._resource_of(current)

    def _resource_of(self, document: Document) -> Mapping[str, Any]:
        pending = self._pending.get(document["_id"])
        if pending is not None and pending.after is not None and pending.document is document:
            return pending.after
        return self._local(parse(document["b"]), document["b"])

    def _local(self, resource: Mapping[str, Any], body: bytes) -> Mapping[str, Any]:
        """The resource with references to this server's own address made relative."""
        base = self._config.fhir_base
        return relative(resource, base) if base.encode() in body else resource

    def _after(self, current: Document | None) -> datetime:
        """The instant of the next version: never before that of the present one."""
        if current is None:
            return self._instant
        return max(self._instant, current["lu"] + timedelta(milliseconds=1))

    # What the access says

    def _permits(self, interaction: Interaction, facts: Mapping[str, Any]) -> bool:
        decision: Decision = self._guard.decide(interaction, facts)
        return decision.effect == "permit"

    def _require(self, interaction: Interaction, current: Document) -> None:
        if not self._permits(interaction, current["facts"]):
            raise NotFound(f"{current['_id']} is not known.")

    # The end

    def flush(self, directory: ExitStack) -> None:
        """Send all of it: at most one insert and one update command per collection.

        Where that changes who somebody is, `directory` is entered, which the caller leaves after the commit.
        """
        self._require_linked()
        for reference, pending in self._pending.items():
            if reference in self._consequences:  # what is withdrawn need not hold what it held when it was given
                continue
            self.require_integrity(reference)
            if pending.after is not None:
                self._grounds.check(pending.document, pending.after, is_new=pending.previous is None)
        changed = [state for state in self._states.values() if state.is_changed]
        writes = Writes()
        writes.insert("audit", self.events)
        for collection, documents in self._others.items():
            writes.insert(collection, documents)
        writes.update("resources", self._rewrites({state.patient for state in changed if state.is_stale}))
        for pending in self._pending.values():
            if not pending.document.get("del"):
                self._complete(pending.document)
            if pending.after is not None and pending.document["t"] == "Binary":
                self._contents.cut_out(pending.document, pending.after)
            if pending.previous is None:
                writes.insert("resources", [pending.document])
                continue
            identity = {"_id": pending.document["_id"], "v": pending.previous["v"]}
            writes.update("resources", [update_of(identity, pending.document)])
            writes.insert("history", [_history_of(pending.previous, pending.document["lu"])])
        writes.update("patient_access", [state.write() for state in changed])
        actor_changes = self._actor_changes()
        if actor_changes and self._database.generation is not None:
            directory.enter_context(self._database.generation.writing())
        writes.update("actors", actor_changes)
        writes.update("instances", [update_of({"_id": one["_id"]}, one, upsert=True) for one in self._instances])
        writes.send(self._database, self._session)

    def _rewrites(self, patients: set[str]) -> list[Document]:
        """The completed facts of the other resources of patients whose relations or Consents changed."""
        if not patients:
            return []
        rows = self._database.resources.find(
            {"facts.subjects.patient": {"$in": sorted(patients)}, "_id": {"$nin": sorted(self._pending)}},
            {"facts": 1, "aud": 1},
            session=self._session,
        )
        writes = []
        for row in rows.to_list():
            completed = {"facts": row["facts"]}
            self._complete(completed)
            if completed["facts"] != row["facts"] or completed["aud"] != row["aud"]:
                writes.append(update_of({"_id": row["_id"]}, {"$set": completed}))
        return writes

    def _lookup(self, reference: str) -> actors.Known:
        """What is known of a team that another one has as a member."""
        current = self._current(reference)
        is_member = self._database.actors.find_one(
            {"_id": reference, "rows.0": {"$exists": True}}, {"_id": 1}, session=self._session
        )
        resource = None if current is None or current.get("del") else self._resource_of(current)
        return actors.Known(resource, is_member is not None)

    def _actor_changes(self) -> list[Document]:
        """What follows for who somebody is; some of it only where the operator keeps the resource."""
        return [
            write
            for reference, pending in self._pending.items()
            if reference.partition("/")[0] in actors.TYPES
            for write in actors.changes(
                reference,
                pending.before,
                pending.after,
                self._lookup,
                is_kept=not pending.document["facts"]["custodians"],
            )
        ]


def _check_preconditions(current: Document, if_match: Sequence[int] | None, *, if_none_match_any: bool) -> None:
    if if_match is not None and current["v"] not in if_match:
        raise NotAsPresent(f"{current['_id']} is at version {current['v']}.", row_of(current))
    if if_none_match_any:
        raise NotAsPresent(f"{current['_id']} exists already.", row_of(current))


def _history_of(document: Document, until: datetime) -> Document:
    """An earlier version keeps its bytes and its own facts; relations are those of the day it is asked for.

    It was the current one `until` the instant of the next.
    """
    kept: Document = {key: document[key] for key in ("v", "lu", "b", "content", "m", "new", "del") if key in document}
    facts = {**document["facts"], "subjects": [{"patient": one["patient"]} for one in document["facts"]["subjects"]]}
    identity = f"{document['_id']}/_history/{document['v']}"
    return {"_id": identity, "r": document["_id"], **kept, "until": until, "facts": facts}
