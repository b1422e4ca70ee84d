"""Only members of the network send, by whatever route, and from the next request on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fhirserver.config import Config
from tests.fhirserver.rest.conftest import issues_of

REGION = "Organization/region"
MEMBER = {"coding": [{"system": "http://hl7.org/fhir/organization-role", "code": "member"}]}


@pytest.fixture(scope="module")
def config(config: Config) -> Config:
    """A server of one network."""
    return replace(config, network=REGION)


def affiliation(id_, member, **more):
    return {
        "resourceType": "OrganizationAffiliation",
        "id": id_,
        "participatingOrganization": {"reference": member},
        "network": [{"reference": REGION}],
        "code": [MEMBER],
        **more,
    }


@pytest.fixture
def adhere(operator):
    """Let the operator write the one affiliation of Organization/e1."""

    def write(**more):
        response = operator.put("OrganizationAffiliation/e1", affiliation("e1", "Organization/e1", **more))
        assert response.status_code in {200, 201}, response.text

    write()
    return write


@pytest.fixture
def second(operator):
    """Organization/e2 is a member, too, for one test."""
    operator.put("OrganizationAffiliation/e2", affiliation("e2", "Organization/e2"))
    yield
    operator.delete("OrganizationAffiliation/e2")


LEFT = {"period": {"start": "2026-01-01", "end": "2026-02-01"}}


def writes(his, patient, team):
    """Every way in which a system writes: the status of each."""
    study = {"resourceType": "ImagingStudy", "status": "available", "subject": {"reference": patient}}
    there = f"CareTeam/{team['id']}"
    patch = b'[{"op": "replace", "path": "/status", "value": "active"}]'
    meta = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"tag": [{"code": "x"}]}}]}

    def bundle(type_):
        entry = [{"request": {"method": "POST", "url": "ImagingStudy"}, "resource": study}]
        return his.post("", {"resourceType": "Bundle", "type": type_, "entry": entry})

    yield "create", his.post("ImagingStudy", study).status_code
    yield "create if", his.post("ImagingStudy", study, If_None_Exist="identifier=urn:x|none").status_code
    yield "create Patient", his.post("Patient", {"resourceType": "Patient"}).status_code
    yield "create Organization", his.post("Organization", {"resourceType": "Organization", "name": "x"}).status_code
    yield "update", his.put(there, {**team, "name": "other"}).status_code
    yield "update as create", his.put("ImagingStudy/chosen", {**study, "id": "chosen"}).status_code
    yield "update if", his.put(f"CareTeam?_id={team['id']}", {**team, "name": "third"}).status_code
    yield "patch", his.request("PATCH", there, patch, Content_Type="application/json-patch+json").status_code
    yield "$meta-add", his.post(f"{there}/$meta-add", meta).status_code
    yield "transaction", bundle("transaction").status_code
    yield "batch", int(bundle("batch").json["entry"][0]["response"]["status"][:3])
    yield "$opposition", his.post(f"{patient}/$opposition", {"resourceType": "Parameters"}).status_code
    yield (
        "STOW",
        his.http.post(
            "/dicomweb/studies",
            data=b"--b--\r\n",
            headers={
                "Authorization": f"Bearer {his.token}",
                "Content-Type": 'multipart/related; type="application/dicom"; boundary=b',
                "Accept": "application/dicom+json",
            },
        ).status_code,
    )
    yield "delete if", his.delete(f"CareTeam?_id={team['id']}").status_code
    yield "delete", his.delete(there).status_code


def team_of(his, patient):
    return his.make({"resourceType": "CareTeam", "status": "active", "subject": {"reference": patient}})


def test_who_is_no_member_writes_nothing_by_any_route(adhere, his, patient):
    team = team_of(his, patient)
    adhere(**LEFT)
    assert {way: status for way, status in writes(his, patient, team) if status != 403} == {}
    adhere()
    assert his.get(f"CareTeam/{team['id']}").json["meta"]["versionId"] == "1"
    assert his.get(f"ImagingStudy?patient={patient}&_summary=count").json["total"] == 0


def test_a_member_writes_by_every_one_of_them(adhere, his, patient):
    assert [way for way, status in writes(his, patient, team_of(his, patient)) if status == 403] == []


def test_who_left_still_reads_what_it_sent_and_it_stays_shared(adhere, his, doctor, declared):
    study = {"resourceType": "ImagingStudy", "status": "available", "subject": {"reference": declared}}
    made = his.make(study)
    adhere(**LEFT)
    for who in (his, doctor):
        assert who.get(f"ImagingStudy/{made['id']}").status_code == 200
    assert his.post("ImagingStudy", study).status_code == 403


def test_adherence_counts_from_the_next_request_of_a_token_that_is_in_use(adhere, his, operator, patient):
    person = {"resourceType": "Patient"}
    assert his.post("Patient", person).status_code == 201
    operator.delete("OrganizationAffiliation/e1")
    assert his.post("Patient", person).status_code == 403
    adhere(period={"start": "2026-01-01"})
    assert his.post("Patient", person).status_code == 201
    adhere(active=False)
    assert his.post("Patient", person).status_code == 403
    adhere(network=[{"reference": "Organization/e2"}])
    assert his.post("Patient", person).status_code == 403


def test_no_establishment_declares_itself_or_another_one_a_member(adhere, his, other_his):
    his.make(affiliation("own", "Organization/e2"))  # a member writes it, as data
    assert other_his.post("Patient", {"resourceType": "Patient"}).status_code == 403
    assert other_his.post("OrganizationAffiliation", affiliation("mine", "Organization/e2")).status_code == 403


def test_no_establishment_takes_the_id_under_which_the_operator_would_write(adhere, his):
    response = his.put("OrganizationAffiliation/taken", affiliation("taken", "Organization/e2"))
    assert response.status_code == 422
    assert issues_of(response)[0]["expression"] == ["OrganizationAffiliation.id"]


def test_an_affiliation_that_an_establishment_wrote_does_not_count_when_the_operator_changes_it(
    adhere, his, operator, other_his
):
    id_ = his.make(affiliation("own", "Organization/e2"))["id"]
    response = operator.put(f"OrganizationAffiliation/{id_}", affiliation(id_, "Organization/e2", active=True))
    assert response.status_code in {200, 404}, response.text
    assert other_his.post("Patient", {"resourceType": "Patient"}).status_code == 403


def test_the_refusal_is_told_by_its_code_in_the_trail_only(adhere, his, audit_of):
    adhere(**LEFT)
    response = his.post("Patient", {"resourceType": "Patient"})
    [issue] = issues_of(response)
    assert (issue["code"], issue["diagnostics"]) == ("forbidden", "The access token does not cover this request.")
    told = [event for event in audit_of() if event["outcome"] != "0"]
    assert [event["outcomeDesc"] for event in told] == ["not-adherent"]


@pytest.mark.parametrize("payload", ["Organization/e2", "Organization/region"])
def test_the_custodian_is_the_clients_establishment_whatever_the_payload_says(
    adhere, second, his, other_his, patient, payload
):
    document = {
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"reference": patient},
        "custodian": {"reference": payload},
        "authenticator": {"reference": payload},
        "content": [{"attachment": {"contentType": "text/plain"}}],
    }
    entry = [{"request": {"method": "POST", "url": "DocumentReference"}, "resource": document}]
    answer = his.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entry})
    sent = answer.json["entry"][0]["response"]["location"].split("/")[-3]
    made = [
        his.make(document)["id"],
        his.put("DocumentReference/chosen", {**document, "id": "chosen"}).json["id"],
        his.post("DocumentReference", document, If_None_Exist=f"_id=none-{payload[-2:]}").json["id"],
        sent,
    ]
    for id_ in made:
        there = f"DocumentReference/{id_}"
        assert his.get(there).status_code == 200
        assert other_his.get(there).status_code == 404
        assert other_his.put(there, {**document, "id": id_}).status_code == 404
    his.delete("DocumentReference/chosen")


def test_a_change_of_the_payload_moves_nothing_to_another_establishment(adhere, second, his, other_his, patient):
    document = {
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"reference": patient},
        "content": [{"attachment": {"contentType": "text/plain"}}],
    }
    made = his.make(document)
    there = f"DocumentReference/{made['id']}"
    moved = {**made, "custodian": {"reference": "Organization/e2"}}
    patch = b'[{"op": "replace", "path": "/custodian", "value": {"reference": "Organization/e2"}}]'
    assert his.put(there, moved).status_code == 200
    assert his.request("PATCH", there, patch, Content_Type="application/json-patch+json").status_code == 200
    assert other_his.get(there).status_code == 404
    assert his.get(there).status_code == 200
