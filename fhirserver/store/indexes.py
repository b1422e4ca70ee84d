"""The indexes, made once at start-up.

A row carries `t` (type), `aud` (who could possibly be permitted), `tk`, `rg` and `place` (search values), `in` (those
of what it contains), `wo` (texts, in no index), `so` (sort keys), `g` (the generation of these) and `lu` (last
updated). Every declared search parameter lies in `tk` or `rg`, so two indexes answer them all, whatever the type; four
more give the common sort orders to somebody who asks without naming a patient.
"""

from __future__ import annotations

from collections.abc import Iterable

from pymongo import ASCENDING, DESCENDING, GEOSPHERE, IndexModel
from pymongo.collection import Collection

from fhirserver.store.concealed import FIELD, mark_all
from fhirserver.store.database import Database, Document

BY_VALUE = "by-value"
BY_RANGE = "by-range"
BY_UPDATE = "by-update"
BY_START = "by-start"
BY_DATE = "by-date"
BY_PATIENT = "by-patient"
BY_PLACE = "by-place"
BY_CHANGE = "by-change"
BY_RESOURCE = "by-resource"
BY_REFERENCE = "by-reference"
BY_GENERATION = "by-generation"
BY_CONTAINED = "by-contained"
BY_HIDDEN = "by-hidden"

_VALUES = IndexModel([("t", ASCENDING), ("tk", ASCENDING)], name=BY_VALUE)
_RANGES = IndexModel([("t", ASCENDING), ("rg.n", ASCENDING), ("rg.lo", ASCENDING), ("rg.hi", ASCENDING)], name=BY_RANGE)


def _audience(name: str, path: str) -> IndexModel:
    return IndexModel([("t", ASCENDING), ("aud", ASCENDING), (path, DESCENDING), ("_id", ASCENDING)], name=name)


# What QIDO-RS is asked for by name, beside UIDs, which the search values of ImagingStudy answer.
_STUDY_KEYS = tuple(
    IndexModel([(f"dicom.{keyword}", ASCENDING)], name=f"by-{keyword}", partialFilterExpression={"t": "ImagingStudy"})
    for keyword in ("PatientID", "PatientName", "AccessionNumber", "StudyDate")
)

RESOURCES = (
    _VALUES,
    _RANGES,
    _audience(BY_UPDATE, "lu"),
    IndexModel(
        [("t", ASCENDING), ("aud", ASCENDING), ("so.started.z", DESCENDING), ("_id", ASCENDING)],
        name=BY_START,
        partialFilterExpression={"t": "ImagingStudy"},
    ),
    _audience(BY_DATE, "so.date.z"),
    # Of all types at once: what a search across types, and the history of the system, go by.
    IndexModel([("aud", ASCENDING), ("lu", DESCENDING), ("_id", ASCENDING)], name=BY_CHANGE),
    # By id within a patient: the record is paged in this order.
    IndexModel([("facts.subjects.patient", ASCENDING), ("_id", ASCENDING)], name=BY_PATIENT),
    # What is contained in rows of any type, for the few rows that contain something.
    IndexModel([("in.t", ASCENDING), ("in.tk", ASCENDING)], name=BY_CONTAINED, sparse=True),
    # Rows that may be hidden from the person concerned (`concealed`), which are few.
    IndexModel([(FIELD, ASCENDING)], name=BY_HIDDEN, sparse=True),
    IndexModel([("place", GEOSPHERE)], name=BY_PLACE, partialFilterExpression={"t": "Location"}),
    # Which rows are behind the search parameters (`search_parameters`).
    IndexModel([("t", ASCENDING), ("g", ASCENDING)], name=BY_GENERATION),
    *_STUDY_KEYS,
)
# What rows refer to: only where referential integrity is wanted (`integrity.establish`).
REFERENCES = IndexModel([("refs", ASCENDING)], name=BY_REFERENCE, sparse=True)
AUDIT = (
    IndexModel([("t", ASCENDING), ("ix", ASCENDING)], name=BY_VALUE),
    _RANGES,
    _audience(BY_DATE, "so.date.z"),
    IndexModel([("log", ASCENDING), ("seq", ASCENDING)], name="by-chain"),
)
HISTORY = (
    IndexModel([("r", ASCENDING), ("lu", DESCENDING)], name=BY_RESOURCE),
    IndexModel([("facts.type", ASCENDING), ("lu", DESCENDING), ("r", ASCENDING)], name=BY_CHANGE),
    # What an erasure removes: a version may have been of a person of whom its resource is no more.
    IndexModel([("facts.subjects.patient", ASCENDING)], name=BY_PATIENT),
)
# A lock matters while its transaction runs, which MongoDB ends after a minute.
LOCKS = (IndexModel([("at", ASCENDING)], name="expiry", expireAfterSeconds=3_600),)
# What a process promised that died is of no interest after a few minutes.
WRITERS = (IndexModel([("at", ASCENDING)], name="expiry", expireAfterSeconds=3_600),)
JOBS = (
    IndexModel([("expires", ASCENDING)], name="expiry", expireAfterSeconds=0),
    IndexModel([("caller", ASCENDING), ("state", ASCENDING)], name="by-caller"),
)
EMERGENCIES = (
    IndexModel([("subject", ASCENDING), ("until", ASCENDING)], name="by-subject"),
    IndexModel([("patient", ASCENDING)], name=BY_PATIENT),
)
# Those that wait are few; those that were sent are looked up by patient.
NOTICES = (
    IndexModel([("sent", ASCENDING), ("at", ASCENDING)], name="by-sending"),
    IndexModel([("patient", ASCENDING)], name=BY_PATIENT),
)
# By the digest of an address, and by whose exams they open.
SHARE_LINKS = (
    IndexModel([("digest", ASCENDING)], name="by-digest", unique=True),
    IndexModel([("patient", ASCENDING), ("made", DESCENDING)], name="by-patient"),
)
SHARE_FILES = (IndexModel([("expires", ASCENDING)], name="expiry", expireAfterSeconds=0),)
# Those that are under way are few.
ERASURES = (IndexModel([("status", ASCENDING), ("asked", ASCENDING)], name="by-status"),)
# Those that the witness does not know yet are few.
SEALS = (
    IndexModel([("log", ASCENDING), ("_id", ASCENDING)], name="by-log"),
    IndexModel([("told", ASCENDING), ("_id", ASCENDING)], name="by-telling"),
)
INSTANCES = (IndexModel([("study", ASCENDING), ("series", ASCENDING), ("number", ASCENDING)], name="by-study"),)


