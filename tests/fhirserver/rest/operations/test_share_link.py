"""`$share` with a link: one exam opened to whoever holds a SMART Health Link.

The client of these tests opens links and files by hand, with nothing of the server's own.
"""

from __future__ import annotations

import json
import threading
import zlib
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.fhirserver.rest.conftest import Caller, issues_of

VISIBILITY = "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument"
RECIPIENT = "Dr Ada Byron, Clinic of the Lake"


def bytes_of(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass(frozen=True)
class Link:
    """What a receiving application knows: the link, and how to reach the server that it names."""

    http: FlaskClient
    uri: str
    consent: dict[str, Any]

    @property
    def payload(self) -> dict[str, Any]:
        scheme, _, text = self.uri.partition(":/")
        assert scheme == "shlink"
        found: dict[str, Any] = json.loads(bytes_of(text))
        return found

    @property
    def address(self) -> str:
        return "/shl/" + self.payload["url"].rpartition("/")[2]

    def ask(self, **body: Any) -> TestResponse:
        return self.http.post(self.address, json={"recipient": RECIPIENT, **body})

    def direct(self, recipient: str = RECIPIENT) -> TestResponse:
        return self.http.get(self.address, query_string={"recipient": recipient})

    def opened(self, jwe: str) -> tuple[dict[str, Any], Any]:
        """Header and content of a file: JWE of RFC 7516 with `dir`, A256GCM and raw DEFLATE."""
        header, encrypted_key, iv, text, tag = jwe.split(".")
        assert encrypted_key == ""
        clear = AESGCM(bytes_of(self.payload["key"])).decrypt(
            bytes_of(iv), bytes_of(text) + bytes_of(tag), header.encode()
        )
        known = json.loads(bytes_of(header))
        assert (known["alg"], known["enc"]) == ("dir", "A256GCM")
        if known.get("zip") == "DEF":
            clear = zlib.decompress(clear, wbits=-15)
        return known, json.loads(clear)

    def files(self, **body: Any) -> dict[str, Any]:
        """The content of each file by its type, as the manifest embeds them."""
        answer = self.ask(**body)
        assert answer.status_code == 200, answer.text
        found = {}
        for file in answer.json["files"]:
            header, content = self.opened(file["embedded"])
            assert header["cty"] == file["contentType"]
            found[file["contentType"]] = content
        return found

    def holder(self, **body: Any) -> Caller:
        """Whoever holds the link, with the token that it gives."""
        return Caller(self.http, self.files(**body)["application/smart-api-access"]["access_token"])


@pytest.fixture
def person(caller, patient, stranger):
    return caller(patient)


def make_study(his, patient, *codes, **more):
    security = [{"system": VISIBILITY, "code": code} for code in codes]
    meta = {"meta": {"security": security}} if security else {}
    made = his.make(
        {"resourceType": "ImagingStudy", "status": "available", "subject": {"reference": patient}, **meta, **more}
    )
    return f"ImagingStudy/{made['id']}"


@pytest.fixture
def study(his, patient):
    return make_study(his, patient)


def make_report(his, patient, study, *codes, **more):
    security = [{"system": VISIBILITY, "code": code} for code in codes]
    meta = {"meta": {"security": security}} if security else {}
    made = his.make(
        {
            "resourceType": "DiagnosticReport",
            "status": "final",
            "code": {"text": "CT"},
            "subject": {"reference": patient},
            "imagingStudy": [{"reference": study}],
            **meta,
            **more,
        }
    )
    return f"DiagnosticReport/{made['id']}"


TYPES = {"passcode": "valueString", "uses": "valuePositiveInt", "label": "valueString", "direct": "valueBoolean"}


def asked(caller, resource, **more):
    values = [{"name": name, TYPES.get(name, "valueDateTime"): value} for name, value in more.items()]
    link = {"name": "link", "valueBoolean": True}
    return caller.post(f"{resource}/$share", {"resourceType": "Parameters", "parameter": [link, *values]})


def share(caller, resource, **more) -> Link:
    answer = asked(caller, resource, **{name.rstrip("_"): value for name, value in more.items()})
    assert answer.status_code == 200, answer.text
    parts = {part["name"]: part for part in answer.json["parameter"]}
    return Link(caller.http, parts["link"]["valueUri"], parts["return"]["resource"])


def revoke(caller, consent):
    return caller.post(f"Consent/{consent['id']}/$revoke", {"resourceType": "Parameters"})


def set_clock(database, link, **change):
    """Let time pass for a link: what the clock would do is done to the link."""
    name = link.consent["provision"]["actor"][0]["reference"]["identifier"]["value"]
    database.share_links.update_one({"_id": name}, {"$set": change})


# The link itself


def test_a_link_has_the_form_of_the_specification(person, study):
    link = share(person, study, label="CT of the knee", passcode="123456")
    payload = link.payload
    assert len(payload["url"]) <= 128
    assert len(bytes_of(payload["url"].rpartition("/")[2])) == 32
    assert (len(payload["key"]), len(bytes_of(payload["key"]))) == (43, 32)
    assert (payload["flag"], payload["label"], payload["v"]) == ("LP", "CT of the knee", 1)
    assert datetime.fromtimestamp(payload["exp"], UTC) > datetime.now(UTC) + timedelta(days=29)


def test_nothing_of_what_opens_a_link_is_stored(person, study, database):
    link = share(person, study, passcode="correct horse")
    name = link.consent["provision"]["actor"][0]["reference"]["identifier"]["value"]
    stored = repr(database.share_links.find_one({"_id": name})) + json.dumps(link.consent)
    secret = link.payload["url"].rpartition("/")[2]
    for one in (
        secret,
        link.payload["key"],
        "correct horse",
        bytes_of(secret).hex(),
        bytes_of(link.payload["key"]).hex(),
    ):
        assert one not in stored


def test_the_grant_behind_a_link_is_the_persons_to_see_and_carries_no_secret(person, study, patient):
    link = share(person, study, until="2030-05-06", label="knee")
    found = person.get("Consent?actor:identifier=urn:fhirserver:link|").json
    assert link.consent["id"] in [entry["resource"]["id"] for entry in found["entry"]]
    provision = link.consent["provision"]
    assert provision["data"] == [{"meaning": "instance", "reference": {"reference": study}}]
    assert provision["period"]["end"] == "2030-05-06"
    assert link.consent["performer"] == [{"reference": patient}]


# What it gives


def test_a_link_gives_the_exam_its_report_and_who_it_is_about(person, his, patient, study):
    report = make_report(his, patient, study)
    other = make_report(his, patient, make_study(his, patient))
    files = share(person, study).files()
    bundle = files["application/fhir+json"]
    assert (bundle["resourceType"], bundle["type"]) == ("Bundle", "collection")
    given = {f"{one['resource']['resourceType']}/{one['resource']['id']}": one["resource"] for one in bundle["entry"]}
    assert set(given) == {patient, study, report}
    assert other not in given
    assert given[patient]["name"] == [{"family": "Martin", "given": ["Ada"]}]
    assert set(given[patient]) == {"resourceType", "id", "meta", "name", "birthDate"}


def test_the_token_of_a_link_reads_the_exam_and_its_report_and_nothing_else(person, his, patient, study, doctor):
    report, other = make_report(his, patient, study), make_study(his, patient)
    document = his.make(
        {
            "resourceType": "DocumentReference",
            "status": "current",
            "subject": {"reference": patient},
            "content": [{"attachment": {"contentType": "text/plain"}}],
            "context": {"related": [{"reference": study}]},
        }
    )
    content = his.make(
        {
            "resourceType": "Binary",
            "contentType": "text/plain",
            "data": "bGVhaw==",
            "securityContext": {"reference": f"DocumentReference/{document['id']}"},
        }
    )
    apart = his.make(
        {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": {"reference": patient}}
    )
    holder = share(person, study).holder()
    for one in (study, report, f"DocumentReference/{document['id']}", f"Binary/{content['id']}"):
        assert holder.get(one).status_code == 200, one
    found = holder.get("ImagingStudy?_total=accurate").json
    assert (found["total"], found["entry"][0]["resource"]["id"]) == (1, study.partition("/")[2])
    assert holder.get("DiagnosticReport").json["total"] == 1
    for one in (other, "ImagingStudy/nothing", "DiagnosticReport/nothing"):
        assert holder.get(one).status_code == 404, one
    for one in (
        patient, f"Observation/{apart['id']}", "Practitioner/d", "Organization/e1", "AuditEvent", "Consent", "Patient",
        f"{study}/_history", f"{study}/_history/1", "_history", "ImagingStudy/_history", f"{patient}/$everything",
        f"{study}/$who-can-access", f"{study}/$explain-access",
    ):  # fmt: skip
        assert holder.get(one).status_code == 403, one
    assert asked(holder, study).status_code == 403
    assert holder.put(study, {"resourceType": "ImagingStudy"}).status_code in {400, 403, 422}
    assert "entry" not in holder.get("ImagingStudy?_include=ImagingStudy:subject").json or all(
        entry["search"]["mode"] == "match"
        for entry in holder.get("ImagingStudy?_include=ImagingStudy:subject").json["entry"]
    )


def test_the_access_file_is_a_token_response_with_its_audience(person, study, patient, config):
    access = share(person, study).files()["application/smart-api-access"]
    assert access["token_type"] == "Bearer"
    assert 0 < access["expires_in"] <= 300
    assert access["aud"] == config.fhir_base
    assert access["patient"] == patient.partition("/")[2]
    assert access["fhirContext"] == [{"reference": study}]
    assert access["query"][0] == f"ImagingStudy?_id={study.partition('/')[2]}"


def test_a_file_that_may_not_be_embedded_has_an_address_that_answers_once(person, study):
    link = share(person, study)
    answer = link.ask(embeddedLengthMax=10)
    places = [file["location"] for file in answer.json["files"]]
    assert all("embedded" not in file for file in answer.json["files"])
    assert len(places) == 2
    path = "/shl/" + places[1].partition("/shl/")[2]
    first = link.http.get(path)
    assert (first.status_code, first.content_type) == (200, "application/jose")
    assert link.opened(first.text)[1]["resourceType"] == "Bundle"
    assert link.http.get(path).status_code == 404


def test_an_address_of_a_file_answers_no_more_when_the_link_is_taken_back(person, study):
    link = share(person, study)
    place = link.ask(embeddedLengthMax=0).json["files"][1]["location"]
    revoke(person, link.consent)
    assert link.http.get("/shl/" + place.partition("/shl/")[2]).status_code == 404


def test_an_address_of_a_file_answers_no_more_when_a_report_in_it_was_hidden(person, his, patient, study):
    report = make_report(his, patient, study)
    link = share(person, study)
    place = link.ask(embeddedLengthMax=0).json["files"][1]["location"]
    body = his.get(report).json
    his.put(report, {**body, "meta": {"security": [{"system": VISIBILITY, "code": "INVISIBLE_PATIENT"}]}})
    assert link.http.get("/shl/" + place.partition("/shl/")[2]).status_code == 404


def test_a_direct_link_gives_its_one_file_by_get(person, study):
    link = share(person, study, direct=True)
    assert link.payload["flag"] == "LU"
    answer = link.direct()
    assert (answer.status_code, answer.content_type) == (200, "application/jose")
    header, bundle = link.opened(answer.text)
    assert (header["cty"], bundle["resourceType"]) == ("application/fhir+json", "Bundle")
    assert link.ask().status_code == 404
    assert link.http.head(link.address).status_code == 405


def test_every_encryption_has_a_nonce_of_its_own(person, study):
    link = share(person, study)
    sealed = [file["embedded"].split(".")[2] for _ in range(3) for file in link.ask().json["files"]]
    assert len(set(sealed)) == len(sealed)


# When it opens nothing


def test_every_link_that_opens_nothing_looks_like_one_that_never_was(person, his, study, database):
    revoked, expired, used, locked, early = (
        share(person, study),
        share(person, study),
        share(person, study, uses=1),
        share(person, study, passcode="123456"),
        share(person, study, from_="2030-01-01", until="2030-02-01"),
    )
    direct = share(person, study, direct=True)
    revoke(person, revoked.consent)
    set_clock(database, expired, until=datetime.now(UTC))
    used.files()
    for _ in range(10):
        locked.ask(passcode="wrong.")
    never = person.http.post("/shl/" + "A" * 43, json={"recipient": RECIPIENT})
    assert never.status_code == 404
    for link in (revoked, expired, used, locked, early, direct):
        answer = link.ask(passcode="123456")
        assert (answer.status_code, answer.data) == (404, never.data)
        assert {name for name, _ in answer.headers} == {name for name, _ in never.headers}
    assert share(person, study).direct().data == never.data
    assert person.http.post("/shl/short", json={"recipient": RECIPIENT}).data == never.data


def test_the_token_of_a_link_is_good_no_more_when_it_is_taken_back_or_locked(person, study, database):
    link = share(person, study, passcode="123456")
    holder = link.holder(passcode="123456")
    assert holder.get(study).status_code == 200
    for _ in range(10):
        link.ask(passcode="wrong.")
    assert holder.get(study).status_code == 401
    other = share(person, study)
    holder = other.holder()
    revoke(person, other.consent)
    assert holder.get(study).status_code == 404


@pytest.mark.parametrize("code", ["INVISIBLE_PATIENT"])
def test_a_link_opens_nothing_once_the_exam_is_hidden_from_the_person(person, his, patient, study, code):
    link = share(person, study)
    holder = link.holder()
    body = his.get(study).json
    his.put(study, {**body, "meta": {"security": [{"system": VISIBILITY, "code": code}]}})
    assert link.ask().status_code == 404
    assert holder.get(study).status_code == 404
    assert holder.get("ImagingStudy").json["total"] == 0


def test_a_report_that_is_hidden_or_not_released_is_not_in_what_a_link_gives(person, his, patient, study):
    make_report(his, patient, study, "INVISIBLE_PATIENT")
    make_report(
        his,
        patient,
        study,
        extension=[{"url": "urn:fhirserver:extension:release", "valueInstant": "2099-01-01T00:00:00Z"}],
    )
    link = share(person, study)
    types = [one["resource"]["resourceType"] for one in link.files()["application/fhir+json"]["entry"]]
    assert types == ["Patient", "ImagingStudy"]
    assert link.holder().get("DiagnosticReport").json["total"] == 0


def test_an_opposition_closes_every_link(person, his, patient, study):
    link = share(person, study)
    his.post(f"{patient}/$opposition", {"resourceType": "Parameters"})
    assert link.ask().status_code == 404


def restriction(patient, **provision):
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]
        },
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": patient},
        "dateTime": "2026-11-24T09:00:00+01:00",
        "performer": [{"reference": patient}],
        "policy": [{"uri": "urn:fhirserver:policy:restriction"}],
        "provision": {"type": "deny", **provision},
    }


