"""Who sees what through the store: reads, searches, versions and counts agree, at once and at any instant."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fhirserver.errors import Forbidden, Gone, NotFound, Unprocessable
from fhirserver.search.expression import Always
from fhirserver.search.query import Query
from fhirserver.store.versions import Span
from resources.validation import check
from tests.conftest import NOW, Region

EVERY = Query("ImagingStudy", Always(), 20)
DOCTOR = "Practitioner/declared"
STRANGER = "Practitioner/stranger"


def study(id_: str, patient: str = "Patient/ada", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "ImagingStudy",
        "id": id_,
        "status": "available",
        "subject": {"reference": patient},
        "started": "2026-11-20T10:00:00+01:00",
        **more,
    }


def team(*participants: dict[str, Any], id_: str = "team", status: str = "active", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "CareTeam",
        "id": id_,
        "status": status,
        "subject": {"reference": "Patient/ada"},
        "participant": list(participants),
        **more,
    }


def member(reference: str, **more: Any) -> dict[str, Any]:
    return {"member": {"reference": reference}, **more}


def consent(id_: str, family: str, provision: dict[str, Any], status: str = "active") -> dict[str, Any]:
    return {
        "resourceType": "Consent",
        "id": id_,
        "status": status,
        "scope": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]
        },
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": "Patient/ada"},
        "dateTime": "2026-11-24T09:00:00+01:00",
        "performer": [{"reference": "Patient/ada"}],
        "organization": [{"reference": "Organization/e1"}],
        "policy": [{"uri": f"urn:fhirserver:policy:{family}"}],
        "provision": provision,
    }


def blocking(reference: str) -> dict[str, Any]:
    role = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]}
    return {"type": "deny", "actor": [{"role": role, "reference": {"reference": reference}}]}


@pytest.fixture(scope="module")
def record(region: Region) -> Region:
    """Ada's record at establishment e1: one study, one care team of one doctor."""
    region.put({"resourceType": "Patient", "id": "ada"})
    region.put(study("a"))
    region.put(team(member(DOCTOR)))
    return region


def test_a_declared_doctor_reads_and_finds_the_study(record: Region) -> None:
    store = record.store(DOCTOR)
    assert store.read("ImagingStudy", "a").version == 1
    found = [row.id for row in store.search(EVERY).rows]
    assert "a" in found
    assert store.count(EVERY) == len(found)


def test_a_stranger_finds_nothing_not_even_a_count(record: Region) -> None:
    store = record.store(STRANGER)
    with pytest.raises(NotFound):
        store.read("ImagingStudy", "a")
    page = store.search(EVERY)
    assert (page.rows, page.total, page.next) == ([], 0, None)
    assert store.count(EVERY) == 0


def test_a_refused_read_says_what_an_absent_one_says(record: Region) -> None:
    store = record.store(STRANGER)
    with pytest.raises(NotFound) as refused:
        store.read("ImagingStudy", "a")
    with pytest.raises(NotFound) as absent:
        store.read("ImagingStudy", "b")
    assert refused.value.diagnostics.replace("/a", "/b") == absent.value.diagnostics


def test_the_patient_sees_their_own_study_and_no_one_elses(record: Region) -> None:
    own = record.store("Patient/ada").search(EVERY).rows
    assert {row.patients for row in own} == {("Patient/ada",)}
    assert record.store("Patient/bob").count(EVERY) == 0


def test_another_establishment_sees_nothing_of_what_it_did_not_write(record: Region) -> None:
    assert record.store("Client/e2", organization="Organization/e2").count(EVERY) == 0


def test_a_doctor_declared_later_sees_what_was_there_before(record: Region) -> None:
    late = "Practitioner/late"
    assert record.store(late).count(EVERY) == 0
    record.put(team(member(late), id_="later"))
    assert record.store(late).read("ImagingStudy", "a").version == 1


