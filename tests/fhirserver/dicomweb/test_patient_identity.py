"""Patient identifiers from headers: an identifier without its issuer is nobody's."""

from __future__ import annotations

from typing import Any

import pytest

from fhirserver.dicomweb.attributes import tag
from fhirserver.dicomweb.dicom_json import element
from fhirserver.dicomweb.patient_identity import PatientIdentifier, patient_identifiers

OWN = "urn:oid:1.2.250.1.999"


def header(**values: Any) -> dict[str, Any]:
    return {tag(name): element("LO", value) for name, value in values.items()}


def test_a_number_without_issuer_is_the_senders_own():
    assert patient_identifiers(header(PatientID="1"), OWN) == (PatientIdentifier(OWN, "1"),)


def test_a_number_without_issuer_names_nobody_where_the_sender_has_no_system():
    assert patient_identifiers(header(PatientID="1"), None) == ()


@pytest.mark.parametrize(
    ("name", "system"),
    [("ASIP-SANTE-INS-NIR", "urn:oid:1.2.250.1.213.1.4.8"), ("asip-sante-ins-nia", "urn:oid:1.2.250.1.213.1.4.9")],
)
def test_the_national_issuers_are_known_by_name(name: str, system: str):
    assert patient_identifiers(header(PatientID="1", IssuerOfPatientID=name), OWN) == (PatientIdentifier(system, "1"),)


def test_an_issuer_that_is_not_known_is_not_the_sender():
    assert patient_identifiers(header(PatientID="1", IssuerOfPatientID="ELSEWHERE"), OWN) == ()


@pytest.mark.parametrize(
    ("kind", "entity", "system"),
    [
        ("ISO", "1.2.250.1.213.1.4.10", "urn:oid:1.2.250.1.213.1.4.10"),
        ("URI", "https://ids.example/patients", "https://ids.example/patients"),
        ("UUID", "6B29FC40-CA47-1067-B31D-00DD010662DA", "urn:uuid:6b29fc40-ca47-1067-b31d-00dd010662da"),
    ],
)
def test_the_qualifiers_say_the_issuer_before_its_name_does(kind: str, entity: str, system: str):
    qualifiers = header(UniversalEntityID=entity, UniversalEntityIDType=kind)
    dataset = header(
        PatientID="1", IssuerOfPatientID="ASIP-SANTE-INS-NIR", IssuerOfPatientIDQualifiersSequence=qualifiers
    )
    assert patient_identifiers(dataset, OWN) == (PatientIdentifier(system, "1"),)


@pytest.mark.parametrize(
    ("kind", "entity"),
    [("DNS", "x.example"), ("ISO", "not an oid"), ("ISO", "1.2.03"), ("URI", "no scheme"), ("UUID", "short")],
)
def test_an_entity_that_fhir_has_no_form_for_names_nobody(kind: str, entity: str):
    qualifiers = header(UniversalEntityID=entity, UniversalEntityIDType=kind)
    assert patient_identifiers(header(PatientID="1", IssuerOfPatientIDQualifiersSequence=qualifiers), OWN) == ()


def test_other_identifiers_count_with_an_issuer_of_their_own_only():
    others = {
        tag("OtherPatientIDsSequence"): element(
            "SQ", header(PatientID="2"), header(PatientID="3", IssuerOfPatientID="ASIP-SANTE-INS-NIR")
        )
    }
    found = patient_identifiers({**header(PatientID="1"), **others}, OWN)
    assert found == (PatientIdentifier(OWN, "1"), PatientIdentifier("urn:oid:1.2.250.1.213.1.4.8", "3"))


def test_no_number_names_nobody():
    assert patient_identifiers({}, OWN) == ()
