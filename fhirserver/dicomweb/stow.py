"""STOW-RS, the store transaction (PS3.18 10.5).

https://dicom.nema.org/medical/dicom/current/output/chtml/part18/sect_10.5.html. Every part is streamed to the object
store; when the body is complete, each study of it is written in one database transaction: its new instances, and one
new version of its ImagingStudy. Sending again what is stored already succeeds and changes nothing.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson

from consent.request import parse_scopes
from fhirserver import audit
from fhirserver.access import Access, SystemAccess
from fhirserver.config import Config
from fhirserver.dicomweb import carry
from fhirserver.dicomweb.attributes import Dataset, Level, kept, tag
from fhirserver.dicomweb.dicom_json import element
from fhirserver.dicomweb.endpoint import endpoint
from fhirserver.dicomweb.imaging_study import Instance, Study, id_of, identifier_of, imaging_study
from fhirserver.dicomweb.multipart import Part
from fhirserver.dicomweb.patient_identity import PatientIdentifier, Traits, traits
from fhirserver.dicomweb.reason_codes import Reason
from fhirserver.dicomweb.received import Received, Refused, receive
from fhirserver.errors import BadRequest, Conflict, Forbidden, Gone, NotFound, Unprocessable
from fhirserver.search.parse import parse
from fhirserver.search.query import Query
from fhirserver.store import instances
from fhirserver.store.database import Database
from fhirserver.store.identities import NATIONAL
from fhirserver.store.objects import Objects
from fhirserver.store.resource_store import ResourceStore
from fhirserver.store.rows import Row
from fhirserver.store.unit import Unit
from resources import SUPPORTED, validation
from resources.exact import encode as encode_exactly

MAX_PARTS: Final = 5_000
"""Instances of one request; their headers wait in memory until the body is complete."""

_PATIENTS: Final = 20
"""Patients with one identifier beyond which we do not look for the right one."""

_STUDIES: Final = 20
"""ImagingStudies of one study to look through for labels: one holds the images, others may have been announced."""

_ENDPOINTS: Final = 8
"""Ids that an establishment's Endpoint may have; each is taken by somebody else before the next is tried."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One instance that is stored now, or was before."""

    sop_class: str
    sop_instance: str
    series: str
    study: str


@dataclass(slots=True)
class Outcome:
    """What became of a request's instances."""

    stored: list[Stored] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)

    @property
    def status(self) -> int:
        """PS3.18 Table 10.5.3-1: all stored, some, or none."""
        if not self.refused:
            return 200
        return 202 if self.stored else 409

    def to_dataset(self, base: str) -> dict[str, Any]:
        """The Store Instances Response Module (PS3.18 Annex I)."""
        answer: dict[str, Any] = {}
        studies = {one.study for one in self.stored}
        if len(studies) == 1:
            answer[tag("RetrieveURL")] = element("UR", f"{base}/studies/{studies.pop()}")
        # An instance without UIDs cannot be named, and is counted among the other failures.
        failed = [_failure(one) for one in self.refused if one.sop_instance]
        others = [_failure(one) for one in self.refused if not one.sop_instance]
        referenced = [_reference(one, base) for one in self.stored]
        for keyword, sequence in (
            ("FailedSOPSequence", failed),
            ("ReferencedSOPSequence", referenced),
            ("OtherFailuresSequence", others),
        ):
            if sequence:
                answer[tag(keyword)] = element("SQ", *sequence)
        return dict(sorted(answer.items()))


def _failure(refused: Refused) -> dict[str, Any]:
    item = {tag("FailureReason"): element("US", int(refused.reason))}
    if refused.sop_instance:
        item[tag("ReferencedSOPClassUID")] = element("UI", *([refused.sop_class] if refused.sop_class else []))
        item[tag("ReferencedSOPInstanceUID")] = element("UI", refused.sop_instance)
    return dict(sorted(item.items()))


def _reference(stored: Stored, base: str) -> dict[str, Any]:
    url = f"{base}/studies/{stored.study}/series/{stored.series}/instances/{stored.sop_instance}"
    return {
        tag("ReferencedSOPClassUID"): element("UI", stored.sop_class),
        tag("ReferencedSOPInstanceUID"): element("UI", stored.sop_instance),
        tag("RetrieveURL"): element("UR", url),
    }


