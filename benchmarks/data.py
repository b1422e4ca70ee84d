"""The made-up region that is measured: the same bytes for the server and for the floor.

Every resource is a function of its number, so that two programs, or two runs, are given the same. Sizes follow what
hospitals send: Patient 1.1 KB, ImagingStudy 4.7 KB (3 series of 5), DiagnosticReport 1.2 KB.

One patient in twenty has twenty studies, the others have one each: about two studies a patient.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

Resource = dict[str, Any]

IDENTIFIER_SYSTEM = "urn:oid:1.2.250.1.213.1.4.10"
ESTABLISHMENT = "bench-hospital"
DOCTOR = "bench-doctor"
ENDPOINTS = 4
MANY = 20
ONE_IN = 20
FIRST_STUDY = datetime(2021, 1, 1, 8, tzinfo=UTC)
FAMILIES = ("Martin", "Bernard", "Dubois", "Lefèvre", "Garcia", "Nguyen", "Traoré", "Rousseau", "O'Brien", "Müller")
GIVENS = ("Camille", "Louis", "Anaïs", "Noé", "Zoé", "Hugo", "Inès", "Paul", "Léa", "Sacha")


@dataclass(frozen=True, slots=True)
class Region:
    """How many patients there are, and thereby everything else."""

    patients: int

    @property
    def studies(self) -> int:
        """ImagingStudies of all patients."""
        many = -(-self.patients // ONE_IN)
        return many * MANY + (self.patients - many)

    @property
    def resources(self) -> int:
        """The Patient and the CareTeam of each, and the studies with their reports."""
        return 2 * (self.patients + self.studies)

    @classmethod
    def of_resources(cls, size: int) -> Region:
        """The region of about so many resources."""
        per_patient = 2 + 2 * (MANY + ONE_IN - 1) / ONE_IN
        return cls(round(size / per_patient))

    def studies_of(self, patient: int) -> range:
        """The numbers of one patient's studies."""
        blocks, place = divmod(patient, ONE_IN)
        first = blocks * (MANY + ONE_IN - 1) + (0 if place == 0 else MANY + place - 1)
        return range(first, first + (MANY if place == 0 else 1))

    def with_many(self) -> range:
        """The patients who have twenty studies."""
        return range(0, self.patients, ONE_IN)

    def records(self) -> Iterator[tuple[int, list[Resource]]]:
        """Each patient's number, with the patient, the studies and their reports."""
        for number in range(self.patients):
            resources = [patient(number)]
            for study_number in self.studies_of(number):
                resources += [imaging_study(study_number, number), diagnostic_report(study_number, number)]
            yield number, resources


def encoded(resource: Resource) -> bytes:
    """JSON as a client would send it."""
    return orjson.dumps(resource)


def identifier_of(number: int) -> str:
    """A patient's identifier: fifteen digits, as a national identity number has."""
    return f"{280_000_000_000_000 + number * 97:015d}"


def patient(number: int) -> Resource:
    """A Patient of about 1.1 KB."""
    family, given = FAMILIES[number % len(FAMILIES)], GIVENS[number // len(FAMILIES) % len(GIVENS)]
    return {
        "resourceType": "Patient",
        "id": f"bench-p{number}",
        "identifier": [
            {
                "use": "official",
                "type": {
                    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "NI"}],
                    "text": "National identifier",
                },
                "system": IDENTIFIER_SYSTEM,
                "value": identifier_of(number),
            },
            {
                "use": "usual",
                "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]},
                "system": "urn:oid:1.2.250.1.71.4.2.2",
                "value": f"H{number:09d}",
                "assigner": {"display": "Hôpital de la Mesure"},
            },
        ],
        "active": True,
        "name": [
            {"use": "official", "family": family, "given": [given, "Dominique"]},
            {"use": "usual", "text": f"{given} {family}", "family": family, "given": [given]},
        ],
        "telecom": [
            {"system": "phone", "value": f"+33 1 00 {number % 100:02d} 00 00", "use": "home"},
            {"system": "email", "value": f"p{number}@example.org", "use": "home"},
        ],
        "gender": ("female", "male")[number % 2],
        "birthDate": f"{1930 + number % 80}-{number % 12 + 1:02d}-{number % 28 + 1:02d}",
        "address": [
            {
                "use": "home",
                "line": [f"{number % 300 + 1} rue de la Source", "Bâtiment B"],
                "city": "Saint-Exemple",
                "postalCode": f"{number % 95 + 1:02d}000",
                "country": "FR",
            }
        ],
        "communication": [
            {
                "language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "fr-FR"}], "text": "Français"},
                "preferred": True,
            }
        ],
        "managingOrganization": {"reference": f"Organization/{ESTABLISHMENT}"},
    }


