"""Update and delete by criteria, decided where they are written (https://hl7.org/fhir/R4/http.html#cond-update)."""

from __future__ import annotations

import base64
import json
import uuid
from dataclasses import replace

import pytest

from fhirserver.app import create_app
from tests.fhirserver.rest.conftest import Caller, issues_of


@pytest.fixture
def number():
    """A number that nothing has yet."""
    return uuid.uuid4().hex


@pytest.fixture(scope="module")
def generous(config, database, token_of, his):
    """The hospital system of Organization/e1 on a server that lets three go at once."""
    app = create_app(replace(config, delete_max=3), database)
    return Caller(app.test_client(), token_of("Client/his-e1", organization="Organization/e1"))


def having(number, **elements):
    return {"resourceType": "Patient", "identifier": [{"system": "urn:c", "value": number}], **elements}


def criteria(number):
    return f"Patient?identifier=urn:c|{number}"


def count(caller, number):
    return caller.get(f"{criteria(number)}&_total=accurate").json["total"]


# Update


def test_what_nothing_meets_is_created(his, number):
    response = his.put(criteria(number), having(number))
    assert response.status_code == 201
    assert response.headers["Location"].endswith(f"Patient/{response.json['id']}/_history/1")
    assert count(his, number) == 1


def test_what_one_meets_is_updated(his, number):
    made = his.make(having(number))
    response = his.put(criteria(number), having(number, active=True))
    assert (response.status_code, response.json["id"], response.headers["ETag"]) == (200, made["id"], 'W/"2"')
    same = his.put(criteria(number), {**having(number, active=True), "id": made["id"]})
    assert same.status_code == 200


def test_the_same_content_again_makes_no_new_version(his, number):
    his.put(criteria(number), having(number))
    assert his.put(criteria(number), having(number)).headers["ETag"] == 'W/"1"'


def test_the_id_of_another_is_refused(his, number, patient):
    his.make(having(number))
    response = his.put(criteria(number), {**having(number), "id": patient.partition("/")[2]})
    assert response.status_code == 400
    assert issues_of(response)[0]["expression"] == ["Patient.id"]


def test_what_several_meet_is_not_updated(his, number):
    his.make(having(number))
    his.make(having(number))
    response = his.put(criteria(number), having(number, active=True))
    assert (response.status_code, issues_of(response)[0]["code"]) == (412, "multiple-matches")


def test_an_id_of_the_client_is_taken_where_nothing_meets_the_criteria(his, number):
    response = his.put(criteria(number), {**having(number), "id": f"c-{number}"})
    assert (response.status_code, response.json["id"]) == (201, f"c-{number}")


def test_an_id_that_is_something_else_is_a_conflict(his, number, patient):
    response = his.put(criteria(number), {**having(number), "id": patient.partition("/")[2]})
    assert response.status_code == 409
    assert his.get(patient).headers["ETag"] == 'W/"1"'


def test_an_id_of_something_hidden_is_taken_as_in_an_update_by_id(his, other_his, number, patient):
    taken, free = (
        other_his.put(criteria(number), {**having(number), "id": id_}) for id_ in (patient.partition("/")[2], number)
    )
    assert (taken.status_code, free.status_code) == (404, 201)


def test_if_none_match_makes_it_a_create(his, number):
    assert his.put(criteria(number), having(number), If_None_Match="*").status_code == 201
    assert his.put(criteria(number), having(number, active=True), If_None_Match="*").status_code == 412


def test_if_match_makes_it_an_update(his, number):
    assert his.put(criteria(number), having(number), If_Match="*").status_code == 412
    his.make(having(number))
    assert his.put(criteria(number), having(number, active=True), If_Match='W/"1"').status_code == 200
    assert his.put(criteria(number), having(number, active=False), If_Match='W/"1"').status_code == 412


def test_criteria_may_be_any_of_a_search(his, number):
    made = his.make(having(number, birthDate="1970-05-06", gender="female"))
    found = his.put(
        f"{criteria(number)}&birthdate=ge1970&gender=female&active:missing=true", having(number, active=True)
    )
    assert found.json["id"] == made["id"]


def test_what_is_hidden_does_not_meet_the_criteria(his, other_his, number):
    hidden = his.make(having(number))
    response = other_his.put(criteria(number), having(number))
    assert response.status_code == 201
    assert response.json["id"] != hidden["id"]
    assert his.get(f"Patient/{hidden['id']}").headers["ETag"] == 'W/"1"'


