from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from resources import SUPPORTED
from resources.declaration import compartment, declare, local_reference
from resources.paths import types_of
from resources.structure import structures


def test_every_concrete_type_is_supported_except_parameters() -> None:
    concrete = {name for name, s in structures().items() if s.kind == "resource" and not s.abstract}
    assert set(SUPPORTED) == concrete - {"Parameters"}
    assert len(SUPPORTED) == 145
    assert {"Bundle", "Binary", "Patient"} <= set(SUPPORTED)
    assert all(declaration.type == name for name, declaration in SUPPORTED.items())


def test_a_type_that_r4_does_not_have_cannot_be_declared() -> None:
    for name in ("Citation", "Resource", "DomainResource", "HumanName", ""):
        with pytest.raises(ValueError, match="not a concrete resource type"):
            declare(name, "other")


def test_supported_types_load_without_the_heavy_libraries() -> None:
    code = (
        "from resources import SUPPORTED; [d.parameters for d in SUPPORTED.values()]; import sys;"
        "print([name for name in ('pydantic', 'fhir', 'jsonschema_rs') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Patient", "patient"),
        ("Consent", "consent"),
        ("CareTeam", "care-team"),
        ("AuditEvent", "audit"),
        ("Practitioner", "directory"),
        ("PractitionerRole", "directory"),
        ("Organization", "directory"),
        ("Location", "directory"),
        ("HealthcareService", "directory"),
        ("Endpoint", "directory"),
        ("StructureDefinition", "directory"),
        ("ValueSet", "directory"),
        ("ImagingStudy", "clinical"),
        ("DiagnosticReport", "clinical"),
        ("DocumentReference", "clinical"),
        ("DocumentManifest", "clinical"),
        ("Media", "clinical"),
        ("Composition", "clinical"),
        ("Provenance", "clinical"),
        ("Basic", "other"),
        ("Binary", "other"),
        ("Bundle", "other"),
        ("Group", "other"),
        ("Task", "other"),
        ("Device", "other"),
    ],
)
def test_the_kind_of_a_type(name: str, kind: str) -> None:
    assert SUPPORTED[name].kind == kind


def test_nothing_of_the_patient_compartment_is_directory() -> None:
    assert {name for name in compartment("Patient") if SUPPORTED[name].kind == "directory"} == set()


# -- parameters -------------------------------------------------------------------------------------------------------


def test_every_type_has_the_common_parameters() -> None:
    common = {"_id", "_lastUpdated", "_profile", "_security", "_source", "_tag"}
    assert all(common <= set(declaration.parameters) for declaration in SUPPORTED.values())


def test_a_parameter_knows_its_type_targets_and_address() -> None:
    parameter = SUPPORTED["ImagingStudy"].parameters["patient"]
    assert (parameter.type, parameter.targets) == ("reference", frozenset({"Patient"}))
    assert parameter.url == "http://hl7.org/fhir/SearchParameter/clinical-patient"


def test_a_composite_takes_its_components_from_one_element(samples: dict[str, Any]) -> None:
    parameter = SUPPORTED["Observation"].parameters["component-code-value-quantity"]
    assert [tuple(c) for c in parameter.components] == [
        ("component-code", "code", "token"),
        ("component-value-quantity", "value.as(Quantity)", "quantity"),
    ]
    elements = parameter.extract(samples["Observation"])
    assert [type_name for _, type_name in elements] == ["Observation.component"] * 2
    codes, quantities = parameter.component_values(elements[1])
    assert codes[0][0]["coding"][0]["code"] == "8462-4"
    assert [(value["value"], type_name) for value, type_name in quantities] == [(80.5, "Quantity")]


def test_a_component_may_ask_the_resource_that_the_element_is_in() -> None:
    parameter = SUPPORTED["MolecularSequence"].parameters["chromosome-variant-coordinate"]
    sequence = {"referenceSeq": {"chromosome": {"coding": [{"code": "17"}]}}, "variant": [{"start": 5, "end": 9}]}
    (element,) = parameter.extract(sequence)
    assert [[value for value, _ in values] for values in parameter.component_values(element)] == [
        [{"coding": [{"code": "17"}]}],
        [5],
        [9],
    ]


def test_every_component_of_every_composite_can_be_asked() -> None:
    for declaration in SUPPORTED.values():
        for parameter in declaration.parameters.values():
            if parameter.type == "composite":
                assert parameter.components
                for type_name in types_of(parameter.expression, declaration.type):
                    assert all(values == [] for values in parameter.component_values(({}, type_name)))