def started(number: int) -> datetime:
    """When a study began: one every seven minutes."""
    return FIRST_STUDY + timedelta(minutes=7 * number)


def uid(*numbers: int) -> str:
    """A DICOM UID below the root of the tests."""
    return ".".join(("1.2.826.0.1.3680043.10.1474", *map(str, numbers)))


def imaging_study(number: int, patient_number: int, *, identity: str | None = None) -> Resource:
    """An ImagingStudy of about 4.7 KB: three series of five instances."""
    return {
        "resourceType": "ImagingStudy",
        "id": identity or f"bench-s{number}",
        "identifier": [
            {"system": "urn:dicom:uid", "value": f"urn:oid:{uid(number)}"},
            {"system": "urn:oid:1.2.250.1.71.4.2.3", "value": f"ACC{number:09d}"},
        ],
        "status": "available",
        "modality": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "CT"}],
        "subject": {"reference": f"Patient/bench-p{patient_number}"},
        "started": started(number).isoformat(),
        "endpoint": [{"reference": f"Endpoint/bench-e{number % ENDPOINTS}"}],
        "numberOfSeries": 3,
        "numberOfInstances": 15,
        "procedureCode": [
            {"coding": [{"system": "http://loinc.org", "code": "24627-2", "display": "CT Chest"}], "text": "TDM thorax"}
        ],
        "description": "Scanner thoracique sans injection",
        "series": [_series(number, series) for series in (1, 2, 3)],
    }


def _series(study: int, number: int) -> Resource:
    return {
        "uid": uid(study, number),
        "number": number,
        "modality": {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "CT"},
        "description": f"Thorax sans injection, reconstruction {number}, filtre poumon, coupes de 1,5 mm",
        "numberOfInstances": 5,
        "bodySite": {"system": "http://snomed.info/sct", "code": "51185008", "display": "Thoracic structure"},
        "instance": [
            {
                "uid": uid(study, number, instance),
                "sopClass": {"system": "urn:ietf:rfc:3986", "code": "urn:oid:1.2.840.10008.5.1.4.1.1.2"},
                "number": instance,
                "title": "ORIGINAL\\PRIMARY\\AXIAL\\CT_SOM5 SPI\\120 kV\\1.5 mm",
            }
            for instance in range(1, 6)
        ],
    }


def changed_study(number: int, patient_number: int, turn: int) -> bytes:
    """The study as an update sends it, a little otherwise each time."""
    return encoded(imaging_study(number, patient_number) | {"description": f"Change {turn}"})