@dataclass(slots=True)
class _Batch:
    """The instances of one study in one request, and the headers that describe it."""

    attributes: dict[str, Any]
    patient: tuple[PatientIdentifier, ...]
    series: dict[str, dict[str, Any]] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)


class StudyStore:
    """Stores the instances of one request for one establishment."""

    def __init__(
        self, database: Database, objects: Objects, config: Config, access: Access, own_system: str | None
    ) -> None:
        """`own_system` is the establishment's patient identifier system, from its client's registration.

        Raises Forbidden unless the access is an establishment's system that may create ImagingStudies.
        """
        access.admit("store", "ImagingStudy")
        if access.custodian is None:
            raise Forbidden("Instances are stored by the systems of establishments only.")
        self._organization = access.custodian
        self._access = _storing(access)
        self._database = database
        self._store = ResourceStore(database, self._access, config)
        identity = SystemAccess.named("dicom-patient-resolution", access.now, access.request_id)
        self._patients = ResourceStore(database, identity, config)
        self._objects = objects
        self._config = config
        self._zone = ZoneInfo(config.zone)
        self._own_system = own_system
        self._outcome = Outcome()
        self._batches: dict[str, _Batch] = {}

    def store(self, parts: Iterable[Part], study: str | None) -> Outcome:
        """Store the instances of a multipart body, all of `study` where the request names one.

        Raises BadRequest where the body is malformed or ends early, Unavailable where database, object store or audit
        cannot be written; nothing of the study at hand is kept then.
        """
        with ExitStack() as uploads:
            self._receive(parts, study, uploads)
            for uid, batch in self._batches.items():
                self._settle(uid, batch)
        return self._outcome

    # Receiving

    def _receive(self, parts: Iterable[Part], study: str | None, uploads: ExitStack) -> None:
        count = 0
        for count, part in enumerate(parts, start=1):
            if count > MAX_PARTS:
                raise BadRequest(f"A request may hold at most {MAX_PARTS} instances.", code="too-costly")
            received = receive(
                part,
                uploads.enter_context(self._objects.begin()),
                study=study,
                max_size=self._config.max_instance,
                own_system=self._own_system,
                keep=self._keep,
            )
            if isinstance(received, Refused):
                self._outcome.refused.append(received)
        if not count:
            raise BadRequest("The body has no part.", code="structure")
        if refused := self._outcome.refused:
            codes = sorted({_code(one.reason) for one in refused})
            self._tell(study, (), len(refused), ", ".join(codes))

    def _keep(self, received: Received, dataset: Dataset) -> None:
        """Sort an instance to its study; the first header of a study and of each series describes it."""
        batch = self._batches.get(received.study)
        if batch is None:
            batch = _Batch(kept(dataset, Level.STUDY), received.patient)
            self._batches[received.study] = batch
        if received.patient != batch.patient:
            self._outcome.refused.append(received.refused(Reason.PATIENT_MISMATCH))
            return
        if received.instance.series not in batch.series:
            batch.series[received.instance.series] = kept(dataset, Level.SERIES)
        batch.received.append(received)

    # Storing

    def _settle(self, uid: str, batch: _Batch) -> None:
        """Store one study's instances; a refusal of the study is the refusal of each of them."""
        self._access.decisions.clear()  # those of a study before this one have been told
        patient = self._resolve(batch.patient, traits(batch.attributes))
        if patient is None:
            self._refuse(uid, batch, Reason.UNKNOWN_PATIENT, ())
            return
        keys = {one.digest: f"dicom/{uid}/{uuid.uuid4().hex}" for one in batch.received}
        try:
            with self._objects.pending(list(keys.values())):
                for one in {one.digest: one for one in batch.received}.values():
                    one.upload.finish(keys[one.digest], settle=False)
                self._objects.settle(list(keys.values()))
                written = self._store.transact(lambda unit: self._write(unit, uid, batch, patient, keys))
        except _PatientMismatchError:
            self._refuse(uid, batch, Reason.PATIENT_MISMATCH, (patient,))
        except (Forbidden, NotFound):
            self._refuse(uid, batch, Reason.NOT_AUTHORISED, (patient,))
        except (Conflict, Unprocessable):
            self._refuse(uid, batch, Reason.PROCESSING_FAILURE, (patient,))
        except validation.Invalid:
            self._refuse(uid, batch, Reason.CANNOT_UNDERSTAND, (patient,))
        else:
            self._outcome.stored += written.stored
            self._outcome.refused += written.refused
            for key in set(keys.values()) - written.keys:
                self._objects.delete(key)

    def _refuse(self, uid: str, batch: _Batch, reason: Reason, patients: Sequence[str]) -> None:
        """One audit event for the study, whatever the number of its instances."""
        self._outcome.refused += [one.refused(reason) for one in batch.received]
        decided = [noted.decision.code for noted in self._access.decisions if noted.decision.effect != "permit"]
        code = decided[-1] if reason is Reason.NOT_AUTHORISED and decided else _code(reason)
        here = self._here(uid) if patients else []
        labels = audit.labels_of_any(self._access, here) if patients else ()
        self._tell(uid, patients, len(batch.received), code, labels, [row.reference for row in here])

    def _here(self, uid: str) -> list[Row]:
        """The study that instances were refused for, if it is here: its event is hidden from the same."""
        query = self._query("ImagingStudy", *identifier_of(uid).split("|", 1))
        return self._store.find(query.type, query.expression, limit=_STUDIES)

    def _tell(
        self,
        study: str | None,
        patients: Sequence[str],
        count: int,
        code: str,
        labels: Sequence[str] = (),
        about: Sequence[str] = (),
    ) -> None:
        events = audit.dicom_events(
            self._access,
            "store",
            study,
            patients=patients,
            labels=labels,
            instances=count,
            refused=code,
            about=about,
        )
        audit.flush(self._access, events)

    def _write(self, unit: Unit, uid: str, batch: _Batch, patient: str, keys: Mapping[str, str]) -> _Written:
        """The transaction; it may run again, and leaves no trace outside the unit."""
        found = unit.match(self._query("ImagingStudy", *identifier_of(uid).split("|", 1)))
        row = found[0] if found else None
        announced = None if row is None else validation.parse(row.body)
        if announced is not None and announced.get("subject", {}).get("reference") != patient:
            raise _PatientMismatchError
        present = {
            one["_id"]: one
            for one in instances.stored(self._database, uid, [one.instance.uid for one in batch.received])
        }
        resource = f"ImagingStudy/{id_of(uid) if row is None else row.id}"
        if any(one["study"] == uid and one["resource"] != resource for one in present.values()):
            raise NotFound("The study is another establishment's.")
        is_deleted = row is None and any(one["study"] == uid for one in present.values())
        if is_deleted:
            self._require_own(uid)
        written = _Written()
        fresh: list[Received] = []
        for one in batch.received:
            known = present.get(one.instance.uid)
            if known is None:
                present[one.instance.uid] = {**one.row(keys[one.digest]), "resource": resource}
                fresh.append(one)
                written.add(one)
            elif (known["study"], known["sha256"]) == (uid, one.digest):
                written.add(one)
            else:
                written.refused.append(one.refused(Reason.DUPLICATE_INSTANCE))
        if fresh or is_deleted:
            written.keys = {keys[one.digest] for one in fresh}
            unit.identify(patient)
            unit.put_instances(present[one.instance.uid] for one in fresh)
            rows = [_instance(one) for one in present.values() if one["study"] == uid]
            study = self._study(uid, batch, rows, row)
            stored = self._save(unit, resource.partition("/")[2], study, patient, announced)
            unit.record(event.document for event in self._events(stored, uid, len(fresh), is_new=row is None))
        return written

    def _require_own(self, uid: str) -> None:
        """A study whose instances are here and whose ImagingStudy is not seen: deleted by its own establishment, which
        may send it again, or another's. Raises NotFound for the latter.
        """
        try:
            self._store.read("ImagingStudy", id_of(uid))
        except Gone:
            return
        raise NotFound("The study is not known.")

    def _study(self, uid: str, batch: _Batch, rows: Sequence[Instance], row: Row | None) -> Study:
        """The first headers describe the study for good; new series add theirs."""
        attributes: Dataset = batch.attributes
        series: dict[str, Dataset] = dict(batch.series)
        if row is not None and row.dicom is not None:
            attributes, known = carry.headers(row.dicom)
            series |= known
        for missing in {one.series for one in rows} - series.keys():
            metadata = orjson.loads(instances.metadata_of(self._database, uid, missing))
            series[missing] = kept(metadata, Level.SERIES)
        return Study(uid, attributes, series, rows)

    def _save(self, unit: Unit, id_: str, study: Study, patient: str, announced: Mapping[str, Any] | None) -> Row:
        place = "" if (announced or {}).get("endpoint") else self._endpoint(unit)
        resource = imaging_study(study, patient, self._zone, endpoint=place, announced=announced)
        parsed = validation.check("ImagingStudy", encode_exactly(resource), max_bytes=self._config.max_instance)
        return unit.update(parsed, id_, dicom=carry.carry(study)).row

    def _endpoint(self, unit: Unit) -> str:
        """The establishment's Endpoint, made with its first study; an id that others have taken is passed over."""
        for number in range(_ENDPOINTS):
            resource = endpoint(self._organization, self._config.dicomweb_base, number)
            reference = f"Endpoint/{resource['id']}"
            try:
                if self._organization in unit.read("Endpoint", resource["id"]).facts["custodians"]:
                    return reference
            except NotFound:
                row = unit.update(validation.check("Endpoint", encode_exactly(resource)), resource["id"]).row
                unit.record(event.document for event in audit.write_events(self._access, "create", row))
                return reference
        raise Conflict("The Endpoint of this establishment cannot be written.")

    def _events(self, row: Row, uid: str, count: int, *, is_new: bool) -> list[audit.Event]:
        return [
            *audit.write_events(self._access, "create" if is_new else "update", row),
            *audit.dicom_events(
                self._access,
                "store",
                uid,
                patients=row.patients,
                labels=audit.labels_of(self._access, "store", row),
                study=row.reference,
                instances=count,
            ),
        ]

    # Whose study it is

    def _resolve(self, identifiers: Sequence[PatientIdentifier], person: Traits) -> str | None:
        """The one Patient that the header names; the establishment's own record of the person before others'."""
        found = {self._patient(identifier, person) for identifier in identifiers} - {None}
        return found.pop() if len(found) == 1 else None

    def _patient(self, identifier: PatientIdentifier, person: Traits) -> str | None:
        """A record that others brought is reached by a national identifier whose holder has the same traits."""
        try:
            query = self._query("Patient", identifier.system, identifier.value)
        except BadRequest:  # no FHIR identifier has such characters
            return None
        rows = self._patients.find("Patient", query.expression, limit=_PATIENTS)
        candidates = [
            row
            for row in rows
            if self._organization in {*row.facts["custodians"], *row.facts.get("establishments", ())}
        ]
        if not candidates and identifier.system in NATIONAL:
            candidates = [row for row in rows if person.agree(validation.parse(row.body))]
        return candidates[0].reference if len(candidates) == 1 else None

    def _query(self, type_: str, system: str, value: str) -> Query:
        """The search for a business identifier."""
        pairs = [("identifier", f"{_escaped(system)}|{_escaped(value)}")]
        return parse(SUPPORTED[type_], pairs, handling="strict", zone=self._zone, supported=SUPPORTED)


