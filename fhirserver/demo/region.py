"""Who there is in the demo region: establishments, professionals, patients, who follows whom, and what patients said.

Data only; `resources` turns it into FHIR and `build` sends it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from fhirserver.demo.identifiers import ins_value, rpps_value


@dataclass(frozen=True, slots=True)
class Establishment:
    """An organisation; those that send exams have a `client` and the OID under which they number their patients."""

    id: str
    name: str
    type: Literal["prov", "ins"]
    finess: str
    city: str
    client: str | None = None
    oid: str = ""


@dataclass(frozen=True, slots=True)
class Professional:
    """A person with one activity. Codes are of TRE_G15 (profession) and TRE_R38 (speciality)."""

    id: str
    prefix: str
    given: str
    family: str
    rpps: str
    profession: tuple[str, str]
    establishment: str
    specialty: tuple[str, str] | None = None

    @property
    def name(self) -> str:
        """As people call them: `Dr Camille Durand`."""
        return f"{self.prefix} {self.given} {self.family}".strip()


@dataclass(frozen=True, slots=True)
class Exam:
    """A study with its report: pixels from files that pydicom ships, how many days ago, by whom."""

    key: str
    files: tuple[str, ...]
    title: str
    days_ago: int
    radiologist: str
    conclusion: str
    label: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """A patient as their establishment registers them, with who follows them and their exams."""

    id: str
    given: str
    family: str
    gender: Literal["female", "male"]
    birth_date: str
    ins: str
    number: str
    establishment: str
    followed_by: tuple[str, ...] = ()
    formerly_followed_by: tuple[str, ...] = ()
    exams: tuple[Exam, ...] = ()

    @property
    def name(self) -> str:
        """Given and family name."""
        return f"{self.given} {self.family}"


@dataclass(frozen=True, slots=True)
class Parent:
    """Who holds parental authority over a minor."""

    id: str
    child: str
    given: str
    family: str
    relationship: Literal["MTH", "FTH"]


@dataclass(frozen=True, slots=True)
class Choice:
    """What a patient said: a refusal of sharing, a block of one professional, or an exam given to one."""

    id: str
    patient: str
    kind: Literal["opposition", "restriction", "grant"]
    professional: str | None = None
    exam: str | None = None


PHYSICIAN: Final = ("10", "Médecin")
NURSE: Final = ("60", "Infirmier")
RADIOGRAPHER: Final = ("98", "Manipulateur ERM")
GENERAL_MEDICINE: Final = ("SM26", "Qualifié en Médecine Générale (SM)")
RADIODIAGNOSIS: Final = ("SM44", "Radio-diagnostic (SM)")
EMERGENCY_MEDICINE: Final = ("SM59", "Médecine d'urgence (SM)")
NUCLEAR_MEDICINE: Final = ("SM28", "Médecine nucléaire (SM)")

ESTABLISHMENTS: Final = (
    Establishment(
        "sainte-odile", "Centre hospitalier Sainte-Odile", "prov", "670000991", "Strasbourg", "his-sainte-odile",
        "1.2.250.1.999.1.1",
    ),
    Establishment("rangen", "Hôpital du Rangen", "prov", "680000992", "Thann", "his-rangen", "1.2.250.1.999.1.2"),
    Establishment(
        "imagerie-vosges", "Cabinet d'imagerie des Vosges", "prov", "880000993", "Épinal", "ris-vosges",
        "1.2.250.1.999.1.3",
    ),
    Establishment("tilleuls", "Cabinet médical des Tilleuls", "prov", "670000994", "Sélestat"),
    Establishment("mutuelle", "Mutuelle du Grand Est", "ins", "570000995", "Metz"),
)  # fmt: skip

PROFESSIONALS: Final = (
    Professional(
        "durand", "Dr", "Camille", "Durand", rpps_value("9970000001"), PHYSICIAN, "tilleuls", GENERAL_MEDICINE
    ),
    Professional(
        "kieffer", "Dr", "Inès", "Kieffer", rpps_value("9970000002"), PHYSICIAN, "sainte-odile", RADIODIAGNOSIS
    ),
    Professional(
        "weber", "Dr", "Hugo", "Weber", rpps_value("9970000003"), PHYSICIAN, "imagerie-vosges", RADIODIAGNOSIS
    ),
    Professional("muller", "Dr", "Paul", "Muller", rpps_value("9970000004"), PHYSICIAN, "rangen", NUCLEAR_MEDICINE),
    Professional(
        "schmitt", "Dr", "Léa", "Schmitt", rpps_value("9970000005"), PHYSICIAN, "sainte-odile", EMERGENCY_MEDICINE
    ),
    Professional("klein", "", "Marie", "Klein", rpps_value("9970000006"), NURSE, "sainte-odile"),
    Professional("roth", "", "Jean", "Roth", rpps_value("9970000007"), RADIOGRAPHER, "imagerie-vosges"),
    Professional("petit", "Dr", "Alain", "Petit", rpps_value("9970000008"), PHYSICIAN, "mutuelle", GENERAL_MEDICINE),
)

CHEST_CT: Final = ("CT_small.dcm",)
HEAD_CT: Final = ("J2K_pixelrep_mismatch.dcm",)
ABDOMEN_MR: Final = ("examples_overlay.dcm",)
SPINE_MR: Final = ("MR_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm")
ULTRASOUND: Final = ("examples_rgb_color.dcm",)
DOPPLER: Final = ("examples_palette.dcm",)
CINE: Final = ("examples_ybr_color.dcm",)

PATIENTS: Final = (
    Person(
        "martin", "Jeanne", "Martin", "female", "1958-03-14", ins_value("2580367482101"), "SO-100101", "sainte-odile",
        followed_by=("Practitioner/durand",),
        exams=(
            Exam("martin-ct", CHEST_CT, "Scanner thoracique", 12, "kieffer", "Absence de lésion suspecte."),
            Exam("martin-us", ULTRASOUND, "Échographie cardiaque", 400, "kieffer", "Fonction conservée."),
        ),
    ),
    Person(
        "benali", "Karim", "Benali", "male", "1971-11-02", ins_value("1711168224102"), "SO-100102", "sainte-odile",
        followed_by=("Practitioner/durand",),
        exams=(Exam("benali-mr", SPINE_MR, "IRM lombaire", 30, "kieffer", "Discopathie L5-S1 sans conflit."),),
    ),
    Person(
        "lambert", "Sophie", "Lambert", "female", "1990-07-21", ins_value("2900788160103"), "SO-100103",
        "sainte-odile",
        followed_by=("Organization/tilleuls", "Practitioner/schmitt"),
        exams=(Exam("lambert-ct", HEAD_CT, "Scanner cérébral", 8, "kieffer", "Pas d'hémorragie."),),
    ),
    Person(
        "roussel", "Antoine", "Roussel", "male", "1965-01-30", ins_value("1650157463104"), "R-200104", "rangen",
        followed_by=("Practitioner/durand",),
        exams=(
            Exam("roussel-mr", ABDOMEN_MR, "IRM abdominale", 20, "muller", "Kyste hépatique simple."),
            Exam("roussel-us", DOPPLER, "Écho-doppler", 200, "muller", "Flux normaux."),
        ),
    ),
    Person(
        "hoffmann", "Lucas", "Hoffmann", "male", "2017-05-04", ins_value("1170567482105"), "SO-100105",
        "sainte-odile",
        followed_by=("Practitioner/schmitt",),
        exams=(Exam("hoffmann-us", CINE, "Échographie abdominale", 5, "kieffer", "Examen normal."),),
    ),
    Person(
        "fournier", "Élise", "Fournier", "female", "1983-09-09", ins_value("2830988160106"), "V-300106",
        "imagerie-vosges",
        followed_by=("Practitioner/durand",),
        exams=(Exam("fournier-us", ULTRASOUND, "Échographie mammaire", 15, "weber", "ACR 2."),),
    ),
    Person(
        "haas", "Nicolas", "Haas", "male", "1949-12-24", ins_value("1491268224107"), "V-300107", "imagerie-vosges",
        followed_by=("Organization/tilleuls",),
        exams=(Exam("haas-ct", CHEST_CT, "Scanner thoracique", 40, "weber", "Emphysème modéré."),),
    ),
    Person(
        "amrani", "Fatima", "El Amrani", "female", "1977-02-11", ins_value("2770299350108"), "R-200108", "rangen",
        followed_by=("Practitioner/muller",),
        exams=(Exam("amrani-mr", SPINE_MR, "IRM cervicale", 60, "muller", "Arthrose débutante."),),
    ),
    Person(
        "wagner", "Georges", "Wagner", "male", "1938-06-18", ins_value("1380667482109"), "SO-100109", "sainte-odile",
        formerly_followed_by=("Practitioner/durand",),
        exams=(Exam("wagner-ct", CHEST_CT, "Scanner thoracique", 150, "kieffer", "Séquelles anciennes."),),
    ),
    Person(
        "girard", "Manon", "Girard", "female", "2001-10-05", ins_value("2011057463110"), "R-200110", "rangen",
        followed_by=("Practitioner/durand",),
        exams=(
            Exam("girard-us", ULTRASOUND, "Échographie", 25, "muller", "Examen normal."),
            Exam("girard-mr", ABDOMEN_MR, "IRM pelvienne", 10, "muller", "Examen sensible.", ("R", "restricted")),
        ),
    ),
    Person(
        "kuntz", "Yves", "Kuntz", "male", "1955-08-08", ins_value("1550868224111"), "V-300111", "imagerie-vosges",
        followed_by=("Practitioner/weber", "Practitioner/roth"),
        exams=(Exam("kuntz-ct", HEAD_CT, "Scanner cérébral", 3, "weber", "Examen normal pour l'âge."),),
    ),
    Person(
        "diallo", "Aïcha", "Diallo", "female", "1996-04-27", ins_value("2960499336112"), "SO-100112", "sainte-odile"
    ),
)  # fmt: skip

PARENTS: Final = (
    Parent("claire-hoffmann", "hoffmann", "Claire", "Hoffmann", "MTH"),
    Parent("thomas-hoffmann", "hoffmann", "Thomas", "Hoffmann", "FTH"),
)

CHOICES: Final = (
    Choice("benali-refusal", "benali", "opposition"),
    Choice("lambert-block", "lambert", "restriction", professional="durand"),
    Choice("roussel-gift", "roussel", "grant", professional="weber", exam="roussel-mr"),
)


@dataclass(frozen=True, slots=True)
class Client:
    """A backend that signs its own assertions: `scope` is all it may ever ask for."""

    id: str
    name: str
    category: Literal["care", "operator"]
    scope: str
    organization: str | None = None
    patient_id_system: str | None = None


_DIRECTORY: Final = ("Organization", "Practitioner", "PractitionerRole", "Location", "Endpoint")
_CLINICAL: Final = (
    "Patient", "RelatedPerson", "CareTeam", "Consent", "Encounter", "ServiceRequest", "ImagingStudy",
    "DiagnosticReport", "DocumentReference", "Binary",
)  # fmt: skip

OPERATOR: Final = Client(
    "demo-operator",
    "Operator of the demo region",
    "operator",
    " ".join(f"system/{type_}.cruds" for type_ in _DIRECTORY),
)


def _backend(establishment: Establishment) -> Client:
    written = [f"system/{type_}.cruds" for type_ in _CLINICAL]
    read = [f"system/{type_}.rs" for type_ in _DIRECTORY]
    return Client(
        establishment.client or "",
        f"Information system of {establishment.name}",
        "care",
        " ".join([*written, *read]),
        f"Organization/{establishment.id}",
        f"urn:oid:{establishment.oid}",
    )


CLIENTS: Final = (OPERATOR, *(_backend(each) for each in ESTABLISHMENTS if each.client))


@dataclass(frozen=True, slots=True)
class Region:
    """The lists by id."""

    establishments: dict[str, Establishment] = field(default_factory=lambda: {each.id: each for each in ESTABLISHMENTS})
    professionals: dict[str, Professional] = field(default_factory=lambda: {each.id: each for each in PROFESSIONALS})
    patients: dict[str, Person] = field(default_factory=lambda: {each.id: each for each in PATIENTS})


REGION: Final = Region()