def test_who_masks_an_exam_from_everyone_closes_its_links_and_can_make_none(person, patient, study):
    link = share(person, study)
    masked = person.make(restriction(patient, data=[{"meaning": "instance", "reference": {"reference": study}}]))
    assert link.ask().status_code == 404
    refused = asked(person, study)
    assert refused.status_code == 409
    assert masked["id"] in issues_of(refused)[0]["diagnostics"]
    revoke(person, masked)
    assert link.ask().status_code == 200


def test_what_the_person_may_not_see_they_cannot_give_a_link_to(person, his, patient):
    hidden = make_study(his, patient, "INVISIBLE_PATIENT")
    assert asked(person, hidden).status_code == asked(person, "ImagingStudy/nothing").status_code == 404


# Passcodes


def test_a_passcode_is_needed_and_wrong_ones_are_counted_for_life(person, study):
    link = share(person, study, passcode="123456")
    assert (link.ask().status_code, link.ask().json) == (401, {"remainingAttempts": 10})
    for remaining in (9, 8):
        answer = link.ask(passcode="654321")
        assert (answer.status_code, answer.json) == (401, {"remainingAttempts": remaining})
    assert link.ask(passcode="123456").status_code == 200
    assert link.ask(passcode="654321").json == {"remainingAttempts": 7}


