"""What of a record is hidden from somebody now: the trail must not name it to them, whenever it was looked at.

Events are never rewritten, so an event from before an exam was hidden says by itself nothing of that. It says what it
tells of (`about`), and this is compared with what is hidden at the instant of the request (docs/adr/0023).
"""

from __future__ import annotations

from collections.abc import Mapping

from consent.facts import VISIBILITY_SYSTEMS, visibility
from consent.request import Actor
from fhirserver.store.database import Database, Document
from fhirserver.store.guard import Guard

FIELD = "hid"
"""Of a row that some label or an instant of release may hide: whom it may concern, its audience."""

_HIDES = {
    "patient": ("INVISIBLE_PATIENT",),
    "representative": ("INVISIBLE_PATIENT", "INVISIBLE_REPRESENTANTS_LEGAUX"),
}


def marked(document: Mapping[str, object], facts: Mapping[str, object]) -> Document:
    """The field of a row with these facts, where it has one; deleted rows keep theirs."""
    return {FIELD: document["aud"]} if visibility(facts) else {}


def concealed(database: Database, guard: Guard) -> frozenset[str]:
    """The resources that are hidden from the actor now, deleted ones included; of professionals, none.

    One query by an index that has hidden rows only, and one for what was hidden in a record that has been erased since,
    when nothing but the trail can name it.
    """
    actor = guard.actor
    codes = _HIDES.get(actor.kind)
    if codes is None:
        return frozenset()
    labels = [f"{system}|{code}" for system in sorted(VISIBILITY_SYSTEMS) for code in codes]
    wanted = {
        FIELD: {"$in": sorted(_names(actor))},
        "$or": [{"facts.labels": {"$in": labels}}, {"facts.released": {"$gt": guard.now}}],
    }
    present = frozenset(row["_id"] for row in database.resources.find(wanted, {"_id": 1}).to_list())
    erased = database.patient_access.find({"_id": {"$in": sorted(actor.patients)}, "hidden.0": {"$exists": True}})
    return present.union(*(one["hidden"] for one in erased))


def _names(actor: Actor) -> frozenset[str]:
    return actor.patients | {actor.reference}


def mark_all(database: Database) -> None:
    """Mark the rows that another release of this server wrote; once, when the index is first made."""
    labelled = [{"facts.labels": {"$regex": f"^{system}\\|"}} for system in sorted(VISIBILITY_SYSTEMS)]
    wanted = {"$or": [*labelled, {"facts.released": {"$exists": True}}]}
    database.resources.update_many(wanted, [{"$set": {FIELD: "$aud"}}])