def test_a_participation_counts_within_its_period_only(record: Region) -> None:
    doctor = "Practitioner/visiting"
    record.put(team(member(doctor, period={"start": "2026-11-20", "end": "2026-11-24"}), id_="visit"))
    last_moment = datetime(2026, 11, 24, 22, 59, 59, tzinfo=UTC)
    assert record.store(doctor, now=last_moment).count(EVERY) > 0
    assert record.store(doctor, now=last_moment + timedelta(seconds=1)).count(EVERY) == 0


def test_a_block_takes_effect_in_the_next_request_and_ends_with_its_withdrawal(record: Region) -> None:
    doctor = "Practitioner/blocked"
    record.put(team(member(doctor), id_="blocked-team"))
    store = record.store(doctor)
    assert store.count(EVERY) > 0
    record.put(consent("block", "restriction", blocking(doctor)))
    assert record.store(doctor).count(EVERY) == 0
    with pytest.raises(NotFound):
        record.store(doctor).read("ImagingStudy", "a")
    record.put(consent("block", "restriction", blocking(doctor), status="inactive"))
    assert record.store(doctor).count(EVERY) > 0


def test_a_grant_of_one_study_opens_that_study_only(record: Region) -> None:
    doctor = "Practitioner/granted"
    record.put(study("granted"))
    provision = blocking(doctor) | {
        "type": "permit",
        "data": [{"meaning": "instance", "reference": {"reference": "ImagingStudy/granted"}}],
    }
    record.put(consent("grant", "grant", provision))
    assert [row.id for row in record.store(doctor).search(EVERY).rows] == ["granted"]


def test_a_member_organisation_counts_for_the_activity_chosen(record: Region) -> None:
    doctor = "Practitioner/of-clinic"
    record.put(team(member("Organization/clinic"), id_="clinic-team"))
    assert record.store(doctor, organization="Organization/clinic").count(EVERY) > 0
    assert record.store(doctor, organization="Organization/other").count(EVERY) == 0


def test_a_team_within_a_team_is_followed_live(record: Region) -> None:
    doctor = "Practitioner/nested"
    record.put({"resourceType": "CareTeam", "id": "inner", "status": "active", "participant": [member(doctor)]})
    record.put(team(member("CareTeam/inner"), id_="outer"))
    assert record.store(doctor).count(EVERY) > 0
    record.put({"resourceType": "CareTeam", "id": "inner", "status": "inactive", "participant": [member(doctor)]})
    assert record.store(doctor).count(EVERY) == 0


def test_who_performed_an_exam_treats_the_patient_for_ninety_days(record: Region) -> None:
    radiologist = "Practitioner/radiologist"
    record.put(study("performed", interpreter=[{"reference": radiologist}]))
    start = datetime(2026, 11, 20, 9, tzinfo=UTC)
    assert record.store(radiologist, now=start + timedelta(days=89)).count(EVERY) > 1
    after = record.store(radiologist, now=start + timedelta(days=91))
    assert [row.id for row in after.search(EVERY).rows] == ["performed"]


def minor(record: Region, id_: str, birth_date: str) -> str:
    """A child with a study and a mother, whose reference is returned."""
    record.put({"resourceType": "Patient", "id": id_, "birthDate": birth_date})
    record.put(study(f"of-{id_}", patient=f"Patient/{id_}"))
    mother = {
        "resourceType": "RelatedPerson",
        "id": f"mother-of-{id_}",
        "active": True,
        "patient": {"reference": f"Patient/{id_}"},
        "relationship": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "MTH"}]}],
    }
    record.put(mother)
    return f"RelatedPerson/{mother['id']}"


def test_a_parent_reads_until_the_child_comes_of_age(record: Region) -> None:
    mother = minor(record, "child", "2008-11-25")
    majority = datetime(2026, 11, 24, 23, tzinfo=UTC)
    assert record.store(mother, now=majority - timedelta(seconds=1)).count(EVERY) == 1
    assert record.store(mother, now=majority).count(EVERY) == 0


def test_a_corrected_birth_date_moves_the_end_of_authority(record: Region) -> None:
    mother = minor(record, "corrected", "2015-01-01")
    assert record.store(mother).count(EVERY) == 1
    record.put({"resourceType": "Patient", "id": "corrected", "birthDate": "2000-01-01"})
    assert record.store(mother).count(EVERY) == 0


