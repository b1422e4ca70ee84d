"""`_summary` and `_elements` take away, mark what they took from, and change no digit."""

from __future__ import annotations

import json

import pytest

from fhirserver.rest.subset import subset

PATIENT = json.dumps(
    {
        "resourceType": "Patient",
        "id": "p",
        "meta": {"versionId": "1", "tag": [{"code": "kept"}]},
        "text": {"status": "generated", "div": "<div/>"},
        "name": [{"family": "Martin"}],
        "birthDate": "1980",
        "_birthDate": {"extension": [{"url": "u", "valueCode": "x"}]},
        "maritalStatus": {"text": "x"},
        "link": [{"other": {"reference": "Patient/q"}, "type": "refer"}],
        "contact": [{"gender": "male"}],
    }
).encode()


def names(summary=None, elements=(), body=PATIENT, type_="Patient"):
    return set(json.loads(subset(body, type_, summary, elements))) - {"resourceType", "id", "meta"}


def test_without_a_wish_the_bytes_are_the_bytes():
    assert subset(PATIENT, "Patient", None, ()) is PATIENT
    assert subset(PATIENT, "Patient", "false", ()) is PATIENT


def test_the_summary_holds_what_the_standard_marks_as_summary():
    assert names("true") == {"name", "birthDate", "_birthDate", "link"}


def test_the_data_are_all_but_the_text():
    assert names("data") == {"name", "birthDate", "_birthDate", "maritalStatus", "link", "contact"}


def test_the_text_comes_with_the_mandatory_elements_only():
    assert names("text") == {"text"}
    study = b'{"resourceType":"ImagingStudy","status":"available","subject":{},"text":{},"started":"2020"}'
    assert names("text", body=study, type_="ImagingStudy") == {"text", "status", "subject"}


@pytest.mark.parametrize("element", ["birthDate", "Patient.birthDate"])
def test_elements_bring_the_extensions_of_what_was_named(element):
    assert names(elements=(element,)) == {"birthDate", "_birthDate"}


def test_mandatory_elements_come_unasked():
    study = b'{"resourceType":"ImagingStudy","status":"available","subject":{},"started":"2020"}'
    assert names(elements=("started",), body=study, type_="ImagingStudy") == {"started", "status", "subject"}


def test_what_lies_deeper_is_summarised_too():
    study = json.dumps(
        {
            "resourceType": "ImagingStudy",
            "status": "available",
            "series": [{"uid": "1", "modality": {"code": "CT"}, "performer": [{}], "instance": [{"uid": "2"}]}],
        }
    ).encode()
    [series] = json.loads(subset(study, "ImagingStudy", "true", ()))["series"]
    assert set(series) == {"uid", "modality", "performer"}


def test_a_part_says_that_it_is_one_and_keeps_its_tags():
    meta = json.loads(subset(PATIENT, "Patient", "true", ()))["meta"]
    assert [tag["code"] for tag in meta["tag"]] == ["kept", "SUBSETTED"]
    assert meta["versionId"] == "1"


def test_digits_are_kept():
    body = b'{"resourceType":"Observation","status":"final","code":{},"valueQuantity":{"value":1.50}}'
    assert b'"value":1.50' in subset(body, "Observation", "true", ())
