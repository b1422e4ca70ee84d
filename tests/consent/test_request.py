"""Scopes as SMART writes them, and requests that cannot be."""

from __future__ import annotations

from datetime import datetime

import pytest

from consent.request import Actor, Request, Scope, parse_scopes
from consent.scopes import context_patients


@pytest.mark.parametrize(
    ("text", "context", "resource_type", "letters"),
    [
        ("patient/ImagingStudy.rs", "patient", "ImagingStudy", "rs"),
        ("user/*.cruds", "user", "*", "cruds"),
        ("system/Patient.c", "system", "Patient", "c"),
        ("user/Patient.read", "user", "Patient", "rs"),
        ("user/Patient.write", "user", "Patient", "cud"),
        ("user/Patient.*", "user", "Patient", "cruds"),
    ],
)
def test_both_versions_of_scopes_are_read(text: str, context: str, resource_type: str, letters: str):
    assert parse_scopes(text) == (Scope(context, resource_type, frozenset(letters)),)


@pytest.mark.parametrize(
    "text",
    [
        "openid fhirUser launch/patient offline_access",
        "patient/Patient.sr",
        "patient/Patient.rr",
        "patient/Patient.",
        "patient/Patient",
        "patient/Patient.x",
        "patient/Patient.readwrite",
        "group/Patient.rs",
        "Patient/Patient.rs",
        "patient/patient.rs",
        "patient/Pati ent.rs",
        "patient/Patient.read?x=1",
        "",
    ],
)
def test_what_is_not_a_well_formed_scope_grants_nothing(text: str):
    assert parse_scopes(text) == ()


def test_a_scope_said_twice_is_one_scope():
    assert len(parse_scopes("user/Patient.rs  user/Patient.rs\nuser/Patient.read")) == 1


def test_a_scope_with_a_search_constraint_covers_nothing():
    (scope,) = parse_scopes("user/Observation.rs?category=laboratory")
    assert scope.parameters == "category=laboratory"
    assert not scope.covers("read", "Observation")


def test_a_scope_covers_its_letters_for_its_type_only():
    (scope,) = parse_scopes("user/Patient.rs")
    assert scope.covers("read", "Patient")
    assert scope.covers("vread", "Patient")
    assert scope.covers("history", "Patient")
    assert scope.covers("search", "Patient")
    assert not scope.covers("update", "Patient")
    assert not scope.covers("read", "Observation")
    assert not scope.covers("anything-else", "Patient")


def test_a_request_needs_an_instant_with_a_time_zone():
    with pytest.raises(ValueError, match="time zone"):
        Request("read", "TREAT", datetime(2026, 11, 24))  # noqa: DTZ001 - the mistake under test


def test_a_user_scope_beside_a_patient_scope_is_not_limited_to_a_patient():
    actor = Actor("professional", "Practitioner/d", scopes=parse_scopes("patient/*.rs user/Patient.rs"))
    assert context_patients(actor, "read", "Patient") is None
    assert context_patients(actor, "read", "ImagingStudy") == frozenset()


def test_equal_actors_are_one_and_their_display_does_not_matter():
    first = Actor("patient", "Patient/p", patients=frozenset({"Patient/p"}), display="P")
    second = Actor("patient", "Patient/p", patients=frozenset({"Patient/p"}), display="Q")
    assert first == second
    assert hash(first) == hash(second)
    assert first != Actor("patient", "Patient/p")