def test_an_opposition_hides_what_is_there_and_stops_what_comes(record: Region) -> None:
    record.put({"resourceType": "Patient", "id": "opposed"})
    record.put(study("before", patient="Patient/opposed"))
    opposition = consent("opposition", "opposition", {"type": "deny"}) | {"patient": {"reference": "Patient/opposed"}}
    record.put(opposition)
    assert record.store("Patient/opposed").count(EVERY) == 0
    with pytest.raises(Forbidden):
        record.put(study("after", patient="Patient/opposed"))
    with pytest.raises(NotFound):
        record.store("Client/e1", organization="Organization/e1").read("ImagingStudy", "after")


def test_a_deleted_study_is_gone_for_those_who_could_read_it_and_absent_for_others(record: Region) -> None:
    record.put(study("deleted"))
    client = record.store("Client/e1", organization="Organization/e1")
    client.transact(lambda unit: unit.delete("ImagingStudy", "deleted"))
    with pytest.raises(Gone):
        record.store(DOCTOR).read("ImagingStudy", "deleted")
    with pytest.raises(NotFound):
        record.store(STRANGER).read("ImagingStudy", "deleted")
    assert "deleted" not in [row.id for row in record.store(DOCTOR).search(EVERY).rows]


def test_an_old_version_is_disclosed_if_its_own_labels_permit_too(record: Region) -> None:
    restricted = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
    record.put(study("labelled", meta={"security": [restricted]}))
    record.put(study("labelled"))
    store = record.store(DOCTOR)
    assert store.vread("ImagingStudy", "labelled", 2).version == 2
    with pytest.raises(NotFound):
        store.vread("ImagingStudy", "labelled", 1)
    assert [row.version for row in store.history("ImagingStudy", "labelled", Span(10)).rows] == [2]


def test_a_study_of_two_patients_needs_both(record: Region) -> None:
    region = record
    region.put({"resourceType": "Patient", "id": "twin"})
    group = {
        "resourceType": "Provenance",
        "id": "two",
        "target": [{"reference": "Patient/ada"}, {"reference": "Patient/twin"}],
        "recorded": "2026-11-24T09:00:00Z",
        "agent": [{"who": {"reference": "Organization/e1"}}],
    }
    region.put(group)
    with pytest.raises(NotFound):
        region.store(DOCTOR).read("Provenance", "two")


def test_nobody_declares_a_care_team_for_a_patient_they_do_not_know(record: Region) -> None:
    with pytest.raises(Unprocessable):
        record.put(team(member("Practitioner/friend"), id_="foreign"), by="Organization/e2")
    with pytest.raises(Unprocessable):
        record.put(
            team(member("Practitioner/friend"), id_="early") | {"subject": {"reference": "Patient/not-yet"}},
            by="Organization/e2",
        )


def test_what_an_establishment_writes_is_its_own_whatever_it_sent(record: Region) -> None:
    row = record.put(study("custody"))
    assert row.facts["custodians"] == ["Organization/e1"]
    body = check(
        "ImagingStudy", b'{"resourceType":"ImagingStudy","status":"cancelled","subject":{"reference":"Patient/ada"}}'
    )
    with pytest.raises(NotFound):
        record.store("Client/e2", organization="Organization/e2").transact(lambda unit: unit.update(body, "custody"))


def test_every_refusal_is_noted_with_its_reason(record: Region) -> None:
    access = record.access(STRANGER)
    store = record.store(STRANGER)
    store._access = access
    with pytest.raises(NotFound):
        store.read("ImagingStudy", "a")
    noted = access.decisions[-1]
    assert (noted.patients, noted.decision.effect, noted.decision.code) == (("Patient/ada",), "deny", "no-relationship")


def test_the_instant_of_the_region_is_the_one_of_the_examples() -> None:
    assert NOW.isoformat() == "2026-11-24T09:00:00+00:00"


