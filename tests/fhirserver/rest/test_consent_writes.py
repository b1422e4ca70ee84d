"""A Consent that is written among others: base Consents take each other's place, and no grant is void in silence."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fhirserver.rest.conftest import issues_of

BASE, GRANT, RESTRICTION = (f"urn:fhirserver:policy:{name}" for name in ("base", "grant", "restriction"))
SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"
ROLE = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]}


def consent(patient, policy, kind, *, actor=None, given="2026-11-24T10:00:00+01:00", study=None, **more):
    provision = {"type": kind}
    if actor:
        provision["actor"] = [{"role": ROLE, "reference": {"reference": actor}}]
    if study:
        provision["data"] = [{"meaning": "instance", "reference": {"reference": study}}]
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"system": SCOPE, "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": patient},
        "dateTime": given,
        "performer": [{"reference": patient}],
        "policy": [{"uri": policy}],
        "provision": provision,
        **more,
    }


def statuses(his, patient):
    """Every base Consent of a patient by id: status and version."""
    found = his.get(f"Consent?patient={patient}&_count=100").json.get("entry", ())
    return {one["resource"]["id"]: (one["resource"]["status"], one["resource"]["meta"]["versionId"]) for one in found}


@pytest.fixture
def person(caller, declared):
    return caller(declared)


@pytest.fixture
def study(his, declared):
    made = his.make({"resourceType": "ImagingStudy", "status": "available", "subject": {"reference": declared}})
    return f"ImagingStudy/{made['id']}"


def test_a_new_base_consent_takes_the_place_of_the_one_before(his, doctor, person, declared, study):
    refusing = his.make(consent(declared, BASE, "deny", given="2026-11-01"))
    assert doctor.get(study).status_code == 404
    permitting = his.make(consent(declared, BASE, "permit", given="2026-11-02"))
    assert doctor.get(study).status_code == 200
    assert statuses(his, declared) == {refusing["id"]: ("inactive", "2"), permitting["id"]: ("active", "1")}
    earlier = his.get(f"Consent/{refusing['id']}/_history/1").json
    assert (earlier["status"], earlier["provision"]) == ("active", refusing["provision"])
    trail = person.get(f"AuditEvent?entity=Consent/{refusing['id']}&action=U").json
    assert len(trail["entry"]) == 1


def test_one_that_was_given_earlier_takes_no_place_and_the_denying_side_wins(his, doctor, declared, study):
    later = his.make(consent(declared, BASE, "deny", given="2026-11-02"))
    earlier = his.make(consent(declared, BASE, "permit", given="2026-11-01"))
    assert statuses(his, declared) == {later["id"]: ("active", "1"), earlier["id"]: ("active", "1")}
    assert doctor.get(study).status_code == 404


def test_a_change_of_a_base_consent_replaces_nothing_but_itself(his, declared):
    made = his.make(consent(declared, BASE, "deny"))
    changed = his.put(f"Consent/{made['id']}", {**made, "provision": {"type": "permit"}})
    assert changed.json["meta"]["versionId"] == "2"
    assert statuses(his, declared) == {made["id"]: ("active", "2")}


def test_a_base_consent_that_is_no_longer_active_replaces_nothing(his, declared):
    made = his.make(consent(declared, BASE, "permit"))
    his.make(consent(declared, BASE, "deny", status="inactive"))
    assert statuses(his, declared)[made["id"]] == ("active", "1")


def test_consents_of_other_families_stay(his, declared):
    grant = his.make(consent(declared, GRANT, "permit", actor="Practitioner/s"))
    his.make(consent(declared, BASE, "permit"))
    assert statuses(his, declared)[grant["id"]] == ("active", "1")


def test_what_a_replaced_consent_names_may_be_gone(his, declared, doctor):
    team = his.make({"resourceType": "CareTeam", "status": "active", "subject": {"reference": declared}})
    first = his.make(consent(declared, BASE, "permit", actor=f"CareTeam/{team['id']}", given="2026-11-01"))
    his.delete(f"CareTeam/{team['id']}")
    his.make(consent(declared, BASE, "permit", given="2026-11-02"))
    assert statuses(his, declared)[first["id"]] == ("inactive", "2")


def test_a_transaction_with_two_base_consents_of_one_patient_is_refused_whole(his, declared):
    entries = [
        {"request": {"method": "POST", "url": "Consent"}, "resource": consent(declared, BASE, kind)}
        for kind in ("permit", "deny")
    ]
    response = his.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert response.status_code == 409, response.text
    assert statuses(his, declared) == {}


def test_of_base_consents_written_at_once_one_stays_active(his, declared, caller):
    clients = [caller("Client/his-e1", organization="Organization/e1") for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda one: one.post("Consent", consent(declared, BASE, "permit")), clients))
    assert {answer.status_code for answer in answers} == {201}
    found = statuses(his, declared)
    assert (len(found), sorted(status for status, _ in found.values())) == (6, ["active", *["inactive"] * 5])


def test_a_grant_to_somebody_whom_the_person_blocked_is_a_conflict_that_says_what_to_lift(
    person, stranger, declared, study
):
    block = person.make(consent(declared, RESTRICTION, "deny", actor="Practitioner/s"))
    grant = consent(declared, GRANT, "permit", actor="Practitioner/s", study=study)
    response = person.post("Consent", grant)
    assert response.status_code == 409
    [issue] = issues_of(response)
    assert issue["expression"] == ["Consent.provision.actor[0].reference"]
    assert f"Consent/{block['id']}" in issue["diagnostics"]
    person.put(f"Consent/{block['id']}", {**block, "status": "inactive"})
    assert person.post("Consent", grant).status_code == 201
    assert stranger.get(study).status_code == 200


def test_a_grant_of_a_masked_exam_is_a_conflict_and_of_another_it_is_none(person, his, declared, study):
    other = his.make({"resourceType": "ImagingStudy", "status": "available", "subject": {"reference": declared}})
    person.make(consent(declared, RESTRICTION, "deny", study=study))
    refused = person.post("Consent", consent(declared, GRANT, "permit", actor="Practitioner/s", study=study))
    assert refused.status_code == 409
    there = f"ImagingStudy/{other['id']}"
    assert (
        person.post("Consent", consent(declared, GRANT, "permit", actor="Practitioner/s", study=there)).status_code
        == 201
    )


def test_a_later_block_voids_a_grant_without_a_word(person, stranger, declared, study):
    person.make(consent(declared, GRANT, "permit", actor="Practitioner/s", study=study))
    person.make(consent(declared, RESTRICTION, "deny", actor="Practitioner/s"))
    assert stranger.get(study).status_code == 404


def test_an_establishment_is_not_told_whom_the_person_blocked(person, his, stranger, declared, study):
    person.make(consent(declared, RESTRICTION, "deny", actor="Practitioner/s"))
    answer = his.post("Consent", consent(declared, GRANT, "permit", actor="Practitioner/s", study=study))
    assert answer.status_code == 201
    assert stranger.get(study).status_code == 404


@pytest.mark.parametrize("period", [{"start": "2099-01-01"}, {"end": "2020-01-01"}])
def test_a_base_consent_that_is_not_in_force_replaces_nothing(his, doctor, declared, study, period):
    refusing = his.make(consent(declared, BASE, "deny", given="2026-01-01"))
    other = consent(declared, BASE, "permit", given="2026-02-01")
    other["provision"]["period"] = period
    his.make(other)
    assert statuses(his, declared)[refusing["id"]] == ("active", "1")
    assert doctor.get(study).status_code == 404


@pytest.mark.parametrize("named", [{"display": "somebody"}, {"identifier": {"value": "1"}}])
def test_a_base_consent_of_nobody_is_refused(his, declared, named):
    response = his.post("Consent", {**consent(declared, BASE, "deny"), "patient": named})
    assert response.status_code == 422, response.text


def test_a_date_to_come_counts_as_now(his, declared):
    first = his.make(consent(declared, BASE, "deny", given="9998-01-01"))
    his.make(consent(declared, BASE, "permit", given="9999-01-01"))
    assert statuses(his, declared)[first["id"]] == ("inactive", "2")


def test_a_transaction_may_withdraw_the_old_one_itself(his, declared):
    old = his.make(consent(declared, BASE, "deny", given="2026-11-01"))
    address = f"Consent/{old['id']}"
    entries = [
        {"request": {"method": "POST", "url": "Consent"}, "resource": consent(declared, BASE, "permit")},
        {"request": {"method": "PUT", "url": address}, "resource": {**old, "status": "inactive"}},
    ]
    response = his.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert response.status_code == 200, response.text
    assert sorted(statuses(his, declared).values()) == [("active", "1"), ("inactive", "2")]


def test_one_that_the_transaction_sends_back_as_it_is_stays_in_force(his, doctor, declared, study):
    old = his.make(consent(declared, BASE, "deny", given="2026-11-01"))
    address = f"Consent/{old['id']}"
    entries = [
        {"request": {"method": "POST", "url": "Consent"}, "resource": consent(declared, BASE, "permit")},
        {"request": {"method": "PUT", "url": address}, "resource": old},
    ]
    response = his.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert response.status_code == 200, response.text
    assert statuses(his, declared)[old["id"]] == ("active", "1")
    assert doctor.get(study).status_code == 404


def test_a_grant_of_more_than_can_be_looked_at_is_refused(person, declared, study):
    grant = consent(declared, GRANT, "permit", study=study)
    grant["provision"]["actor"] = [
        {"role": ROLE, "reference": {"reference": f"Practitioner/{number}"}} for number in range(51)
    ]
    response = person.post("Consent", grant)
    assert response.status_code == 422
    assert issues_of(response)[0]["expression"] == ["Consent.provision.actor"]


PCF = "https://profiles.ihe.net/ITI/PCF/StructureDefinition/IHE.PCF.consent"


def test_a_consent_that_claims_a_profile_of_pcf_and_does_not_hold_it_is_refused_by_its_elements(his, declared):
    claimed = consent(declared, BASE, "permit", meta={"profile": [f"{PCF}Basic"]})
    response = his.post("Consent", claimed)
    assert response.status_code == 422
    assert [issue["expression"] for issue in issues_of(response)] == [["Consent.organization"], ["Consent.source"]]
    whole = {**claimed, "organization": [{"reference": "Organization/e1"}], "sourceAttachment": {"title": "Signed"}}
    made = his.make(whole)
    changed = {**made, "provision": {"type": "permit", "dataPeriod": {"start": "2024-01-01"}}}
    response = his.put(f"Consent/{made['id']}", changed)
    assert [issue["expression"] for issue in issues_of(response)] == [["Consent.provision.dataPeriod"]]


def test_what_operations_write_claims_a_profile_that_it_holds(his, person, declared, study, stranger):
    body = {"resourceType": "Parameters", "parameter": [{"name": "recipient", "valueString": "Practitioner/s"}]}
    shared = person.post(f"{study}/$share", body).json
    opposed = his.post(f"{declared}/$opposition", {"resourceType": "Parameters"}).json
    assert (shared["meta"]["profile"], opposed["meta"]["profile"]) == ([f"{PCF}Intermediate"], [f"{PCF}Basic"])
    for made in (shared, opposed):
        assert made["sourceAttachment"]["creation"]
        assert made["organization"] == [{"reference": "Organization/e1"}]


@pytest.mark.parametrize("type_", ["CareTeam", "Group"])
def test_a_grant_to_what_is_somebody_elses_is_answered_as_one_to_what_is_not_here(person, other_his, declared, type_):
    made = {
        "CareTeam": {"resourceType": "CareTeam", "status": "active"},
        "Group": {"resourceType": "Group", "type": "practitioner", "actual": True},
    }[type_]
    there = f"{type_}/{other_his.make(made)['id']}"
    answers = []
    for named in (there, f"{type_}/never-was"):
        response = person.post("Consent", consent(declared, GRANT, "permit", actor=named))
        assert response.status_code == 422, response.text
        answers.append(response.text.replace(named, "it"))
    assert answers[0] == answers[1]


def test_an_establishment_does_not_learn_of_another_ones_team_by_naming_it(his, other_his, declared):
    team = other_his.make({"resourceType": "CareTeam", "status": "active"})
    for named in (f"CareTeam/{team['id']}", "CareTeam/never-was"):
        response = his.post("Consent", consent(declared, GRANT, "permit", actor=named))
        assert response.status_code == 422
        assert issues_of(response)[0]["diagnostics"] == f"{named} is not known."


def test_the_person_grants_to_a_team_of_their_own(person, his, declared):
    team = his.make({"resourceType": "CareTeam", "status": "active", "subject": {"reference": declared}})
    assert person.post("Consent", consent(declared, GRANT, "permit", actor=f"CareTeam/{team['id']}")).status_code == 201
