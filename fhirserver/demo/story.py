"""The story: a study goes in, and exactly the right people see it.

Played against a running server with patients and exams of its own, new at each run, so that it can be told again on the
same data. Every step says what is expected before it looks at what came; the first difference ends the story.
"""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from pydicom import Dataset, dcmread
from rich.console import Console

from fhirserver.demo import images, resources
from fhirserver.demo.build import PARIS, Demo, instances_of, register_clients, write_directory
from fhirserver.demo.http import Answer, Caller, UnexpectedAnswer, resources_of
from fhirserver.demo.identifiers import ins_value
from fhirserver.demo.region import CHEST_CT, REGION, Exam, Person

# PS3.18 table I.2-2 has the failure reasons; 0x0124, "refused: not authorized", is of PS3.7 annex C.
NOT_AUTHORISED: Final = 0x0124

_FAILED_SEQUENCE: Final = "00081198"
_FAILURE_REASON: Final = "00081197"
_REFERENCED_SEQUENCE: Final = "00081199"


class Difference(Exception):
    """What came is not what was expected."""


@dataclass(slots=True)
class Narrator:
    """Prints each step with what was expected and what came."""

    console: Console
    number: int = 0

    def chapter(self, title: str) -> None:
        """Begin a chapter."""
        self.console.print(f"\n[bold]{title}[/bold]")

    def step(self, text: str, expected: object, look: Callable[[], object]) -> None:
        """Tell one step; `look` gives what came. Raises Difference where that is not what was expected."""
        self.number += 1
        self.console.print(f"{self.number:3}. {text}", markup=False, highlight=False)
        self.console.print(f"     expected: {expected}", markup=False, highlight=False)
        try:
            came = look()
        except UnexpectedAnswer as error:
            came = str(error)
        is_right = came == expected
        mark = "[green]✓[/green]" if is_right else "[red]✗[/red]"
        self.console.print("     came:     ", end="")
        self.console.print(str(came), markup=False, highlight=False, end=" ")
        self.console.print(mark)
        if not is_right:
            raise Difference(text)


@dataclass(slots=True)
class Cast:
    """Who takes part, and what they have to do with each other in this run."""

    run: str
    demo: Demo
    hospital: Caller
    doctor: Caller
    stranger: Caller
    insurer: Caller
    patient: Caller
    person: Person
    exam: Exam
    performed: datetime
    known: dict[str, str] = field(default_factory=dict)

    @property
    def subject(self) -> str:
        """Reference of the patient."""
        return f"Patient/{self.person.id}"

    @property
    def study_uid(self) -> str:
        """UID of the study."""
        return str(images.study_instance_uid(self.exam.key))


def story(base: str, data: Path, console: Console | None = None) -> int:
    """Play the story against the server at `base` whose data folder is `data`; 0, or 1 at the first difference."""
    console = console or Console()
    narrator = Narrator(console)
    try:
        cast = _cast(base, Path(data))
        for chapter in CHAPTERS:
            narrator.chapter((chapter.__doc__ or "").strip().rstrip("."))
            chapter(narrator, cast)
    except Difference as difference:
        console.print(f"\n[red]The story ends here:[/red] {difference}")
        return 1
    except UnexpectedAnswer as error:
        console.print("\n[red]The story cannot be told:[/red]")
        console.print(str(error), markup=False, highlight=False)
        return 1
    console.print(f"\n[green]All {narrator.number} steps came as expected.[/green]")
    return 0


def _cast(base: str, data: Path) -> Cast:
    demo = Demo.at(base, data)
    Caller(base).ask("GET", "/readyz", accept="application/json").expect(200)
    for _ in register_clients(demo):
        pass
    for _ in write_directory(demo):
        pass
    run = secrets.token_hex(4)
    person = _newcomer(run)
    return Cast(
        run=run,
        demo=demo,
        hospital=demo.establishment("sainte-odile"),
        doctor=demo.professional("durand"),
        stranger=demo.professional("muller"),
        insurer=demo.professional("petit"),
        patient=demo.person(f"Patient/{person.id}"),
        person=person,
        exam=Exam(f"story-{run}", CHEST_CT, "Scanner thoracique", 0, "kieffer", "Absence de lésion suspecte."),
        performed=datetime.now(PARIS).replace(microsecond=0) - timedelta(hours=1),
    )