def test_a_consent_that_could_not_be_enforced_is_refused_with_the_element_named(record: Region) -> None:
    with pytest.raises(Unprocessable) as refused:
        record.put(consent("untyped", "grant", {"actor": blocking("Practitioner/x")["actor"]}))
    assert refused.value.issues[0].expression == "Consent.provision.type"


def test_a_grant_to_an_insurer_is_refused_at_write(record: Region) -> None:
    insurer = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/organization-type", "code": "ins"}]}]
    record.put({"resourceType": "Organization", "id": "insurer", "name": "Insurer", "type": insurer}, by="operator")
    with pytest.raises(Unprocessable) as refused:
        record.put(consent("sold", "grant", blocking("Organization/insurer") | {"type": "permit"}))
    assert refused.value.issues[0].expression == "Consent.provision.actor[0].reference"


def test_a_reference_by_this_servers_own_address_makes_the_same_record(record: Region) -> None:
    record.put(study("absolute", patient="http://fhir.example/fhir/Patient/ada"))
    assert record.store(DOCTOR).read("ImagingStudy", "absolute").patients == ("Patient/ada",)


def test_a_binary_is_read_by_who_may_read_what_it_hangs_on(record: Region) -> None:
    document = {
        "resourceType": "DocumentReference",
        "id": "document",
        "status": "current",
        "subject": {"reference": "Patient/ada"},
        "content": [{"attachment": {"url": "Binary/scan"}}],
    }
    record.put(document)
    binary = {"resourceType": "Binary", "id": "scan", "contentType": "application/pdf", "data": "AAAA"}
    record.put(binary | {"securityContext": {"reference": "DocumentReference/document"}})
    assert record.store(DOCTOR).read("Binary", "scan").version == 1
    with pytest.raises(NotFound):
        record.store(STRANGER).read("Binary", "scan")
    restricted = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
    record.put(document | {"meta": {"security": [restricted]}})
    with pytest.raises(NotFound):
        record.store(DOCTOR).read("Binary", "scan")


def test_a_binary_without_a_context_is_its_establishments_alone(record: Region) -> None:
    record.put({"resourceType": "Binary", "id": "bare", "contentType": "text/plain", "data": "AAAA"})
    assert record.store("Client/e1", organization="Organization/e1").read("Binary", "bare").version == 1
    with pytest.raises(NotFound):
        record.store(DOCTOR).read("Binary", "bare")


def test_a_binary_cannot_be_hung_on_what_its_writer_may_not_read(record: Region) -> None:
    binary = {"resourceType": "Binary", "id": "theirs", "contentType": "text/plain", "data": "AAAA"}
    with pytest.raises(Unprocessable):
        record.put(binary | {"securityContext": {"reference": "ImagingStudy/a"}}, by="Organization/e2")


def test_nobody_prepares_an_access_to_a_patient_who_is_not_here_yet(record: Region) -> None:
    performed = study("prepared", patient="Patient/to-come", interpreter=[{"reference": "Practitioner/spy"}])
    with pytest.raises(Unprocessable):
        record.put(performed, by="Organization/e2")


def test_a_patient_blocks_a_doctor_themselves_and_lets_them_back_in(record: Region) -> None:
    doctor = "Practitioner/excluded"
    record.put(team(member(doctor), id_="excluded-team"))
    body = {key: value for key, value in consent("", "restriction", blocking(doctor)).items() if key != "id"}
    ada = record.store("Patient/ada")
    row = ada.transact(lambda unit: unit.create(check("Consent", json.dumps(body).encode())))
    assert record.store(doctor).count(EVERY) == 0
    withdrawn = check("Consent", json.dumps(body | {"id": row.id, "status": "inactive"}).encode())
    ada.transact(lambda unit: unit.update(withdrawn, row.id))
    assert record.store(doctor).count(EVERY) > 0


def test_a_patient_gives_no_consent_in_anothers_name(record: Region) -> None:
    body = {key: value for key, value in consent("", "restriction", blocking("Practitioner/x")).items() if key != "id"}
    with pytest.raises(Forbidden):
        record.store("Patient/bob").transact(lambda unit: unit.create(check("Consent", json.dumps(body).encode())))