def diagnostic_report(number: int, patient_number: int, *, study: str | None = None) -> Resource:
    """A DiagnosticReport of about 1.2 KB on a study."""
    return {
        "resourceType": "DiagnosticReport",
        "id": f"bench-r{number}",
        "identifier": [{"system": "urn:oid:1.2.250.1.71.4.2.4", "value": f"CR{number:09d}"}],
        "status": "final",
        "category": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/v2-0074",
                        "code": "RAD",
                        "display": "Radiology",
                    }
                ]
            }
        ],
        "code": {"coding": [{"system": "http://loinc.org", "code": "24627-2", "display": "CT Chest"}]},
        "subject": {"reference": f"Patient/bench-p{patient_number}"},
        "effectiveDateTime": started(number).isoformat(),
        "issued": (started(number) + timedelta(hours=2)).isoformat(),
        "imagingStudy": [{"reference": study or f"ImagingStudy/bench-s{number}"}],
        "resultsInterpreter": [{"display": "Service d'imagerie, Hôpital de la Mesure"}],
        "conclusion": (
            "Scanner thoracique réalisé en acquisition hélicoïdale sans injection de produit de contraste. "
            "Pas d'anomalie pleurale ni pulmonaire significative. Silhouette cardiaque de volume normal. Pas "
            "d'adénopathie médiastinale ni hilaire de taille significative. Structures osseuses sans lésion suspecte. "
            "Comparaison avec l'examen précédent du même service : stabilité de l'ensemble des constatations. "
            "Contrôle à un an proposé selon le contexte."
        ),
        "conclusionCode": [
            {
                "coding": [{"system": "http://snomed.info/sct", "code": "17621005", "display": "Normal"}],
                "text": "Normal",
            }
        ],
    }


def care_team(patient_number: int) -> Resource:
    """The patient's CareTeam, in which the doctor who is measured is a member."""
    return {
        "resourceType": "CareTeam",
        "id": f"bench-t{patient_number}",
        "status": "active",
        "subject": {"reference": f"Patient/bench-p{patient_number}"},
        "period": {"start": "2020-01-01"},
        "participant": [{"member": {"reference": f"Practitioner/{DOCTOR}"}, "period": {"start": "2020-01-01"}}],
        "managingOrganization": [{"reference": f"Organization/{ESTABLISHMENT}"}],
    }


def directory() -> list[Resource]:
    """The establishment, the doctor, and the endpoints at which the establishment's studies are had."""
    return [
        {
            "resourceType": "Organization",
            "id": ESTABLISHMENT,
            "active": True,
            "type": [
                {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/organization-type", "code": "prov"}]}
            ],
            "name": "Hôpital de la Mesure",
        },
        {
            "resourceType": "Practitioner",
            "id": DOCTOR,
            "active": True,
            "name": [{"family": "Mesure", "given": ["Alix"]}],
        },
        *(_endpoint(number) for number in range(ENDPOINTS)),
    ]


def _endpoint(number: int) -> Resource:
    return {
        "resourceType": "Endpoint",
        "id": f"bench-e{number}",
        "status": "active",
        "connectionType": {
            "system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type",
            "code": "dicom-wado-rs",
        },
        "name": f"Archive {number}",
        "managingOrganization": {"reference": f"Organization/{ESTABLISHMENT}"},
        "payloadType": [{"text": "DICOM"}],
        "payloadMimeType": ["application/dicom"],
        "address": f"https://archive-{number}.example.org/dicom-web",
    }


def new_patient(number: int) -> bytes:
    """A Patient to be created: no id yet, an identifier that nobody has."""
    resource = patient(number)
    del resource["id"]
    return encoded(resource)


def new_study(number: int, patient_number: int) -> bytes:
    """An ImagingStudy to be created for a patient that exists."""
    resource = imaging_study(number, patient_number)
    del resource["id"]
    return encoded(resource)


def new_record(number: int) -> bytes:
    """A transaction of a patient, a study and its report, which refer to each other by urn:uuid."""
    urns = [f"urn:uuid:00000000-0000-4000-8000-{number * 3 + place:012d}" for place in range(3)]
    study = imaging_study(number, number)
    report = diagnostic_report(number, number, study=urns[1])
    study["subject"] = report["subject"] = {"reference": urns[0]}
    entries = []
    for urn, resource in zip(urns, (patient(number), study, report), strict=True):
        del resource["id"]
        entries.append(
            {"fullUrl": urn, "resource": resource, "request": {"method": "POST", "url": resource["resourceType"]}}
        )
    return encoded({"resourceType": "Bundle", "type": "transaction", "entry": entries})
