"""Links that a person gave to one exam: how each is found, how often it was used, and what its passcode has left.

A link is found by a digest of its address, which is not stored; the Consent behind it says whether it opens anything.
What a link gives by an address of its own is kept for minutes, encrypted by the key of the link, and given once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pymongo import ReturnDocument
from pymongo.client_session import ClientSession

from fhirserver.store.database import Database, Document

ATTEMPTS = 10
"""Wrong passcodes after which a link is closed for good."""
_MOST_LISTED = 1_000
_UNTOLD = {"digest": 0, "sealed": 0}


@dataclass(frozen=True, slots=True)
class File:
    """One encrypted file of a link, for whom it was asked, and the resources whose content it has."""

    digest: str
    link: str
    recipient: str
    content: str
    references: Sequence[str]
    expires: datetime


def by_digest(database: Database, digest: str) -> Document | None:
    """The link of an address."""
    return database.share_links.find_one({"digest": digest})


def by_name(database: Database, name: str) -> Document | None:
    """The link of a name, which is no secret."""
    return database.share_links.find_one({"_id": name})


def by_names(database: Database, names: Collection[str]) -> dict[str, Document]:
    """The links of these names."""
    return {one["_id"]: one for one in database.share_links.find({"_id": {"$in": sorted(names)}}, _UNTOLD).to_list()}


def of_patient(database: Database, patient: str) -> Sequence[Document]:
    """The latest links to exams of a patient, the newest first."""
    return database.share_links.find({"patient": patient}, _UNTOLD).sort([("made", -1)]).limit(_MOST_LISTED).to_list()


def refusal(link: Mapping[str, Any], now: datetime) -> str | None:
    """Why the link itself opens nothing now, as a code; None where the Consent behind it is to be asked."""
    if now < link["from"]:
        return "link-not-yet"
    if now >= link["until"]:
        return "link-expired"
    if link["passcode"] is not None and link["attempts"] <= 0:
        return "link-locked"
    return None


def is_used_up(link: Mapping[str, Any]) -> bool:
    """Whether it was used as often as it may be."""
    return link["most"] is not None and link["uses"] >= link["most"]


def take_attempt(database: Database, name: str) -> int | None:
    """Take one of the attempts before the passcode is looked at, so that none is free however many come at once.

    Returns how many are left if this one was wrong; None where there was none.
    """
    found = database.share_links.find_one_and_update(
        {"_id": name, "attempts": {"$gt": 0}}, {"$inc": {"attempts": -1}}, return_document=ReturnDocument.AFTER
    )
    return None if found is None else int(found["attempts"])


def give_back_attempt(database: Database, name: str) -> None:
    """Give an attempt back, as the passcode was right."""
    database.share_links.update_one({"_id": name}, {"$inc": {"attempts": 1}})


def use(database: Database, session: ClientSession, name: str, now: datetime) -> bool:
    """Count a use in a transaction; False where the link was used as often as it may be."""
    left = {"$or": [{"most": None}, {"$expr": {"$lt": ["$uses", "$most"]}}]}
    counted = {"$inc": {"uses": 1}, "$set": {"last": now}}
    return database.share_links.update_one({"_id": name, **left}, counted, session=session).modified_count == 1


def keep_file(database: Database, session: ClientSession, file: File) -> None:
    """Keep a file until it is fetched, or expires."""
    document = {
        "_id": file.digest,
        "link": file.link,
        "recipient": file.recipient,
        "content": file.content,
        "references": list(file.references),
        "expires": file.expires,
    }
    database.share_files.insert_one(document, session=session)


def take_file(database: Database, digest: str, now: datetime) -> File | None:
    """The file of an address, which then has it no longer; None where it expired, was fetched or never was."""
    found = database.share_files.find_one_and_delete({"_id": digest})
    if found is None or found["expires"] <= now:
        return None
    return File(digest, found["link"], found["recipient"], found["content"], found["references"], found["expires"])