def test_who_may_see_and_not_write_is_refused(his, operator, number):
    operator.put(f"Organization/{number}", {"resourceType": "Organization", "id": number, "name": number})
    response = his.put(f"Organization?_id={number}", {"resourceType": "Organization", "name": "mine"})
    assert response.status_code == 403
    assert his.get(f"Organization/{number}").json["name"] == number


def test_a_token_without_search_finds_nothing_to_update(caller, his, number):
    narrow = caller("Client/his-e1", organization="Organization/e1", scope="system/Patient.cru")
    his.make(having(number))
    assert narrow.put(criteria(number), having(number, active=True)).status_code == 403


def test_a_binary_has_no_criteria(his):
    assert his.put("Binary?_id=x", {"resourceType": "Binary", "contentType": "text/plain"}).status_code == 400
    body = {"resourceType": "Binary", "contentType": "text/plain"}
    assert his.post("Binary", body, If_None_Exist="_id=x").status_code == 400


# Delete


def test_the_one_that_meets_the_criteria_is_deleted(his, number):
    made = his.make(having(number))
    response = his.delete(criteria(number))
    assert (response.status_code, response.headers["ETag"]) == (204, 'W/"2"')
    assert his.get(f"Patient/{made['id']}").status_code == 410


def test_deleting_what_nothing_meets_succeeds_and_says_none(his, number):
    assert his.delete(criteria(number)).status_code == 204
    told = his.delete(criteria(number), Prefer="return=OperationOutcome")
    assert (told.status_code, issues_of(told)[0]["diagnostics"]) == (200, "200 OK: 0 deleted.")


def test_several_are_not_deleted_by_default(his, number):
    his.make(having(number))
    his.make(having(number))
    response = his.delete(criteria(number))
    assert (response.status_code, issues_of(response)[0]["code"]) == (412, "multiple-matches")
    assert count(his, number) == 2
    assert his.delete(f"{criteria(number)}&_count=2").status_code == 400


def test_several_go_together_where_the_setting_allows_it(his, generous, number, audit_of):
    for _ in range(3):
        his.make(having(number))
    assert generous.delete(f"{criteria(number)}&_count=2").status_code == 412
    response = generous.delete(criteria(number), Prefer="return=OperationOutcome")
    assert (response.status_code, issues_of(response)[0]["diagnostics"]) == (200, "200 OK: 3 deleted.")
    assert count(his, number) == 0
    assert [event["action"] for event in audit_of()].count("D") == 3


def test_more_than_the_setting_allows_stay(his, generous, number):
    for _ in range(4):
        his.make(having(number))
    assert generous.delete(criteria(number)).status_code == 412
    assert count(his, number) == 4


@pytest.mark.parametrize("value", ["0", "-1", "4", "x", "1&_count=1", "٣"])
def test_a_count_that_is_none_is_refused(generous, number, value):
    assert generous.delete(f"{criteria(number)}&_count={value}").status_code == 400


def test_what_is_hidden_is_not_deleted_and_not_counted(his, other_his, number):
    his.make(having(number))
    his.make(having(number))
    told = other_his.delete(criteria(number), Prefer="return=OperationOutcome")
    assert (told.status_code, issues_of(told)[0]["diagnostics"]) == (200, "200 OK: 0 deleted.")
    assert count(his, number) == 2


def test_one_that_may_not_be_deleted_keeps_them_all(operator, generous, number):
    for which in "ab":
        operator.put(
            f"Organization/{number[:20]}{which}",
            {"resourceType": "Organization", "id": f"{number[:20]}{which}", "name": number},
        )
    assert generous.delete(f"Organization?name={number}").status_code == 403
    assert operator.get(f"Organization?name={number}").json["total"] == 2


def test_if_match_holds_for_what_is_found(his, number):
    his.make(having(number))
    assert his.delete(criteria(number), If_Match='W/"2"').status_code == 412
    assert his.delete(criteria(number), If_Match='W/"1"').status_code == 204


# Within a Bundle


def entry(method, url, resource=None, full_url=None, **conditions):
    return {
        **({} if resource is None else {"resource": resource}),
        **({} if full_url is None else {"fullUrl": full_url}),
        "request": {"method": method, "url": url, **conditions},
    }


def bundle(type, *entries):
    return {"resourceType": "Bundle", "type": type, "entry": list(entries)}