def _newcomer(run: str) -> Person:
    """A patient whom no earlier run has registered."""
    order = int(run, 16) % 1_000_000
    return Person(
        f"story-{run}",
        "Rose",
        "Keller",
        "female",
        "1984-05-12",
        ins_value(f"2840567{order:06}"),
        f"SO-{run}",
        "sainte-odile",
    )


# ---------------------------------------------------------------------------------------------------- chapters


def sending(narrator: Narrator, cast: Cast) -> None:
    """A hospital sends a patient, a care team, an exam and its report."""
    establishment = REGION.establishments[cast.person.establishment]
    today = datetime.now(PARIS).date()
    entries = [
        resources.patient(cast.person, establishment.oid),
        resources.care_team(f"{cast.person.id}-team", cast.subject, ["Practitioner/durand"], today),
    ]
    narrator.step(
        "The hospital registers Rose Keller, who declared Dr Durand",
        ["201 Created", "201 Created"],
        lambda: _entry_statuses(cast.hospital.post(resources.transaction(entries))),
    )
    sent = instances_of(establishment, cast.person, cast.exam, cast.performed)
    cast.known["file"] = sent[0].hex()
    narrator.step(
        f"The hospital stores the study: {len(sent)} real DICOM instances, patient named by the hospital's number",
        (200, len(sent), 0),
        lambda: _stored(cast.hospital.store(sent)),
    )
    narrator.step(
        "Storing them once more changes nothing", (200, len(sent), 0), lambda: _stored(cast.hospital.store(sent))
    )
    narrator.step("The ImagingStudy is there, once, with its instances", [len(sent)], lambda: _find_study(cast))
    report = resources.diagnostic_report(
        f"{cast.exam.key}-report",
        cast.subject,
        cast.known["study"],
        cast.exam,
        cast.performed,
        establishment.id,
        REGION.professionals[cast.exam.radiologist],
    )
    cast.known["report"] = f"DiagnosticReport/{report['id']}"
    narrator.step("The hospital sends the report", 201, lambda: cast.hospital.put(report).status)


def declared_doctor(narrator: Narrator, cast: Cast) -> None:
    """The declared doctor sees the exam and opens the pixels."""
    doctor = cast.doctor
    narrator.step("Dr Durand lists the exams of Rose Keller", [cast.known["study"]], lambda: _studies(doctor, cast))
    narrator.step(
        "Dr Durand reads the report",
        cast.exam.conclusion,
        lambda: doctor.read(cast.known["report"]).expect(200).json()["conclusion"],
    )
    narrator.step("The same exam is in the DICOM query", [cast.study_uid], lambda: _dicom_studies(doctor, cast))
    narrator.step("The pixels are those the hospital sent", "the same pixels", lambda: _pixels(doctor, cast))


def stranger(narrator: Narrator, cast: Cast) -> None:
    """A doctor whom nobody declared gets nothing, not even a count."""
    asked, absent = cast.known["study"], "ImagingStudy/0123456789abcdef"
    narrator.step(
        "Dr Muller asks for the exam by its id, and gets the answer that an id without an exam gets",
        (404, "the same answer"),
        lambda: _same_answer(cast.stranger.read(asked), cast.stranger.read(absent), asked, absent),
    )
    narrator.step("Dr Muller lists the exams of Rose Keller", (0, []), lambda: _counted(cast.stranger, cast))
    narrator.step(
        "Dr Muller counts them",
        0,
        lambda: (
            cast.stranger.search("ImagingStudy", patient=cast.subject, _summary="count").expect(200).json()["total"]
        ),
    )
    narrator.step("Dr Muller asks in DICOM", [], lambda: _dicom_studies(cast.stranger, cast))
    narrator.step("Dr Muller asks for the pixels", 404, lambda: _retrieve(cast.stranger, cast).status)
    narrator.step(
        "The physician of an insurer is turned away at the door",
        403,
        lambda: cast.insurer.search("ImagingStudy", patient=cast.subject).status,
    )
    narrator.step("Without a token there is no answer at all", 401, lambda: Caller(cast.demo.base).read(asked).status)


def patient_sees(narrator: Narrator, cast: Cast) -> None:
    """The patient sees their own exam, and who looked at it."""
    patient = cast.patient
    narrator.step("Rose Keller lists her exams", [cast.known["study"]], lambda: _studies(patient, cast))
    narrator.step("She opens the pixels", "the same pixels", lambda: _pixels(patient, cast))
    narrator.step(
        "She sees that Dr Durand opened it, and that Dr Muller was refused",
        {"Practitioner/durand": "read", "Practitioner/muller": "refused"},
        lambda: _who_looked(patient, cast),
    )
    narrator.step("The hospital's system does not see her trail", [], lambda: _trail(cast.hospital, cast))


