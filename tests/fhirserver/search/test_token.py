"""Token parameters: code, system and code, code without system, any code of a system."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

LOINC = "http://loinc.org"


def report(*codings, **code):
    concept = {"coding": list(codings), **code}
    return {"resourceType": "DiagnosticReport", "id": "r", "status": "final", "code": concept}


CT = {"system": LOINC, "code": "18748-4", "display": "Diagnostic imaging study"}
LOCAL = {"code": "18748-4"}


@pytest.mark.parametrize(
    ("asked", "resource", "expected"),
    [
        ("18748-4", report(CT), True),
        ("18748-4", report(LOCAL), True),
        ("18748", report(CT), False),
        (f"{LOINC}|18748-4", report(CT), True),
        (f"{LOINC}|18748-4", report(LOCAL), False),
        ("|18748-4", report(LOCAL), True),
        ("|18748-4", report(CT), False),
        (f"{LOINC}|", report(CT), True),
        (f"{LOINC}|", report(LOCAL), False),
        ("http://loinc|", report(CT), False),
        (f"x,{LOINC}|18748-4", report(CT), True),
    ],
)
def test_a_token_matches_by_code_and_system(matches, asked, resource, expected):
    assert matches(resource, f"code={asked}") is expected


def test_not_finds_also_what_has_no_value_at_all(matches):
    assert matches({"resourceType": "Patient"}, "gender:not=male")
    assert matches({"resourceType": "Patient", "gender": "female"}, "gender:not=male")
    assert not matches({"resourceType": "Patient", "gender": "male"}, "gender:not=male")


def test_not_denies_every_value_of_the_list(matches):
    assert not matches({"resourceType": "Patient", "gender": "female"}, "gender:not=male,female")


def test_text_is_searched_as_a_string_in_text_and_display(matches):
    resource = report(CT, text="Imagerie médicale")
    assert matches(resource, "code:text=imagerie MED")
    assert matches(resource, "code:text=diagnostic imaging")
    assert not matches(resource, "code:text=18748-4")


def test_an_identifier_is_found_by_its_type(matches):
    v2 = "http://terminology.hl7.org/CodeSystem/v2-0203"
    kind = {"coding": [{"system": v2, "code": "MR"}], "text": "Dossier"}
    resource = {"resourceType": "Patient", "identifier": [{"type": kind, "system": "urn:x", "value": "446053"}]}
    assert matches(resource, f"identifier:of-type={v2}|MR|446053")
    assert not matches(resource, f"identifier:of-type={v2}|SS|446053")
    assert matches(resource, "identifier:text=dossier")
    assert matches(resource, "identifier=urn:x|446053")


def test_codes_booleans_and_uids_have_no_system(matches):
    assert matches({"resourceType": "Patient", "active": True}, "active=true")
    assert not matches({"resourceType": "Patient", "active": False}, "active=true")
    study = {"resourceType": "ImagingStudy", "status": "available", "series": [{"uid": "1.2.3"}]}
    assert matches(study, "series=1.2.3&status=available&status=|available")


def test_a_code_may_be_asked_with_the_system_that_its_value_set_implies(matches):
    resource = {"resourceType": "Patient", "gender": "male", "communication": [{"language": {"text": "x"}}]}
    assert matches(resource, "gender=http://hl7.org/fhir/administrative-gender|male")
    assert not matches(resource, "gender=http://hl7.org/fhir/administrative-gender|female")
    assert not matches(resource, "gender=http://example.org/genders|male")


def test_codes_and_ids_mind_case(matches):
    assert not matches(report({"system": "urn:x", "code": "Mg"}), "code=urn:x|mg")
    assert not matches({"resourceType": "Patient", "id": "Ab"}, "_id=ab")
    assert matches({"resourceType": "Patient", "id": "Ab"}, "_id=Ab")


def test_strings_and_contact_points_do_not_mind_case(matches):
    contacts = [{"system": "email", "value": "Anne@Example.org"}, {"system": "phone", "value": "+33 6 12-34"}]
    resource = {"resourceType": "Patient", "telecom": contacts}
    assert matches(resource, "email=anne@example.ORG")
    assert matches(resource, "phone=+3361234")
    assert matches(resource, "telecom=+33 61234")
    assert not matches(resource, "phone=61234")


def test_a_bar_inside_a_code_is_not_the_bar_between_system_and_code(matches):
    assert matches(report({"system": "a", "code": "b|c"}), r"code=a|b\|c")
    assert not matches(report({"system": "a", "code": "b|c"}), r"code=a\|b|c")
    assert not matches(report({"system": "urn:x", "code": "a|b"}), "code=a|b")


def test_security_labels_tags_and_profiles_are_searched_in_meta(matches):
    meta = {
        "security": [{"system": "urn:c", "code": "R"}],
        "tag": [{"system": "urn:t", "code": "demo"}],
        "profile": ["http://example.org/p|1.0"],
        "source": "urn:source",
    }
    resource = {"resourceType": "Patient", "meta": meta}
    for asked in ("_security=urn:c|R", "_tag=demo", "_profile=http://example.org/p", "_source=urn:source"):
        assert matches(resource, asked), asked


def test_missing_asks_whether_there_is_any_value(matches):
    text_only = report(text="Imagerie")
    assert matches(text_only, "code:missing=false")
    assert matches(text_only, "category:missing=true")
    assert not matches(text_only, "category:missing=false")


def test_a_value_without_content_is_missing(matches):
    only_extended = {"resourceType": "Patient", "_gender": {"extension": [{"url": "urn:u", "valueCode": "unknown"}]}}
    assert matches(only_extended, "gender:missing=true")


@pytest.mark.parametrize("wrong", ["|", "a|b|c"])
def test_any_other_form_is_refused_by_name(refusal, wrong):
    error = refusal("DiagnosticReport", f"code={wrong}")
    assert (error.status, error.code, error.expression) == (400, "invalid", "code")


def test_of_type_without_all_three_parts_is_refused(refusal):
    assert refusal("Patient", "identifier:of-type=urn:x|MR").code == "invalid"


PART = st.text(alphabet="ab|\\", min_size=1, max_size=3)
CODINGS = st.lists(st.tuples(st.none() | PART, PART), max_size=3)


def escaped(text):
    return "".join("\\" + letter if letter in "|\\,$" else letter for letter in text)


@given(codings=CODINGS, system=PART, code=PART)
def test_tokens_compare_as_written(matches, codings, system, code):
    resource = report(*({"code": c} if s is None else {"system": s, "code": c} for s, c in codings))
    asked_system, asked_code = escaped(system), escaped(code)
    assert matches(resource, f"code={asked_code}") is any(c == code for _, c in codings)
    assert matches(resource, f"code={asked_system}|{asked_code}") is ((system, code) in codings)
    assert matches(resource, f"code=|{asked_code}") is ((None, code) in codings)
    assert matches(resource, f"code={asked_system}|") is any(s == system for s, _ in codings)
    assert matches(resource, f"code:not={asked_code}") is all(c != code for _, c in codings)


@pytest.mark.parametrize(
    ("asked", "stored", "expected"),
    [
        ("contenttype:below=text/xml", "text/xml", True),
        ("contenttype:below=text/xml", "text/xml; charset=UTF-8", True),
        ("contenttype:below=text/xml", "text/xml;charset=UTF-8", True),
        ("contenttype:below=text/xml", "text/xml-patch", False),
        ("contenttype:below=image", "image/png", True),
        ("contenttype:below=urn:ietf:bcp:13|image/png", "image/png", True),
        ("contenttype:below=image", "imaging/png", False),
        ("contenttype:below=application/dicom", "application/dicom+json", False),
    ],
)
def test_below_a_media_type_is_what_it_covers(matches, asked, stored, expected):
    document = {"resourceType": "DocumentReference", "content": [{"attachment": {"contentType": stored}}]}
    assert matches(document, asked) is expected


def test_what_is_above_a_media_type_is_refused(refusal):
    assert refusal("DocumentReference", "contenttype:above=text/xml").code == "not-supported"
    assert refusal("DocumentReference", "contenttype:below=IMAGE PNG").code == "not-supported"
