"""What an establishment might write to reach a record that is not its own; each is refused, and opens nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fhirserver.errors import FhirError, NotFound, TooCostly, Unprocessable
from fhirserver.search.expression import Always
from fhirserver.search.query import Query
from fhirserver.store.identities import MOST_LINKS
from fhirserver.store.resource_store import ResourceStore
from resources.validation import check
from tests.conftest import Region

EVERY = Query("ImagingStudy", Always(), 20)
THEIRS = "Organization/e2"
RECIPIENT = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]}


@pytest.fixture(scope="module")
def record(region: Region) -> Region:
    """Patient/p of e1 with a study, followed through a role and an inner team; e2 has nothing of it."""
    region.put({"resourceType": "Patient", "id": "p"})
    region.put(study("s"))
    region.put(role("r"))
    region.put({"resourceType": "CareTeam", "id": "inner", "status": "active"})
    region.put(team("outer", "PractitionerRole/r", "CareTeam/inner"))
    return region


def study(id_: str, patient: str = "Patient/p") -> dict[str, Any]:
    return {"resourceType": "ImagingStudy", "id": id_, "status": "available", "subject": {"reference": patient}}


def role(id_: str, practitioner: str = "Practitioner/d", organization: str = "Organization/e1") -> dict[str, Any]:
    return {
        "resourceType": "PractitionerRole",
        "id": id_,
        "practitioner": {"reference": practitioner},
        "organization": {"reference": organization},
    }


def team(id_: str, *members: str) -> dict[str, Any]:
    return {
        "resourceType": "CareTeam",
        "id": id_,
        "status": "active",
        "subject": {"reference": "Patient/p"},
        "participant": [{"member": {"reference": member}} for member in members],
    }


def test_a_deleted_id_stays_with_the_establishment_it_was(record: Region) -> None:
    record.put({"resourceType": "Patient", "id": "left"})
    record.put(role("left"))
    client = record.store("Client/e1", organization="Organization/e1")
    client.transact(lambda unit: unit.delete("Patient", "left"))
    client.transact(lambda unit: unit.delete("PractitionerRole", "left"))
    with pytest.raises(NotFound):
        record.put({"resourceType": "Patient", "id": "left"}, by=THEIRS)
    with pytest.raises(NotFound):
        record.put(role("left", "Practitioner/spy", THEIRS), by=THEIRS)
    assert record.put({"resourceType": "Patient", "id": "left"}).facts["custodians"] == ["Organization/e1"]


@pytest.mark.parametrize("claimed", ["PractitionerRole/none", "CareTeam/none"])
def test_a_team_cannot_name_a_role_or_team_that_somebody_could_claim(record: Region, claimed: str) -> None:
    with pytest.raises(Unprocessable):
        record.put(team("claimable", claimed))


def test_a_role_is_written_by_the_organisation_in_which_it_is_held(record: Region) -> None:
    with pytest.raises(Unprocessable):
        record.put(role("foreign", "Practitioner/d", "Organization/e1"), by=THEIRS)
    nowhere = role("nowhere")
    del nowhere["organization"]
    with pytest.raises(Unprocessable):
        record.put(nowhere, by=THEIRS)


def test_nobody_is_added_to_anothers_role_team_or_group(record: Region) -> None:
    for resource in (role("r", "Practitioner/spy", THEIRS), team("outer", "Practitioner/spy")):
        with pytest.raises(FhirError):
            record.put(resource, by=THEIRS)
    assert record.store("Practitioner/spy", organization=THEIRS).count(EVERY) == 0


def test_an_establishment_that_holds_something_of_a_patient_reads_the_patient_and_does_not_write_them(
    record: Region,
) -> None:

    access = record.access("Client/e2", organization=THEIRS)
    body = b'{"resourceType":"ImagingStudy","status":"available","subject":{"reference":"Patient/p"}}'

    def work(unit: Any) -> None:
        unit.identify("Patient/p")
        unit.create(check("ImagingStudy", body))

    ResourceStore(record.database, access, record.config).transact(work)
    assert record.store("Client/e2", organization=THEIRS).read("Patient", "p").version == 1
    with pytest.raises(NotFound):
        record.put({"resourceType": "Patient", "id": "p", "gender": "other"}, by=THEIRS)
    with pytest.raises(NotFound):
        record.store("Client/e2", organization=THEIRS).transact(lambda unit: unit.delete("Patient", "p"))


@pytest.mark.parametrize("reference", ["http://fhir.example/fhir/Patient/p", "Patient/p/_history/1"])
def test_a_consent_counts_however_its_patient_is_referred_to(record: Region, reference: str) -> None:
    doctor = "Practitioner/d"
    assert record.store(doctor, organization="Organization/e1").count(EVERY) > 0
    consent = {
        "resourceType": "Consent",
        "id": "block",
        "status": "active",
        "scope": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]
        },
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": reference},
        "dateTime": "2026-11-24T09:00:00+01:00",
        "performer": [{"reference": "Patient/p"}],
        "policy": [{"uri": "urn:fhirserver:policy:restriction"}],
        "provision": {
            "type": "deny",
            "actor": [
                {
                    "role": {
                        "coding": [
                            {"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}
                        ]
                    },
                    "reference": {"reference": doctor},
                }
            ],
        },
    }
    record.put(consent)
    assert record.store(doctor, organization="Organization/e1").count(EVERY) == 0
    record.put({**consent, "status": "inactive"})
    elsewhere = {"identifier": {"system": "urn:oid:1.2.3", "value": "7"}}
    with pytest.raises(Unprocessable):
        record.put({**consent, "id": "nobody", "patient": elsewhere})


def test_a_binary_is_neither_included_nor_read_in_a_transaction_without_what_it_hangs_on(record: Region) -> None:
    restricted = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
    report = {
        "resourceType": "DiagnosticReport",
        "id": "rr",
        "status": "final",
        "code": {"text": "report"},
        "subject": {"reference": "Patient/p"},
    }
    record.put(report)
    binary = {"resourceType": "Binary", "id": "b", "contentType": "text/plain", "data": "AAAA"}
    record.put({**binary, "securityContext": {"reference": "DiagnosticReport/rr"}})
    doctor = record.store("Practitioner/d", organization="Organization/e1")
    assert doctor.transact(lambda unit: unit.read("Binary", "b")).id == "b"
    record.put({**report, "meta": {"security": [restricted]}})
    with pytest.raises(NotFound):
        doctor.transact(lambda unit: unit.read("Binary", "b"))


def test_who_leaves_a_group_written_with_absolute_references_has_left_it(record: Region) -> None:
    group = {
        "resourceType": "Group",
        "id": "g",
        "type": "practitioner",
        "actual": True,
        "member": [{"entity": {"reference": "http://fhir.example/fhir/Practitioner/m"}}],
    }
    record.put(group)
    assert "Group/g" in record.access("Practitioner/m").actor.keys
    record.put({**group, "member": [{"entity": {"reference": "Practitioner/other"}}]})
    assert "Group/g" not in record.access("Practitioner/m").actor.keys


def test_groups_are_reached_through_roles_and_groups_in_them(record: Region) -> None:
    record.put(role("grouped", "Practitioner/g"))
    group = {"resourceType": "Group", "type": "practitioner", "actual": True}
    record.put({**group, "id": "of-roles", "member": [{"entity": {"reference": "PractitionerRole/grouped"}}]})
    record.put({**group, "id": "of-groups", "member": [{"entity": {"reference": "Group/of-roles"}}]})
    keys = record.access("Practitioner/g", organization="Organization/e1").actor.keys
    assert {"PractitionerRole/grouped", "Group/of-roles", "Group/of-groups"} <= keys


def names_in(record: Region, organization: str) -> frozenset[str]:
    return record.access("Practitioner/of-a-unit", organization=organization).actor.keys


def test_only_the_operator_says_of_what_an_organisation_is_a_part(record: Region) -> None:
    record.database.descends = True
    try:
        unit = {"resourceType": "Organization", "id": "unit", "partOf": {"reference": "Organization/e1"}}
        record.put({**unit, "name": "unit"}, by="operator")
        assert "Organization/e1" in names_in(record, "Organization/unit")
        assert "Organization/unit" not in names_in(record, "Organization/e1")
        own = {"resourceType": "Organization", "id": "e9", "name": "e9", "partOf": {"reference": "Organization/e1"}}
        record.put(own, by="Organization/e9")
        assert "Organization/e1" not in names_in(record, "Organization/e9")
        record.put({"resourceType": "Organization", "id": "unit", "name": "unit"}, by="operator")
        assert "Organization/e1" not in names_in(record, "Organization/unit")
    finally:
        record.database.descends = False


def test_nothing_descends_unless_the_region_wants_it(record: Region) -> None:
    unit = {"resourceType": "Organization", "id": "second", "name": "x", "partOf": {"reference": "Organization/e1"}}
    record.put(unit, by="operator")
    assert "Organization/e1" not in names_in(record, "Organization/second")


REPLACES = "urn:fhirserver:extension:replaces"


def substitution(id_: str, **more: Any) -> dict[str, Any]:
    return {
        **role(id_, "Practitioner/stand-in"),
        "extension": [{"url": REPLACES, "valueReference": {"reference": "Practitioner/d"}}],
        "period": {"start": "2026-11-20", "end": "2026-11-30"},
        **more,
    }


def stands_in(record: Region, organization: str = "Organization/e1") -> bool:
    return "Practitioner/d" in record.access("Practitioner/stand-in", organization=organization).actor.keys


def test_a_substitution_that_the_operator_records_counts_from_the_next_request_until_it_is_taken_back(
    record: Region,
) -> None:
    assert not stands_in(record)
    record.put(substitution("stand-in"), by="operator")
    assert stands_in(record)
    assert not stands_in(record, THEIRS)
    keys = record.access("Practitioner/stand-in", organization="Organization/e1").actor.keys
    assert {"PractitionerRole/r", "PractitionerRole/stand-in"} <= keys
    seen = record.store("Practitioner/stand-in", organization="Organization/e1")
    assert seen.read("ImagingStudy", "s").id == "s"
    record.put(substitution("stand-in", active=False), by="operator")
    assert not stands_in(record)


@pytest.mark.parametrize("by", ["Organization/e1", THEIRS])
def test_no_establishment_records_a_substitution(record: Region, by: str) -> None:
    with pytest.raises(Unprocessable, match="operator"):
        record.put(substitution("forged", organization={"reference": by}), by=by)
    own = role("later", "Practitioner/stand-in", by)
    record.put({**own, "id": f"later-{by[-2:]}"}, by=by)
    with pytest.raises(Unprocessable, match="operator"):
        record.put(substitution(f"later-{by[-2:]}", organization={"reference": by}), by=by)
    assert not stands_in(record)


@pytest.mark.parametrize(
    ("more", "element"),
    [
        ({"period": {"start": "2026-11-20"}}, "period.end"),
        ({"period": {"end": "2026-11-20"}}, "period.start"),
        ({"period": None}, "period.start"),
        ({"organization": None}, "organization"),
        ({"practitioner": {"reference": "Practitioner/d"}}, "extension"),
        ({"practitioner": {"display": "somebody"}}, "practitioner"),
        ({"extension": [{"url": REPLACES, "valueString": "Practitioner/d"}]}, "extension"),
        ({"extension": [{"url": REPLACES, "valueReference": {"reference": "Organization/e1"}}]}, "extension"),
        ({"extension": [{"url": REPLACES, "valueReference": {"reference": "Practitioner/d"}}] * 2}, "extension"),
    ],
)
def test_a_substitution_says_who_for_whom_where_and_from_when_to_when(
    record: Region, more: dict[str, Any], element: str
) -> None:
    stated = {name: value for name, value in substitution("bad", **more).items() if value is not None}
    with pytest.raises(Unprocessable) as refusal:
        record.put(stated, by="operator")
    assert f"PractitionerRole.{element}" in {issue.expression for issue in refusal.value.issues}


_NAMES = {"Organization": "Squatted", "Practitioner": [{"family": "Squatted"}]}

INS = {"system": "urn:oid:1.2.250.1.213.1.4.10", "value": "1"}


def opposition(patient: str, status: str = "active") -> dict[str, Any]:
    scope = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]}
    return {
        "resourceType": "Consent",
        "id": f"opposition-{patient.partition('/')[2]}",
        "status": status,
        "scope": scope,
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": patient},
        "dateTime": "2026-11-24T09:00:00+01:00",
        "performer": [{"reference": patient}],
        "policy": [{"uri": "urn:fhirserver:policy:opposition"}],
        "provision": {"type": "deny"},
    }


def test_an_opposition_counts_for_every_record_of_the_person_until_it_is_withdrawn(region: Region) -> None:
    first, second = {"id": "person-1", "identifier": [INS]}, {"id": "person-2", "identifier": [INS]}
    region.put({"resourceType": "Patient", **first})
    region.put({"resourceType": "Patient", **second}, by=THEIRS)
    region.put(study("person-2-before", "Patient/person-2"), by=THEIRS)
    patient = region.store("Patient/person-2")
    assert patient.count(EVERY) == 1
    region.put(opposition("Patient/person-1"))
    assert region.store("Patient/person-2").count(EVERY) == 0
    with pytest.raises(FhirError):
        region.put(study("person-2-after", "Patient/person-2"), by=THEIRS)
    region.put(opposition("Patient/person-1", "inactive"))
    assert region.store("Patient/person-2").count(EVERY) == 1


def test_an_opposition_counts_for_a_record_that_is_made_afterwards(region: Region) -> None:
    known = {**INS, "value": "2"}
    region.put({"resourceType": "Patient", "id": "known", "identifier": [known]})
    region.put(opposition("Patient/known"))
    region.put({"resourceType": "Patient", "id": "again", "identifier": [known]}, by=THEIRS)
    with pytest.raises(FhirError):
        region.put(study("again-s", "Patient/again"), by=THEIRS)


def linked(id_: str, other: str | None, type_: str = "replaced-by", **more: Any) -> dict[str, Any]:
    link = {} if other is None else {"link": [{"other": {"reference": other}, "type": type_}]}
    return {"resourceType": "Patient", "id": id_, **link, **more}


@pytest.mark.parametrize("type_", ["replaced-by", "replaces", "refer", "seealso"])
@pytest.mark.parametrize("refusing", ["kept", "merged"])
def test_54_what_a_person_refuses_on_one_record_counts_for_the_one_it_is_merged_with(
    region: Region, type_: str, refusing: str
) -> None:
    kept, merged = (f"{name}-{refusing}-{type_}" for name in ("kept", "merged"))
    for id_ in (kept, merged):
        region.put({"resourceType": "Patient", "id": id_})
        region.put(study(f"of-{id_}", f"Patient/{id_}"))
    said = f"Patient/{kept if refusing == 'kept' else merged}"
    other = f"Patient/{merged if refusing == 'kept' else kept}"
    region.put(opposition(said))
    assert region.store(other).count(EVERY) == 1
    region.put(linked(merged, f"Patient/{kept}", type_))
    assert region.store(other).count(EVERY) == 0
    region.put(linked(merged, None))
    assert region.store(other).count(EVERY) == 0  # it was said that they are one person
    region.put(opposition(said, "inactive"))
    assert region.store(other).count(EVERY) == 1


def test_a_refusal_that_comes_after_a_merge_counts_for_both_and_for_who_else_is_that_person(region: Region) -> None:
    known = {**INS, "value": "merged"}
    for id_, more in (("m-kept", {"identifier": [known]}), ("m-gone", {})):
        region.put({"resourceType": "Patient", "id": id_, **more})
    region.put({"resourceType": "Patient", "id": "m-far", "identifier": [known]}, by=THEIRS)
    region.put(study("m-far-s", "Patient/m-far"), by=THEIRS)
    region.put(linked("m-gone", "Patient/m-kept"))
    region.put(opposition("Patient/m-gone"))
    assert region.store("Patient/m-far").count(EVERY) == 0
    with pytest.raises(FhirError):
        region.put(study("m-kept-s", "Patient/m-kept"))


def test_a_merge_opens_nothing(region: Region) -> None:
    for id_ in ("o-kept", "o-gone"):
        region.put({"resourceType": "Patient", "id": id_})
        region.put(study(f"{id_}-s", f"Patient/{id_}"))
    opened = {**team("o-team", "Practitioner/merger"), "subject": {"reference": "Patient/o-kept"}}
    region.put(opened)
    region.put(linked("o-gone", "Patient/o-kept"))
    assert region.store("Practitioner/merger").count(EVERY) == 1


def test_nobody_links_a_patient_whom_they_do_not_know_and_absent_looks_the_same(region: Region) -> None:
    region.put({"resourceType": "Patient", "id": "not-theirs"})
    region.put(study("not-theirs-s", "Patient/not-theirs"))
    region.put({"resourceType": "Patient", "id": "decoy-2"}, by=THEIRS)
    region.put(opposition("Patient/decoy-2"), by=THEIRS)
    for other in ("Patient/not-theirs", "Patient/never-was"):
        with pytest.raises(Unprocessable, match=f"^{other} is not known.$"):
            region.put(linked("decoy-2", other), by=THEIRS)
    assert region.store("Patient/not-theirs").count(EVERY) == 1


@pytest.mark.parametrize("is_said_before", [True, False])
def test_what_joins_two_merged_records_joins_all_that_were_merged_into_them(
    region: Region, is_said_before: bool
) -> None:
    names = [f"j-{name}-{is_said_before}" for name in ("one", "into-one", "two", "into-two")]
    for id_ in names:
        region.put({"resourceType": "Patient", "id": id_})
        region.put(study(f"{id_}-s", f"Patient/{id_}"))
    one, into_one, two, into_two = names
    if is_said_before:
        region.put(opposition(f"Patient/{into_one}"))
    region.put(linked(into_one, f"Patient/{one}"))
    region.put(linked(into_two, f"Patient/{two}"))
    region.put(linked(two, f"Patient/{one}"))
    if not is_said_before:
        region.put(opposition(f"Patient/{into_one}"))
    assert [region.store(f"Patient/{id_}").count(EVERY) for id_ in names] == [0, 0, 0, 0]
    region.put(opposition(f"Patient/{into_one}", "inactive"))
    assert [region.store(f"Patient/{id_}").count(EVERY) for id_ in names] == [1, 1, 1, 1]


def test_two_national_identifiers_on_one_record_join_those_that_have_either(region: Region) -> None:
    first, second = {**INS, "value": "first"}, {**INS, "value": "second"}
    for id_, known in (("i-first", first), ("i-second", second), ("i-both", first)):
        region.put({"resourceType": "Patient", "id": id_, "identifier": [known]})
        region.put(study(f"{id_}-s", f"Patient/{id_}"))
    region.put({"resourceType": "Patient", "id": "i-both", "identifier": [first, second]})
    region.put(opposition("Patient/i-first"))
    for id_ in ("i-first", "i-second", "i-both"):
        assert region.store(f"Patient/{id_}").count(EVERY) == 0


def test_a_link_to_a_record_of_somebody_else_tells_nothing_of_its_refusals_to_the_rest_of_a_transaction(
    region: Region,
) -> None:
    region.put({"resourceType": "Patient", "id": "opposed"})
    region.put(opposition("Patient/opposed"))
    region.put({"resourceType": "Patient", "id": "decoy-3"}, by=THEIRS)
    exam = {"resourceType": "ImagingStudy", "status": "available", "subject": {"reference": "Patient/decoy-3"}}
    client = region.store("Client/e2", organization=THEIRS)
    for other in ("Patient/opposed", "Patient/never-was"):
        decoy = linked("decoy-3", other)

        def work(unit: Any, decoy: dict[str, Any] = decoy) -> None:
            unit.update(check("Patient", json.dumps(decoy).encode()), "decoy-3")
            unit.create(check("ImagingStudy", json.dumps(exam).encode()))

        with pytest.raises(Unprocessable, match=f"^{other} is not known.$"):
            client.transact(work)


def test_nobody_learns_by_a_link_which_other_records_are_of_the_same_person(region: Region) -> None:
    for id_ in ("k-shared", "k-far"):
        region.put({"resourceType": "Patient", "id": id_})
    region.put(linked("k-shared", "Patient/k-far"))
    region.put({"resourceType": "Patient", "id": "k-own", "identifier": [{**INS, "value": "k"}]}, by=THEIRS)
    region.put({**linked("k-shared", "Patient/k-far"), "identifier": [{**INS, "value": "k"}]})
    with pytest.raises(Unprocessable, match=r"^Patient/k-far is not known\.$"):
        region.put(linked("k-own", "Patient/k-far"), by=THEIRS)


def test_an_identifier_that_looks_like_a_link_is_none(region: Region) -> None:
    for id_ in ("f-kept", "f-gone"):
        region.put({"resourceType": "Patient", "id": id_})
        region.put(study(f"{id_}-s", f"Patient/{id_}"))
    region.put(linked("f-gone", "Patient/f-kept"))
    forged = {"system": "urn:fhirserver:record", "value": "Patient/f-kept"}
    region.put({"resourceType": "Patient", "id": "f-forged", "identifier": [forged]}, by=THEIRS)
    region.put(opposition("Patient/f-forged"), by=THEIRS)
    assert region.store("Patient/f-kept").count(EVERY) == region.store("Patient/f-gone").count(EVERY) == 1


def test_a_patient_is_linked_to_a_bounded_number_of_others(region: Region) -> None:
    region.put({"resourceType": "Patient", "id": "many"})
    others = [{"other": {"reference": f"Patient/many-{each}"}, "type": "seealso"} for each in range(MOST_LINKS + 1)]
    with pytest.raises(TooCostly):
        region.put({"resourceType": "Patient", "id": "many", "link": others})
    with pytest.raises(Unprocessable):
        region.put({"resourceType": "Patient", "id": "many", "link": others[1:]})


def test_a_link_that_stands_does_not_hinder_a_later_change(region: Region) -> None:
    region.put({"resourceType": "Patient", "id": "l-kept"})
    region.put(linked("l-gone", "Patient/l-kept"))
    region.store("Client/e1", organization="Organization/e1").transact(lambda unit: unit.delete("Patient", "l-kept"))
    assert region.put(linked("l-gone", "Patient/l-kept", gender="female")).version == 2


def test_what_a_person_opens_stays_with_the_record_it_was_said_of(region: Region) -> None:
    person = {**INS, "value": "3"}
    region.put({"resourceType": "Patient", "id": "real", "identifier": [person]})
    region.put(study("real-s", "Patient/real"))
    region.put({"resourceType": "Patient", "id": "decoy", "identifier": [person]}, by=THEIRS)
    grant = {
        **opposition("Patient/decoy"),
        "policy": [{"uri": "urn:fhirserver:policy:grant"}],
        "provision": {"type": "permit", "actor": [{"role": RECIPIENT, "reference": {"reference": "Practitioner/spy"}}]},
    }
    region.put(grant, by=THEIRS)
    assert region.store("Practitioner/spy", organization=THEIRS).count(EVERY) == 0


@pytest.mark.parametrize("type_", ["Organization", "Practitioner"])
def test_an_establishment_chooses_no_id_that_a_token_might_name(region: Region, type_: str) -> None:
    with pytest.raises(Unprocessable):
        region.put({"resourceType": type_, "id": "squatted", "active": False, "name": _NAMES[type_]}, by=THEIRS)


def test_an_establishment_writes_its_own_organization(region: Region) -> None:
    assert region.put({"resourceType": "Organization", "id": "e2", "name": "Itself"}, by=THEIRS).version == 1


def test_an_attempt_to_write_about_a_stranger_is_noted_for_that_patient(record: Region) -> None:
    access = record.access("Client/e3", organization="Organization/e3")
    body = b'{"resourceType":"ImagingStudy","status":"available","subject":{"reference":"Patient/p"}}'
    with pytest.raises(Unprocessable):
        ResourceStore(record.database, access, record.config).transact(
            lambda unit: unit.create(check("ImagingStudy", body))
        )
    assert (access.decisions[-1].patients, access.decisions[-1].decision.code) == (("Patient/p",), "no-relationship")