def test_summary_and_mandatory_elements_are_those_of_the_definition() -> None:
    patient = SUPPORTED["Patient"]
    assert {"id", "meta", "name", "deceasedBoolean", "deceasedDateTime", "link.other"} <= patient.summary_elements
    assert not {"photo", "contact", "text", "maritalStatus"} & patient.summary_elements
    assert SUPPORTED["ImagingStudy"].mandatory_elements == {"status", "subject"}
    assert {"type", "recorded", "agent", "agent.requestor", "source.observer"} <= SUPPORTED[
        "AuditEvent"
    ].mandatory_elements
    assert SUPPORTED["Questionnaire"].elements >= {"item", "url", "status"}


# -- whose record -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "patients"),
    [
        ("Patient", ["Patient/p1"]),
        ("ImagingStudy", ["Patient/p1"]),
        ("DiagnosticReport", ["Patient/p1"]),
        ("DocumentReference", ["Patient/p1"]),
        ("Observation", ["Patient/p1"]),
        ("CareTeam", ["Patient/p1"]),
        ("Consent", ["Patient/p1"]),
        ("AuditEvent", ["Patient/p1"]),
        ("Practitioner", []),
        ("Binary", []),
        ("Bundle", []),
    ],
)
def test_whose_record_a_resource_is(samples: dict[str, Any], name: str, patients: list[str]) -> None:
    assert SUPPORTED[name].patients(samples[name]) == patients


def test_a_patient_without_id_is_nobody_yet() -> None:
    assert SUPPORTED["Patient"].patients({"link": [{"other": {"reference": "Patient/p0"}}]}) == []


def test_a_resource_about_several_patients_names_each_once() -> None:
    appointment = {
        "participant": [
            {"actor": {"reference": "Patient/a"}},
            {"actor": {"reference": "Practitioner/x"}},
            {"actor": {"reference": "Patient/b/_history/2"}},
            {"actor": {"reference": "Patient/a"}},
        ]
    }
    assert SUPPORTED["Appointment"].patients(appointment) == ["Patient/a", "Patient/b"]


@pytest.mark.parametrize(
    "reference",
    [
        {"reference": "https://other.example.org/fhir/Patient/p1"},
        {"reference": "urn:uuid:3fdc72f4-a11d-4a9d-9260-a9f745779e1d"},
        {"reference": "#p1"},
        {"reference": "Patient/"},
        {"reference": "Patient/p1/extra"},
        {"reference": "Patient/p1/versions/2"},
        {"reference": "Group/p1"},
        {"reference": 1},
        {"identifier": {"value": "1"}, "type": "Patient"},
        {},
    ],
)
def test_a_reference_to_elsewhere_makes_it_nobodys_record(reference: dict[str, Any]) -> None:
    assert SUPPORTED["ImagingStudy"].patients({"subject": reference}) == []


@pytest.mark.parametrize(
    "address",
    ["Patient/p1/extra", "Patient/p1/_history", "Patient/p1/versions/2", "Patient/", "p1", "", "HumanType/p1"],
)
def test_only_type_and_id_make_a_local_reference(address: str) -> None:
    assert local_reference({"reference": address}) is None


def test_a_versioned_reference_is_to_the_same_resource() -> None:
    assert local_reference({"reference": "Patient/p1/_history/3"}) == "Patient/p1"
    assert local_reference("Patient/p1") is None


