"""Parameters that follow references: how their names are read, what they mean, and what is refused."""

from __future__ import annotations

import pytest

from fhirserver.search.expression import Equals, Not, ReferredBy, Refers, evaluate
from fhirserver.search.links import Chain, Has, Last, first_step, followed, replaced
from fhirserver.search.parse import MOST_LINKS


@pytest.mark.parametrize(
    ("path", "step"),
    [
        ("name", Last("name", None)),
        ("name:exact", Last("name", "exact")),
        ("_has", None),
        ("patient.name:exact", Chain("patient", None, "name:exact")),
        ("subject:Patient.organization.name", Chain("subject", "Patient", "organization.name")),
        ("_has:Observation:patient:code", Has("Observation", "patient", "code")),
        ("_has:Observation:patient:subject.name", Has("Observation", "patient", "subject.name")),
        ("patient._has:Observation:patient:code", Chain("patient", None, "_has:Observation:patient:code")),
        ("_has:A:p:_has:B:q:x:not", Has("A", "p", "_has:B:q:x:not")),
    ],
)
def test_a_name_is_read_from_its_beginning(refusal, path, step):
    if step is None:
        assert refusal("Patient", f"{path}=a").expression == path
    else:
        assert first_step(path) == step


def test_a_chain_is_asked_of_each_type_that_has_the_parameter(ask):
    found = ask("ImagingStudy", "subject.identifier=a").expression
    assert found == Refers("subject", ("Device", "Group", "Patient"), ask("Patient", "identifier=a").expression)


def test_types_without_the_parameter_are_left_out(ask):
    assert ask("ImagingStudy", "subject.family=a").expression == Refers(
        "subject", ("Patient",), ask("Patient", "family=a").expression
    )


def test_the_type_of_a_chain_may_be_said(ask):
    assert ask("ImagingStudy", "subject:Patient.gender=male").expression == Refers(
        "subject", ("Patient",), ask("Patient", "gender=male").expression
    )


@pytest.mark.parametrize(
    ("type_", "asked", "inner"),
    [
        ("ImagingStudy", "patient.birthdate=ge2000-01-01", ("Patient", "birthdate=ge2000-01-01")),
        ("ImagingStudy", "patient.birthdate:missing=true", ("Patient", "birthdate:missing=true")),
        ("ImagingStudy", "patient.gender:not=male", ("Patient", "gender:not=male")),
        ("ImagingStudy", "patient.name:contains=nn", ("Patient", "name:contains=nn")),
    ],
)
def test_modifiers_and_prefixes_stand_at_the_end_of_a_chain(ask, type_, asked, inner):
    assert ask(type_, asked).expression == Refers("patient", ("Patient",), ask(*inner).expression)


def test_has_is_asked_of_what_refers_to_the_type_searched(ask):
    assert ask("Patient", "_has:Observation:patient:code=a").expression == ReferredBy(
        "Observation", "patient", "Patient", ask("Observation", "code=a").expression
    )


def test_chains_and_has_follow_each_other(ask):
    nested = ask("ImagingStudy", "patient._has:Observation:patient:encounter.status=planned").expression
    assert nested == Refers(
        "patient",
        ("Patient",),
        ReferredBy(
            "Observation",
            "patient",
            "Patient",
            Refers("encounter", ("Encounter",), ask("Encounter", "status=planned").expression),
        ),
    )
    assert list(followed(nested)) == [("Patient",), ("Observation",), ("Encounter",)]


def test_a_list_is_asked_for_its_entries(ask):
    assert ask("Patient", "_list=42").expression == ask("Patient", "_has:List:item:_id=42").expression


@pytest.mark.parametrize(
    ("type_", "asked", "code"),
    [
        ("Patient", "gender.name=a", "invalid"),
        ("Patient", "nosuch.name=a", "invalid"),
        ("Patient", "organization.nosuch=a", "invalid"),
        ("Patient", "organization.=a", "invalid"),
        ("Patient", ".name=a", "invalid"),
        ("ImagingStudy", "subject:Nosuch.name=a", "invalid"),
        ("ImagingStudy", "subject:Organization.name=a", "invalid"),
        ("ImagingStudy", "patient.gender:exact=a", "not-supported"),
        ("Patient", "_has:Observation:patient=a", "invalid"),
        ("Patient", "_has:Nosuch:patient:code=a", "invalid"),
        ("Patient", "_has:Observation:code:code=a", "invalid"),
        ("Patient", "_has:Observation:encounter:code=a", "invalid"),
        ("Provenance", "target:Binary._id=a", "not-supported"),
        ("Patient", "_list=$current-problems", "not-supported"),
        ("Provenance", "target._id=a", "too-costly"),
        ("Patient", "link." * (MOST_LINKS + 1) + "gender=male", "too-costly"),
    ],
)
def test_what_leads_nowhere_is_refused(refusal, type_, asked, code):
    assert refusal(type_, asked).code == code


def test_leniency_passes_over_an_unknown_parameter_at_the_end_of_a_chain(ask, refusal):
    assert ask("Patient", "organization.nosuch=a", handling="lenient").ignored
    assert refusal("ImagingStudy", "subject:Nosuch.name=a", handling="lenient").code == "invalid"


def test_evaluation_follows_references_in_the_world(ask, written):
    ada = written({"resourceType": "Patient", "id": "ada", "gender": "female"})
    study = written({"resourceType": "ImagingStudy", "id": "s", "subject": {"reference": "Patient/ada"}})
    world = {"Patient/ada": ada, "ImagingStudy/s": study}

    assert evaluate(ask("ImagingStudy", "patient.gender=female").expression, study, world)
    assert not evaluate(ask("ImagingStudy", "patient.gender=male").expression, study, world)
    assert not evaluate(ask("ImagingStudy", "patient.gender=female").expression, study)
    assert evaluate(ask("Patient", "_has:ImagingStudy:patient:_id=s").expression, ada, world)
    assert not evaluate(ask("Patient", "_has:ImagingStudy:patient:_id=t").expression, ada, world)


def test_what_is_followed_is_replaced_from_the_inside():
    asked = []

    def answer(node):
        asked.append(node)
        return Equals("answered")

    inner = ReferredBy("Observation", "patient", "Patient", Equals("a"))
    assert replaced(Not(Refers("patient", ("Patient",), inner)), answer) == Not(Equals("answered"))
    assert asked == [inner, Refers("patient", ("Patient",), Equals("answered"))]
