"""Worked examples of the policy over HTTP: each exam is open, or closed, by FHIR, by QIDO-RS and by WADO-RS alike.

Closed means: as if it did not exist, in the same bytes. The same examples are decided four ways in
`tests/consent/scenarios`; the numbers are those of the examples that the policy was written from.
"""

from __future__ import annotations

import io
import itertools
import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from flask import Flask
from pydicom import dcmread
from pydicom.uid import generate_uid

from consent.release import EXTENSION
from fhirserver.config import Config
from fhirserver.oauth.access_token import Claims, issue
from fhirserver.oauth.bearer import COMMAND_LINE
from fhirserver.oauth.keys import SigningKeys
from fhirserver.store.database import Database
from tests.fhirserver.dicomweb.conftest import Caller, Person, instance

TODAY = datetime.now(ZoneInfo("Europe/Paris")).date()
YESTERDAY, TOMORROW = (TODAY + timedelta(days=days) for days in (-1, 1))
PHYSICIAN = "urn:oid:1.2.250.1.71.1.2.7|10"
BASE, GRANT, RESTRICTION, OPPOSITION = (
    f"urn:fhirserver:policy:{name}" for name in ("base", "grant", "restriction", "opposition")
)
TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
RECIPIENT = {"coding": [{"system": f"{TERMINOLOGY}/v3-ParticipationType", "code": "IRCP"}]}
VISIBILITY = "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument"
IMAGES = 'multipart/related; type="application/dicom"; transfer-syntax=*'

_NAMES = itertools.count(1)


@dataclass(frozen=True)
class Exam:
    """A study with one instance: its UID, the id of its ImagingStudy, and the resource as it was."""

    uid: str
    id: str
    resource: dict[str, Any]


@dataclass
class World:
    """What a test writes, and who asks."""

    his: Caller
    operator: Caller
    patient: Person
    app: Flask
    config: Config
    names: dict[str, str] = field(default_factory=dict)

    def doctor(
        self,
        organization: str | None = "Organization/e1",
        purpose: str | None = None,
        *,
        of: str = "x",
        scope: str = "",
    ) -> Caller:
        """A professional of this test alone."""
        return self.token(self.person(of), organization, purpose, scope or "user/*.cruds")

    def person(self, of: str = "x") -> str:
        """The Practitioner of that name in this test."""
        if of not in self.names:
            self.names[of] = f"Practitioner/w{next(_NAMES)}"
            id_ = self.names[of].partition("/")[2]
            self.operator.put({"resourceType": "Practitioner", "id": id_, "active": True})
        return self.names[of]

    def token(self, who: str, organization: str | None, purpose: str | None, scope: str) -> Caller:
        claims = Claims(who, COMMAND_LINE, scope, purpose, organization, person=who)
        token, _ = issue(SigningKeys.load(), self.config, claims, datetime.now(UTC))
        return Caller(self.app.test_client(), token)

    def physician(self, of: str = "x", purpose: str = "BTG") -> Caller:
        """The same, with the profession of a physician in Organization/e1."""
        system, _, code = PHYSICIAN.partition("|")
        self.write(
            {
                "resourceType": "PractitionerRole",
                "practitioner": {"reference": self.person(of)},
                "organization": {"reference": "Organization/e1"},
                "code": [{"coding": [{"system": system, "code": code}]}],
            }
        )
        return self.doctor(purpose=purpose, of=of)

    def exam(self, **more: Any) -> Exam:
        """A study of the patient, sent by STOW-RS; `more` are elements that its ImagingStudy is given by FHIR."""
        file = instance(self.patient)
        assert self.his.store(file).status_code == 200
        uid = dcmread(io.BytesIO(file), stop_before_pixels=True).StudyInstanceUID
        found = self.his.fhir(f"ImagingStudy?identifier=urn:dicom:uid|urn:oid:{uid}")["entry"][0]["resource"]
        return Exam(uid, found["id"], self.his.put({**found, **more}) if more else found)

    def write(self, resource: dict[str, Any]) -> str:
        """Write a resource by the hospital; its reference."""
        made = self.his.put({"id": uuid.uuid4().hex, **resource})
        return f"{made['resourceType']}/{made['id']}"

    def team(self, *participants: dict[str, Any], **more: Any) -> str:
        """A care team of the patient, or with subject None of nobody."""
        team = {
            "resourceType": "CareTeam",
            "status": "active",
            "subject": {"reference": self.patient.reference},
            "participant": list(participants),
            **more,
        }
        return self.write({name: value for name, value in team.items() if value})

    def consent(self, policy: str, kind: str, *actors: str, **provision: Any) -> str:
        """A Consent of the patient."""
        named = [{"role": RECIPIENT, "reference": {"reference": actor}} for actor in actors]
        return self.write(
            {
                "resourceType": "Consent",
                "status": "active",
                "scope": {"coding": [{"system": f"{TERMINOLOGY}/consentscope", "code": "patient-privacy"}]},
                "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
                "patient": {"reference": self.patient.reference},
                "dateTime": "2026-11-01",
                "performer": [{"reference": self.patient.reference}],
                "policy": [{"uri": policy}],
                "provision": {"type": kind, **({"actor": named} if actors else {}), **provision},
            }
        )

    def representative(self, code: str, born: str, **more: Any) -> Caller:
        """Who represents the patient, whose birth date is changed to `born`."""
        person = self.his.fhir(self.patient.reference)
        self.his.put({**person, "birthDate": born})
        relation = {
            "resourceType": "RelatedPerson",
            "patient": {"reference": self.patient.reference},
            "relationship": [{"coding": [{"system": f"{TERMINOLOGY}/v3-RoleCode", "code": code}]}],
            **more,
        }
        return self.token(self.write(relation), None, None, "user/*.cruds")


