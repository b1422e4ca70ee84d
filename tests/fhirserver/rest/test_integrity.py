"""Referential integrity, as the setting asks for it (https://hl7.org/fhir/R4/http.html#integrity)."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from fhirserver.config import Config, Switch
from fhirserver.store.indexes import BY_REFERENCE
from fhirserver.store.integrity import LOCKS, establish, named_by
from tests.fhirserver.rest.conftest import issues_of
from tests.fhirserver.rest.test_transaction import entry


@pytest.fixture(scope="module")
def config(config):
    return replace(config, referential_integrity=Switch.ON)


@pytest.fixture(scope="module", autouse=True)
def _established(database, config):
    establish(database, config.fhir_base, is_wanted=True)


def observation(subject=None, **more):
    about = {} if subject is None else {"subject": {"reference": subject}}
    return {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, **about, **more}


def reference(made):
    return f"{made['resourceType']}/{made['id']}"


def refused(response, expression):
    assert response.status_code == 409, response.text
    [issue] = issues_of(response)
    assert (issue["code"], issue["expression"]) == ("conflict", [expression])
    return issue["diagnostics"]


# What is referred to must be here


def test_a_reference_to_what_is_here_is_kept_and_one_to_nothing_is_a_conflict(his, patient):
    made = his.make(observation(patient))
    text = refused(his.post("Observation", observation("Patient/none")), "Observation.subject")
    assert text == "Patient/none is not known."
    changed = {**made, "hasMember": [{"reference": reference(made)}, {"reference": "Observation/none"}]}
    refused(his.put(reference(made), changed), "Observation.hasMember[1]")


def test_every_reference_to_nothing_is_named(his, patient):
    response = his.post(
        "Observation",
        observation(patient, performer=[{"reference": "Practitioner/none"}], encounter={"reference": "Encounter/none"}),
    )
    assert response.status_code == 409
    named = {issue["expression"][0] for issue in issues_of(response)}
    assert named == {"Observation.performer[0]", "Observation.encounter"}


def test_refused_and_absent_are_told_alike(his, other_his, patient):
    hidden = his.make(observation(patient))
    own = reference(other_his.make({"resourceType": "Patient", "active": True}))
    texts = [
        refused(
            other_his.post("Observation", observation(own, hasMember=[{"reference": name}])), "Observation.hasMember[0]"
        ).replace(name, "it")
        for name in (reference(hidden), "Observation/none")
    ]
    assert texts[0] == texts[1]


def test_a_refused_reference_is_audited_as_a_refused_read(his, other_his, patient, audit_of):
    own = reference(other_his.make({"resourceType": "Patient", "active": True}))
    other_his.post("Observation", observation(own, focus=[{"reference": patient}]))
    assert [event for event in audit_of() if patient in str(event) and event["outcome"] == "8"]


def test_what_was_deleted_is_not_known(his, patient):
    his.delete(patient)
    refused(his.post("Observation", observation(patient)), "Observation.subject")


@pytest.mark.parametrize(("version", "status"), [("1", 201), ("2", 409), ("0", 409), ("x", 409)])
def test_a_reference_to_a_version_names_one_that_is_there(his, patient, version, status):
    response = his.post("Observation", observation(f"{patient}/_history/{version}"))
    assert response.status_code == status
    if status == 201:
        assert response.json["subject"]["reference"] == f"{patient}/_history/{version}"


def test_references_that_are_not_to_this_server_are_not_looked_at(his, patient):
    his.make(observation(patient, focus=[{"reference": "http://elsewhere.example/fhir/Patient/1"}]))
    his.make(observation(patient, focus=[{"reference": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"}]))
    his.make(observation(patient, focus=[{"identifier": {"value": "1"}}]))
    contained = {"resourceType": "Device", "id": "d"}
    his.make(observation(patient, contained=[contained], device={"reference": "#d"}))
    refused(
        his.post("Observation", observation(patient, focus=[{"reference": "http://fhir.example/fhir/Patient/none"}])),
        "Observation.focus[0]",
    )


def test_entries_of_a_transaction_may_refer_to_each_other_in_any_order(his):
    name = f"urn:uuid:{uuid.uuid4()}"
    first = {"fullUrl": f"urn:uuid:{uuid.uuid4()}", **entry("POST", "Observation", observation(name))}
    second = {"fullUrl": name, **entry("POST", "Patient", {"resourceType": "Patient", "active": True})}
    response = his.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [first, second]})
    assert response.status_code == 200, response.text


def test_a_transaction_says_which_entry_refers_to_nothing(his, patient):
    entries = [
        entry("POST", "Observation", observation(patient)),
        entry("POST", "Observation", observation("Patient/none")),
    ]
    response = his.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    refused(response, "Bundle.entry[1].resource.subject")


# What is referred to stays


def test_what_is_referred_to_is_not_deleted_until_nothing_refers_to_it(his, patient):
    made = his.make(observation(patient))
    response = his.delete(patient)
    assert response.status_code == 409
    [issue] = issues_of(response)
    assert (issue["code"], issue["diagnostics"]) == ("conflict", f"{patient} is still referred to.")
    his.delete(reference(made))
    assert his.delete(patient).status_code == 204


def test_a_reference_that_was_taken_away_holds_nothing(his, patient):
    made = his.make(observation(patient))
    del made["subject"]
    assert his.put(reference(made), made).status_code == 200
    assert his.delete(patient).status_code == 204


def test_who_refers_is_not_told_whether_or_not_it_may_be_seen(his, other_his, operator, patient):
    """An Organization is everybody's to refer to; its keeper is told that somebody does, and not who."""
    made = operator.put("Organization/o", {"resourceType": "Organization", "id": "o", "name": "o"})
    assert made.status_code == 201, made.text
    mine = his.make({"resourceType": "Patient", "managingOrganization": {"reference": "Organization/o"}})
    text = operator.delete("Organization/o").json["issue"][0]["diagnostics"]
    assert text == "Organization/o is still referred to."
    assert mine["id"] not in text