def block(narrator: Narrator, cast: Cast) -> None:
    """The patient excludes a doctor, then lets them back in."""
    said = resources.block("", cast.subject, "durand", datetime.now(PARIS))
    narrator.step("Rose Keller blocks Dr Durand", 201, lambda: _say(cast, "block", said))
    narrator.step("Dr Durand, with the token of before, finds nothing", [], lambda: _studies(cast.doctor, cast))
    narrator.step("and reads nothing", 404, lambda: cast.doctor.read(cast.known["study"]).status)
    narrator.step("and retrieves nothing", 404, lambda: _retrieve(cast.doctor, cast).status)
    narrator.step("She lifts the block", 200, lambda: _withdraw(cast, "block"))
    narrator.step("Dr Durand sees the exam again", [cast.known["study"]], lambda: _studies(cast.doctor, cast))


def gift(narrator: Narrator, cast: Cast) -> None:
    """The patient gives one exam to a doctor of their choice."""
    said = resources.gift("", cast.subject, "muller", cast.known["study"], datetime.now(PARIS))
    narrator.step("Rose Keller gives the exam to Dr Muller", 201, lambda: _say(cast, "gift", said))
    narrator.step("Dr Muller sees it", [cast.known["study"]], lambda: _studies(cast.stranger, cast))
    narrator.step("with its report", 200, lambda: cast.stranger.read(cast.known["report"]).status)
    narrator.step("and its pixels", "the same pixels", lambda: _pixels(cast.stranger, cast))
    narrator.step(
        "but not who else follows her", 404, lambda: cast.stranger.read(f"CareTeam/{cast.person.id}-team").status
    )
    narrator.step("She takes it back", 200, lambda: _withdraw(cast, "gift"))
    narrator.step("Dr Muller sees nothing any more", (0, []), lambda: _counted(cast.stranger, cast))


def refusal(narrator: Narrator, cast: Cast) -> None:
    """A refusal of sharing stops the next study at the door."""
    establishment = REGION.establishments[cast.person.establishment]
    next_exam = replace(cast.exam, key=f"{cast.exam.key}-next", title="Scanner de contrôle")
    said = resources.opposition(f"{cast.person.id}-refusal", cast.subject, datetime.now(PARIS))
    narrator.step("The hospital records that Rose Keller refuses sharing", 201, lambda: cast.hospital.put(said).status)
    sent = instances_of(establishment, cast.person, next_exam, cast.performed)
    narrator.step(
        "The hospital stores another study: every instance is refused, as not authorised",
        (409, 0, [NOT_AUTHORISED] * len(sent)),
        lambda: _refused(cast.hospital.store(sent)),
    )
    uid = str(images.study_instance_uid(next_exam.key))
    narrator.step(
        "Nothing of it was kept",
        [],
        lambda: resources_of(cast.hospital.search("ImagingStudy", identifier=f"urn:oid:{uid}")),
    )
    narrator.step("What was shared before is hidden from Dr Durand", (0, []), lambda: _counted(cast.doctor, cast))
    narrator.step(
        "Rose Keller sees in her trail that a study was stopped",
        "opposed",
        lambda: _outcomes(cast.patient, cast, "110104", "8"),
    )


def trail(narrator: Narrator, cast: Cast) -> None:
    """The audit trail is whole."""
    narrator.step(
        "fhirserver verify-audit recomputes every chain of the trail",
        "intact",
        lambda: "intact" if json.loads(cast.demo.operator.run("verify-audit", "--json"))["intact"] else "broken",
    )


CHAPTERS: Final[tuple[Callable[[Narrator, Cast], None], ...]] = (
    sending,
    declared_doctor,
    stranger,
    patient_sees,
    block,
    gift,
    refusal,
    trail,
)


# --------------------------------------------------------------------------------------- what came, in a few words


def _entry_statuses(answer: Answer) -> list[str]:
    return [entry["response"]["status"] for entry in answer.expect(200).json()["entry"]]