@pytest.fixture
def world(his: Caller, operator: Caller, patient: Person, app: Flask, config: Config) -> World:
    return World(his, operator, patient, app, config)


def answers(who: Caller, uid: str, id_: str) -> dict[str, tuple[int, str]]:
    """Status and text of every way to an exam, with its own names taken out."""
    asked = {
        "read": who.ask("GET", f"/fhir/ImagingStudy/{id_}"),
        "vread": who.ask("GET", f"/fhir/ImagingStudy/{id_}/_history/1"),
        "history": who.ask("GET", f"/fhir/ImagingStudy/{id_}/_history"),
        "conditional read": who.ask("GET", f"/fhir/ImagingStudy/{id_}", If_None_Match='W/"1"'),
        "search": who.ask("GET", f"/fhir/ImagingStudy?identifier=urn:dicom:uid|urn:oid:{uid}"),
        "total": who.ask("GET", f"/fhir/ImagingStudy?_id={id_}&_summary=count"),
        "studies": who.get(f"/studies?StudyInstanceUID={uid}"),
        "series": who.get(f"/studies/{uid}/series"),
        "instances": who.get(f"/instances?StudyInstanceUID={uid}"),
        "metadata": who.get(f"/studies/{uid}/metadata"),
        "images": who.get(f"/studies/{uid}", Accept=IMAGES),
    }
    return {way: (answer.status_code, _plain(answer.data, uid, id_)) for way, answer in asked.items()}


def _plain(body: bytes, uid: str, id_: str) -> str:
    text = body.decode("latin-1").replace(uid, "(uid)").replace(id_, "(id)")
    return re.sub(r'"(lastUpdated|id)":"[^"]*"', r'"\1":"-"', text)


SHOWN = {
    "total": lambda text: '"total":1' in text,
    "search": lambda text: '"total":1' in text,
    "studies": lambda text: "(uid)" in text,
    "series": lambda text: len(text) > 2,
    "instances": lambda text: "(uid)" in text,
}


def is_open(who: Caller, exam: Exam, *, but: str = "") -> bool:
    """Whether every way (but one) shows the exam; else none may, and each answers as for an exam that never was."""
    found = answers(who, exam.uid, exam.id)
    found.pop(but, None)
    shown = {
        way for way, (status, text) in found.items() if status in {200, 304} and (way not in SHOWN or SHOWN[way](text))
    }
    if shown == set(found):
        return True
    assert shown == set(), f"only some ways show it: {sorted(shown)}"
    never = answers(who, generate_uid()[: len(exam.uid)].ljust(len(exam.uid), "1"), "0" * len(exam.id))
    never.pop(but, None)
    assert found == never
    return False