def test_wrong_passcodes_that_come_at_once_are_each_counted(app, person, study):
    link = share(person, study, passcode="123456")
    answers: list[int] = []

    def guess() -> None:
        answer = Link(app.test_client(), link.uri, {}).ask(passcode="000000")
        answers.append(answer.json["remainingAttempts"])

    threads = [threading.Thread(target=guess) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [6, 7, 8, 9]


def test_ten_wrong_passcodes_close_a_link_for_good_however_many_come_at_once(app, person, study, database):
    link = share(person, study, passcode="123456")
    set_clock(database, link, attempts=1)
    statuses: list[int] = []

    def guess() -> None:
        statuses.append(Link(app.test_client(), link.uri, {}).ask(passcode="000000").status_code)

    threads = [threading.Thread(target=guess) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [401, 404, 404]
    assert link.ask(passcode="123456").status_code == 404


# Uses


def test_a_link_opens_as_often_as_was_said(app, person, study):
    link = share(person, study, uses=2)
    assert share(person, study, uses=1).payload.get("flag") is None
    statuses: list[int] = []

    def use() -> None:
        statuses.append(Link(app.test_client(), link.uri, {}).ask().status_code)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, 200, 404, 404]


# Bad input


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400), ({"recipient": ""}, 400), ({"recipient": " \u200b\n"}, 400), ({"recipient": 7}, 400),
        ({"recipient": "x", "passcode": 1}, 400), ({"recipient": "x", "embeddedLengthMax": -1}, 400),
        ({"recipient": "x", "embeddedLengthMax": True}, 400), ([], 400), ("x", 400),
        ({"recipient": "x" * 20_000}, 413),
    ],
)  # fmt: skip
def test_a_request_that_says_nothing_useful_is_refused_alike_for_every_link(person, study, body, status):
    link = share(person, study)
    here, nowhere = person.http.post(link.address, json=body), person.http.post("/shl/" + "A" * 43, json=body)
    assert (here.status_code, nowhere.status_code) == (status, status)
    assert here.data == nowhere.data


