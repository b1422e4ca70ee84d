"""Building the demo region: what an operator and three establishments would do, through the public API."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from fhirserver.demo import images, resources
from fhirserver.demo.credentials import ClientToken, Keys, Operator, PersonalToken
from fhirserver.demo.http import Caller, UnexpectedAnswer, resources_of
from fhirserver.demo.identifiers import INS_TEST_OID
from fhirserver.demo.region import (
    CHOICES,
    CLIENTS,
    ESTABLISHMENTS,
    OPERATOR,
    PARENTS,
    PATIENTS,
    PROFESSIONALS,
    REGION,
    Choice,
    Client,
    Establishment,
    Exam,
    Person,
)

PARIS: Final = ZoneInfo("Europe/Paris")


@dataclass(frozen=True, slots=True)
class Demo:
    """Everybody of the region who can ask a running server something."""

    base: str
    operator: Operator
    keys: Keys

    @classmethod
    def at(cls, base: str, data: Path) -> Demo:
        """The demo of the server at `base` whose data folder is `data`."""
        return cls(base, Operator(data), Keys(data))

    def client(self, client: Client) -> Caller:
        """A backend, with tokens of its own."""
        return Caller(self.base, ClientToken(self.base, client, self.keys.of(client)))

    def establishment(self, id_: str) -> Caller:
        """The information system of an establishment."""
        (client,) = (each for each in CLIENTS if each.organization == f"Organization/{id_}")
        return self.client(client)

    def person(self, reference: str, organization: str | None = None, purpose: str | None = None) -> Caller:
        """A person with the token they would have after signing in."""
        return Caller(self.base, PersonalToken(self.operator, reference, organization, purpose))

    def professional(self, id_: str) -> Caller:
        """A professional in the activity that the region knows of."""
        return self.person(f"Practitioner/{id_}", f"Organization/{REGION.professionals[id_].establishment}")


def build(base: str, data: Path, console: Console | None = None) -> None:
    """Fill the server at `base` with the demo region, showing progress; doing it again changes nothing.

    `data` is the data folder of the server: the keys of the demo's clients are kept there. Raises UnexpectedAnswer
    where the server answers otherwise than it should.
    """
    demo = Demo.at(base, Path(data))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console or Console(stderr=True)) as progress:
        for title, steps in _chapters(demo):
            for _ in progress.track(range(len(steps)), description=title):
                next(steps.run)


class _Steps:
    """A generator with its length, for the progress bar."""

    def __init__(self, length: int, run: Iterator[None]) -> None:
        self.length, self.run = length, run

    def __len__(self) -> int:
        return self.length


def _chapters(demo: Demo) -> Iterator[tuple[str, _Steps]]:
    exams = [(person, exam) for person in PATIENTS for exam in person.exams]
    yield "Clients and their keys", _Steps(len(CLIENTS), register_clients(demo))
    yield "Directory", _Steps(1, write_directory(demo))
    yield "Patients and care teams", _Steps(len(_SENDERS), _register_patients(demo))
    yield "Exams and reports", _Steps(len(exams), _send_exams(demo, exams))
    yield "What patients said", _Steps(len(CHOICES), _tell_choices(demo))


_SENDERS: Final = tuple(establishment for establishment in ESTABLISHMENTS if establishment.client)


def register_clients(demo: Demo) -> Iterator[None]:
    """Give every client that has no key yet a key, and register its public part."""
    for client in CLIENTS:
        if not demo.keys.has(client):
            demo.operator.register(client, demo.keys.make(client))
            demo.keys.keep(client)
        yield


def write_directory(demo: Demo) -> Iterator[None]:
    """Let the operator write establishments, professionals and their activities."""
    entries = [
        *map(resources.organization, ESTABLISHMENTS),
        *map(resources.practitioner, PROFESSIONALS),
        *map(resources.practitioner_role, PROFESSIONALS),
    ]
    demo.client(OPERATOR).post(resources.transaction(entries)).expect(200)
    yield


def _register_patients(demo: Demo) -> Iterator[None]:
    today = datetime.now(PARIS).date()
    for establishment in _SENDERS:
        registered = [person for person in PATIENTS if person.establishment == establishment.id]
        entries = [resources.patient(person, establishment.oid) for person in registered]
        entries += [_care_team(person, today) for person in registered if _has_team(person)]
        entries += [
            resources.related_person(parent)
            for parent in PARENTS
            if REGION.patients[parent.child].establishment == establishment.id
        ]
        demo.establishment(establishment.id).post(resources.transaction(entries)).expect(200)
        yield


def _has_team(person: Person) -> bool:
    return bool(person.followed_by or person.formerly_followed_by)


def _care_team(person: Person, today: date) -> resources.Resource:
    return resources.care_team(
        f"{person.id}-team",
        f"Patient/{person.id}",
        person.followed_by,
        today - timedelta(days=30),
        person.formerly_followed_by,
        today - timedelta(days=1),
    )


def _send_exams(demo: Demo, exams: Sequence[tuple[Person, Exam]]) -> Iterator[None]:
    senders = {establishment.id: demo.establishment(establishment.id) for establishment in _SENDERS}
    today = datetime.now(PARIS).date()
    refused = {choice.patient: choice.id for choice in CHOICES if choice.kind == "opposition"}
    for person, exam in exams:
        establishment = REGION.establishments[person.establishment]
        if person.id in refused and senders[establishment.id].read(f"Consent/{refused[person.id]}").status == 200:
            yield  # built before: nothing more is taken of who has refused
            continue
        performed = datetime.combine(today - timedelta(days=exam.days_ago), time(10, 30), PARIS)
        send_exam(senders[establishment.id], establishment, person, exam, performed)
        yield


def send_exam(
    sender: Caller, establishment: Establishment, person: Person, exam: Exam, performed: datetime
) -> tuple[str, str]:
    """Store an exam's images, then its report; references of the ImagingStudy and the DiagnosticReport.

    An exam that the server holds already is left as it is. Raises UnexpectedAnswer where it is not taken.
    """
    uid = images.study_instance_uid(exam.key)
    found = _study(sender, uid)
    if found is None:
        sender.store(instances_of(establishment, person, exam, performed)).expect(200)
        found = _study(sender, uid)
    if found is None:
        raise UnexpectedAnswer(f"The study {uid} was stored and is not found")
    report = resources.diagnostic_report(
        f"{exam.key}-report",
        f"Patient/{person.id}",
        found,
        exam,
        performed,
        establishment.id,
        REGION.professionals[exam.radiologist],
    )
    if sender.read(f"DiagnosticReport/{report['id']}").status != 200:
        sender.put(report).expect(201, 200)
    return found, f"DiagnosticReport/{report['id']}"


def instances_of(establishment: Establishment, person: Person, exam: Exam, performed: datetime) -> list[bytes]:
    """The images of an exam: practices name the patient by the national identity, hospitals by their own number."""
    if establishment.id == "imagerie-vosges":
        identifier, issuer, oid = person.ins, "ASIP-SANTE-INS-NIR", INS_TEST_OID
    else:
        identifier, issuer, oid = person.number, establishment.id.upper(), establishment.oid
    identity = images.Identity(identifier, issuer, oid, person.family, person.given, person.birth_date, person.gender)
    origin = images.Origin(exam.key, exam.title, performed, establishment.name, exam.key.upper()[:16])
    return images.instances(exam.files, identity, origin)


def _study(sender: Caller, uid: str) -> str | None:
    found = resources_of(sender.search("ImagingStudy", identifier=f"urn:dicom:uid|urn:oid:{uid}"))
    return f"ImagingStudy/{found[0]['id']}" if found else None


def _tell_choices(demo: Demo) -> Iterator[None]:
    now = datetime.now(PARIS)
    for choice in CHOICES:
        _tell(demo, choice, now)
        yield


def _tell(demo: Demo, choice: Choice, now: datetime) -> None:
    """A refusal of sharing is recorded by the establishment; blocks and gifts are the patient's own."""
    person = REGION.patients[choice.patient]
    subject = f"Patient/{person.id}"
    sender = demo.establishment(person.establishment)
    if choice.kind == "opposition":
        if sender.read(f"Consent/{choice.id}").status != 200:
            sender.put(resources.opposition(choice.id, subject, now)).expect(201, 200)
        return
    patient = demo.person(subject)
    if resources_of(patient.search("Consent", patient=subject, status="active")):
        return
    if choice.kind == "restriction":
        said = resources.block(choice.id, subject, choice.professional or "", now)
    else:
        study = _study(sender, images.study_instance_uid(choice.exam or ""))
        said = resources.gift(choice.id, subject, choice.professional or "", study or "", now)
    del said["id"]  # a person does not choose ids
    patient.post(said).expect(201)
