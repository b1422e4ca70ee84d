"""QIDO-RS: studies, series and instances by their attributes, exactly those whose ImagingStudy is readable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydicom.uid import generate_uid

from tests.fhirserver.dicomweb.conftest import Caller, Person, instance

STUDY, SERIES, INSTANCE = "0020000D", "0020000E", "00080018"


def uids(response: Any, tag: str = STUDY) -> list[str]:
    """The UIDs of an answer's results."""
    assert response.status_code == 200, response.text
    assert response.content_type == "application/dicom+json"
    return [result[tag]["Value"][0] for result in response.json]


@pytest.fixture
def study(his: Caller, patient: Person) -> str:
    """A study of this patient: a CT series of two images, and an MR series of one."""
    uid, series = generate_uid(), generate_uid()
    common = {
        "StudyInstanceUID": uid,
        "StudyDate": "20260310",
        "StudyTime": "091500",
        "AccessionNumber": f"ACC{patient.number}",
        "StudyID": "S1",
        "StudyDescription": "Thorax",
        "ReferringPhysicianName": "Référent^Zoé",
        "SpecificCharacterSet": "ISO_IR 192",
    }
    ct = {"SeriesInstanceUID": series, "SeriesNumber": 3, "SeriesDescription": "Lung"}
    files = [
        instance(patient, **common, **ct, InstanceNumber=1),
        instance(patient, **common, **ct, InstanceNumber=2),
        instance(patient, **common, file="MR_small.dcm", SeriesNumber=7, InstanceNumber=1),
    ]
    assert his.store(*files).status_code == 200
    return uid


def find(caller: Caller, patient: Person, query: str = "", path: str = "/studies") -> Any:
    """Search among this patient's studies only, as the store is shared by the tests of this module."""
    return caller.get(f"{path}?PatientID={patient.number}&{query}")


def test_a_study_is_found_with_its_attributes(doctor: Caller, patient: Person, study: str):
    (result,) = find(doctor, patient).json
    assert result[STUDY]["Value"] == [study]
    assert result["00080061"] == {"vr": "CS", "Value": ["CT", "MR"]}
    assert (result["00201206"]["Value"], result["00201208"]["Value"]) == ([2], [3])
    assert result["00100010"]["Value"] == [{"Alphabetic": "Martin^Ada"}]
    assert result["00081190"]["Value"] == [f"http://fhir.example/dicomweb/studies/{study}"]
    assert result["00080056"]["Value"] == ["ONLINE"]


@pytest.mark.parametrize(
    "query",
    [
        "StudyDate=20260310",
        "00080020=20260310",
        "StudyDate=20260301-20260331",
        "StudyDate=20260310-",
        "StudyDate=-20260310",
        "StudyTime=0915",
        "StudyTime=09-10",
        "StudyTime=091500-091500",
        "ModalitiesInStudy=MR",
        "ModalitiesInStudy=US,CT",
        "PatientName=martin^ada",
        "PatientName=MARTIN*",
        "PatientName=*ada",
        "PatientName=mart?n^ada",
        "ReferringPhysicianName=referent^zoe",
        "StudyID=S1",
        "StudyDescription=Tho*",
        "StudyDescription=",
        "PatientName=*",
    ],
)
def test_a_study_is_found_by(doctor: Caller, patient: Person, study: str, query: str):
    assert uids(find(doctor, patient, query)) == [study]


@pytest.mark.parametrize(
    "query",
    [
        "StudyDate=20260311",
        "StudyDate=20260311-",
        "StudyDate=-20260309",
        "StudyTime=0916",
        "ModalitiesInStudy=US",
        "PatientName=ada*",
        "StudyID=s1",
        "AccessionNumber=other",
        "StudyInstanceUID=1.2.3",
    ],
)
def test_a_study_is_not_found_by(doctor: Caller, patient: Person, study: str, query: str):
    assert uids(find(doctor, patient, query)) == []


