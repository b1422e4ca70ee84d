"""Reference parameters: by id, by type and id, by URL, by identifier."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st


def observation(subject):
    return {"resourceType": "Observation", "id": "o", "subject": subject}


def about(reference):
    return observation({"reference": reference})


HERE = "https://here.example/fhir"


@pytest.mark.parametrize(
    ("asked", "stored", "expected"),
    [
        ("subject=p", "Patient/p", True),
        ("subject=p", "Group/p", True),
        ("subject=p", "Practitioner/p", False),
        ("subject=Patient/p", "Patient/p", True),
        ("subject=Patient/p", "Group/p", False),
        ("subject:Patient=p", "Patient/p", True),
        ("subject:Patient=Patient/p", "Patient/p", True),
        ("subject:Group=p", "Patient/p", False),
        ("patient=p", "Patient/p", True),
        ("patient=Patient/p", "Group/p", False),
        (f"subject={HERE}/Patient/p", "Patient/p", True),
        ("subject=Patient/p", f"{HERE}/Patient/p", True),
        ("subject=Patient/p", "https://elsewhere.example/fhir/Patient/p", False),
        ("subject=https://elsewhere.example/fhir/Patient/p", "https://elsewhere.example/fhir/Patient/p", True),
        ("subject=Patient/p", "Patient/p/_history/3", True),
        ("subject=Patient/p/_history/3", "Patient/p/_history/3", True),
        ("subject=Patient/p/_history/3", "Patient/p/_history/4", False),
        ("subject=urn:uuid:2f4b", "urn:uuid:2f4b", True),
    ],
)
def test_a_reference_matches_by_type_and_id(matches, asked, stored, expected):
    assert matches(about(stored), asked) is expected


def test_a_server_whose_base_begins_like_ours_is_another_server(matches):
    assert not matches(about("https://here.example/fhirPatient/p"), "subject=Patient/p")
    assert not matches(about("https://here.example/fhir-test/Patient/p"), "subject=Patient/p")


def test_an_identifier_in_a_reference_is_searched_as_a_token(matches):
    resource = observation({"identifier": {"system": "urn:ins", "value": "1"}})
    assert matches(resource, "subject:identifier=urn:ins|1")
    assert matches(resource, "subject:identifier=1")
    assert not matches(resource, "subject:identifier=urn:other|1")
    assert not matches(about("Patient/1"), "subject:identifier=1")


def test_a_reference_that_cannot_be_compared_is_still_present(matches):
    for subject in ({"reference": "#inside"}, {"display": "Someone"}, {"identifier": {"value": "1"}}):
        assert matches(observation(subject), "subject:missing=false"), subject
        assert not matches(observation(subject), "subject=inside"), subject
    assert matches({"resourceType": "Observation"}, "subject:missing=true")


def test_a_canonical_is_found_with_and_without_its_version(matches):
    measure = {"resourceType": "MeasureReport", "measure": "http://example.org/Measure/m|1.0"}
    assert matches(measure, "measure=http://example.org/Measure/m")
    assert matches(measure, "measure=http://example.org/Measure/m|1.0")
    assert not matches(measure, "measure=http://example.org/Measure/m|2.0")


@pytest.mark.parametrize("wrong", ["Nobody/p", "a b", "Patient/", "x" * 65])
def test_what_is_no_reference_is_refused_by_name(refusal, wrong):
    error = refusal("Observation", f"subject={wrong}")
    assert (error.status, error.code, error.expression) == (400, "invalid", "subject")


def test_a_type_to_which_the_parameter_cannot_refer_is_refused(refusal):
    assert refusal("Observation", "subject:Practitioner=p").code == "invalid"
    assert refusal("Observation", "subject:Nonsense=p").code == "not-supported"
    assert refusal("Observation", "subject:Patient=Group/p").code == "invalid"


TYPES = st.sampled_from(["Patient", "Group", "Device"])
IDS = st.text(alphabet="ab-.", min_size=1, max_size=3)


@given(references=st.lists(st.tuples(TYPES, IDS), max_size=3), asked=st.tuples(TYPES, IDS))
def test_references_compare_by_type_and_id(matches, references, asked):
    resource = {
        "resourceType": "AuditEvent",
        "entity": [{"what": {"reference": f"{kind}/{name}"}} for kind, name in references],
    }
    kind, name = asked
    assert matches(resource, f"entity={kind}/{name}") is (asked in references)
    assert matches(resource, f"entity:{kind}={name}") is (asked in references)
    assert matches(resource, f"entity={name}") is any(found == name for _, found in references)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("measure:below=http://example.org/Measure/m", True),
        ("measure:below=http://example.org/Measure/m|1", True),
        ("measure:below=http://example.org/Measure/m|1.0", True),
        ("measure:below=http://example.org/Measure/m|1.0.2", False),
        ("measure:below=http://example.org/Measure/m|10", False),
        ("measure:below=http://example.org/Measure/other", False),
    ],
)
def test_below_a_canonical_are_its_versions(matches, asked, expected):
    assert matches({"resourceType": "MeasureReport", "measure": "http://example.org/Measure/m|1.0"}, asked) is expected


@pytest.mark.parametrize(
    "asked",
    [
        "measure:above=http://example.org/Measure/m|1",
        "subject:below=Patient/p",
        "encounter:below=e",
        "subject:above=Group/g",
    ],
)
def test_a_hierarchy_that_is_none_or_cannot_be_asked_is_refused(refusal, asked):
    resource_type = "MeasureReport" if asked.startswith("measure") else "Observation"
    assert refusal(resource_type, asked).code == "not-supported"


def test_it_is_kept_whether_the_present_version_is_referred_to_beside_another(written):
    def members(*references):
        resource = {"resourceType": "Observation", "hasMember": [{"reference": one} for one in references]}
        return [atom for atom in written(resource).tk if atom.startswith("has-member")]

    plain, version = "Observation/a", "Observation/a/_history/1"
    named = ["has-member\x1fObservation/a", f"has-member\x1f{version}"]
    assert members(version) == named
    assert members(plain, "Observation/b") == [named[0], "has-member\x1fObservation/b"]
    assert members(plain, version) == members(version, plain) == [*named, "has-member:unversioned\x1fObservation/a"]
