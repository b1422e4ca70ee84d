"""The engine where the scenarios do not reach: what a decision carries, errors, and speed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import consent
from consent import Actor, Request, admit, audience, decide, parse_scopes, permitted, sentences
from consent.condition import Nothing, assume, describe
from consent.decision import SENTENCES
from consent.policy import DEFAULT, Policy
from consent.rules import RULES
from tests.consent.reference import World
from tests.consent.scenario import expand, facts, load_scenarios, record

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
READ = Request("read", "TREAT", NOW)
ROOT = Path(__file__).parents[2]


def doctor(name: str = "d", scopes: str = "user/*.rs", **more: Any) -> Actor:
    return Actor("professional", f"Practitioner/{name}", keys=frozenset({f"Practitioner/{name}"}),
                 scopes=parse_scopes(scopes), **more)  # fmt: skip


def held(*access: dict[str, Any], **short: Any) -> dict[str, Any]:
    world = World([expand(each) for each in access], {})
    return facts(record("a", {"performed": "2026-11-20", **short}, DEFAULT), world, DEFAULT)


TEAM = {"CareTeam": "t", "subject": "Patient/p", "members": ["Practitioner/x", "Practitioner/d"]}


def test_a_data_period_without_bounds_still_asks_when_an_exam_was():
    permit = {"Consent": "b", "policy": "base", "permit": "anybody", "dates": [None, None]}
    assert decide(doctor(), READ, held(TEAM, permit)).is_permit
    undated = facts(record("a", {}, DEFAULT), World([expand(TEAM), expand(permit)], {}), DEFAULT)
    assert not decide(doctor(), READ, undated).is_permit


def test_a_permit_cites_the_relation_and_the_consent_it_rests_on():
    decision = decide(doctor(), READ, held(TEAM, {"Consent": "b", "policy": "base", "permit": "anybody"}))
    assert decision.reasons[0].rule == "relation"
    assert decision.reasons[0].sources == ("CareTeam/t/_history/1#1", "Consent/b/_history/1")
    assert decision.reasons[0].detail == "Patient/p"
    assert decision.obligations == ("audit-decision", "notify-first-access")


def test_a_deny_cites_every_consent_that_denies():
    decision = decide(
        doctor(),
        READ,
        held(
            TEAM,
            {"Consent": "one", "policy": "restriction", "deny": "Practitioner/d"},
            {"Consent": "two", "policy": "base", "deny": "anybody"},
        ),
    )
    assert [reason.rule for reason in decision.reasons] == ["blocked-professional", "consent-deny"]
    assert {source for reason in decision.reasons for source in reason.sources} == {
        "Consent/one/_history/1",
        "Consent/two/_history/1",
    }


def test_an_opposition_is_cited():
    decision = decide(doctor(), READ, held(TEAM, {"Consent": "o", "policy": "opposition", "deny": "anybody"}))
    assert decision.code == "opposed"
    assert decision.reasons[0].sources == ("Consent/o/_history/1",)


def test_a_grant_may_not_be_passed_on():
    decision = decide(doctor(), READ, held({"Consent": "g", "policy": "grant", "permit": "Practitioner/d"}))
    assert decision.code == "permit-grant"
    assert "no-redisclosure" in decision.obligations


def test_facts_that_cannot_be_evaluated_are_refused():
    broken = held(TEAM)
    broken["subjects"][0]["relations"][1]["until"] = "2026"
    decision = decide(doctor(), READ, broken)
    assert (decision.effect, decision.code, decision.status) == ("deny", "decision-error", "absent")
    assert decide(doctor(), READ, {"type": "ImagingStudy"}).effect == "deny"


def test_what_the_request_names_is_compared_with_what_the_token_is_limited_to():
    limited = doctor(scopes="patient/*.rs", launch_patient="Patient/p")
    assert admit(limited, READ, "ImagingStudy", patient="Patient/p") is None
    refused = admit(limited, READ, "ImagingStudy", patient="Patient/q")
    assert refused is not None
    assert (refused.code, refused.status) == ("patient-context-mismatch", "forbidden")
    assert admit(doctor(), READ, "ImagingStudy", patient="Patient/q") is None


def test_who_is_not_admitted_is_permitted_nothing():
    permission = permitted(doctor(is_active=False), READ, "ImagingStudy")
    assert permission.condition == Nothing()
    assert permission.audience == frozenset()
    assert permission.rules == ()
    assert not permission.holds(held(TEAM))


def test_every_ban_that_holds_is_told():
    actor = doctor(is_active=False, client_category="payer")
    refused = admit(actor, READ, "ImagingStudy")
    assert refused is not None
    assert [reason.code for reason in refused.reasons] == ["ban-inactive", "ban-payer"]


def test_a_region_may_require_a_stated_profession():
    strict = Policy(requires_stated_profession=True)
    refused = admit(doctor(), READ, "ImagingStudy", policy=strict)
    assert refused is not None
    assert refused.code == "ban-profession"
    stated = doctor(professions=frozenset({"urn:oid:1.2.250.1.71.1.2.7|60"}))
    assert admit(stated, READ, "ImagingStudy", policy=strict) is None


def test_the_template_of_a_permission_is_the_same_at_every_instant():
    later = Request("read", "TREAT", datetime(2027, 1, 1, tzinfo=UTC))
    first, second = permitted(doctor(), READ, "ImagingStudy"), permitted(doctor(), later, "ImagingStudy")
    assert first.template is second.template
    assert first.condition != second.condition


def test_the_audience_names_whom_the_record_could_ever_be_open_to():
    document = held(
        TEAM,
        {"Consent": "g", "policy": "grant", "permit": "Organization/n"},
        {"Consent": "r", "policy": "restriction", "deny": "Practitioner/z"},
        {"Consent": "b", "policy": "base", "permit": "Practitioner/q"},
        custodian="Organization/e1",
        authors=["Practitioner/r"],
    )
    assert audience(document) == [
        "Organization/n",
        "Patient/p",
        "Practitioner/d",
        "Practitioner/r",
        "Practitioner/x",
        "custodian:Organization/e1",
    ]


def test_the_audience_of_a_patient_holds_every_establishment_that_keeps_exams_of_theirs():
    document = {**held(type="Patient", custodian="Organization/e1"), "establishments": ["Organization/e2"]}
    assert {"custodian:Organization/e1", "custodian:Organization/e2"} <= set(audience(document))


def test_materialising_leaves_the_static_facts_as_they_were():
    static = record("a", {}, DEFAULT)
    before = repr(static)
    facts(static, World([expand(TEAM)], {}), DEFAULT)
    assert repr(static) == before


def test_a_patient_without_access_in_the_record_keeps_a_subject_to_whom_nobody_is_related():
    document = consent.materialise({**record("a", {}, DEFAULT), "subjects": [{"patient": "Patient/z"}]}, [])
    said = {"patient": "Patient/z", "kind": "clinical", "authors": [], "ordinary": True}
    assert document["subjects"] == [{**said, "relations": [], "rulings": [], "base": []}]
    assert not decide(doctor(), READ, document).is_permit


@pytest.mark.parametrize(
    ("labels", "is_ordinary"), [([], True), (["N"], True), (["R"], False), (["PSY"], False), (["L", "PSY"], False)]
)
def test_each_subject_says_whether_the_implicit_policy_covers_the_labels(labels: list[str], is_ordinary: bool):
    (subject,) = held(labels=labels)["subjects"]
    assert subject["ordinary"] == is_ordinary


def test_each_subject_says_what_kind_the_resource_is_and_who_made_it():
    (subject,) = held(type="Consent", family="grant", authors=["Patient/p"])["subjects"]
    assert (subject["kind"], subject["family"], subject["authors"]) == ("consent", "grant", ["Patient/p"])


def test_several_patients_may_permit_by_different_rules_and_all_of_them_must():
    """The doctor is declared for one patient, has a grant of the other, and a third has neither."""
    grant = {"Consent": "g", "patient": "Patient/q", "policy": "grant", "permit": "Practitioner/d"}
    both = held(TEAM, grant, patients=["Patient/p", "Patient/q"])
    all_three = held(TEAM, grant, patients=["Patient/p", "Patient/q", "Patient/r"])
    permission = permitted(doctor(), READ, "ImagingStudy")

    assert [reason.code for reason in decide(doctor(), READ, both).reasons] == ["permit-declared", "permit-grant"]
    assert permission.holds(both)
    assert decide(doctor(), READ, all_three).code == "no-relationship"
    assert not permission.holds(all_three)


def test_a_permission_walks_the_patients_once():
    """However many rules speak, the patients are asked together, so that a query stays small."""
    kinds = {"kind": "clinical", "subjects": {"kind": "clinical"}}
    words = describe(assume(permitted(doctor(), READ, "ImagingStudy").template, kinds))
    assert words.count("of subjects") == 1
    assert words.count("of rulings") == 4
    assert words.count("of relations") == 1


def test_every_code_has_a_sentence_in_both_languages():
    for code in SENTENCES:
        assert set(sentences(code)) == {"fr", "en"}
        assert all(text.endswith(".") for text in sentences(code).values())
    with pytest.raises(KeyError):
        sentences("because")


def test_every_code_a_rule_gives_has_a_sentence():
    assert {rule.code for rule in RULES} <= set(SENTENCES)
    assert {case.code for scenario in load_scenarios() for case in scenario.cases} <= set(SENTENCES)


def test_every_rule_and_every_code_is_documented():
    text = (ROOT / "docs" / "policy.md").read_text("utf-8")
    assert [rule.name for rule in RULES if f"`{rule.name}`" not in text] == []
    assert [code for code in SENTENCES if f"`{code}`" not in text] == []


def test_every_code_is_shown_by_a_scenario():
    shown = {case.code for scenario in load_scenarios() for case in scenario.cases}
    assert set(SENTENCES) - shown == {"decision-error", "permit-relation"}  # the second is told, never decided


def told(expected: str) -> list[tuple[str, str]]:
    """Decided and told: of every scenario that ends in this code."""
    return [
        (decision.code, decision.told)
        for scenario in load_scenarios()
        for case in scenario.cases
        if case.code == expected
        and (decision := decide(case.actor, case.request, case.facts, policy=scenario.policy)).code == expected
    ]


@pytest.mark.parametrize("code", ["permit-declared", "permit-treating", "permit-organisation"])
def test_the_person_is_not_told_what_relates_a_professional_to_them(code):
    found = told(code)
    assert found
    assert {one for _, one in found} <= {"permit-relation", "permit-grant", "permit-break-glass"}


@pytest.mark.parametrize("code", ["permit-self", "permit-custodian", "permit-grant", "consent-deny", "masked"])
def test_everything_else_is_told_as_it_was_decided(code):
    assert {one for _, one in told(code)} == {code}


def test_a_refusal_tells_of_a_declaration_and_not_of_an_exam():
    spent = {"from": NOW - timedelta(days=2), "until": NOW - timedelta(days=1), "source": "Some/1/_history/1"}
    for kind, told_code in (("declared", "careteam-participation-expired"), ("treating", "no-relationship")):
        document = held()
        document["subjects"][0]["relations"] = [{"kind": kind, "key": "Practitioner/d", "organization": None, **spent}]
        decision = decide(doctor(), READ, document)
        assert (decision.code, decision.told) == ("careteam-participation-expired", told_code)