def _stored(answer: Answer) -> tuple[int, int, int]:
    """Status, and how many instances were stored and failed."""
    told = answer.json()
    stored = told.get(_REFERENCED_SEQUENCE, {}).get("Value", [])
    return answer.status, len(stored), len(told.get(_FAILED_SEQUENCE, {}).get("Value", []))


def _refused(answer: Answer) -> tuple[int, int, list[int]]:
    """Status, how many instances were stored, and why the others were not."""
    told = answer.json()
    failed = told.get(_FAILED_SEQUENCE, {}).get("Value", [])
    stored = told.get(_REFERENCED_SEQUENCE, {}).get("Value", [])
    return answer.status, len(stored), [item[_FAILURE_REASON]["Value"][0] for item in failed]


def _find_study(cast: Cast) -> list[int]:
    found = resources_of(cast.hospital.search("ImagingStudy", identifier=f"urn:dicom:uid|urn:oid:{cast.study_uid}"))
    if found:
        cast.known["study"] = f"ImagingStudy/{found[0]['id']}"
    return [study["numberOfInstances"] for study in found]


def _studies(caller: Caller, cast: Cast) -> list[str]:
    found = resources_of(caller.search("ImagingStudy", patient=cast.subject, _sort="-started"))
    return [f"ImagingStudy/{study['id']}" for study in found]


def _counted(caller: Caller, cast: Cast) -> tuple[int, list[str]]:
    answer = caller.search("ImagingStudy", patient=cast.subject, _total="accurate").expect(200)
    return answer.json()["total"], [f"ImagingStudy/{study['id']}" for study in resources_of(answer)]


def _dicom_studies(caller: Caller, cast: Cast) -> list[str]:
    answer = caller.studies(StudyInstanceUID=cast.study_uid).expect(200, 204)
    found = answer.json() if answer.body else []
    return [item["0020000D"]["Value"][0] for item in found]


def _sent(cast: Cast) -> Dataset:
    return dcmread(io.BytesIO(bytes.fromhex(cast.known["file"])))


def _retrieve(caller: Caller, cast: Cast) -> Answer:
    sent = _sent(cast)
    return caller.instance(cast.study_uid, sent.SeriesInstanceUID, sent.SOPInstanceUID)


def _pixels(caller: Caller, cast: Cast) -> str:
    came = dcmread(io.BytesIO(_retrieve(caller, cast).expect(200).body))
    return "the same pixels" if (came.pixel_array == _sent(cast).pixel_array).all() else "other pixels"


def _same_answer(refused: Answer, absent: Answer, asked: str, unknown: str) -> tuple[int, str]:
    """Whether a refusal reads as absence does, the name that was asked for apart."""
    is_same = refused.status == absent.status and refused.body.replace(asked.encode(), b"") == absent.body.replace(
        unknown.encode(), b""
    )
    return refused.status, "the same answer" if is_same else "an answer of its own"


def _say(cast: Cast, name: str, consent: Mapping[str, Any]) -> int:
    answer = cast.patient.post({key: value for key, value in consent.items() if key != "id"})
    if answer.status == 201:
        cast.known[name] = json.dumps(answer.json())
    return answer.status


def _withdraw(cast: Cast, name: str) -> int:
    return cast.patient.put({**json.loads(cast.known[name]), "status": "inactive"}).status


def _trail(caller: Caller, cast: Cast) -> list[dict[str, Any]]:
    answer = caller.search("AuditEvent", patient=cast.subject, _sort="-date", _count="200")
    return [] if answer.status == 403 else resources_of(answer)


def _who_looked(caller: Caller, cast: Cast) -> dict[str, str]:
    """Of the two doctors: who read the exam, and who was refused it."""
    seen = {}
    for event in _trail(caller, cast):
        names = {agent["who"].get("reference") for agent in event["agent"] if agent.get("requestor")}
        about = json.dumps(event["entity"])
        if cast.known["study"] not in about and cast.known["report"] not in about:
            continue
        for name in names & {"Practitioner/durand", "Practitioner/muller"}:
            seen[name] = "read" if event["outcome"] == "0" else "refused"
    return dict(sorted(seen.items()))


def _outcomes(caller: Caller, cast: Cast, type_: str, outcome: str) -> str:
    """The reason of the newest event of a type with an outcome."""
    for event in _trail(caller, cast):
        if event["type"]["code"] == type_ and event["outcome"] == outcome:
            return str(event.get("outcomeDesc"))
    return "no such event"
