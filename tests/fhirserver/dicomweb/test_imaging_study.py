"""ImagingStudy from headers: what the images say follows the store, what a client said stays."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.dicomweb.attributes import tag
from fhirserver.dicomweb.dicom_json import element, encode
from fhirserver.dicomweb.imaging_study import Instance, Study, id_of, imaging_study, started
from resources.validation import check

PARIS = ZoneInfo("Europe/Paris")
CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"


def header(**values: Any) -> dict[str, Any]:
    """A header in the DICOM JSON model; sequences are given as lists of headers."""
    return {
        tag(name): element("LO", *(value if isinstance(value, list) else [value])) for name, value in values.items()
    }


def study(attributes: dict[str, Any] | None = None, **series: dict[str, Any]) -> Study:
    """A study of two CT images and an MR image, in whatever order they came."""
    instances = [
        Instance("1.2.30", MR, "1.2.3", 1),
        Instance("1.2.21", CT, "1.2.2", 2),
        Instance("1.2.20", CT, "1.2.2", 1),
    ]
    headers = {"1.2.2": header(Modality="CT", SeriesNumber=1), "1.2.3": header(Modality="MR", SeriesNumber=2)}
    return Study("1.2.1", attributes or {}, headers | series, instances)


def made(study: Study, announced: dict[str, Any] | None = None) -> dict[str, Any]:
    """The resource, which must pass the gate."""
    resource = imaging_study(study, "Patient/p", PARIS, endpoint="Endpoint/e", announced=announced)
    check("ImagingStudy", encode(resource))
    return resource


def test_series_and_instances_are_in_order_and_counted_from_the_store():
    resource = made(study())
    assert [one["uid"] for one in resource["series"]] == ["1.2.2", "1.2.3"]
    assert [one["uid"] for one in resource["series"][0]["instance"]] == ["1.2.20", "1.2.21"]
    assert (resource["numberOfSeries"], resource["numberOfInstances"]) == (2, 3)
    assert [one["numberOfInstances"] for one in resource["series"]] == [2, 1]


def test_the_study_is_identified_by_its_uid_first():
    resource = made(study(header(AccessionNumber="A1")))
    assert resource["identifier"][0] == {"system": "urn:dicom:uid", "value": "urn:oid:1.2.1"}
    assert resource["identifier"][1]["value"] == "A1"
    assert resource["identifier"][1]["type"]["coding"][0]["code"] == "ACSN"
    assert "system" not in resource["identifier"][1]


def test_an_accession_number_has_the_system_of_its_issuer():
    issuer = header(UniversalEntityID="1.2.250.1.99", UniversalEntityIDType="ISO")
    resource = made(study(header(AccessionNumber="A1", IssuerOfAccessionNumberSequence=[issuer])))
    assert resource["identifier"][1]["system"] == "urn:oid:1.2.250.1.99"
    named = made(
        study(header(AccessionNumber="A1", IssuerOfAccessionNumberSequence=[header(LocalNamespaceEntityID="RIS")]))
    )
    assert named["identifier"][1]["assigner"] == {"display": "RIS"}


def test_instance_uids_are_plain_and_classes_are_oids():
    (one, *_) = made(study())["series"][0]["instance"]
    assert one == {"uid": "1.2.20", "sopClass": {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{CT}"}, "number": 1}


def test_a_negative_instance_number_is_left_out():
    headers = {"1.2.2": header(Modality="CT", SeriesNumber=-1)}
    resource = made(Study("1.2.1", {}, headers, [Instance("1.2.20", CT, "1.2.2", -5)]))
    assert "number" not in resource["series"][0]
    assert "number" not in resource["series"][0]["instance"][0]


@pytest.mark.parametrize(
    ("date", "time", "offset", "expected"),
    [
        ("20261124", "101530", "+0200", "2026-11-24T10:15:30+02:00"),
        ("20261124", "101530.25", "-0330", "2026-11-24T10:15:30-03:30"),
        ("20261124", "101530", "", "2026-11-24T10:15:30+01:00"),
        ("20260724", "101530", "", "2026-07-24T10:15:30+02:00"),
        ("20261124", "1015", "+0000", "2026-11-24T10:15:00+00:00"),
        ("20261124", "", "+0200", "2026-11-24"),
        ("2026.11.24", "", "", "2026-11-24"),
        ("20261124", "995959", "", "2026-11-24"),
        ("20261124", "101530", "+9999", "2026-11-24T10:15:30+01:00"),
        ("20261124", "235960", "+0000", "2026-11-24T23:59:59+00:00"),
    ],
)
def test_the_start_has_the_offset_of_the_header_or_of_the_zone(date: str, time: str, offset: str, expected: str):
    assert started(date, time, offset, PARIS)["started"] == expected


def test_an_assumed_zone_is_said():
    assumed = started("20261124", "101530", "", PARIS)
    assert assumed["_started"]["extension"][0]["valueCode"] == "Europe/Paris"
    assert "_started" not in started("20261124", "101530", "+0100", PARIS)
    assert "_started" not in started("20261124", "", "", PARIS)
    made(study(header(StudyDate="20261124", StudyTime="101530")))


@pytest.mark.parametrize("date", ["", "2026", "20261332", "tomorrow"])
def test_what_is_no_date_gives_no_start(date: str):
    assert started(date, "101530", "", PARIS) == {}


def test_persons_are_named_and_not_referred_to():
    physician = {"Alphabetic": "Durand^Zoé^^Dr"}
    resource = made(study(header(ReferringPhysicianName=physician, NameOfPhysiciansReadingStudy=[physician])))
    assert resource["referrer"] == {"display": "Dr Zoé Durand"}
    assert resource["interpreter"] == [{"display": "Dr Zoé Durand"}]


def test_procedure_codes_have_the_system_of_their_scheme():
    codes = [
        header(CodeValue="24627-2", CodingSchemeDesignator="LN", CodeMeaning="Chest CT"),
        header(CodeValue="X", CodingSchemeDesignator="99LOCAL", CodingSchemeUID="1.2.9"),
        header(CodeValue="Y", CodingSchemeDesignator="99OTHER"),
    ]
    resource = made(study(header(ProcedureCodeSequence=codes)))
    assert [one["coding"][0].get("system") for one in resource["procedureCode"]] == [
        "http://loinc.org",
        "urn:oid:1.2.9",
        None,
    ]


def test_what_a_client_said_stays_and_what_the_images_say_follows_the_store():
    announced = {
        "resourceType": "ImagingStudy",
        "id": "x",
        "meta": {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}]},
        "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:1.2.1"}, {"system": "urn:x", "value": "A1"}],
        "status": "registered",
        "subject": {"reference": "Patient/p"},
        "started": "2026-11-24T09:00:00+01:00",
        "description": "As reported",
        "endpoint": [{"reference": "Endpoint/theirs"}],
        "numberOfInstances": 99,
        "series": [
            {"uid": "1.2.2", "modality": {"code": "US"}, "bodySite": {"code": "1"}},
            {"uid": "9", "modality": {}},
        ],
    }
    headers = header(AccessionNumber="A1", StudyDescription="CT", StudyDate="20261124", StudyTime="101530")
    resource = made(study(headers), announced)
    assert resource["meta"] == announced["meta"]
    assert (resource["description"], resource["started"]) == ("As reported", "2026-11-24T09:00:00+01:00")
    assert "_started" not in resource
    assert resource["endpoint"] == [{"reference": "Endpoint/theirs"}]
    assert (resource["status"], resource["numberOfInstances"]) == ("available", 3)
    assert resource["identifier"] == announced["identifier"]
    assert [one["uid"] for one in resource["series"]] == ["1.2.2", "1.2.3"]
    assert resource["series"][0]["bodySite"] == {"code": "1"}
    assert resource["series"][0]["modality"]["code"] == "CT"


def test_computing_again_changes_nothing():
    headers = header(
        AccessionNumber="A1", StudyDate="20261124", StudyTime="101530", ReferringPhysicianName={"Alphabetic": "A^B"}
    )
    once = made(study(headers))
    assert made(study(headers), once) == once


def test_the_id_is_the_same_for_all_who_send_a_part():
    assert id_of("1.2.1") == id_of("1.2.1") != id_of("1.2.2")
    assert len(id_of("1.2.1")) == 32


_HEADER_TEXT = st.text(st.characters(codec="utf-8"), max_size=12)


@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ("StudyDate", "StudyTime", "TimezoneOffsetFromUTC", "AccessionNumber", "StudyDescription"), _HEADER_TEXT
        )
        | {"ReferringPhysicianName": st.fixed_dictionaries({"Alphabetic": _HEADER_TEXT})},
    ),
    st.dictionaries(
        st.sampled_from(["CodeValue", "CodingSchemeDesignator", "CodingSchemeUID", "CodeMeaning"]), _HEADER_TEXT
    ),
    st.dictionaries(
        st.sampled_from(["SeriesNumber", "SeriesDescription", "BodyPartExamined", "SeriesDate", "Modality"]),
        _HEADER_TEXT,
    ),
    st.dictionaries(st.sampled_from(["UniversalEntityID", "UniversalEntityIDType"]), _HEADER_TEXT),
)
def test_whatever_a_header_says_makes_a_valid_resource(
    attributes: dict[str, Any], code: dict[str, str], series: dict[str, str], issuer: dict[str, str]
):
    sequences = {"ProcedureCodeSequence": [header(**code)], "IssuerOfAccessionNumberSequence": [header(**issuer)]}
    made(study(header(**attributes, **sequences), **{"1.2.2": header(**series)}))
