"""STOW-RS: what is stored, what is refused and why, and that nothing is left of what is not stored."""

from __future__ import annotations

import gzip
import io
import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from consent.policy import Policy
from fhirserver.config import Config
from fhirserver.dicomweb.endpoint import endpoint
from fhirserver.dicomweb.reason_codes import Reason
from fhirserver.store.database import Database
from tests.fhirserver.conftest import NUMBERS
from tests.fhirserver.dicomweb.conftest import (
    DICOM_PARTS,
    INS,
    Caller,
    Person,
    body_of,
    instance,
    reasons,
    written,
)


def objects(config: Config) -> list[Path]:
    """Every file of the object store, uploads included."""
    return [path for path in (config.data / "objects").rglob("*") if path.is_file()]


def study_of(caller: Caller, uid: str) -> dict[str, Any]:
    """The one ImagingStudy of a study."""
    bundle = caller.fhir(f"ImagingStudy?identifier=urn:dicom:uid|urn:oid:{uid}")
    (entry,) = bundle["entry"]
    return entry["resource"]


def test_a_study_arrives_and_its_imaging_study_is_there(his: Caller, patient: Person):
    study = generate_uid()
    first = instance(patient, StudyInstanceUID=study, InstanceNumber=1, AccessionNumber="A7")
    second = instance(patient, StudyInstanceUID=study, file="MR_small.dcm", InstanceNumber=2)
    response = his.store(first, second)
    assert response.status_code == 200, response.text
    assert response.content_type == "application/dicom+json"
    assert response.json["00081190"]["Value"] == [f"http://fhir.example/dicomweb/studies/{study}"]
    assert len(response.json["00081199"]["Value"]) == 2
    resource = study_of(his, study)
    assert resource["subject"] == {"reference": patient.reference}
    assert (resource["numberOfSeries"], resource["numberOfInstances"]) == (2, 2)
    assert [one["code"] for one in resource["modality"]] == ["CT", "MR"]
    assert {"type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}]},
            "value": "A7"} in resource["identifier"]  # fmt: skip


def test_a_study_says_where_its_images_are_served(his: Caller, doctor: Caller, patient: Person):
    study = generate_uid()
    his.store(instance(patient, StudyInstanceUID=study))
    his.store(instance(patient, StudyInstanceUID=study))
    bundle = doctor.fhir(f"ImagingStudy?identifier=urn:dicom:uid|urn:oid:{study}&_include=ImagingStudy:endpoint")
    (place,) = (one["resource"] for one in bundle["entry"] if one["resource"]["resourceType"] == "Endpoint")
    assert place["address"] == "http://fhir.example/dicomweb"
    assert place["managingOrganization"] == {"reference": "Organization/e1"}
    assert place["meta"]["versionId"] == "1"


def test_the_declared_doctor_sees_the_study_and_a_stranger_sees_nothing(
    his: Caller, doctor: Caller, stranger: Caller, patient: Person
):
    study = generate_uid()
    his.store(instance(patient, StudyInstanceUID=study))
    assert study_of(doctor, study)["numberOfInstances"] == 1
    assert stranger.fhir(f"ImagingStudy?identifier=urn:dicom:uid|urn:oid:{study}")["total"] == 0


def test_sending_again_succeeds_and_makes_no_version_and_no_object(his: Caller, config: Config, patient: Person):
    study = generate_uid()
    file = instance(patient, StudyInstanceUID=study)
    his.store(file)
    before, version = objects(config), study_of(his, study)["meta"]["versionId"]
    response = his.store(file)
    assert response.status_code == 200
    assert len(response.json["00081199"]["Value"]) == 1
    assert study_of(his, study)["meta"]["versionId"] == version
    assert objects(config) == before


def test_other_bytes_under_a_stored_uid_are_refused_and_the_first_is_kept(his: Caller, patient: Person):
    study, uid = generate_uid(), generate_uid()
    file = instance(patient, StudyInstanceUID=study, SOPInstanceUID=uid, InstanceNumber=1)
    his.store(file)
    response = his.store(instance(patient, StudyInstanceUID=study, SOPInstanceUID=uid, InstanceNumber=2))
    assert (response.status_code, reasons(response)) == (409, [Reason.DUPLICATE_INSTANCE])
    assert study_of(his, study)["series"][0]["instance"][0]["number"] == 1


def test_an_instance_of_another_study_is_not_overwritten(his: Caller, database: Database, patient: Person):
    uid = generate_uid()
    his.store(instance(patient, SOPInstanceUID=uid))
    before = database.instances.find_one({"_id": uid})
    response = his.store(instance(patient, SOPInstanceUID=uid))
    assert (response.status_code, reasons(response)) == (409, [Reason.DUPLICATE_INSTANCE])
    assert database.instances.find_one({"_id": uid}) == before