def member(reference: str, *, start: Any = None, end: Any = None, **more: Any) -> dict[str, Any]:
    bounds = {name: str(value) for name, value in (("start", start), ("end", end)) if value is not None}
    return {"member": {"reference": reference}, **({"period": bounds} if bounds else {}), **more}


# ----------------------------------------------------------------------------------------------------------- care teams


@pytest.mark.parametrize(
    ("number", "participation", "team", "expected"),
    [
        (1, {"start": YESTERDAY}, {}, True),
        (2, {"start": "2020-01-01", "end": YESTERDAY}, {}, False),
        (3, {"start": "2020-01-01", "end": TODAY}, {}, True),
        (4, {"start": YESTERDAY}, {"status": "suspended"}, False),
        (5, {"start": YESTERDAY}, {"status": None}, False),
        ("1, tomorrow", {"start": TOMORROW}, {}, False),
        ("1, of an ended team", {}, {"period": {"end": str(YESTERDAY)}}, False),
    ],
)
def test_a_participant_reads_while_team_and_participation_are_in_force(
    world: World, number: Any, participation: dict[str, Any], team: dict[str, Any], expected: bool
):
    exam = world.exam()
    world.team(member(world.person(), **participation), **team)
    assert is_open(world.doctor(), exam) is expected, number


def test_6_and_7_an_organisation_counts_for_who_acts_for_it(world: World):
    exam = world.exam()
    world.team(member("Organization/e2"))
    assert is_open(world.doctor("Organization/e2"), exam)
    assert not is_open(world.doctor("Organization/e1"), exam)
    assert not is_open(world.doctor(None), exam)


@pytest.mark.parametrize(("end", "expected"), [(None, True), (YESTERDAY, False)])
def test_8_an_inner_team_counts_while_it_lasts(world: World, end: Any, expected: bool):
    exam = world.exam()
    more = {} if end is None else {"period": {"end": str(end)}}
    inner = world.team(member(world.person()), **more, subject=None)
    world.team(member(inner))
    assert is_open(world.doctor(), exam) is expected


def test_9_two_teams_that_refer_to_each_other_open_nothing(world: World):
    exam = world.exam()
    one = world.team()
    other = world.team(member(one))
    world.his.put({**world.his.fhir(one), "participant": [member(other)]})
    assert not is_open(world.doctor(), exam)


def test_10_who_interpreted_an_exam_reads_the_record_for_ninety_days(world: World):
    prior = world.exam()
    assert not is_open(world.doctor(), prior)
    interpreted = world.exam(interpreter=[{"reference": world.person()}], started=str(YESTERDAY))
    assert is_open(world.doctor(), interpreted)
    assert is_open(world.doctor(), prior)
    world.his.put({**world.his.fhir(f"ImagingStudy/{interpreted.id}"), "started": "2024-01-01"})
    assert is_open(world.doctor(), interpreted, but="vread")  # its first version did not say who interpreted it
    assert not is_open(world.doctor(), prior)


# ------------------------------------------------------------------------------------------------------------- consents


def test_11_a_block_beats_the_organisation(world: World):
    exam = world.exam()
    world.team(member("Organization/e1"))
    assert is_open(world.doctor(), exam)
    world.consent(RESTRICTION, "deny", world.person())
    assert not is_open(world.doctor(), exam)


def test_13_a_mask_of_one_exam_leaves_the_other(world: World):
    masked, other = world.exam(), world.exam()
    world.team(member(world.person()))
    world.consent(BASE, "permit")
    world.consent(RESTRICTION, "deny", data=[{"meaning": "instance", "reference": _of(masked)}])
    assert not is_open(world.doctor(), masked)
    assert is_open(world.doctor(), other)


def test_14_a_deny_of_the_organisation_beats_a_permit_of_the_person(world: World):
    exam = world.exam()
    world.team(member(world.person()))
    world.consent(GRANT, "permit", world.person())
    assert is_open(world.doctor("Organization/e2"), exam)
    world.consent(RESTRICTION, "deny", "Organization/e2")
    assert not is_open(world.doctor("Organization/e2"), exam)
    assert is_open(world.doctor("Organization/e1"), exam)


