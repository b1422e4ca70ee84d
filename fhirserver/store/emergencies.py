"""Sessions of break-glass: one professional, one patient, an hour at most.

They are looked up at the requests that state the purpose BTG, and at no other; whoever ends one ends it at once. A
session is found by whom it is for, so there is nothing that could be handed on.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pymongo.client_session import ClientSession

from fhirserver.store.database import Database, Document


def active(database: Database, subject: str, organization: str | None, now: datetime) -> dict[str, str]:
    """The session of each patient for whom `subject`, acting for `organization`, has broken the glass."""
    wanted = {**_of(subject, organization), "from": {"$lte": now}, "until": {"$gt": now}, "ended": None}
    found = database.emergencies.find(wanted, {"patient": 1}).sort([("from", 1)])
    return {session["patient"]: session["_id"] for session in found.to_list()}


def end(
    database: Database, session: ClientSession, who: tuple[str, str | None], patient: str, now: datetime
) -> Sequence[Document]:
    """End the sessions of one professional, in one activity, for one patient; those that lasted until now."""
    wanted = {**_of(*who), "patient": patient, "until": {"$gt": now}, "ended": None}
    lasting = database.emergencies.find(wanted, session=session).to_list()
    database.emergencies.update_many(wanted, {"$set": {"ended": now}}, session=session)
    return lasting


def _of(subject: str, organization: str | None) -> Document:
    return {"subject": subject, "organization": organization}
