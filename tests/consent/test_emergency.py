"""Whether a session may begin: for whom, and whose will stands against it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from consent.decision import SENTENCES, Decision
from consent.emergency import may_begin
from consent.policy import DEFAULT
from tests.consent.reference import World
from tests.consent.scenario import build_actor, expand, facts, record

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
PHYSICIAN = "urn:oid:1.2.250.1.71.1.2.7|10"
DR_U = {"reference": "Practitioner/u", "organization": "Organization/c", "professions": [PHYSICIAN]}
GROUP = {"Group": "g", "members": ["Practitioner/u"]}


def begun(*access: dict[str, Any], person: dict[str, Any] = DR_U, **short: Any) -> Decision:
    world = World([expand(each) for each in access], {})
    patient = facts(record("p", {"type": "Patient", **short}, DEFAULT), world, DEFAULT)
    return may_begin(build_actor(person, world, NOW, DEFAULT), NOW, patient)


def consent(**said: Any) -> dict[str, Any]:
    return {"Consent": "c", "policy": "restriction", **said}


def test_a_physician_may_begin_without_any_relation():
    decision = begun()
    assert (decision.effect, decision.code, decision.status) == ("permit", "permit-break-glass", "permitted")
    assert decision.obligations == ("audit-decision", "notify-break-glass")
    assert decision.instant == NOW
    (reason,) = decision.reasons
    assert (reason.code, reason.rule, reason.detail) == ("permit-break-glass", "break-glass", "Patient/p")


@pytest.mark.parametrize(
    ("person", "code"),
    [
        ({**DR_U, "professions": ["urn:oid:1.2.250.1.71.1.2.7|60"]}, "btg-not-eligible"),
        ({**DR_U, "professions": []}, "btg-not-eligible"),
        ({**DR_U, "active": False}, "ban-inactive"),
        ({**DR_U, "sectors": ["urn:oid:1.2.250.1.71.4.2.4|SA99"]}, "ban-sector"),
        ({**DR_U, "category": "payer"}, "ban-payer"),
        ({"reference": "Patient/p"}, "btg-not-eligible"),
        ({"reference": "Client/his", "organization": "Organization/c"}, "btg-not-eligible"),
    ],
)
def test_nobody_else_may_and_is_told_so_whatever_is_stored(person: dict[str, Any], code: str):
    decision = begun(person=person)
    assert (decision.code, decision.status, decision.instant) == (code, "forbidden", NOW)
    world = World([], {})
    assert may_begin(build_actor(person, world, NOW, DEFAULT), NOW, None).code == code


@pytest.mark.parametrize(
    ("said", "code", "status"),
    [
        (consent(deny="anybody", purpose="ETREAT"), "btg-objection", "forbidden"),
        (consent(deny="anybody", purpose="BTG"), "btg-objection", "forbidden"),
        (consent(deny="anybody"), "btg-objection", "forbidden"),
        (consent(deny="anybody", policy="base"), "btg-objection", "forbidden"),
        (consent(deny="anybody", purpose="TREAT"), "permit-break-glass", "permitted"),
        (consent(deny="anybody", data="ImagingStudy/a"), "permit-break-glass", "permitted"),
        (consent(deny="anybody", period=[None, "2026-11-23"]), "permit-break-glass", "permitted"),
        (consent(deny="anybody", status="inactive"), "permit-break-glass", "permitted"),
        (consent(deny="anybody", nested=[{"permit": "Group/g", "purpose": "BTG"}]), "permit-break-glass", "permitted"),
        (consent(deny="anybody", nested=[{"permit": "Group/x", "purpose": "BTG"}]), "btg-objection", "forbidden"),
        (consent(deny="anybody", nested=[{"permit": "Group/g", "purpose": "TREAT"}]), "btg-objection", "forbidden"),
        (
            consent(deny="anybody", nested=[{"permit": "Group/g", "purpose": "BTG", "period": [None, "2026-11-23"]}]),
            "btg-objection",
            "forbidden",
        ),
        (consent(deny="anybody", nested=[{"permit": [], "purpose": "BTG"}]), "permit-break-glass", "permitted"),
        (
            consent(deny="anybody", purpose="BTG", nested=[{"permit": "Group/g"}]),
            "permit-break-glass",
            "permitted",
        ),
        (consent(deny="Practitioner/u"), "blocked-professional", "absent"),
        (consent(deny="Organization/c"), "blocked-professional", "absent"),
        (consent(deny="Practitioner/u", purpose="TREAT"), "permit-break-glass", "permitted"),
        (consent(deny="Practitioner/x"), "permit-break-glass", "permitted"),
        (consent(deny="anybody", policy="opposition"), "opposed", "absent"),
    ],
)
def test_the_will_of_the_person_stands_against_it(said: dict[str, Any], code: str, status: str):
    decision = begun(GROUP, said)
    assert (decision.code, decision.status, decision.instant) == (code, status, NOW)
    assert decision.effect == ("permit" if status == "permitted" else "deny")


@pytest.mark.parametrize("said", [{"deny": "Practitioner/u"}, {"deny": "anybody"}], ids=["block", "objection"])
def test_a_refusal_says_by_which_rule_and_in_words(said: dict[str, Any]):
    decision = begun(consent(**said))
    (reason,) = decision.reasons
    assert (reason.code, reason.rule, reason.detail) == (decision.code, "break-glass", SENTENCES[decision.code]["en"])


def test_a_region_may_list_other_professions():
    dentist = {**DR_U, "professions": ["urn:oid:1.2.250.1.71.1.2.7|40"]}
    listed = replace(DEFAULT, emergency_professions=frozenset(dentist["professions"]))
    patient = facts(record("p", {"type": "Patient"}, DEFAULT), World([], {}), DEFAULT)
    actor = build_actor(dentist, World([], {}), NOW, DEFAULT)
    assert not may_begin(actor, NOW, patient).is_permit
    assert may_begin(actor, NOW, patient, policy=listed).is_permit


def test_a_block_is_not_told_by_an_objection_that_stands_beside_it():
    decision = begun(consent(deny="anybody", purpose="BTG"), {**consent(deny="Practitioner/u"), "Consent": "d"})
    assert decision.status == "absent"


def test_a_patient_who_is_not_there_is_as_one_who_blocked_the_physician():
    world = World([], {})
    absent = may_begin(build_actor(DR_U, world, NOW, DEFAULT), NOW, None)
    assert absent.status == begun(consent(deny="Practitioner/u")).status == "absent"
    assert (absent.effect, absent.instant) == ("deny", NOW)
    assert begun(lifecycle="entered-in-error").status == "absent"
