"""Who may break the glass, and against whose will it is not done (CSP L.1111-17 I).

https://www.legifrance.gouv.fr/codes/article_lc/LEGIARTI000045399699
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from consent import bans
from consent.condition import AllOf, Condition, Is, Some, bind, evaluate
from consent.decision import SENTENCES, Decision, Reason, Status
from consent.eligibility import PURPOSE, is_eligible
from consent.policy import DEFAULT, Policy
from consent.request import Actor
from consent.rules.rule import IN_FORCE
from consent.rules.terms import objecting_to


def may_begin(actor: Actor, now: datetime, patient: Mapping[str, Any] | None, *, policy: Policy = DEFAULT) -> Decision:
    """Decide whether a session may begin; `patient` are the facts of the Patient, None where there is none.

    A block of the professional, of their organisation or team, and an opposition look like a patient who does not
    exist. A prior objection of the person to emergency access is refused with a reason that is shown: its status is
    "forbidden".
    """
    codes = bans.banned(actor, PURPOSE, policy)
    if codes or not is_eligible(actor, policy):
        return _refusal(codes[0] if codes else "btg-not-eligible", "forbidden", now)
    if patient is None or patient["lifecycle"] != "present" or not patient["subjects"]:
        return _refusal("no-relationship", "absent", now)
    names = actor.keys | {actor.reference}
    subject = patient["subjects"][0]
    if _holds(_OPPOSED, subject, now):
        return _refusal("opposed", "absent", now)
    if _holds(objecting_to(names), subject, now):
        return _refusal("blocked-professional", "absent", now)
    if _holds(objecting_to(names | {"*"}), subject, now):
        return _refusal("btg-objection", "forbidden", now)
    reason = Reason("permit-break-glass", "break-glass", subject["patient"])
    return Decision("permit", reason.code, now, "permitted", (reason,), ("audit-decision", "notify-break-glass"))


_OPPOSED = Some("rulings", AllOf(Is("effect", "deny"), Is("family", "opposition"), IN_FORCE))


def _holds(condition: Condition, subject: Mapping[str, Any], now: datetime) -> bool:
    return evaluate(bind(condition, now), subject)


def _refusal(code: str, status: Status, now: datetime) -> Decision:
    return Decision("deny", code, now, status, (Reason(code, "break-glass", SENTENCES[code]["en"]),))