def test_a_body_that_is_no_json_is_refused(person):
    address = "/shl/" + "A" * 43
    assert person.http.post(address, data=b"{", content_type="application/json").status_code == 400
    assert person.http.post(address, data=b"{}", content_type="text/plain").status_code == 415
    assert person.http.get(address).status_code == 400


@pytest.mark.parametrize(
    ("more", "expression"),
    [
        ({"passcode": "12345"}, "passcode"), ({"passcode": "1" * 65}, "passcode"),
        ({"passcode": "123456", "direct": True}, "passcode"), ({"label": "x" * 81}, "label"),
        ({"until": "2020-01-01"}, "until"), ({"from": "2030-01-02", "until": "2030-01-01"}, "until"),
    ],
)  # fmt: skip
def test_a_link_that_cannot_be_is_refused(person, study, more, expression):
    answer = asked(person, study, **more)
    assert answer.status_code == 400
    assert issues_of(answer)[0]["expression"] == [expression]


@pytest.mark.parametrize("name", ["recipient", "purpose"])
def test_a_link_has_no_recipient_and_no_purpose(person, study, name):
    values = [{"name": "link", "valueBoolean": True}, {"name": name, "valueString": "Practitioner/s"}]
    answer = person.post(f"{study}/$share", {"resourceType": "Parameters", "parameter": values})
    assert (answer.status_code, issues_of(answer)[0]["expression"]) == (400, [name])