def test_one_bad_instance_does_not_fail_its_neighbours(his: Caller, patient: Person):
    study = generate_uid()
    good = instance(patient, StudyInstanceUID=study)
    response = his.store(b"not DICOM at all" * 20, good, good[:-1000])
    assert response.status_code == 202
    assert sorted(reasons(response)) == [Reason.CANNOT_UNDERSTAND, Reason.TRUNCATED]
    assert study_of(his, study)["numberOfInstances"] == 1


def test_one_version_of_the_imaging_study_for_one_request(his: Caller, patient: Person):
    study = generate_uid()
    his.store(*(instance(patient, StudyInstanceUID=study, InstanceNumber=number) for number in range(5)))
    resource = study_of(his, study)
    assert (resource["meta"]["versionId"], resource["numberOfInstances"]) == ("1", 5)


def test_more_instances_join_their_study_and_what_a_client_said_stays(his: Caller, patient: Person):
    study = generate_uid()
    his.store(instance(patient, StudyInstanceUID=study, StudyDescription="CT thorax"))
    resource = study_of(his, study)
    resource["reasonCode"] = [{"text": "Cough"}]
    resource["description"] = "Thorax, as reported"
    his.put(resource)
    his.store(instance(patient, StudyInstanceUID=study, StudyDescription="CT thorax"))
    resource = study_of(his, study)
    assert resource["numberOfInstances"] == 2
    assert (resource["reasonCode"], resource["description"]) == ([{"text": "Cough"}], "Thorax, as reported")


def test_a_study_that_was_announced_in_fhir_is_completed_and_not_doubled(his: Caller, patient: Person):
    study = generate_uid()
    his.put(
        {
            "resourceType": "ImagingStudy",
            "id": uuid.uuid4().hex,
            "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{study}"}],
            "status": "registered",
            "subject": {"reference": patient.reference},
            "note": [{"text": "Urgent"}],
        }
    )
    assert his.store(instance(patient, StudyInstanceUID=study)).status_code == 200
    resource = study_of(his, study)
    assert (resource["status"], resource["numberOfInstances"]) == ("available", 1)
    assert resource["note"] == [{"text": "Urgent"}]


def test_parallel_requests_for_one_study_lose_nothing(his: Caller, app: Flask, patient: Person):
    study = generate_uid()
    files = [instance(patient, StudyInstanceUID=study, InstanceNumber=number) for number in range(6)]

    def send(file: bytes) -> int:
        return Caller(app.test_client(), his.token).store(file).status_code

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(send, files)) == [200] * 6
    assert study_of(his, study)["numberOfInstances"] == 6


def test_a_client_that_may_only_create_can_send_a_study_in_two_requests(
    caller: Callable[..., Caller], operator: Caller, his: Caller, patient: Person
):
    modality = caller("Client/ct-e1", organization="Organization/e1", scope="system/ImagingStudy.c")
    study = generate_uid()
    for _ in range(2):
        assert modality.store(instance(patient, StudyInstanceUID=study)).status_code == 200
    assert study_of(his, study)["numberOfInstances"] == 2


def test_a_deleted_study_is_not_served_and_comes_back_when_it_is_sent_again(his: Caller, patient: Person):
    study = generate_uid()
    files = [instance(patient, StudyInstanceUID=study), instance(patient, StudyInstanceUID=study, Modality="MR")]
    his.store(*files)
    id_ = study_of(his, study)["id"]
    assert his.ask("DELETE", f"/fhir/ImagingStudy/{id_}").status_code == 204
    assert his.get(f"/studies/{study}/metadata").status_code == 404
    assert his.store(files[0]).status_code == 200
    resource = study_of(his, study)
    assert (resource["id"], resource["numberOfInstances"]) == (id_, 2)
    assert [one["code"] for one in resource["modality"]] == ["CT", "MR"]


# The patient


def test_the_national_identifier_names_the_patient_by_its_issuer(his: Caller, patient: Person):
    study = generate_uid()
    file = instance(patient, StudyInstanceUID=study, PatientID=f"INS{patient.number}")
    dataset = dcmread(io.BytesIO(file))
    dataset.IssuerOfPatientID = "ASIP-SANTE-INS-NIR-TEST"
    assert his.store(written(dataset)).status_code == 200
    assert study_of(his, study)["subject"]["reference"] == patient.reference