def test_a_stranger_is_told_nothing_of_what_refers_to_what_they_may_not_delete(his, stranger, declared):
    his.make(observation(declared))
    assert stranger.delete(declared).status_code == stranger.delete("Patient/none").status_code
    assert issues_of(stranger.delete(declared))[0]["code"] == issues_of(stranger.delete("Patient/none"))[0]["code"]


def test_a_transaction_may_delete_both_ends(his, patient):
    made = his.make(observation(patient))
    entries = [entry("DELETE", patient), entry("DELETE", reference(made))]
    response = his.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert response.status_code == 200, response.text
    assert his.get(patient).status_code == 410


def test_a_transaction_says_which_deletion_is_still_referred_to(his, patient):
    his.make(observation(patient))
    entries = [entry("POST", "Patient", {"resourceType": "Patient"}), entry("DELETE", patient)]
    response = his.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    refused(response, "Bundle.entry[1]")


def test_what_a_transaction_deletes_it_does_not_refer_to(his, patient):
    entries = [entry("DELETE", patient), entry("POST", "Observation", observation(patient))]
    response = his.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    refused(response, "Bundle.entry[1].resource.subject")


def test_a_deletion_and_a_new_reference_at_one_moment_never_both_happen(his):
    """Of what nobody else is a patient of: the locks of integrity alone keep the two apart."""
    for _ in range(15):
        device = reference(his.make({"resourceType": "Device", "status": "active"}))
        start = threading.Barrier(3)

        def at_once(ask, start=start):
            start.wait(10)
            return ask()

        with ThreadPoolExecutor(3) as pool:
            referring = [
                pool.submit(
                    at_once,
                    lambda device=device: his.post(
                        "Observation", observation(device=None) | {"device": {"reference": device}}
                    ),
                )
                for _ in range(2)
            ]
            deleting = pool.submit(at_once, lambda device=device: his.delete(device))
        statuses = [one.result().status_code for one in referring]
        deleted = deleting.result().status_code
        assert (deleted, *statuses) in {(204, 409, 409), (409, 201, 201), (409, 201, 409), (409, 409, 201)}
        assert his.get(device).status_code == (410 if deleted == 204 else 200)


# The setting


def test_the_capability_statement_says_that_references_are_enforced(his):
    [resource] = [one for one in his.get("metadata").json["rest"][0]["resource"] if one["type"] == "Patient"]
    assert resource["referencePolicy"] == ["literal", "logical", "enforced"]


def test_rows_of_before_the_setting_are_completed_and_the_index_says_so(database, config, his, patient):
    made = his.make(observation(patient))
    establish(database, config.fhir_base, is_wanted=False)
    assert BY_REFERENCE not in database.resources.index_information()
    database.resources.update_many({}, {"$unset": {"refs": ""}})
    assert establish(database, config.fhir_base, is_wanted=True) > 0
    assert establish(database, config.fhir_base, is_wanted=True) == 0
    assert database.resources.find_one({"_id": reference(made)})["refs"] == [patient]
    assert his.delete(patient).status_code == 409


def test_only_on_and_off_are_understood():
    assert not Config.from_environment({}).keeps_references
    assert Config.from_environment({"FHIRSERVER_REFERENTIAL_INTEGRITY": "on"}).keeps_references
    with pytest.raises(ValueError, match="'yes'"):
        Config.from_environment({"FHIRSERVER_REFERENTIAL_INTEGRITY": "yes"})


def test_the_references_within_a_bundle_are_its_own():
    inner = {"fullUrl": "urn:uuid:1", "resource": observation("Patient/none")}
    assert list(named_by({"resourceType": "Bundle", "type": "document", "entry": [inner]})) == []


def test_a_resource_has_many_locks():
    assert LOCKS > 16