def test_what_is_of_links_is_refused_without_one(person, study):
    for more in ({"parameter": [{"name": "passcode", "valueString": "123456"}]}, {}):
        answer = person.post(f"{study}/$share", {"resourceType": "Parameters", **more})
        assert answer.status_code == 400


def test_nobody_else_makes_a_link(doctor, his, stranger, study):
    for one in (doctor, his, stranger):
        assert asked(one, study).status_code == 403


# What was given


def listed(caller, patient):
    answer = caller.get(f"{patient}/$links")
    assert answer.status_code == 200, answer.text
    return [
        {part["name"]: next(value for name, value in part.items() if name != "name") for part in link["part"]}
        for link in answer.json.get("parameter", [])
    ]


def test_the_person_lists_what_they_gave_with_its_uses_and_its_state(person, patient, study, database):
    assert listed(person, patient) == []
    link = share(person, study, uses=2, label="knee", passcode="123456", until="2030-05-06")
    (before,) = listed(person, patient)
    assert (before["state"], before["uses"], before["mostUses"], before["remainingAttempts"]) == ("active", 0, 2, 10)
    assert "lastUse" not in before
    link.ask(passcode="000000")
    link.files(passcode="123456")
    (after,) = listed(person, patient)
    assert (after["uses"], after["remainingAttempts"], after["label"]) == (1, 9, "knee")
    assert after["lastUse"] >= after["from"]
    assert after["consent"]["reference"] == f"Consent/{link.consent['id']}/_history/1"
    assert (after["target"]["reference"], after["giver"]["reference"]) == (study, patient)
    link.files(passcode="123456")
    assert listed(person, patient)[0]["state"] == "used-up"
    set_clock(database, link, attempts=0, uses=0)
    assert listed(person, patient)[0]["state"] == "locked"
    set_clock(database, link, until=datetime.now(UTC))
    assert listed(person, patient)[0]["state"] == "expired"
    revoke(person, link.consent)
    assert listed(person, patient)[0]["state"] == "revoked"