@pytest.mark.parametrize(
    "change", [{"PatientID": "nobody"}, {"IssuerOfPatientID": "SOME-HOSPITAL"}], ids=["number", "issuer"]
)
def test_an_unknown_patient_is_refused_and_nothing_is_kept(
    his: Caller, config: Config, database: Database, patient: Person, change: dict[str, str]
):
    before = objects(config)
    study = generate_uid()
    response = his.store(instance(patient, StudyInstanceUID=study, **change))
    assert (response.status_code, reasons(response)) == (409, [Reason.UNKNOWN_PATIENT])
    assert objects(config) == before
    assert database.instances.count_documents({"study": study}) == 0


def test_a_number_that_two_patients_have_names_neither(his: Caller, operator: Caller, patient: Person):
    his.put(
        {
            "resourceType": "Patient",
            "id": uuid.uuid4().hex,
            "identifier": [{"system": NUMBERS, "value": patient.number}],
        }
    )
    assert reasons(his.store(instance(patient))) == [Reason.UNKNOWN_PATIENT]


def test_the_establishments_own_record_of_a_person_comes_before_another_ones(
    other_his: Caller, his: Caller, patient: Person
):
    other_his.put(
        {
            "resourceType": "Patient",
            "id": (own := uuid.uuid4().hex),
            "identifier": [{"system": INS, "value": f"INS{patient.number}"}],
        }
    )
    study = generate_uid()
    file = instance(
        patient, StudyInstanceUID=study, PatientID=f"INS{patient.number}", IssuerOfPatientID="ASIP-SANTE-INS-NIR-TEST"
    )
    assert other_his.store(file).status_code == 200
    assert study_of(other_his, study)["subject"]["reference"] == f"Patient/{own}"


def test_a_study_of_one_patient_takes_no_instance_of_another(his: Caller, patient: Person):
    other = Person(f"X{patient.number}", f"Patient/{uuid.uuid4().hex}")
    his.put(
        {
            "resourceType": "Patient",
            "id": other.reference.partition("/")[2],
            "identifier": [{"system": NUMBERS, "value": other.number}],
        }
    )
    study = generate_uid()
    his.store(instance(patient, StudyInstanceUID=study))
    response = his.store(instance(other, StudyInstanceUID=study))
    assert (response.status_code, reasons(response)) == (409, [Reason.PATIENT_MISMATCH])
    mixed = generate_uid()
    response = his.store(instance(patient, StudyInstanceUID=mixed), instance(other, StudyInstanceUID=mixed))
    assert (response.status_code, reasons(response)) == (202, [Reason.PATIENT_MISMATCH])


# Who may store


def test_a_doctor_cannot_store(doctor: Caller, patient: Person):
    assert doctor.store(instance(patient)).status_code == 403


def test_an_operator_who_is_no_establishment_cannot_store(operator: Caller, patient: Person):
    assert operator.store(instance(patient)).status_code == 403


def test_a_token_without_the_scope_cannot_store(caller: Callable[..., Caller], operator: Caller, patient: Person):
    reader = caller("Client/reader-e1", organization="Organization/e1", scope="system/ImagingStudy.rs")
    assert reader.store(instance(patient)).status_code == 403


def test_nobody_stores_without_a_token(app: Flask, patient: Person):
    response = app.test_client().post(
        "/dicomweb/studies", data=body_of([instance(patient)]), content_type=f"{DICOM_PARTS}; boundary=b"
    )
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_another_establishment_cannot_add_to_a_study(his: Caller, other_his: Caller, config: Config, patient: Person):
    study = generate_uid()
    his.store(instance(patient, StudyInstanceUID=study))
    before = objects(config)
    file = instance(
        patient,
        StudyInstanceUID=study,
        PatientID=f"INS{patient.number}",
        IssuerOfPatientID="ASIP-SANTE-INS-NIR-TEST",
    )
    response = other_his.store(file)
    assert response.status_code == 409
    assert reasons(response) in ([Reason.NOT_AUTHORISED], [Reason.PROCESSING_FAILURE])
    assert study_of(his, study)["numberOfInstances"] == 1
    assert objects(config) == before


NATIONAL = {"IssuerOfPatientID": "ASIP-SANTE-INS-NIR-TEST"}


def test_a_national_number_and_the_same_traits_name_another_establishments_patient(other_his: Caller, patient: Person):
    file = instance(patient, PatientID=f"INS{patient.number}", **NATIONAL)
    assert other_his.store(file).status_code == 200


@pytest.mark.parametrize(
    "traits", [{"PatientBirthDate": "19851211"}, {"PatientName": "Durand^Ada"}, {"PatientName": None}]
)
def test_a_national_number_alone_does_not(other_his: Caller, patient: Person, traits: dict[str, Any]):
    file = instance(patient, PatientID=f"INS{patient.number}", **NATIONAL, **traits)
    assert reasons(other_his.store(file)) == [Reason.UNKNOWN_PATIENT]