def replaced(path, value):
    parts = [("type", {"valueCode": "replace"}), ("path", {"valueString": path}), ("value", value)]
    operation = {"name": "operation", "part": [{"name": name, **one} for name, one in parts]}
    return {"resourceType": "Parameters", "parameter": [operation]}


def binary(content_type, data):
    return {"resourceType": "Binary", "contentType": content_type, "data": data}


# [{"op":"add","path":"/active","value":true}] and {"active":true}
JSON_PATCH = binary("application/json-patch+json", "W3sib3AiOiJhZGQiLCJwYXRoIjoiL2FjdGl2ZSIsInZhbHVlIjp0cnVlfV0=")
MERGE_PATCH = binary("application/merge-patch+json", "eyJhY3RpdmUiOnRydWV9")


@pytest.mark.parametrize("type", ["batch", "transaction"])
def test_all_kinds_of_patches_are_done_in_a_bundle(his, type, number):
    paths = [f"Patient/{his.make(having(number, active=False))['id']}" for _ in range(3)]
    patches = (JSON_PATCH, MERGE_PATCH, replaced("Patient.active", {"valueBoolean": True}))
    entries = [entry("PATCH", path, patch, ifMatch='W/"1"') for path, patch in zip(paths, patches, strict=True)]
    response = his.post("", bundle(type, *entries))
    assert [one["response"]["status"] for one in response.json["entry"]] == ["200 OK"] * 3
    assert [one["response"]["etag"] for one in response.json["entry"]] == ['W/"2"'] * 3
    assert [his.get(path).json["active"] for path in paths] == [True] * 3


@pytest.mark.parametrize(
    ("patch", "conditions", "status"),
    [
        (JSON_PATCH, {"ifMatch": 'W/"7"'}, 412),
        (JSON_PATCH, {"ifNoneMatch": "*"}, 400),
        (binary("text/plain", ""), {}, 415),
        (binary("application/json-patch+json", "!"), {}, 400),
        ({"resourceType": "Patient"}, {}, 400),
        (replaced("Patient.photo", {"valueBoolean": True}), {}, 422),
    ],
)
def test_a_patch_that_fails_fails_its_entry_or_the_whole(his, number, patient, patch, conditions, status):
    one = entry("PATCH", patient, patch, **conditions)
    answer = his.post("", bundle("batch", one)).json["entry"][0]["response"]
    assert answer["status"].startswith(str(status))
    whole = his.post("", bundle("transaction", entry("POST", "Patient", having(number)), one))
    assert whole.status_code == status
    assert issues_of(whole)[0]["expression"][0].startswith("Bundle.entry[1]")
    assert count(his, number) == 0


@pytest.mark.parametrize("type", ["batch", "transaction"])
def test_criteria_are_met_in_a_bundle(his, type, number):
    other, third = f"{number}b", f"{number}c"
    made, gone = his.make(having(number)), his.make(having(other))
    answers = his.post(
        "",
        bundle(
            type,
            entry("PUT", criteria(number), having(number, active=True)),
            entry("DELETE", criteria(other)),
            entry("PUT", criteria(third), having(third)),
        ),
    ).json["entry"]
    assert [one["response"]["status"][:3] for one in answers] == ["200", "204", "201"]
    assert his.get(f"Patient/{made['id']}").json["active"] is True
    assert his.get(f"Patient/{gone['id']}").status_code == 410
    patched = his.post("", bundle(type, entry("PATCH", criteria(third), MERGE_PATCH))).json["entry"][0]
    assert patched["response"]["etag"] == 'W/"2"'


@pytest.mark.parametrize("type", ["batch", "transaction"])
def test_what_a_conditional_delete_removed_is_counted_in_its_entry(his, generous, type, number):
    his.make(having(number))
    his.make(having(number))
    answer = generous.post("", bundle(type, entry("DELETE", criteria(number))), Prefer="return=OperationOutcome")
    outcome = answer.json["entry"][0]["response"]["outcome"]
    assert outcome["issue"][0]["diagnostics"] == "204 No Content: 2 deleted."


def about(reference):
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": reference},
    }


@pytest.mark.parametrize("is_there", [True, False])
def test_a_reference_to_a_conditional_update_becomes_what_was_found_or_created(his, number, is_there):
    made = his.make(having(number)) if is_there else None
    name = f"urn:uuid:{uuid.uuid4()}"
    answers = his.post(
        "",
        bundle(
            "transaction",
            entry("POST", "Observation", about(name)),
            entry("PUT", criteria(number), having(number, active=True), full_url=name),
        ),
        Prefer="return=representation",
    ).json["entry"]
    subject = answers[0]["resource"]["subject"]["reference"]
    assert subject == f"Patient/{answers[1]['resource']['id']}"
    assert made is None or subject == f"Patient/{made['id']}"