def test_a_list_of_links_tells_nothing_that_opens_one(person, patient, study):
    link = share(person, study)
    text = person.get(f"{patient}/$links").text
    assert link.payload["key"] not in text
    assert link.payload["url"].rpartition("/")[2] not in text


def test_a_list_of_links_has_none_to_what_is_hidden_now(person, his, patient, study):
    share(person, study)
    body = his.get(study).json
    his.put(study, {**body, "meta": {"security": [{"system": VISIBILITY, "code": "INVISIBLE_PATIENT"}]}})
    assert listed(person, patient) == []


def test_nobody_else_learns_which_links_there_are(doctor, stranger, his, caller, declared, person):
    study = make_study(his, declared)
    share(person, study)
    assert listed(doctor, declared) == []
    assert stranger.get(f"{declared}/$links").status_code == 404
    assert stranger.get("Patient/nobody/$links").status_code == 404
    assert listed(his, declared) == []


def test_the_list_of_links_is_in_the_trail(person, patient, study, audit_of):
    share(person, study)
    listed(person, patient)
    told = [one for one in audit_of() if any("$links" in entity.get("description", "") for entity in one["entity"])]
    assert len(told) == 1


def test_a_link_is_among_those_who_can_access_until_it_opens_no_more(person, study, database):
    link = share(person, study)
    name = link.consent["provision"]["actor"][0]["reference"]["identifier"]
    assert name["value"] in person.get(f"{study}/$who-can-access").text
    assert "permit-link" in person.get(f"{study}/$who-can-access").text
    set_clock(database, link, until=datetime.now(UTC))
    assert name["value"] not in person.get(f"{study}/$who-can-access").text


# The trail


def exports(audit_of):
    return [event for event in audit_of() if event["type"]["code"] == "110106"]


def test_each_use_is_in_the_trail_of_the_person_with_whom_it_was_for(person, study, patient, audit_of):
    link = share(person, study)
    assert link.ask(recipient=" Dr\u202e Ada \n Byron" + "!" * 200).status_code == 200
    (event,) = exports(audit_of)
    assert event["outcome"] == "0"
    assert event["subtype"][0]["code"] == "disclose"
    user = next(agent for agent in event["agent"] if agent["requestor"])
    assert user["name"].startswith("Dr Ada Byron!!!")
    assert len(user["name"]) == 100
    whole = json.dumps(event)
    assert study in whole
    assert f"Consent/{link.consent['id']}" in whole
    assert link.payload["url"].rpartition("/")[2] not in whole
    found = person.get(f"AuditEvent?entity=Consent/{link.consent['id']}&type=110106").json
    assert event["id"] in [entry["resource"]["id"] for entry in found["entry"]]