def test_15_and_16_a_record_closed_but_for_emergencies_opens_in_a_session_of_the_group(world: World):
    exam = world.exam()
    physician = world.physician()
    group = world.write(
        {
            "resourceType": "Group",
            "type": "practitioner",
            "actual": True,
            "member": [{"entity": {"reference": world.person()}}],
        }
    )
    actor = [{"role": RECIPIENT, "reference": {"reference": group}}]
    btg = [{"system": f"{TERMINOLOGY}/v3-ActReason", "code": "BTG"}]
    world.consent(BASE, "deny", provision=[{"type": "permit", "actor": actor, "purpose": btg}])
    assert not is_open(world.doctor(purpose="TREAT"), exam)
    assert break_glass(physician, world).status_code == 200
    assert is_open(physician, exam)
    assert not is_open(world.doctor(purpose="TREAT"), exam)


def test_17_an_objection_to_emergencies_is_told_and_opens_nothing(world: World):
    exam = world.exam()
    physician = world.physician()
    world.consent(RESTRICTION, "deny", purpose=[_reason("ETREAT"), _reason("BTG")])
    refused = break_glass(physician, world)
    assert refused.status_code == 403
    assert "objected" in refused.text
    assert not is_open(physician, exam)


def test_18_a_deny_of_treatment_does_not_speak_of_emergencies(world: World):
    exam = world.exam()
    physician = world.physician()
    world.consent(RESTRICTION, "deny", world.person(), purpose=[_reason("TREAT")])
    assert break_glass(physician, world).status_code == 200
    assert is_open(physician, exam)
    world.consent(RESTRICTION, "deny", world.person())
    assert not is_open(physician, exam)


def test_19_a_base_permit_opens_nothing_to_strangers(world: World):
    exam = world.exam()
    world.consent(BASE, "permit", purpose=[_reason("TREAT")])
    assert not is_open(world.doctor(), exam)


def test_20_a_masked_exam_is_not_listed_in_an_emergency(world: World):
    masked, other = world.exam(meta=_label(VISIBILITY, "MASQUE_PS")), world.exam()
    physician = world.physician()
    assert break_glass(physician, world).status_code == 200
    assert is_open(physician, other)
    assert not is_open(physician, masked)


def test_21_a_session_is_of_one_professional_and_a_token_in_other_hands_opens_what_its_holder_may(world: World):
    exam = world.exam()
    physician, colleague = world.physician(), world.physician("colleague")
    session = break_glass(physician, world).json["parameter"][0]["valueString"]
    for path in (f"/fhir/ImagingStudy/{exam.id}", f"/dicomweb/studies/{exam.uid}/metadata"):
        assert colleague.ask("GET", path, X_Request_Id=session).status_code == 404
    assert not is_open(colleague, exam)
    ended = colleague.ask(
        "POST",
        f"/fhir/{world.patient.reference}/$break-glass-end",
        b'{"resourceType":"Parameters"}',
        Content_Type="application/fhir+json",
    )
    assert ended.status_code == 404
    assert is_open(physician, exam)


def test_22_a_session_ends_after_an_hour(world: World, database: Database):
    exam = world.exam()
    physician = world.physician()
    break_glass(physician, world)
    wanted = {"patient": world.patient.reference}
    database.emergencies.update_one(wanted, {"$set": {"until": datetime.now(UTC) - timedelta(minutes=1)}})
    assert not is_open(physician, exam)


def test_24_a_purpose_of_payment_is_forbidden_whatever_is_there(world: World):
    exam = world.exam()
    world.team(member(world.person()))
    told = answers(world.doctor(purpose="HPAYMT"), exam.uid, exam.id)
    assert {status for status, _ in told.values()} == {403}


def test_25_an_occupational_physician_is_forbidden_also_with_a_grant(world: World):
    exam = world.exam()
    world.consent(GRANT, "permit", world.person())
    assert is_open(world.doctor(), exam)
    world.write(
        {
            "resourceType": "PractitionerRole",
            "practitioner": {"reference": world.person()},
            "organization": {"reference": "Organization/e1"},
            "specialty": [{"coding": [{"system": "urn:oid:1.2.250.1.71.4.2.5", "code": "SM25"}]}],
        }
    )
    assert {status for status, _ in answers(world.doctor(), exam.uid, exam.id).values()} == {403}
    assert is_open(world.doctor("Organization/e2"), exam)  # in another activity


# ------------------------------------------------------------------------------------------------- patients and parents


