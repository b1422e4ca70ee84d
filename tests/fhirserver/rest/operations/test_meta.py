"""`$meta`, `$meta-add` and `$meta-delete` (https://hl7.org/fhir/R4/resource-operations.html)."""

from __future__ import annotations

import json

import pytest

from tests.fhirserver.rest.conftest import issues_of

HIDDEN = {
    "system": "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument",
    "code": "MASQUE_PS",
}
TAG = {"system": "urn:meta", "code": "one"}
OTHER = {"system": "urn:meta", "code": "two"}


def given(**meta):
    return {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": meta}]}


def meta_of(response):
    assert response.status_code == 200, response.text
    [parameter] = response.json["parameter"]
    assert parameter["name"] == "return"
    return parameter["valueMeta"]


@pytest.fixture
def observation(his, declared):
    body = (
        b'{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject":{"reference":"'
        + declared.encode()
        + b'"},"valueQuantity":{"value":1.50}}'
    )
    response = his.request("POST", "Observation", body)
    return f"Observation/{response.json['id']}"


def test_labels_are_added_once_and_the_rest_keeps_its_bytes(his, observation):
    meta = meta_of(his.post(f"{observation}/$meta-add", given(tag=[TAG, TAG, OTHER], profile=["urn:p"])))
    assert (meta["tag"], meta["profile"], meta["versionId"]) == ([TAG, OTHER], ["urn:p"], "2")
    again = his.post(f"{observation}/$meta-add", given(tag=[{**TAG, "display": "else"}]))
    assert meta_of(again)["versionId"] == "2"
    assert again.headers["ETag"] == 'W/"2"'
    assert '"value":1.50' in his.get(observation).text
    assert meta_of(his.get(f"{observation}/$meta")) == meta


def test_labels_are_taken_away_and_found_no_more(his, observation):
    his.post(f"{observation}/$meta-add", given(tag=[TAG, OTHER]))
    found = lambda: his.get(f"Observation?_id={observation.partition('/')[2]}&_tag=urn:meta|one").json["total"]  # noqa: E731
    assert found() == 1
    meta = meta_of(his.post(f"{observation}/$meta-delete", given(tag=[TAG], profile=["urn:never"])))
    assert meta["tag"] == [OTHER]
    assert found() == 0
    assert "tag" not in meta_of(his.post(f"{observation}/$meta-delete", given(tag=[OTHER])))


def test_a_security_label_counts_from_the_moment_it_is_there(his, doctor, observation):
    assert doctor.get(observation).status_code == 200
    his.post(f"{observation}/$meta-add", given(security=[HIDDEN]))
    assert doctor.get(observation).status_code == 404
    assert doctor.get(f"{observation}/$meta").status_code == 404
    his.post(f"{observation}/$meta-delete", given(security=[HIDDEN]))
    assert doctor.get(observation).status_code == 200


def test_a_writer_who_has_not_seen_a_new_label_cannot_undo_it(his, observation):
    stale = his.get(observation)
    his.post(f"{observation}/$meta-add", given(security=[HIDDEN]))
    response = his.put(observation, stale.data, If_Match=stale.headers["ETag"])
    assert response.status_code == 412
    assert his.get(f"{observation}/_history").json["total"] == 2


def test_if_match_binds_a_change_of_labels(his, observation):
    assert his.post(f"{observation}/$meta-add", given(tag=[TAG]), If_Match='W/"7"').status_code == 412
    assert his.post(f"{observation}/$meta-add", given(tag=[TAG]), If_Match='W/"1"').status_code == 200


@pytest.mark.parametrize(
    "meta", [{"source": "urn:x", "tag": [TAG]}, {"tag": [{"system": "urn:x"}]}, {"security": [{"display": "x"}]}]
)
def test_what_would_be_ignored_is_refused(his, observation, meta):
    response = his.post(f"{observation}/$meta-add", given(**meta))
    assert response.status_code == 422
    assert his.get(observation).headers["ETag"] == 'W/"1"'


@pytest.mark.parametrize("name", ["meta-add", "meta-delete"])
def test_who_may_not_write_changes_no_label_and_learns_nothing(doctor, other_his, observation, name):
    for address in (observation, "Observation/never-was"):
        assert doctor.post(f"{address}/${name}", given(tag=[TAG])).status_code == 403
        response = other_his.post(f"{address}/${name}", given(tag=[TAG]))
        assert response.status_code == 404
        assert issues_of(response)[0]["diagnostics"] == f"{address} is not known."


def test_a_label_that_would_put_the_resource_out_of_the_writers_reach_is_decided_as_an_update(his, observation):
    response = his.post(f"{observation}/$meta-add", given(security=[HIDDEN]))
    assert response.status_code == 200  # the establishment that answers for it sees it still


def test_a_change_of_labels_is_in_the_audit_as_an_update(his, observation, audit_of):
    his.post(f"{observation}/$meta-add", given(tag=[TAG]), X_Request_Id="meta-1")
    [event] = [event for event in audit_of() if "meta-1" in json.dumps(event)]
    assert event["subtype"][0]["code"] == "update"
    assert f"{observation}/_history/2" in json.dumps(event)


@pytest.mark.parametrize("name", ["meta-add", "meta-delete"])
def test_who_may_not_change_labels_is_told_as_who_may_not_patch(his, other_his, doctor, caller, observation, name):
    narrow = caller("Client/his-e1", organization="Organization/e1", scope="system/*.u")
    for who, path, status in (
        (other_his, observation, 404),
        (other_his, "Observation/never-was", 404),
        (his, "Organization/e2", 403),
        (doctor, observation, 403),
        (narrow, observation, 403),
        (narrow, "Observation/never-was", 403),
    ):
        labelled = who.post(f"{path}/${name}", given(tag=[TAG]))
        patched = who.request("PATCH", path, {"language": "fr"}, Content_Type="application/merge-patch+json")
        assert (labelled.status_code, patched.status_code) == (status, status), path
        assert issues_of(labelled) == issues_of(patched)
    assert his.get("Organization/e2").status_code == 200


@pytest.mark.parametrize("name", ["meta-add", "meta-delete"])
def test_a_change_of_labels_that_was_too_late_is_in_the_audit_for_it_told_what_is_there(
    his, other_his, observation, declared, audit_of, name
):
    late = his.post(f"{observation}/${name}", given(tag=[TAG]), If_Match='W/"7"', X_Request_Id=f"late-{name}")
    assert late.status_code == 412
    told = [event for event in audit_of() if f"late-{name}" in json.dumps(event)]
    assert [event["subtype"][0]["code"] for event in told] == ["read"]
    assert observation in json.dumps(told)
    assert declared in json.dumps(told)
    refused = other_his.post(f"{observation}/${name}", given(tag=[TAG]), If_Match='W/"7"', X_Request_Id=f"no-{name}")
    assert refused.status_code == 404
    assert all(event["outcome"] != "0" for event in audit_of() if f"no-{name}" in json.dumps(event))


def test_a_change_of_labels_that_does_not_fit_is_in_the_audit_for_it_told_what_is_there(his, declared, audit_of):
    made = his.make({"resourceType": "Basic", "code": {"text": "x"}, "subject": {"reference": declared},
                     "meta": {"profile": ["urn:p"], "_profile": [{"id": "a"}]}})  # fmt: skip
    response = his.post(f"Basic/{made['id']}/$meta-add", given(profile=["urn:q"]), X_Request_Id="unfit-1")
    assert response.status_code == 422
    [event] = [event for event in audit_of() if "unfit-1" in json.dumps(event)]
    assert event["subtype"][0]["code"] == "read"


def test_reading_labels_is_in_the_audit_of_the_patient(doctor, observation, declared, audit_of):
    doctor.get(f"{observation}/$meta", X_Request_Id="meta-2")
    [event] = [event for event in audit_of() if "meta-2" in json.dumps(event)]
    assert event["subtype"][0]["code"] == "operation"
    assert declared in json.dumps(event)


def test_the_labels_in_use_are_those_of_what_the_caller_may_see(his, doctor, stranger, observation):
    mine = {"system": "urn:in-use", "code": "a|b"}
    secret = {"system": "urn:in-use", "code": "secret"}
    his.post(f"{observation}/$meta-add", given(tag=[mine, {"code": "bare"}], profile=["http://example.org/p"]))
    hidden = his.make(json.loads(his.get(observation).data) | {"meta": {"tag": [secret], "security": [HIDDEN]}})
    for path in ("Observation/$meta", "$meta"):
        for caller, seen, unseen in (
            (his, (mine, secret), ()),
            (doctor, (mine,), (secret,)),
            (stranger, (), (mine, secret)),
        ):
            response = caller.get(path)
            assert response.status_code == 200, response.text
            tags = response.json.get("parameter", [{"valueMeta": {}}])[0]["valueMeta"].get("tag", [])
            assert [tag for tag in seen if tag not in tags] == []
            assert [tag for tag in unseen if tag in tags] == []
    tags = meta_of(doctor.get("Observation/$meta"))
    assert {"code": "bare"} in tags["tag"]
    assert {"code": "secret"} not in meta_of(his.get("$meta"))["tag"]
    assert "http://example.org/p" in tags["profile"]
    assert hidden["id"]


def test_a_token_that_covers_nothing_is_refused_the_labels_of_the_system_and_it_is_noted(caller, his, audit_of):
    payer = caller("Client/payer", organization="Organization/e1", category="payer")
    for path in ("$meta", "Observation/$meta"):
        before = len(audit_of())
        assert payer.get(path).status_code == 403
        [event] = audit_of()[before:]
        assert event["outcome"] != "0"
