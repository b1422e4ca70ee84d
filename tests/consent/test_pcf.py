"""What a Consent must hold that claims a profile of IHE PCF; the expectations are those of its published profiles."""

from __future__ import annotations

from typing import Any

import pytest

from consent import pcf
from consent.problems import problems as all_problems
from tests.consent.scenario import expand

ENCOUNTER = {"related": "Encounter/1"}
AUTHOR = {"authoredby": "Practitioner/x"}


def consent(profile: str, **short: Any) -> dict[str, Any]:
    """A Consent that holds all that every profile wants, and claims one."""
    return {
        **expand({"Consent": "c", "policy": "base", **short}),
        "meta": {"profile": [profile]},
        "organization": [{"reference": "Organization/e"}],
        "sourceReference": {"reference": "DocumentReference/notice"},
    }


def places(resource: dict[str, Any]) -> list[str]:
    return [one.expression for one in pcf.problems(resource)]


@pytest.mark.parametrize(
    ("profile", "short"),
    [
        (pcf.BASIC, {"permit": "anybody", "purpose": ["TREAT", "HPAYMT", "HOPERAT"]}),
        (pcf.BASIC, {"deny": "anybody"}),
        (pcf.BASIC + "|1.1.0", {"permit": "Organization/r", "period": ["2022-06-13", None]}),
        (pcf.INTERMEDIATE, {"permit": "anybody", "dates": ["2022-01-01", "2022-12-31"]}),
        (pcf.INTERMEDIATE, {"permit": "anybody", "nested": [{"deny": [], "dates": ["2022-01-01", None]}]}),
        (pcf.INTERMEDIATE, {"permit": "anybody", "data": ["ImagingStudy/a", "ImagingStudy/b", ENCOUNTER, AUTHOR]}),
        (pcf.INTERMEDIATE, {"permit": "anybody", "nested": [{"deny": [], "data": ["ImagingStudy/a", ENCOUNTER]}]}),
        (pcf.INTERMEDIATE, {"deny": "anybody", "nested": [{"permit": "Group/g", "purpose": "BTG"}]}),
        (pcf.ADVANCED, {"permit": "anybody", "labels": ["N"], "nested": [{"deny": [], "labels": ["R", "PSY"]}]}),
    ],
)
def test_what_a_profile_has_is_taken(profile: str, short: dict[str, Any]):
    assert all_problems(consent(profile, **short)) == []


@pytest.mark.parametrize(
    ("profile", "short", "place"),
    [
        (pcf.BASIC, {"permit": "anybody", "data": "ImagingStudy/a"}, "Consent.provision.data"),
        (pcf.BASIC, {"permit": "anybody", "labels": "N"}, "Consent.provision.securityLabel"),
        (pcf.BASIC, {"permit": "anybody", "dates": ["2022", None]}, "Consent.provision.dataPeriod"),
        (pcf.BASIC, {"permit": "anybody", "nested": [{"deny": []}]}, "Consent.provision.provision"),
        (pcf.BASIC, {"permit": "anybody", "purpose": ["TREAT", "HRESCH"]}, "Consent.provision.purpose[1]"),
        (pcf.BASIC + "|1.1.0", {"permit": "anybody", "purpose": "HRESCH"}, "Consent.provision.purpose[0]"),
        (pcf.BASIC, {"permit": "anybody", "actions": "access"}, "Consent.provision.action"),
        (pcf.INTERMEDIATE, {"permit": "anybody", "class": "ImagingStudy"}, "Consent.provision.class"),
        (pcf.ADVANCED, {"permit": "anybody", "codes": "59284-0"}, "Consent.provision.code"),
        (pcf.INTERMEDIATE, {"permit": "anybody", "labels": "R"}, "Consent.provision.securityLabel"),
        (
            pcf.INTERMEDIATE,
            {"permit": "anybody", "nested": [{"deny": [], "labels": "R"}]},
            "Consent.provision.provision[0].securityLabel",
        ),
        (
            pcf.INTERMEDIATE,
            {"permit": "anybody", "nested": [{"deny": [], "actions": "access"}]},
            "Consent.provision.provision[0].action",
        ),
        (
            pcf.INTERMEDIATE,
            {"permit": "anybody", "data": {"dependents": "ImagingStudy/a"}},
            "Consent.provision.data[0].meaning",
        ),
        (
            pcf.INTERMEDIATE,
            {"permit": "anybody", "data": {"related": "ImagingStudy/a"}},
            "Consent.provision.data[0].reference",
        ),
        (
            pcf.INTERMEDIATE,
            {"permit": "anybody", "data": {"authoredby": "Encounter/1"}},
            "Consent.provision.data[0].reference",
        ),
        (
            pcf.INTERMEDIATE,
            {"permit": "anybody", "nested": [{"deny": [], "data": ["ImagingStudy/a", "ImagingStudy/b"]}]},
            "Consent.provision.provision[0].data",
        ),
        (pcf.ADVANCED, {"permit": "anybody", "labels": ["N", "V"]}, "Consent.provision.securityLabel[1]"),
        (
            pcf.ADVANCED,
            {"permit": "anybody", "nested": [{"deny": [], "labels": ["urn:x|R"]}]},
            "Consent.provision.provision[0].securityLabel[0]",
        ),
    ],
)
def test_what_a_profile_has_not_is_refused_by_its_element(profile: str, short: dict[str, Any], place: str):
    assert places(consent(profile, **short)) == [place]
    assert places({**consent(profile, **short), "meta": {}}) == []


@pytest.mark.parametrize("profile", [pcf.BASIC, pcf.INTERMEDIATE, pcf.ADVANCED])
@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"organization": None}, "Consent.organization"),
        ({"sourceReference": None}, "Consent.source"),
        ({"performer": [{"reference": "Practitioner/x"}]}, "Consent.performer[0]"),
        ({"performer": [{"reference": "Patient/p"}, {"display": "somebody"}]}, "Consent.performer[1]"),
        ({"policy": [{"uri": "urn:a"}, {"authority": "urn:b"}]}, "Consent.policy[1].uri"),
        ({"policy": [{"uri": "urn:a", "authority": "urn:b"}]}, "Consent.policy[0].authority"),
        ({"policyRule": {"text": "x"}}, "Consent.policyRule"),
    ],
)
def test_what_every_profile_wants_is_asked_of_the_whole(profile: str, change: dict[str, Any], place: str):
    changed = {name: value for name, value in {**consent(profile, deny="anybody"), **change}.items() if value}
    assert places(changed)[0] == place


def test_the_role_of_an_actor_is_exactly_that_of_a_recipient():
    role = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "PRCP"}]}
    actor = {"role": role, "reference": {"reference": "Practitioner/x"}}
    assert places(consent(pcf.BASIC, deny=[actor])) == ["Consent.provision.actor[0].role"]
    assert all_problems({**consent(pcf.BASIC, deny=[actor]), "meta": {}}) == []


def test_a_source_may_be_attached():
    attached = {**consent(pcf.BASIC, deny="anybody"), "sourceAttachment": {"title": "Signed"}}
    del attached["sourceReference"]
    assert places(attached) == []


def test_two_claims_are_both_held_to():
    both = consent(pcf.BASIC, permit="anybody", data="ImagingStudy/a")
    both["meta"]["profile"].append(pcf.INTERMEDIATE)
    assert places(both) == ["Consent.provision.data"]