# The parameters of AuditEvent whose values tell few events from many. Each event carries some forty search values, and
# an index of all of them would cost more than the rest of the event; action, outcome, type and the like are the same
# for so many events that the order of time finds them as fast.
AUDIT_SELECTIVE = frozenset(
    {"patient", "entity", "entity:identifier", "agent", "agent:identifier", "policy", "altid", "_id"}
)


def selective_values(atoms: Iterable[str]) -> list[str]:
    """Those search values of an AuditEvent that its value index holds (`ix`)."""
    return [atom for atom in atoms if atom.partition("\x1f")[0] in AUDIT_SELECTIVE]


def stored_event(row: Document) -> Document:
    """An AuditEvent as it lies in the database, with what its value index holds."""
    return row if "ix" in row else {**row, "ix": selective_values(row.get("tk", ()))}


def create_indexes(database: Database) -> None:
    """Create what is missing, and anew what another release defined otherwise; what is there costs one round trip."""
    present = set(database.database.list_collection_names())
    if database.resources.name in present and BY_HIDDEN not in database.resources.index_information():
        mark_all(database)
    for collection, models in (
        (database.resources, RESOURCES),
        (database.audit, AUDIT),
        (database.history, HISTORY),
        (database.instances, INSTANCES),
        (database.locks, LOCKS),
        (database.writers, WRITERS),
        (database.jobs, JOBS),
        (database.emergencies, EMERGENCIES),
        (database.notices, NOTICES),
        (database.audit_seals, SEALS),
        (database.share_links, SHARE_LINKS),
        (database.share_files, SHARE_FILES),
        (database.erasures, ERASURES),
    ):
        if collection.name in present:
            _drop_changed(collection, models)
        collection.create_indexes(list(models))
    # A transaction may not be the first to touch a collection on every server release, so all exist beforehand.
    for collection in (
        database.actors,
        database.identities,
        database.audit_logs,
        database.patient_access,
        database.first_accesses,
        database.database["search_parameters"],
    ):
        if collection.name not in present:
            database.database.create_collection(collection.name)
    database.search_parameters.prepare(is_empty=database.is_empty)


def _drop_changed(collection: Collection[Document], models: Iterable[IndexModel]) -> None:
    """An index of the same name and another definition would keep the server from starting."""
    defined = collection.index_information()
    for model in models:
        wanted = model.document
        found = defined.get(wanted["name"])
        if found is None:
            continue
        is_same = found["key"] == list(wanted["key"].items())
        if not is_same or found.get("partialFilterExpression") != wanted.get("partialFilterExpression"):
            collection.drop_index(wanted["name"])
