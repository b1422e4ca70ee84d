"""What follows from the token alone: who is admitted to what the operator does, and to being told why."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from consent import Actor, Request, admit, decide, parse_scopes
from consent.decision import SENTENCES
from consent.engine import admit_explanation, admit_operator, decide_apart
from consent.policy import DEFAULT, Policy
from tests.consent.reference import World
from tests.consent.scenario import expand, facts, record

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
WRITE = Request("update", "HSYSADMIN", NOW)
READ = Request("read", "TREAT", NOW)


def actor(kind: Any, reference: str, scopes: str, **more: Any) -> Actor:
    return Actor(kind, reference, keys=frozenset({reference}), scopes=parse_scopes(scopes), **more)


OPERATOR = actor("operator", "Client/operator", "system/*.cruds", client_category="operator")
SYSTEM = actor("system", "Client/his", "system/*.cruds", organization="Organization/e1")
AUDITOR = actor("auditor", "Practitioner/a", "user/*.cruds", client_category="operator")
PATIENT = actor("patient", "Patient/p", "patient/*.cruds", patients=frozenset({"Patient/p"}))
MOTHER = actor("representative", "RelatedPerson/m", "user/*.cruds")
DOCTOR = actor("professional", "Practitioner/d", "user/*.cruds")


def test_what_the_operator_alone_does_is_refused_to_everybody_else():
    assert admit_operator(OPERATOR, WRITE, "Organization") is None
    refusal = admit_operator(SYSTEM, Request("update", "TREAT", NOW), "ImagingStudy")
    assert refusal is not None
    assert (refusal.effect, refusal.code, refusal.status, refusal.instant) == (
        "deny",
        "matrix-refusal",
        "forbidden",
        NOW,
    )
    (reason,) = refusal.reasons
    assert (reason.code, reason.rule, reason.detail) == (
        "matrix-refusal",
        "admission",
        SENTENCES["matrix-refusal"]["en"],
    )


def test_an_operator_without_the_scope_or_banned_is_told_that():
    narrow = actor("operator", "Client/operator", "system/Patient.r", client_category="operator")
    refusal = admit_operator(narrow, WRITE, "Organization")
    assert refusal is not None
    assert refusal.code == "insufficient-scope"


@pytest.mark.parametrize("admitted", [admit_operator, admit_explanation])
def test_a_region_that_offers_no_purpose_admits_nobody(admitted: Any):
    closed = Policy(offered_purposes=frozenset())
    assert admitted(OPERATOR, WRITE, "Organization") is None
    assert admitted(OPERATOR, WRITE, "Organization", policy=closed).code == "ban-purpose"


@pytest.mark.parametrize("who", [OPERATOR, AUDITOR], ids=["operator", "auditor"])
def test_operators_and_auditors_are_told_why_of_what_they_do_not_read(who: Actor):
    assert admit_explanation(who, Request("read", "HCOMPL", NOW), "ImagingStudy") is None


@pytest.mark.parametrize("who", [PATIENT, MOTHER], ids=["patient", "representative"])
def test_the_person_and_who_represents_them_are_told_why_of_what_they_read(who: Actor):
    assert admit_explanation(who, Request("read", "PATRQT", NOW), "ImagingStudy") is None
    refusal = admit_explanation(who, Request("create", "PATRQT", NOW), "ImagingStudy")
    assert refusal is not None
    assert (refusal.code, refusal.status, refusal.instant) == ("matrix-refusal", "forbidden", NOW)


def test_an_auditor_is_told_of_what_auditors_never_do():
    asked = Request("update", "HCOMPL", NOW)
    refusal = admit(AUDITOR, asked, "ImagingStudy")
    assert refusal is not None
    assert refusal.code == "matrix-refusal"
    assert admit_explanation(AUDITOR, asked, "ImagingStudy") is None


@pytest.mark.parametrize("admitted", [admit_operator, admit_explanation])
def test_the_scope_is_asked_of_the_type_in_question(admitted: Any):
    narrow = actor("operator", "Client/operator", "system/Organization.cruds", client_category="operator")
    assert admitted(narrow, WRITE, "Organization") is None
    assert admitted(narrow, WRITE, "Location").code == "insufficient-scope"


@pytest.mark.parametrize("who", [DOCTOR, SYSTEM], ids=["professional", "system"])
def test_nobody_else_is_told_why(who: Actor):
    refusal = admit_explanation(who, READ, "ImagingStudy")
    assert refusal is not None
    assert (refusal.code, refusal.status) == ("matrix-refusal", "forbidden")


@pytest.mark.parametrize("who", [OPERATOR, PATIENT, DOCTOR], ids=["operator", "patient", "professional"])
def test_a_ban_comes_before_every_explanation(who: Actor):
    refusal = admit_explanation(who, Request("read", "HPAYMT", NOW), "ImagingStudy")
    assert refusal is not None
    assert refusal.code == "ban-payer"


def test_who_is_only_asked_about_is_decided_on_as_who_asks():
    team = expand({"CareTeam": "t", "subject": "Patient/p", "members": ["Practitioner/d"]})
    held = facts(record("a", {"performed": "2026-11-20"}, DEFAULT), World([team], {}), DEFAULT)
    stranger = actor("professional", "Practitioner/s", "user/*.rs")

    assert decide_apart(DOCTOR, READ, held) == decide(DOCTOR, READ, held)
    assert decide_apart(DOCTOR, READ, held).code == "permit-declared"
    assert decide_apart(stranger, READ, held) == decide(stranger, READ, held)
    assert [one.rule for one in decide(stranger, READ, held).reasons] == ["default-deny"]
    assert decide_apart(stranger, Request("read", "ETREAT", NOW), held).code == "no-relationship"
    narrow = actor("professional", "Practitioner/d", "user/Patient.rs")
    assert decide_apart(narrow, READ, held).code == "insufficient-scope"
    assert decide_apart(replace(narrow, scopes=parse_scopes("user/ImagingStudy.rs")), READ, held).is_permit


def test_who_is_only_asked_about_is_decided_on_by_the_policy_of_the_region():
    team = expand({"CareTeam": "t", "subject": "Patient/p", "members": ["Practitioner/d"]})
    closed = Policy(implicit_purposes=frozenset())
    held = facts(record("a", {"performed": "2026-11-20"}, closed), World([team], {}), closed)

    assert decide_apart(DOCTOR, READ, held, policy=closed) == decide(DOCTOR, READ, held, policy=closed)
    assert decide_apart(DOCTOR, READ, held, policy=closed).code == "not-covered-by-consent"


def test_what_the_person_reads_of_their_own_is_audited_and_nothing_more_is_owed():
    held = facts(record("a", {"performed": "2026-11-20"}, DEFAULT), World([], {}), DEFAULT)
    decision = decide(PATIENT, Request("read", "PATRQT", NOW), held)
    assert (decision.code, decision.status, decision.obligations) == ("permit-self", "permitted", ("audit-decision",))