def _escaped(text: str) -> str:
    """Text as it stands in a token of a search (https://hl7.org/fhir/R4/search.html#escaping)."""
    return re.sub(r"([\\,$|])", r"\\\1", text)


def _code(reason: Reason) -> str:
    """A reason as the audit writes codes."""
    return reason.name.lower().replace("_", "-")


class _PatientMismatchError(Exception):
    """The study is another patient's."""


@dataclass(slots=True)
class _Written:
    """What a transaction did with the instances of one study; `keys` are the objects that rows name now."""

    stored: list[Stored] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)

    def add(self, received: Received) -> None:
        """Count an instance as stored."""
        instance = received.instance
        self.stored.append(Stored(instance.sop_class, instance.uid, instance.series, received.study))


def _storing(access: Access) -> Access:
    """The access by which the server keeps the ImagingStudy of what this client stores.

    Who may store instances may send a study in several requests, so what the token says of reading and updating does
    not count here; the rules of custody and of the patient's Consents do. Decisions are noted with the request's.
    """
    actor = replace(access.actor, scopes=parse_scopes("system/ImagingStudy.crus system/Endpoint.cru"))
    return replace(access, actor=actor, decisions=access.decisions)


def _instance(row: Mapping[str, Any]) -> Instance:
    return Instance(row["_id"], row["class"], row["series"], row["number"])
