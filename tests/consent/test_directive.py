"""From a Consent to directives, and from directives to rulings; what a Consent must state before it is stored."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from consent.directive import Directive, family_of, problems, read_consent, rulings
from consent.policy import DEFAULT
from tests.consent.scenario import expand, record


def consent(**short: Any) -> dict[str, Any]:
    return expand({"Consent": "c", "policy": "restriction", **short})


def said_of(record_: dict[str, Any], **short: Any) -> list[dict[str, Any]]:
    directive = read_consent(consent(**short), 4)
    return [dict(ruling) for ruling in rulings(directive, record_)] if directive else []


STUDY = record("a", {"performed": "2026-11-20"}, DEFAULT)


def test_a_ruling_cites_the_version_of_the_consent_it_comes_from():
    (ruling,) = said_of(STUDY, deny="Practitioner/x")
    assert ruling["source"] == "Consent/c/_history/4"
    assert ruling["keys"] == ["Practitioner/x"]
    assert (ruling["purposes"], ruling["unless"]) == (["*"], [])


def test_a_provision_of_another_action_than_access_says_nothing():
    assert said_of(STUDY, deny="anybody", actions="disclose") == []
    assert said_of(STUDY, policy="base", permit="anybody", actions="disclose") == []
    assert said_of(STUDY, deny="anybody", actions=["disclose", "access"])


def test_an_opposition_to_another_action_still_hides_and_is_addressed_to_nobody():
    (ruling,) = said_of(STUDY, policy="opposition", deny="anybody", actions="disclose")
    assert (ruling["effect"], ruling["family"], ruling["keys"]) == ("deny", "opposition", [])


def test_a_permit_of_another_action_is_no_exception_from_a_deny():
    (ruling,) = said_of(STUDY, deny="anybody", nested=[{"permit": "Practitioner/x", "actions": "disclose"}])
    assert ruling["unless"] == []


def test_a_deny_nested_in_a_permit_is_a_ruling_and_not_an_exception():
    """Every deny beats every permit, so the permit need not repeat whom its own Consent keeps out."""
    found = said_of(STUDY, policy="base", permit="anybody", nested=[{"deny": "Practitioner/x"}])
    assert [(each["effect"], each["keys"], each["unless"]) for each in found] == [
        ("deny", ["Practitioner/x"], []),
        ("permit", ["*"], []),
    ]


@pytest.mark.parametrize("status", ["draft", "proposed", "rejected", "inactive", "entered-in-error"])
def test_only_an_active_consent_says_anything(status: str):
    assert read_consent(consent(deny="anybody", status=status), 1) is None


def test_a_consent_of_another_scope_says_nothing():
    research = consent(deny="anybody")
    research["scope"]["coding"][0]["code"] = "research"
    assert read_consent(research, 1) is None
    assert problems(research) == []


def test_a_consent_without_a_readable_patient_says_nothing():
    assert read_consent({**consent(deny="anybody"), "patient": {"display": "P"}}, 1) is None


def test_a_nested_permit_inherits_the_actor_of_its_parent():
    """Evaluated alone, it would open the study to everybody."""
    found = said_of(STUDY, deny="Practitioner/x", nested=[{"permit": [], "data": "ImagingStudy/a"}])
    permit = next(each for each in found if each["effect"] == "permit")
    deny = next(each for each in found if each["effect"] == "deny")
    assert permit["keys"] == ["Practitioner/x"]
    assert [each["keys"] for each in deny["unless"]] == [["Practitioner/x"]]


def test_a_team_named_by_a_consent_is_meant_with_and_without_its_patient():
    (ruling,) = said_of(STUDY, deny="CareTeam/u")
    assert ruling["keys"] == ["CareTeam/u", "CareTeam/u@Patient/p"]


PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"


@pytest.mark.parametrize(
    ("role", "is_recipient"),
    [
        ({"coding": [{"system": PARTICIPATION, "code": "IRCP"}]}, True),
        ({"coding": [{"system": PARTICIPATION, "code": "PRCP"}]}, True),
        ({"coding": [{"system": PARTICIPATION, "code": "CST"}]}, True),
        ({"coding": [{"system": PARTICIPATION, "code": "AUT"}]}, False),
        ({"coding": [{"system": "urn:example", "code": "IRCP"}]}, False),
        ({"coding": []}, False),
        ({"text": "recipient"}, False),
        ("recipient", False),
    ],
)
def test_an_actor_in_a_role_we_do_not_know_reaches_everybody_in_a_deny_and_nobody_in_a_permit(
    role: Any, is_recipient: bool
):
    actor = {"role": role, "reference": {"reference": "Practitioner/x"}}
    (deny,) = said_of(STUDY, deny=[actor])
    permits = said_of(STUDY, policy="base", permit=[actor])
    assert deny["keys"] == (["Practitioner/x"] if is_recipient else ["*"])
    assert bool(permits) == is_recipient


def test_an_actor_without_a_role_is_a_recipient():
    assert said_of(STUDY, policy="base", permit=[{"reference": {"reference": "Practitioner/x"}}])


def test_an_actor_of_a_type_that_cannot_act_reaches_nobody_in_a_permit():
    actor = {"reference": {"reference": "Location/x"}}
    assert said_of(STUDY, policy="base", permit=[actor]) == []
    assert said_of(STUDY, deny=[actor])[0]["keys"] == ["*"]


def test_an_unreadable_period_ends_a_permit_and_does_not_limit_a_deny():
    assert said_of(STUDY, policy="base", permit="anybody", period=["soon", None]) == []
    (ruling,) = said_of(STUDY, deny="anybody", period=["soon", None])
    assert ruling["from"].year == 1
    assert ruling["until"].year == 9999


def test_an_unreadable_data_period_is_unknown():
    assert said_of(STUDY, deny="anybody", dates=["soon", None])
    assert not said_of(STUDY, policy="base", permit="anybody", dates=["soon", None])


def test_a_deny_of_a_period_of_care_does_not_hide_the_person():
    person = record("p", {"type": "Patient"}, DEFAULT)
    assert said_of(person, deny="anybody", dates=["2026-01-01", None]) == []
    assert said_of(STUDY, deny="anybody", dates=["2026-01-01", None])


def test_an_exam_partly_in_the_period_is_denied_and_not_permitted():
    year = record("a", {"performed": "2026"}, DEFAULT)
    assert said_of(year, deny="anybody", dates=["2026-06-01", None])
    assert said_of(year, policy="base", permit="anybody", dates=["2026-06-01", None]) == []


def test_a_reference_to_another_server_is_unknown():
    elsewhere = {"instance": "https://elsewhere.example/ImagingStudy/a"}
    assert said_of(STUDY, deny="anybody", data=[elsewhere])
    assert said_of(STUDY, policy="base", permit="anybody", data=[elsewhere]) == []


def test_a_versioned_reference_means_the_resource():
    assert said_of(STUDY, policy="base", permit="anybody", data="ImagingStudy/a/_history/3")


def test_a_data_meaning_that_is_not_of_the_standard_is_unknown():
    assert said_of(STUDY, deny="anybody", data=[{"sameAs": "ImagingStudy/z"}])
    assert said_of(STUDY, policy="base", permit="anybody", data=[{"sameAs": "ImagingStudy/a"}]) == []


def test_a_nested_provision_without_a_type_says_nothing():
    found = said_of(STUDY, policy="base", permit="Practitioner/x", nested=[{"untyped": "Practitioner/y"}])
    assert [(each["effect"], each["keys"], each["unless"]) for each in found] == [("permit", ["Practitioner/x"], [])]


def test_provisions_deeper_than_one_level_open_nothing_and_still_deny():
    inner = {"permit": "Practitioner/y", "nested": [{"deny": "Practitioner/z"}, {"permit": "Practitioner/w"}]}
    found = said_of(STUDY, policy="base", permit="Practitioner/x", nested=[inner])
    assert {(each["effect"], *each["keys"]) for each in found} == {
        ("permit", "Practitioner/x"),
        ("permit", "Practitioner/y"),
        ("deny", "Practitioner/z"),
    }


def test_a_directive_survives_being_stored():
    directive = read_consent(
        consent(
            deny="anybody",
            purpose=["TREAT"],
            labels=["R", "PSY"],
            dates=["2026-01-01", None],
            codes="18748-4",
            nested=[{"permit": "Group/g", "purpose": "BTG", "data": "ImagingStudy/a"}],
            **{"class": "ImagingStudy"},
        ),
        2,
    )
    assert directive
    assert Directive.from_document(directive.to_document()) == directive


@pytest.mark.parametrize(
    "said",
    [
        {"actions": ["access", "disclose"]},
        {"labels": ["urn:example|X", "N"]},
        {"data": [{"dependents": "ImagingStudy/a"}, {"related": "Encounter/e"}, {"authoredby": "Practitioner/x"}]},
        {"data": [{"somehow": "ImagingStudy/a"}]},
        {"codes": "urn:example|X"},
        {"class": "urn:example|X"},
        {"dates": ["soon", None]},
        {"untyped": "anybody", "policyRule": "OPTOUT"},
        {"untyped": "anybody", "nested": [{"deny": "Practitioner/x"}]},
    ],
    ids=lambda said: next(iter(said)),
)
def test_what_a_directive_does_not_understand_survives_as_not_understood(said: dict[str, Any]):
    short = said if "untyped" in said else {"deny": "Practitioner/x", "nested": [{"permit": "Group/g"}], **said}
    directive = read_consent(consent(**short), 2)
    assert directive
    assert Directive.from_document(directive.to_document()) == directive


@pytest.mark.parametrize(
    ("coding", "applies"),
    [
        ({"system": "http://loinc.org", "code": "18748-4"}, True),
        ({"system": "http://loinc.org", "code": "11502-2"}, False),
        ({"system": "http://loinc.org"}, False),
        ({"system": "urn:example", "code": "18748-4"}, False),
    ],
)
def test_a_permit_of_a_code_asks_for_that_code_of_loinc(coding: dict[str, str], applies: bool):
    permit = consent(policy="base", permit="anybody")
    permit["provision"]["code"] = [{"coding": [coding]}]
    directive = read_consent(permit, 1)
    assert directive
    report = record("r", {"type": "DiagnosticReport", "codes": ["http://loinc.org|18748-4"]}, DEFAULT)
    assert bool(rulings(directive, report)) == applies


def test_a_stored_directive_is_a_plain_document():
    directive = read_consent(consent(deny="anybody", labels="R", nested=[{"permit": "Group/g", "labels": "V"}]), 2)
    assert directive

    def leaves(value: object) -> set[type]:
        if isinstance(value, dict):
            return set().union(*(leaves(each) for each in value.values()))
        if isinstance(value, list):
            return set().union(*(leaves(each) for each in value), set())
        return {type(value)}

    assert leaves(directive.to_document()) <= {str, int, bool, datetime, type(None)}


@pytest.mark.parametrize(
    ("policies", "family"),
    [
        (["urn:fhirserver:policy:grant"], "grant"),
        (["https://profiles.ihe.net/ITI/PCF/Policy-deny"], "base"),
        (["urn:fhirserver:policy:base", "https://profiles.ihe.net/ITI/PCF/Policy-basic-normal"], "base"),
        (["http://example.org/else", "urn:fhirserver:policy:opposition"], "opposition"),
        (["urn:fhirserver:policy:grant", "urn:fhirserver:policy:restriction"], None),
        (["http://example.org/else"], None),
        ([], None),
    ],
)
def test_a_consent_belongs_to_the_one_family_its_policies_name(policies: list[str], family: str | None):
    assert family_of({"policy": [{"uri": uri} for uri in policies]}) == family


def test_a_consent_that_can_be_enforced_has_no_problems():
    assert problems(consent(deny="Practitioner/x", nested=[{"permit": [], "data": "ImagingStudy/a"}])) == []
    assert problems(consent(policy="grant", permit="Practitioner/x", data="ImagingStudy/a")) == []
    assert problems(consent(policy="base", deny="anybody")) == []


@pytest.mark.parametrize(
    ("short", "where"),
    [
        ({"untyped": "Practitioner/x"}, "Consent.provision.type"),
        ({}, "Consent.provision.type"),
        ({"policy": "grant", "permit": "anybody"}, "Consent.provision.actor"),
        ({"policy": "grant", "deny": "Practitioner/x"}, "Consent.provision.type"),
        ({"policy": "restriction", "permit": "anybody"}, "Consent.provision.type"),
        ({"policy": "opposition", "permit": "anybody"}, "Consent.provision.type"),
        ({"policy": "http://example.org/else", "deny": "anybody"}, "Consent.policy.uri"),
        ({"deny": "anybody", "nested": [{"untyped": "Practitioner/x"}]}, "Consent.provision.provision[0].type"),
        (
            {"deny": "anybody", "nested": [{"permit": [], "nested": [{"deny": []}]}]},
            "Consent.provision.provision[0].provision",
        ),
    ],
)
def test_a_consent_that_cannot_be_enforced_is_refused_at_write(short: dict[str, Any], where: str):
    assert [problem.expression for problem in problems(consent(**short))] == [where]


@pytest.mark.parametrize("name", ["patient", "performer", "dateTime"])
def test_who_consents_for_whom_is_required(name: str):
    unsigned = consent(deny="anybody")
    del unsigned[name]
    assert [problem.expression for problem in problems(unsigned)] == [f"Consent.{name}"]


def test_a_verification_is_refused_since_it_would_not_be_looked_at():
    verified = {**consent(deny="anybody"), "verification": [{"verified": False}]}
    assert [problem.expression for problem in problems(verified)] == ["Consent.verification"]


@pytest.mark.parametrize("role", [{"text": "recipient"}, {"coding": [{"system": "urn:x", "code": "IRCP"}]}])
def test_an_actor_of_another_role_is_refused_since_a_deny_of_it_would_reach_everybody(role: dict[str, Any]):
    actor = {"role": role, "reference": {"reference": "Practitioner/x"}}
    found = problems(consent(deny=[actor], nested=[{"permit": ["Practitioner/y", actor]}]))
    assert [problem.expression for problem in found] == [
        "Consent.provision.actor[0].role",
        "Consent.provision.provision[0].actor[1].role",
    ]


def test_nested_provisions_may_permit_and_deny():
    assert problems(consent(deny="anybody", nested=[{"permit": "Group/g"}, {"deny": "Practitioner/x"}])) == []


def test_a_consent_can_always_be_withdrawn_whatever_is_wrong_with_it():
    assert problems(consent(untyped="anybody", status="inactive")) == []