def test_26_an_exam_hidden_from_the_person_is_not_there_for_them(world: World, caller: Callable[..., Caller]):
    exam = world.exam()
    person = caller(world.patient.reference)
    assert is_open(person, exam)
    world.his.put({**exam.resource, "meta": _label(VISIBILITY, "INVISIBLE_PATIENT")})
    assert not is_open(person, exam)


@pytest.mark.parametrize(("minutes", "expected"), [(-1, True), (60, False)])
def test_27_an_exam_is_there_for_the_person_from_its_release(
    world: World, caller: Callable[..., Caller], minutes: int, expected: bool
):
    instant = (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat(timespec="seconds")
    exam = world.exam(extension=[{"url": EXTENSION, "valueInstant": instant}])
    world.team(member(world.person()))
    assert is_open(caller(world.patient.reference), exam) is expected
    assert is_open(world.doctor(), exam)


def test_30_who_was_given_an_exam_keeps_it_when_it_is_hidden_from_the_person(
    world: World, caller: Callable[..., Caller]
):
    exam = world.exam()
    world.consent(GRANT, "permit", world.person(), data=[{"meaning": "instance", "reference": _of(exam)}])
    world.his.put({**exam.resource, "meta": _label(VISIBILITY, "INVISIBLE_PATIENT")})
    assert is_open(world.doctor(), exam)
    assert not is_open(caller(world.patient.reference), exam)


def test_31_to_34_a_mother_reads_until_majority_but_for_what_is_hidden_from_her(
    world: World, caller: Callable[..., Caller]
):
    exam = world.exam()
    hidden = world.exam(meta=_label(VISIBILITY, "INVISIBLE_REPRESENTANTS_LEGAUX"))
    mother = world.representative("MTH", f"{TODAY.year - 16}-01-01")
    assert is_open(mother, exam)
    assert not is_open(mother, hidden)
    assert is_open(caller(world.patient.reference), hidden)
    person = world.his.fhir(world.patient.reference)
    world.his.put({**person, "birthDate": str(YESTERDAY.replace(year=YESTERDAY.year - 18))})
    assert not is_open(mother, exam)


@pytest.mark.parametrize(("end", "expected"), [(TOMORROW, True), (YESTERDAY, False)])
def test_35_a_guardian_reads_while_the_measure_lasts(world: World, end: Any, expected: bool):
    exam = world.exam()
    guardian = world.representative("GUARD", "1950-01-01", period={"start": "2020-01-01", "end": str(end)})
    assert is_open(guardian, exam) is expected


# --------------------------------------------------------------------------------------------------- sharing and labels


def test_37_and_38_an_opposition_hides_every_exam_and_keeps_new_ones_out_region_wide(
    world: World, other_his: Caller, caller: Callable[..., Caller]
):
    exam = world.exam()
    world.team(member(world.person()))
    world.consent(OPPOSITION, "deny")
    for who in (world.doctor(), world.his, caller(world.patient.reference)):
        assert not is_open(who, exam)
    assert world.his.store(instance(world.patient)).status_code == 409
    person = world.his.fhir(world.patient.reference)
    national = next(one["value"] for one in person["identifier"] if "213" in one["system"])
    twin = {**person, "id": uuid.uuid4().hex, "identifier": [{**person["identifier"][1], "value": national}]}
    other_his.put({name: value for name, value in twin.items() if name != "meta"})
    issuer = "1.2.250.1.213.1.4.10"
    refused = other_his.store(instance(Person(national, ""), IssuerOfPatientID=issuer))
    assert refused.status_code == 409


def test_43_a_scope_with_a_search_constraint_grants_nothing(world: World):
    exam = world.exam()
    world.team(member(world.person()))
    told = answers(world.doctor(scope="user/ImagingStudy.rs?modality=MR"), exam.uid, exam.id)
    assert {status for status, _ in told.values()} == {403}


def test_44_a_token_launched_for_another_patient_opens_nothing(world: World, caller: Callable[..., Caller]):
    exam = world.exam()
    world.team(member(world.person()))
    who = world.person()
    claims = Claims(who, COMMAND_LINE, "patient/*.rs", None, "Organization/e1", person=who, patient="another")
    token, _ = issue(SigningKeys.load(), world.config, claims, datetime.now(UTC))
    assert not is_open(Caller(world.app.test_client(), token), exam)


@pytest.mark.parametrize(("kind", "policy", "expected"), [("deny", RESTRICTION, False), ("permit", BASE, False)])
def test_45_and_46_what_is_not_understood_denies_and_does_not_permit(
    world: World, kind: str, policy: str, expected: bool
):
    exam = world.exam()
    world.team(member(world.person()))
    assert is_open(world.doctor(), exam)
    world.consent(policy, kind, securityLabel=[{"system": "urn:unknown", "code": "X"}])
    assert is_open(world.doctor(), exam) is expected


def test_49_a_label_is_opened_to_the_one_whom_a_nested_permit_names(world: World):
    exam = world.exam(meta=_label(f"{TERMINOLOGY}/v3-Confidentiality", "R"))
    world.team(member(world.person()), member(world.person("other")))
    actor = [{"role": RECIPIENT, "reference": {"reference": world.person()}}]
    labels = {name: [{"system": f"{TERMINOLOGY}/v3-Confidentiality", "code": name}] for name in ("N", "R")}
    nested = [{"type": "permit", "actor": actor, "securityLabel": labels["R"]}]
    world.consent(BASE, "permit", securityLabel=labels["N"], provision=nested)
    assert is_open(world.doctor(), exam)
    assert not is_open(world.doctor(of="other"), exam)


# -------------------------------------------------------------------------------------------- systems and other callers


def test_55_an_establishment_reads_what_it_sent_whatever_others_consented(world: World, other_his: Caller):
    exam = world.exam()
    world.consent(GRANT, "permit", "Organization/e2")
    assert is_open(world.his, exam)
    assert not is_open(other_his, exam)


def test_56_and_57_an_operator_and_an_auditor_see_nothing_clinical_and_reading_the_trail_is_traced(
    world: World, caller: Callable[..., Caller], audit_of: Callable[[], list[dict[str, Any]]]
):
    exam = world.exam()
    assert not is_open(world.operator, exam)
    auditor = caller("Client/worked-auditor", category="auditor")
    assert not is_open(auditor, exam)
    assert auditor.fhir("AuditEvent?_count=1&_sort=-date")["entry"]
    told = json.dumps(audit_of()[-1])
    assert "Client/worked-auditor" in told
    assert "AuditEvent" in told


def test_58_a_block_counts_for_a_token_that_is_alive(world: World):
    exam = world.exam()
    world.team(member(world.person()))
    doctor = world.doctor()
    assert is_open(doctor, exam)
    block = world.consent(RESTRICTION, "deny", world.person())
    assert not is_open(doctor, exam)
    world.his.put({**world.his.fhir(block), "status": "inactive"})
    assert is_open(doctor, exam)


def test_59_a_transfer_that_began_before_a_block_is_finished_and_the_next_is_refused(world: World):
    exam = world.exam()
    world.team(member(world.person()))
    doctor = world.doctor()
    begun = doctor.http.open(
        f"/dicomweb/studies/{exam.uid}",
        headers={"Authorization": f"Bearer {doctor.token}", "Accept": IMAGES},
        buffered=False,
    )
    assert begun.status_code == 200
    world.consent(RESTRICTION, "deny", world.person())
    assert b"DICM" in begun.data
    assert not is_open(doctor, exam)


def break_glass(who: Caller, world: World) -> Any:
    """Begin a session for the patient of the world."""
    values = [
        {"name": "mode", "valueCode": "bris_de_glace"},
        {"name": "reasonCode", "valueCoding": {"system": "urn:reasons", "code": "unconscious"}},
        {"name": "reason", "valueString": "Found unconscious, no relatives to be reached."},
        {"name": "cannotConsent", "valueBoolean": True},
    ]
    body = json.dumps({"resourceType": "Parameters", "parameter": values}).encode()
    return who.ask("POST", f"/fhir/{world.patient.reference}/$break-glass", body, Content_Type="application/fhir+json")


def _of(exam: Exam) -> dict[str, str]:
    return {"reference": f"ImagingStudy/{exam.id}"}


def _reason(code: str) -> dict[str, str]:
    return {"system": f"{TERMINOLOGY}/v3-ActReason", "code": code}


def _label(system: str, code: str) -> dict[str, Any]:
    return {"security": [{"system": system, "code": code}]}
