"""Who represents a patient: parents of a minor, and guardians under a measure of protection.

https://hl7.org/fhir/R4/relatedperson.html
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from consent.documents import Relation
from consent.period import ALWAYS, NEVER, Window, interval, window
from consent.policy import DEFAULT, Policy
from consent.reference import literal

ROLE_CODE = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"

PARENTS = frozenset({"PRN", "FTH", "MTH", "NFTH", "NMTH", "NPRN", "ADOPTP", "ADOPTF", "ADOPTM"})
"""Natural and adoptive parents of v3-RoleCode. Step- and foster parents hold no parental authority by themselves."""
GUARDIANS = frozenset({"GUARD", "GUADLTM"})
"""Guardian and guardian ad litem of v3-RoleCode: persons named by a court. v2-0131 names contacts only, so none of
it."""


def relations(
    related_person: Mapping[str, Any], version: int, patient: Mapping[str, Any] | None, policy: Policy = DEFAULT
) -> list[Relation]:
    """Return the representative relation that a RelatedPerson has with its patient, or none.

    A parent's authority ends with the child's minority, computed from the birth date; without one it never begins. A
    guardian's lasts beyond majority only under a measure whose end is recorded in `period`.
    """
    subject = literal(related_person.get("patient"))
    codes = _relationship(related_person)
    if subject is None or related_person.get("active") is False or not codes & (PARENTS | GUARDIANS):
        return []
    recorded = related_person.get("period")
    spent = window(recorded, policy.zone)
    under_measure = bool(codes & GUARDIANS) and isinstance(recorded, Mapping) and "end" in recorded
    if not under_measure:
        spent = spent.meet(minority(patient, policy))
    if spent.is_empty:
        return []
    return [
        {
            "kind": "representative",
            "key": f"RelatedPerson/{related_person.get('id')}",
            "organization": None,
            "from": spent.start,
            "until": spent.until,
            "source": f"RelatedPerson/{related_person.get('id')}/_history/{version}",
        }
    ]


def minority(patient: Mapping[str, Any] | None, policy: Policy = DEFAULT) -> Window:
    """Return the window that ends with the first instant of the day the patient comes of age, in the policy's zone.

    Of a partial birth date the earliest day counts. Without a readable birth date there is no minority: unknown is
    refused.
    """
    text = (patient or {}).get("birthDate")
    try:
        born = interval(text, policy.zone).start.astimezone(policy.zone).date() if isinstance(text, str) else None
    except ValueError:
        born = None
    if born is None:
        return NEVER
    majority = _anniversary(born, policy.age_of_majority)
    midnight = datetime(majority.year, majority.month, majority.day, tzinfo=policy.zone)
    return Window(ALWAYS.start, midnight.astimezone(UTC))


def _anniversary(born: date, years: int) -> date:
    """Return the birthday; who was born on 29 February has it on the 28th in other years, the earlier of the two
    days.
    """
    try:
        return born.replace(year=born.year + years)
    except ValueError:
        return date(born.year + years, 2, 28)


def _relationship(related_person: Mapping[str, Any]) -> set[str]:
    return {
        coding.get("code", "")
        for concept in related_person.get("relationship", ())
        for coding in concept.get("coding", ())
        if coding.get("system") == ROLE_CODE
    }