def test_a_reference_in_a_fhirpath_patch_becomes_what_the_entry_becomes(his, number, patient):
    observation = his.make(about(patient))
    name = f"urn:uuid:{uuid.uuid4()}"
    change = replaced("Observation.subject", {"valueReference": {"reference": name}})
    answers = his.post(
        "",
        bundle(
            "transaction",
            entry("PATCH", f"Observation/{observation['id']}", change),
            entry("POST", "Patient", having(number), full_url=name),
        ),
        Prefer="return=representation",
    ).json["entry"]
    assert answers[0]["resource"]["subject"]["reference"] == f"Patient/{answers[1]['resource']['id']}"


def test_a_reference_in_a_json_patch_is_not_left_dangling(his, number, patient):
    observation = his.make(about(patient))
    name = f"urn:uuid:{uuid.uuid4()}"
    change = base64.b64encode(json.dumps([{"op": "replace", "path": "/subject/reference", "value": name}]).encode())
    response = his.post(
        "",
        bundle(
            "transaction",
            entry("PATCH", f"Observation/{observation['id']}", binary("application/json-patch+json", change.decode())),
            entry("POST", "Patient", having(number), full_url=name),
        ),
    )
    assert response.status_code == 422


@pytest.mark.parametrize(
    "first",
    ["PUT by id", "PUT by criteria", "DELETE by id", "DELETE by criteria", "PATCH by id", "PATCH by criteria"],
)
@pytest.mark.parametrize("second", ["PUT by criteria", "DELETE by criteria", "PATCH by criteria"])
def test_entries_that_turn_out_to_change_the_same_resource_are_refused(his, number, first, second):
    made = his.make(having(number))

    def asked(kind):
        method = kind.partition(" ")[0]
        url = f"Patient/{made['id']}" if "by id" in kind else criteria(number)
        resource = {"PUT": {**having(number, active=True), "id": made["id"]}, "PATCH": MERGE_PATCH, "DELETE": None}
        return entry(method, url, resource[method])

    other = asked(second)
    other["request"]["url"] += "&active:missing=true"  # in other words
    response = his.post("", bundle("transaction", asked(first), other))
    assert response.status_code == 400
    assert f"Patient/{made['id']}" in issues_of(response)[0]["diagnostics"]
    assert his.get(f"Patient/{made['id']}").headers["ETag"] == 'W/"1"'


@pytest.mark.parametrize(
    "twin",
    [lambda n: entry("PUT", criteria(n), having(n)), lambda n: entry("POST", "Patient", having(n))],
    ids=["another conditional update", "a create"],
)
def test_two_entries_do_not_both_create_what_the_criteria_name(his, number, twin):
    one = entry("PUT", criteria(number), having(number))
    for entries in ((one, twin(number)), (twin(number), one)):
        assert his.post("", bundle("transaction", *entries)).status_code == 400
    assert count(his, number) == 0


def test_a_conditional_create_does_not_stand_for_what_another_entry_changes(his, number):
    made = his.make(having(number))
    name = f"urn:uuid:{uuid.uuid4()}"
    response = his.post(
        "",
        bundle(
            "transaction",
            entry("PUT", criteria(number), having(number, active=True)),
            entry("POST", "Patient", having(number), full_url=name, ifNoneExist=f"identifier=urn:c|{number}"),
        ),
    )
    assert response.status_code == 400
    assert his.get(f"Patient/{made['id']}").headers["ETag"] == 'W/"1"'


def test_what_is_hidden_meets_no_criteria_in_a_transaction(his, other_his, number):
    hidden = his.make(having(number))
    for asked in (
        entry("DELETE", criteria(number)),
        entry("PUT", criteria(number), having(number)),
        entry("PUT", f"Patient?_id={hidden['id']}", having(number)),
    ):
        assert other_his.post("", bundle("transaction", asked)).status_code == 200
    assert (
        other_his.post(
            "", bundle("transaction", entry("PATCH", f"Patient?_id={hidden['id']}", MERGE_PATCH))
        ).status_code
        == 404
    )
    assert his.get(f"Patient/{hidden['id']}").headers["ETag"] == 'W/"1"'