def test_what_the_holder_reads_with_the_token_is_in_the_trail_with_whom_they_said_they_are(person, study, audit_of):
    share(person, study).holder().get(study)
    event = next(one for one in audit_of() if one["type"]["code"] == "rest" and study in json.dumps(one["entity"]))
    reads = [one for one in audit_of() if one["type"]["code"] == "rest" and one["action"] == "R"]
    assert any(agent.get("name") == RECIPIENT for one in reads for agent in one["agent"]), event


def test_each_attempt_that_was_refused_is_in_the_trail_of_the_person(person, study, audit_of, database):
    link = share(person, study, passcode="123456")
    link.ask(passcode="000000")
    set_clock(database, link, attempts=0)
    link.ask(passcode="123456")
    assert [(event["outcome"], event["outcomeDesc"]) for event in exports(audit_of)] == [
        ("4", "link-wrong-passcode"),
        ("4", "link-locked"),
    ]


# Representatives


@pytest.fixture
def child(his):
    made = his.make({"resourceType": "Patient", "birthDate": f"{datetime.now(UTC).year - 9}-01-01"})
    return f"Patient/{made['id']}"


@pytest.fixture
def mother(caller, his, child):
    relationship = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "MTH"}]}
    made = his.make({"resourceType": "RelatedPerson", "patient": {"reference": child}, "relationship": [relationship]})
    reference = f"RelatedPerson/{made['id']}"
    return caller(reference, scope="user/*.cruds")


def test_a_representative_gives_a_link_that_ends_with_their_authority(mother, his, child):
    study = make_study(his, child)
    link = share(mother, study)
    holder = link.holder()
    assert holder.get(study).status_code == 200
    born = his.get(child).json
    his.put(child, {**born, "birthDate": "1990-01-01"})
    assert link.ask().status_code == 404
    assert holder.get(study).status_code == 404


def test_a_link_of_a_representative_sees_what_they_see_and_one_of_the_person_what_the_person_sees(
    mother, caller, his, child
):
    study = make_study(his, child)
    make_report(his, child, study, "INVISIBLE_REPRESENTANTS_LEGAUX")
    theirs, own = share(mother, study), share(caller(child), study)
    assert len(theirs.files()["application/fhir+json"]["entry"]) == 2
    assert len(own.files()["application/fhir+json"]["entry"]) == 3


def test_the_person_takes_back_a_link_that_somebody_gave_for_them(mother, caller, his, child, patient):
    study = make_study(his, child)
    link = share(mother, study)
    assert revoke(caller(patient), link.consent).status_code == 404
    taken = revoke(caller(child), link.consent)
    assert (taken.status_code, taken.json["status"]) == (200, "inactive")
    assert link.ask().status_code == 404
    assert revoke(caller(child), link.consent).status_code == 200


def test_a_representative_takes_back_their_own_link_and_not_the_persons(mother, caller, his, child):
    study = make_study(his, child)
    own, theirs = share(mother, study), share(caller(child), study)
    assert revoke(mother, own.consent).status_code == 200
    assert revoke(mother, theirs.consent).status_code == 403
    assert theirs.ask().status_code == 200


# Browsers


def test_a_viewer_of_any_origin_may_ask_for_a_manifest(person, study):
    link = share(person, study)
    headers = {"Origin": "https://viewer.example", "Access-Control-Request-Method": "POST"}
    preflight = person.http.options(link.address, headers=headers)
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    assert "content-type" in preflight.headers["Access-Control-Allow-Headers"].lower()
    answer = person.http.post(link.address, json={"recipient": "x"}, headers={"Origin": "https://viewer.example"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_report_of_accesses_names_the_holder_as_they_named_themselves(person, patient, study):
    share(person, study).ask()

    found = person.get(f"{patient}/$access-report?form=lines&own=false&language=en").json["parameter"]

    line = next(one["part"] for one in found if {"name": "kind", "valueCode": "link"} in one["part"])
    [text] = [part["valueString"] for part in line if part["name"] == "text"]
    assert f"Holder of a link ({RECIPIENT}) – Opened by a link: imaging exam" in text