def test_nor_does_another_establishments_own_number(other_his: Caller, patient: Person):
    assert reasons(other_his.store(instance(patient))) == [Reason.UNKNOWN_PATIENT]


def test_announcing_anothers_study_gives_no_part_in_its_images(his: Caller, other_his: Caller, patient: Person):
    study = generate_uid()
    his.store(instance(patient, StudyInstanceUID=study))
    own, number = uuid.uuid4().hex, uuid.uuid4().hex[:12]
    other_his.put({"resourceType": "Patient", "id": own, "identifier": [{"system": NUMBERS, "value": number}]})
    announced = {
        "resourceType": "ImagingStudy",
        "id": uuid.uuid4().hex,
        "status": "available",
        "subject": {"reference": f"Patient/{own}"},
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{study}"}],
    }
    other_his.put(announced)
    response = other_his.store(instance(Person(number, f"Patient/{own}"), StudyInstanceUID=study))
    assert reasons(response) == [Reason.NOT_AUTHORISED]
    assert other_his.get(f"/dicomweb/studies/{study}").status_code == 404
    assert other_his.get(f"/dicomweb/studies/{study}/metadata").status_code == 404


def test_an_endpoint_that_somebody_else_put_there_is_passed_over(
    caller: Callable[..., Caller], other_his: Caller, operator: Caller
):
    operator.put({"resourceType": "Organization", "id": "e3", "active": True, "name": "e3"})
    squatted = endpoint("Organization/e3", "https://elsewhere.example/dicomweb")
    other_his.put(squatted)
    newcomer = caller("Client/his-e3", organization="Organization/e3")
    own, number = uuid.uuid4().hex, uuid.uuid4().hex[:12]
    newcomer.put({"resourceType": "Patient", "id": own, "identifier": [{"system": NUMBERS, "value": number}]})
    study = generate_uid()
    assert newcomer.store(instance(Person(number, f"Patient/{own}"), StudyInstanceUID=study)).status_code == 200
    assert study_of(newcomer, study)["endpoint"] != [{"reference": f"Endpoint/{squatted['id']}"}]


def test_an_opposition_in_force_stops_the_study_at_the_door(
    his: Caller, config: Config, database: Database, patient: Person, audit_of: Callable[[], list[dict[str, Any]]]
):
    oppose(his, patient)
    before, told = objects(config), len(audit_of())
    study = generate_uid()
    response = his.store(*(instance(patient, StudyInstanceUID=study) for _ in range(3)))
    assert (response.status_code, reasons(response)) == (409, [Reason.NOT_AUTHORISED] * 3)
    assert objects(config) == before
    assert database.instances.count_documents({"study": study}) == 0
    events = audit_of()[told:]
    assert len(events) == 1
    assert events[0]["outcome"] == "8"
    assert "opposed" in events[0]["outcomeDesc"]
    assert study in json.dumps(events[0])


def oppose(his: Caller, patient: Person) -> None:
    """The patient's opposition to sharing, recorded by the establishment."""
    his.put(
        {
            "resourceType": "Consent",
            "id": uuid.uuid4().hex,
            "status": "active",
            "scope": {
                "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]
            },
            "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
            "patient": {"reference": patient.reference},
            "dateTime": "2026-01-01T10:00:00+01:00",
            "performer": [{"reference": patient.reference}],
            "organization": [{"reference": "Organization/e1"}],
            "policy": [{"uri": Policy().opposition[0]}],
            "provision": {"type": "deny"},
        }
    )


# What is not a study


def test_the_study_of_the_address_must_be_that_of_the_instances(his: Caller, patient: Person):
    study = generate_uid()
    assert his.store(instance(patient, StudyInstanceUID=study), study=study).status_code == 200
    response = his.store(instance(patient), study=study)
    assert (response.status_code, reasons(response)) == (409, [Reason.STUDY_MISMATCH])


def test_an_address_that_names_no_study_is_a_bad_request(his: Caller, patient: Person):
    assert his.store(instance(patient), study="1.2.x").status_code == 400


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"PatientID": ""}, Reason.MISSING_ATTRIBUTE),
        ({"Modality": None}, Reason.MISSING_ATTRIBUTE),
        ({"SeriesInstanceUID": None}, Reason.MISSING_ATTRIBUTE),
        ({"SOPClassUID": "1.2.840.10008.1.3.10"}, Reason.SOP_CLASS_NOT_SUPPORTED),
        ({"SOPClassUID": "1.2.840.10008.1.1"}, Reason.SOP_CLASS_NOT_SUPPORTED),
    ],
    ids=["patient id", "modality", "series", "directory", "verification"],
)
def test_an_instance_that_lacks_its_identity_is_refused(
    his: Caller, patient: Person, change: dict[str, Any], reason: Reason
):
    response = his.store(instance(patient, **change))
    assert (response.status_code, reasons(response)) == (409, [reason])


