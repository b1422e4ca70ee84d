"""batch (https://hl7.org/fhir/R4/http.html#transaction)."""

from __future__ import annotations

from tests.fhirserver.rest.test_transaction import entry, patient_with


def batch(*entries):
    return {"resourceType": "Bundle", "type": "batch", "entry": list(entries)}


def test_entries_do_not_know_of_each_other(his, patient):
    response = his.post(
        "",
        batch(
            entry("GET", patient),
            entry("GET", "Patient/absent"),
            entry("POST", "Patient", {"resourceType": "Patient", "nosuch": 1}),
            entry("POST", "Patient", patient_with("1")),
            entry("PATCH", patient),
            entry("GET", f"{patient}/_history"),
            entry("GET", f"{patient}/_history/1"),
            entry("GET", "Patient?nosuch=1"),
            entry("GET", "Patient?_summary=count"),
            entry("DELETE", patient),
        ),
    )
    assert response.status_code == 200
    assert response.json["type"] == "batch-response"
    statuses = [int(one["response"]["status"][:3]) for one in response.json["entry"]]
    assert statuses == [200, 404, 422, 201, 422, 200, 200, 400, 200, 204]
    outcome = response.json["entry"][2]["response"]["outcome"]
    assert outcome["issue"][0]["expression"] == ["Bundle.entry[2].resource.nosuch"]


def test_histories_are_read_in_a_batch_as_they_are_alone(his, stranger, declared):
    wanted = [
        entry("GET", path) for path in ("_history?_count=1000", "Patient/_history?_count=1000", "Nosuch/_history")
    ]
    answers = his.post("", batch(*wanted)).json["entry"]
    assert [one["response"]["status"][:3] for one in answers] == ["200", "200", "404"]
    for answer in answers[:2]:
        assert answer["resource"]["type"] == "history"
        assert declared in str(answer["resource"])
    for answer in stranger.post("", batch(*wanted[:2])).json["entry"]:
        assert declared not in str(answer["resource"])
    [refused] = his.post("", batch(entry("DELETE", "Patient/_history"))).json["entry"]
    assert refused["response"]["status"][:3] == "400"


def test_a_refused_entry_looks_like_an_absent_one(stranger, declared):
    refused, absent = stranger.post("", batch(entry("GET", declared), entry("GET", "Patient/absent"))).json["entry"]
    assert refused["response"]["status"] == absent["response"]["status"] == "404 Not Found"
    assert "resource" not in refused


def test_a_batch_of_a_professional_reads_and_is_refused_its_writes(doctor, declared):
    answers = doctor.post("", batch(entry("GET", declared), entry("POST", "Patient", patient_with("1")))).json["entry"]
    assert [one["response"]["status"][:3] for one in answers] == ["200", "403"]


def test_every_entry_of_a_batch_is_audited(his, patient, audit_of):
    his.post("", batch(entry("GET", patient), entry("GET", patient)), X_Request_Id="batch-1")
    assert [event["action"] for event in audit_of() if "batch-1" in str(event)] == ["R", "R"]


def test_a_condition_that_an_entry_would_ignore_is_refused(his, patient):
    body = {"resourceType": "Patient", "id": patient.partition("/")[2]}
    response = his.post(
        "",
        batch(
            entry("PUT", patient, body, ifNoneExist="identifier=1"),
            entry("POST", "Patient", {"resourceType": "Patient"}, ifMatch='W/"1"'),
            entry("GET", patient, ifMatch='W/"1"'),
            entry("GET", "Patient", ifNoneMatch='W/"1"'),
            entry("DELETE", patient, ifNoneMatch="*"),
        ),
    )
    answers = [one["response"] for one in response.json["entry"]]
    assert [one["status"][:3] for one in answers] == ["400"] * 5
    assert answers[0]["outcome"]["issue"][0]["expression"] == ["Bundle.entry[0].request.ifNoneExist"]


def test_an_entry_that_is_unchanged_since_an_instant_is_not_sent_again(his, patient):
    modified = his.get(patient).json["meta"]["lastUpdated"]
    fresh, old = his.post(
        "",
        batch(
            entry("GET", patient, ifModifiedSince=modified),
            entry("GET", patient, ifModifiedSince="2001-01-01T00:00:00Z"),
        ),
    ).json["entry"]
    assert (fresh["response"]["status"][:3], old["response"]["status"][:3]) == ("304", "200")
    assert "resource" not in fresh
    assert his.post("", batch(entry("GET", patient, ifModifiedSince="yesterday"))).status_code == 422


def test_leniency_reaches_the_searches_of_a_batch(his):
    body = batch(entry("GET", "Patient?nosuch=1&_count=1"))
    assert his.post("", body).json["entry"][0]["response"]["status"] == "400 Bad Request"
    lenient = his.post("", body, Prefer="handling=lenient").json["entry"][0]
    assert lenient["response"]["status"] == "200 OK"