# -- authors, dates, relations ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "authors", "performed", "related", "studies", "codes"),
    [
        ("Patient", [], None, [], [], []),
        (
            "ImagingStudy",
            ["Practitioner/r1", "Practitioner/r2"],
            ("2026-03-01T09:30:00+01:00", "2026-03-01T09:30:00+01:00"),
            ["Encounter/v1", "ServiceRequest/s1"],
            ["ImagingStudy/a"],
            ["http://dicom.nema.org/resources/ontology/DCM|CT", "http://loinc.org|24627-2"],
        ),
        (
            "DiagnosticReport",
            ["Organization/e1", "Practitioner/r1"],
            ("2026-03-01T09:30:00+01:00", "2026-03-01T09:45:00+01:00"),
            ["Encounter/v1"],
            ["ImagingStudy/a"],
            ["http://loinc.org|18748-4", "http://terminology.hl7.org/CodeSystem/v2-0074|RAD"],
        ),
        (
            "DocumentReference",
            ["Practitioner/r1", "Practitioner/r3"],
            ("2026-03-01", ""),
            ["Encounter/v1", "ImagingStudy/a"],
            ["ImagingStudy/a"],
            ["http://loinc.org|18748-4", "http://example.org/class|10"],
        ),
        (
            "Observation",
            ["Patient/p2", "Practitioner/r1"],
            ("2026-03-01", "2026-03-01"),
            [],
            [],
            ["http://loinc.org|85354-9"],
        ),
        ("Consent", ["Patient/p1"], None, [], [], []),
        ("AuditEvent", [], ("2026-03-01T10:00:00.123Z",) * 2, [], [], None),
        (
            "ServiceRequest",
            ["Practitioner/ref"],
            ("2026-02-28", "2026-02-28"),
            ["Encounter/v1"],
            [],
            ["http://loinc.org|24627-2"],
        ),
        ("Media", ["Practitioner/r2"], ("2026-03-01", "2026-03-01"), [], [], []),
        ("Binary", [], None, ["DocumentReference/d1"], [], []),
        ("Condition", ["Practitioner/g"], None, [], [], []),
    ],
)
def test_the_facts_of_a_resource(
    samples: dict[str, Any],
    name: str,
    authors: list[str],
    performed: tuple[str, str] | None,
    related: list[str],
    studies: list[str],
    codes: list[str] | None,
) -> None:
    declaration, resource = SUPPORTED[name], samples[name]
    assert declaration.authors(resource) == authors
    assert declaration.performed(resource) == performed
    assert declaration.related(resource) == related
    assert declaration.studies(resource) == studies
    assert codes is None or declaration.codes(resource) == codes


def test_who_is_asked_to_perform_a_request_is_not_its_author() -> None:
    request = {"requester": {"reference": "Practitioner/a"}, "performer": {"reference": "Practitioner/b"}}
    assert SUPPORTED["MedicationRequest"].authors(request) == ["Practitioner/a"]
    procedure = {"performer": [{"actor": {"reference": "Practitioner/b"}}]}
    assert SUPPORTED["Procedure"].authors(procedure) == ["Practitioner/b"]


def test_an_observation_derived_from_a_study_belongs_to_it() -> None:
    observation = {"derivedFrom": [{"reference": "ImagingStudy/a"}, {"reference": "Observation/b"}]}
    assert SUPPORTED["Observation"].studies(observation) == ["ImagingStudy/a"]


@pytest.mark.parametrize(
    ("name", "resource", "found"),
    [
        ("ImagingStudy", {"status": "entered-in-error"}, True),
        ("ImagingStudy", {"status": "available"}, False),
        ("ImagingStudy", {}, False),
        ("DocumentReference", {"status": "current", "docStatus": "entered-in-error"}, True),
        ("Condition", {"verificationStatus": {"coding": [{"code": "entered-in-error"}]}}, True),
        ("Condition", {"verificationStatus": {"text": "entered-in-error"}}, False),
        ("Condition", {"verificationStatus": {"coding": [{"code": "confirmed"}]}}, False),
    ],
)
def test_what_was_entered_in_error_is_known(name: str, resource: dict[str, Any], found: bool) -> None:
    assert SUPPORTED[name].is_entered_in_error(resource) is found


def test_all_references_are_found_once_also_in_contained_resources(samples: dict[str, Any]) -> None:
    study = samples["ImagingStudy"] | {
        "contained": [{"resourceType": "Observation", "subject": {"reference": "Patient/p9"}}],
        "extension": [{"url": "http://x", "valueReference": {"reference": "Patient/p1"}}],
    }
    assert SUPPORTED["ImagingStudy"].references(study) == [
        "Patient/p1",
        "Encounter/v1",
        "ServiceRequest/s1",
        "Practitioner/ref",
        "Practitioner/r1",
        "Endpoint/wado",
        "Practitioner/r2",
        "Patient/p9",
    ]


def test_every_function_of_every_type_answers_for_an_empty_resource() -> None:
    for declaration in SUPPORTED.values():
        assert declaration.patients({}) == []
        assert declaration.authors({}) == []
        assert declaration.performed({}) is None
        assert declaration.related({}) == []
        assert declaration.studies({}) == []
        assert declaration.codes({}) == []
        assert declaration.is_entered_in_error({}) is False
        assert declaration.references({}) == []