def test_file_meta_information_that_contradicts_the_data_set_is_refused(his: Caller, patient: Person):
    dataset = dcmread(io.BytesIO(instance(patient)))
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    out = io.BytesIO()
    dataset.save_as(out)
    assert reasons(his.store(out.getvalue())) == [Reason.DATA_SET_MISMATCH]


def test_an_unknown_transfer_syntax_is_refused(his: Caller, patient: Person):
    file = instance(patient).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.1.9\0", 1)
    assert reasons(his.store(file)) == [Reason.TRANSFER_SYNTAX_NOT_SUPPORTED]


@pytest.mark.parametrize("name", ["rtplan_truncated.dcm", "no_meta.dcm", "SC_rgb_jpeg.dcm"])
def test_broken_files_are_refused(his: Caller, name: str):
    response = his.store(Path(get_testdata_file(name)).read_bytes())
    assert response.status_code == 409
    assert reasons(response)[0] in {Reason.TRUNCATED, Reason.CANNOT_UNDERSTAND}


def test_a_part_of_another_type_is_refused(his: Caller, patient: Person):
    body = body_of([instance(patient)]).replace(b"application/dicom", b"image/jpeg", 1)
    response = his.ask("POST", "/dicomweb/studies", body, Content_Type=f"{DICOM_PARTS}; boundary=b")
    assert (response.status_code, reasons(response)) == (409, [Reason.CANNOT_UNDERSTAND])


# The request


@pytest.mark.parametrize("keep", [0.3, 0.7, 0.99])
def test_a_truncated_body_keeps_nothing(his: Caller, config: Config, database: Database, patient: Person, keep: float):
    study = generate_uid()
    body = body_of([instance(patient, StudyInstanceUID=study) for _ in range(2)])
    before = objects(config)
    response = his.ask(
        "POST", "/dicomweb/studies", body[: int(len(body) * keep)], Content_Type=f"{DICOM_PARTS}; boundary=b"
    )
    assert response.status_code == 400
    assert response.content_type.startswith("text/plain")
    assert response.headers["Warning"].startswith("299 ")
    assert objects(config) == before
    assert database.instances.count_documents({"study": study}) == 0


@pytest.mark.parametrize("content_type", ["application/dicom", "multipart/form-data; boundary=b", "application/json"])
def test_another_content_type_is_not_taken(his: Caller, content_type: str):
    assert his.ask("POST", "/dicomweb/studies", b"--b--", Content_Type=content_type).status_code == 415


@pytest.mark.parametrize("body", [b"", b"--b--\r\n", b"nothing of the kind"])
def test_a_body_without_a_part_is_a_bad_request(his: Caller, body: bytes):
    response = his.ask("POST", "/dicomweb/studies", body, Content_Type=f"{DICOM_PARTS}; boundary=b")
    assert response.status_code == 400


def test_an_answer_in_xml_is_not_offered(his: Caller, patient: Person):
    response = his.ask(
        "POST",
        "/dicomweb/studies",
        body_of([instance(patient)]),
        Content_Type=f"{DICOM_PARTS}; boundary=b",
        Accept="application/dicom+xml",
    )
    assert response.status_code == 406


def test_a_compressed_body_is_not_taken(his: Caller, patient: Person):
    response = his.ask(
        "POST",
        "/dicomweb/studies",
        gzip.compress(body_of([instance(patient)])),
        Content_Type=f"{DICOM_PARTS}; boundary=b",
        Content_Encoding="gzip",
    )
    assert response.status_code == 415


def test_the_boundary_may_be_quoted(his: Caller, patient: Person):
    response = his.ask(
        "POST",
        "/dicomweb/studies",
        body_of([instance(patient)]),
        Content_Type='multipart/related; type=application/dicom; boundary="b"',
    )
    assert response.status_code == 200


def test_storing_is_told_to_the_audit_with_the_study_and_the_patient(
    his: Caller, patient: Person, audit_of: Callable[[], list[dict[str, Any]]]
):
    study = generate_uid()
    his.store(instance(patient, StudyInstanceUID=study))
    text = [json.dumps(event) for event in audit_of()]
    assert any("110104" in one and study in one and patient.reference in one for one in text)