def test_studies_are_found_by_a_list_of_uids_and_by_accession_number(doctor: Caller, patient: Person, study: str):
    assert uids(doctor.get(f"/studies?StudyInstanceUID=1.2.3,{study}")) == [study]
    assert uids(doctor.get(f"/studies?StudyInstanceUID=1.2.3%5C{study}")) == [study]
    assert uids(doctor.get(f"/studies?AccessionNumber=ACC{patient.number}")) == [study]


def test_series_of_a_study_come_with_what_describes_them(doctor: Caller, study: str):
    results = doctor.get(f"/studies/{study}/series").json
    assert [(one["00080060"]["Value"][0], one["00201209"]["Value"][0]) for one in results] in (
        [("CT", 2), ("MR", 1)],
        [("MR", 1), ("CT", 2)],
    )
    assert all(one[STUDY]["Value"] == [study] and "00100010" not in one for one in results)


def test_series_are_found_by_their_attributes_across_studies(doctor: Caller, patient: Person, study: str):
    for query in ("Modality=CT", "SeriesNumber=3", "SeriesDescription=L*g"):
        (result,) = find(doctor, patient, query, "/series").json
        assert (result["00080060"]["Value"], result["00100020"]["Value"]) == (["CT"], [patient.number])
    assert find(doctor, patient, "Modality=US", "/series").json == []


def test_instances_are_found_at_every_place(doctor: Caller, patient: Person, study: str):
    everywhere = find(doctor, patient, "", "/instances")
    assert len(uids(everywhere, INSTANCE)) == 3
    assert len(doctor.get(f"/studies/{study}/instances").json) == 3
    uid = doctor.get(f"/studies/{study}/series?Modality=CT").json[0][SERIES]["Value"][0]
    results = doctor.get(f"/studies/{study}/series/{uid}/instances?InstanceNumber=2").json
    assert [one["00200013"]["Value"] for one in results] == [[2]]
    assert results[0]["00280010"]["Value"] == [128]
    sop = results[0][INSTANCE]["Value"][0]
    assert uids(doctor.get(f"/instances?SOPInstanceUID={sop}"), INSTANCE) == [sop]
    assert len(find(doctor, patient, "SOPClassUID=1.2.840.10008.5.1.4.1.1.4", "/instances").json) == 1


def test_includefield_adds_attributes_and_all_adds_those_offered(doctor: Caller, study: str):
    plain = doctor.get(f"/studies/{study}/series").json[0]
    more = doctor.get(f"/studies/{study}/series?includefield=Manufacturer&includefield=00081030").json[0]
    assert "00080070" not in plain
    assert more["00080070"]["vr"] == "LO"
    assert more["00081030"]["Value"] == ["Thorax"]
    everything = doctor.get(f"/studies/{study}/instances?includefield=all").json[0]
    assert "00180050" in everything
    assert "00180050" not in doctor.get(f"/studies/{study}/instances").json[0]


def test_pages_are_cut_by_limit_and_offset_and_say_that_there_is_more(his: Caller, doctor: Caller, patient: Person):
    all_uids = [generate_uid() for _ in range(3)]
    for number, uid in enumerate(all_uids):
        his.store(instance(patient, StudyInstanceUID=uid, StudyDate=f"2026010{number + 1}"))
    first, second = find(doctor, patient, "limit=2"), find(doctor, patient, "limit=2&offset=2")
    assert uids(first) + uids(second) == all_uids[::-1]
    assert "more results" in first.headers["Warning"]
    assert "Warning" not in second.headers
    assert uids(find(doctor, patient, "limit=0")) == []
    assert len(find(doctor, patient, "limit=2", "/series").json) == 2
    assert len(find(doctor, patient, "limit=2&offset=2", "/series").json) == 1


def test_a_study_is_on_qido_exactly_when_its_imaging_study_is_readable(
    doctor: Caller, stranger: Caller, his: Caller, other_his: Caller, caller: Callable[..., Caller],
    patient: Person, study: str,
):  # fmt: skip
    for who in (doctor, stranger, his, other_his, caller(patient.reference)):
        readable = who.fhir(f"ImagingStudy?identifier=urn:dicom:uid|urn:oid:{study}")["total"]
        assert len(find(who, patient).json) == readable
        assert len(who.get(f"/studies?StudyInstanceUID={study}").json) == readable
        assert bool(who.get(f"/studies/{study}/series").json) == bool(readable)
        assert bool(find(who, patient, "", "/instances").json) == bool(readable)
        assert (who.get(f"/studies/{study}/metadata").status_code == 200) == bool(readable)


def test_a_stranger_gets_the_same_answer_as_for_what_is_not_there(stranger: Caller, patient: Person, study: str):
    assert find(stranger, patient).data == stranger.get("/studies?PatientID=nobody").data == b"[]"
    assert stranger.get(f"/studies/{study}/series").data == stranger.get("/studies/1.2.3/series").data


def test_an_announced_study_without_images_is_not_on_qido(his: Caller, patient: Person):
    uid, series = generate_uid(), generate_uid()
    his.put(
        {
            "resourceType": "ImagingStudy",
            "id": uid.replace(".", "-")[:64],
            "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}],
            "status": "registered",
            "subject": {"reference": patient.reference},
            "series": [{"uid": series, "modality": {"code": "CT"}}],
        }
    )
    assert his.get(f"/studies?StudyInstanceUID={uid}").json == []
    assert his.get(f"/series?SeriesInstanceUID={series}").json == []


@pytest.mark.parametrize(
    "query",
    [
        "Nonsense=1",
        "PixelData=1",
        "Modality=CT",
        "SOPInstanceUID=1.2.3",
        "00000000=1",
        "StudyDate=yesterday",
        "StudyDate=20260101-20260201-20260301",
        "StudyInstanceUID=abc",
        "limit=-1",
        "limit=many",
        "offset=1.5",
        "fuzzymatching=perhaps",
        "includefield=Nonsense",
        "StudyID=1&StudyID=2",
        "PatientName.StudyID=1",
    ],
)
def test_what_is_not_understood_is_refused(doctor: Caller, query: str):
    response = doctor.get(f"/studies?{query}")
    assert response.status_code == 400
    assert response.headers["Warning"].startswith("299 ")


def test_fuzzy_matching_is_said_to_be_literal(doctor: Caller, patient: Person, study: str):
    response = find(doctor, patient, "fuzzymatching=true&PatientName=martin*")
    assert uids(response) == [study]
    assert "literal" in response.headers["Warning"]
    assert "Warning" not in find(doctor, patient, "fuzzymatching=false").headers


def test_xml_is_not_offered(doctor: Caller):
    assert doctor.get("/studies", Accept="application/dicom+xml").status_code == 406
    assert doctor.get("/studies?accept=application/json&limit=1").content_type == "application/json"


def test_nobody_searches_without_a_token_or_scope(doctor: Caller, caller: Callable[..., Caller]):
    assert doctor.http.get("/dicomweb/studies").status_code == 401
    narrow = caller("Practitioner/d", organization="Organization/e1", scope="user/Patient.rs")
    assert narrow.get("/studies").status_code == 403


def test_a_search_is_told_to_the_audit_of_each_patient_found(
    doctor: Caller, patient: Person, study: str, audit_of: Callable[[], list[dict[str, Any]]]
):
    before = len(audit_of())
    find(doctor, patient, "StudyDate=20260310")
    (event,) = audit_of()[before:]
    assert "110112" in str(event)
    assert patient.reference in str(event)


def test_an_unknown_address_is_told_as_text(doctor: Caller):
    response = doctor.get("/nothing")
    assert response.status_code == 404
    assert response.content_type.startswith("text/plain")


@pytest.mark.parametrize("study", ["é", 'a"b', "1.2,1.3"])
def test_an_address_that_names_a_study_by_no_uid_finds_nothing(doctor: Caller, study: str):
    response = doctor.get(f"/studies/{study}/series")
    assert (response.status_code, response.json) == (200, [])
