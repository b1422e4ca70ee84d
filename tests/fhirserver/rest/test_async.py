"""Prefer: respond-async: a search is begun, asked after, fetched and cancelled, and decided when it is fetched."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from fhirserver import audit
from fhirserver.interactions.search_later import MOST_UNFINISHED
from resources.xml import to_json
from tests.fhirserver.rest.conftest import issues_of

ASYNC = {"Prefer": "respond-async"}
BASE = "http://fhir.example/fhir"


def observation(patient, text="x"):
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": text},
        "subject": {"reference": patient},
    }


def begin(caller, path):
    """Begin a search; gives the address at which to ask after it, below the base."""
    response = caller.get(path, **ASYNC)
    assert (response.status_code, response.data) == (202, b""), response.text
    assert response.headers["Preference-Applied"] == "respond-async"
    assert int(response.headers["Retry-After"]) > 0
    return response.headers["Content-Location"].removeprefix(BASE)


def fetch(caller, address, **headers):
    """Ask until the search is done; the answer that it then has."""
    while (response := caller.get(address, **headers)).status_code == 202:
        assert response.headers["X-Progress"].startswith("searching for ")
        assert response.data == b""
    return response


def found(response):
    """The searchset in the answer."""
    assert response.status_code == 200, response.text
    assert response.json["type"] == "batch-response"
    [entry] = response.json["entry"]
    assert entry["response"]["status"] == "200 OK"
    return entry["resource"]


def ids(bundle):
    return [entry["resource"]["id"] for entry in bundle.get("entry", ()) if entry["search"]["mode"] == "match"]


@pytest.fixture
def observations(his, declared):
    """Three of the patient's, oldest first."""
    return [his.make(observation(declared, f"number {number}"))["id"] for number in range(3)]


@pytest.fixture
def jobs(database):
    return database.jobs


def test_a_search_in_the_background_finds_what_it_finds_at_once(doctor, declared, observations):
    path = f"Observation?subject={declared}&_include=Observation:subject&_sort=_lastUpdated"
    at_once = doctor.get(path).json
    later = found(fetch(doctor, begin(doctor, path)))
    assert ids(later) == ids(at_once) == observations
    assert later["total"] == at_once["total"] == 3
    assert [entry["search"]["mode"] for entry in later["entry"]] == ["match"] * 3 + ["include"]
    assert later["link"][0] == at_once["link"][0]


@pytest.mark.parametrize(
    "asked",
    [
        "?_type=Observation,Patient&_sort=_lastUpdated&_id={ids}",
        "{patient}/Observation?_sort=_lastUpdated&_include=Observation:subject",
        "{patient}/*?_type=Observation,Patient&_sort=_lastUpdated",
    ],
)
def test_a_search_of_the_system_or_a_compartment_finds_later_what_it_finds_at_once(
    doctor, declared, observations, asked
):
    path = asked.format(ids=",".join([*observations, declared.partition("/")[2]]), patient=declared)
    at_once = doctor.get(path).json
    later = found(fetch(doctor, begin(doctor, path)))
    assert len(ids(later)) >= 3
    assert later["entry"] == at_once["entry"]
    assert later["total"] == at_once["total"]
    assert later["link"] == at_once["link"]


@pytest.mark.parametrize("asked", ["?_type=Observation&_id={ids}", "{patient}/Observation?_id={ids}"])
def test_the_next_page_of_such_a_search_is_behind_its_link(doctor, declared, observations, asked):
    path = asked.format(ids=",".join(observations), patient=declared) + "&_count=2&_sort=_lastUpdated"
    first = found(fetch(doctor, begin(doctor, path)))
    following = next(link["url"] for link in first["link"] if link["relation"] == "next").removeprefix(BASE)
    assert ids(first) + ids(doctor.get(following).json) == observations


def test_a_compartment_is_searched_later_by_a_form_too(doctor, declared, observations):
    form = {"Content_Type": "application/x-www-form-urlencoded", **ASYNC}
    for address, sent in (
        (f"{declared}/Observation/_search", b"_sort=_lastUpdated"),
        ("_search", b"_type=Observation"),
    ):
        response = doctor.request("POST", address, sent, **form)
        assert response.status_code == 202
        assert set(observations) <= set(
            ids(found(fetch(doctor, response.headers["Content-Location"].removeprefix(BASE))))
        )


def test_whose_compartment_may_not_be_read_is_as_one_that_is_absent(stranger, declared):
    refused, absent = (stranger.get(f"{one}/Observation", **ASYNC) for one in (declared, "Patient/never-was"))
    assert refused.status_code == absent.status_code == 404
    assert refused.text.replace(declared, "") == absent.text.replace("Patient/never-was", "")


def test_a_compartment_is_decided_anew_when_it_is_fetched(his, doctor, patient):
    team = his.make(
        {
            "resourceType": "CareTeam",
            "status": "active",
            "subject": {"reference": patient},
            "participant": [{"member": {"reference": "Practitioner/d"}, "period": {"start": "2020-01-01"}}],
        }
    )
    made = his.make(observation(patient))["id"]
    compartment = begin(doctor, f"{patient}/Observation")
    system = begin(doctor, f"?_type=Observation&_id={made}")
    assert ids(found(fetch(doctor, compartment))) == ids(found(fetch(doctor, system))) == [made]
    assert his.put(f"CareTeam/{team['id']}", {**team, "status": "inactive"}).status_code == 200
    assert fetch(doctor, compartment).status_code == 404
    empty = found(fetch(doctor, system))
    assert (empty.get("entry", []), empty["total"]) == ([], 0)


def test_whose_compartment_is_searched_is_told_before_and_when_it_is_fetched(doctor, declared, observations, audit_of):
    fetch(doctor, begin(doctor, f"{declared}/Observation?code:text=nothing-of-this"))
    told = [
        event
        for event in audit_of()
        if any(one.get("what", {}).get("reference") == declared for one in event["entity"])
    ]
    assert len(told) == 2
    assert all(event["subtype"][0]["code"] == "search-type" for event in told)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("?_type=Nosuch", 400),
        ("?_type=AuditEvent", 400),
        ("Practitioner/d/Nosuch", 404),
        ("Location/x/Patient", 400),
        ("?colour=blue", 400),
    ],
)
def test_what_is_wrong_with_a_search_of_several_types_is_said_at_once(doctor, path, status):
    assert doctor.get(path, **ASYNC).status_code == status


def test_what_the_token_does_not_cover_is_not_begun(caller, declared):
    narrow = caller("Practitioner/d", organization="Organization/e1", scope="user/Observation.rs")
    assert narrow.get(f"{declared}/Observation", **ASYNC).status_code == 403
    assert narrow.get("?_type=Patient", **ASYNC).status_code == 403


def test_a_history_is_answered_at_once(doctor, declared):
    for path in (f"{declared}/_history", "Patient/_history", "_history?_count=1"):
        response = doctor.get(path, **ASYNC)
        assert (response.status_code, "Preference-Applied" in response.headers) == (200, False)


def test_it_may_be_asked_for_by_a_form_and_fetched_in_xml_more_than_once(doctor, declared, observations):
    form = f"subject={declared}".encode()
    response = doctor.request(
        "POST", "/Observation/_search", form, Content_Type="application/x-www-form-urlencoded", **ASYNC
    )
    address = response.headers["Content-Location"].removeprefix(BASE)
    assert len(ids(found(fetch(doctor, address)))) == 3
    in_xml = fetch(doctor, address, Accept="application/fhir+xml")
    assert json.loads(to_json(in_xml.data))["entry"][0]["resource"]["total"] == 3


def test_the_rest_is_behind_its_next_link(doctor, declared, observations):
    path = f"Observation?subject={declared}&_count=2&_sort=_lastUpdated"
    first = found(fetch(doctor, begin(doctor, path)))
    assert "total" not in first
    following = next(link["url"] for link in first["link"] if link["relation"] == "next").removeprefix(BASE)
    rest = doctor.get(following).json
    assert ids(first) + ids(rest) == observations


def test_what_is_wrong_with_the_question_is_said_at_once(doctor):
    assert issues_of(doctor.get("Observation?colour=blue", **ASYNC))[0]["expression"] == ["colour"]
    assert doctor.get("Nosuch?x=y", **ASYNC).status_code == 404


@pytest.mark.parametrize("query", ["_total=accurate", "_summary=count", "_count=0"])
def test_a_total_that_is_asked_for_is_told_at_once(doctor, declared, observations, query):
    response = doctor.get(f"Observation?subject={declared}&{query}", **ASYNC)
    assert (response.status_code, response.json["total"]) == (200, 3)
    assert "Preference-Applied" not in response.headers


def test_a_page_link_and_a_read_are_answered_at_once(doctor, declared, observations):
    assert doctor.get(declared, **ASYNC).status_code == 200
    links = doctor.get(f"Observation?subject={declared}&_count=1").json["link"]
    following = next(link["url"] for link in links if link["relation"] == "next").removeprefix(BASE)
    assert doctor.get(following, **ASYNC).status_code == 200


def test_what_may_not_be_seen_any_more_when_it_is_fetched_is_not_in_it(his, doctor, patient):
    team = his.make(
        {
            "resourceType": "CareTeam",
            "status": "active",
            "subject": {"reference": patient},
            "participant": [{"member": {"reference": "Practitioner/d"}, "period": {"start": "2020-01-01"}}],
        }
    )
    his.make(observation(patient))
    path = f"Observation?subject={patient}&_include=Observation:subject"
    address = begin(doctor, path)
    assert len(ids(found(fetch(doctor, address)))) == 1
    assert his.put(f"CareTeam/{team['id']}", {**team, "status": "inactive"}).status_code == 200
    empty = found(fetch(doctor, address))
    assert (empty.get("entry", []), empty["total"]) == ([], 0)


def test_what_is_gone_or_does_not_match_any_more_is_not_in_it(his, doctor, declared, observations):
    address = begin(doctor, f"Observation?subject={declared}&status=final&_sort=_lastUpdated")
    assert ids(found(fetch(doctor, address))) == observations
    his.delete(f"Observation/{observations[0]}")
    changed = {**observation(declared), "id": observations[1], "status": "amended"}
    assert his.put(f"Observation/{observations[1]}", changed).status_code == 200
    assert ids(found(fetch(doctor, address))) == observations[2:]


def test_nobody_else_learns_that_there_is_such_a_search(his, other_his, doctor, stranger, declared, app):
    address = begin(doctor, f"Observation?subject={declared}")
    fetch(doctor, address)
    absent = f"/_async-status/{'x' * 32}"
    for other in (his, other_his, stranger):
        for method in ("GET", "DELETE"):
            refused, unknown = other.request(method, address), other.request(method, absent)
            assert refused.status_code == unknown.status_code == 404
            assert refused.data == unknown.data
    assert app.test_client().get(f"/fhir{address}").status_code == 401
    assert fetch(doctor, address).status_code == 200


def test_a_search_that_was_cancelled_is_forgotten(doctor, declared, observations, jobs):
    address = begin(doctor, f"Observation?subject={declared}")
    assert doctor.delete(address).status_code == 202
    assert doctor.get(address).status_code == 404
    assert doctor.delete(address).status_code == 404
    assert jobs.find_one({"_id": address.rpartition("/")[2]}) is None


def counts_told(events, patient):
    """How many resources of the patient each event about them says were given."""
    entities = [entity for event in events for entity in event["entity"]]
    about = [entity for entity in entities if entity.get("what", {}).get("reference") == patient]
    return [next(int(one["valueString"]) for one in entity["detail"] if one["type"] == "disclosed") for entity in about]


def test_the_audit_tells_of_what_is_fetched_when_it_is_fetched(doctor, declared, observations, audit_of):
    address = begin(doctor, f"Observation?subject={declared}")
    assert fetch(doctor, address).status_code == 200
    once = audit_of()
    assert counts_told(once, declared) == [0, 3]
    fetch(doctor, address)
    assert counts_told(audit_of(), declared) == [0, 3, 3]


def test_the_audit_tells_of_a_search_that_is_never_fetched(doctor, declared, observations, audit_of):
    begin(doctor, f"Observation?subject={declared}&code:text=number")
    [event] = audit_of()
    [query] = [entity["query"] for entity in event["entity"] if "query" in entity]
    assert base64.b64decode(query).decode() == f"Observation?subject={quote(declared, safe='')}&code%3Atext=number"
    assert counts_told([event], declared) == [0]


def test_a_search_that_the_audit_cannot_tell_of_does_not_begin(doctor, declared, jobs, database):
    before = jobs.count_documents({})
    audit.use(None)
    try:
        assert doctor.get(f"Observation?subject={declared}", **ASYNC).status_code == 503
    finally:
        audit.use(database.sealer)
    assert jobs.count_documents({}) == before


def test_what_is_kept_names_rows_and_holds_no_content(doctor, declared, observations, jobs):
    address = begin(doctor, f"Observation?subject={declared}&code:text=number")
    fetch(doctor, address)
    kept = jobs.find_one({"_id": address.rpartition("/")[2]})
    assert set(kept["found"]["rows"]) == {f"Observation/{id_}" for id_ in observations}
    assert "final" not in json.dumps(kept, default=str)


def test_a_search_that_failed_tells_so(doctor, declared, jobs):
    address = begin(doctor, f"Observation?subject={declared}")
    fetch(doctor, address)
    error = [400, "too-costly", "It would cost too much."]
    jobs.update_one({"_id": address.rpartition("/")[2]}, {"$set": {"state": "failed", "error": error}})
    response = doctor.get(address)
    assert (response.status_code, issues_of(response)[0]["code"]) == (400, "too-costly")


def test_a_search_whose_process_died_is_taken_over_by_who_is_asked(doctor, declared, observations, jobs):
    address = begin(doctor, f"Observation?subject={declared}&_sort=_lastUpdated")
    fetch(doctor, address)
    lost = {"state": "running", "beat": datetime.now(UTC) - timedelta(minutes=1)}
    jobs.update_one({"_id": address.rpartition("/")[2]}, {"$set": lost, "$unset": {"found": ""}})
    assert doctor.get(address).status_code == 202
    assert ids(found(fetch(doctor, address))) == observations


def test_a_search_that_is_under_way_elsewhere_is_left_to_it(doctor, declared, jobs):
    address = begin(doctor, f"Observation?subject={declared}")
    fetch(doctor, address)
    elsewhere = {"state": "running", "beat": datetime.now(UTC)}
    jobs.update_one({"_id": address.rpartition("/")[2]}, {"$set": elsewhere, "$unset": {"found": ""}})
    response = doctor.get(address)
    assert response.status_code == 202
    assert jobs.find_one({"_id": address.rpartition("/")[2]})["state"] == "running"
    doctor.delete(address)


def test_a_search_that_has_expired_is_not_found(doctor, declared, jobs):
    address = begin(doctor, f"Observation?subject={declared}")
    fetch(doctor, address)
    past = {"expires": datetime.now(UTC) - timedelta(seconds=1)}
    jobs.update_one({"_id": address.rpartition("/")[2]}, {"$set": past})
    assert doctor.get(address).status_code == 404


def test_one_caller_has_a_bounded_number_under_way_and_is_then_answered_at_once(doctor, declared, jobs):
    address = begin(doctor, f"Observation?subject={declared}")
    fetch(doctor, address)
    kept = jobs.find_one({"_id": address.rpartition("/")[2]})
    jobs.insert_many([{**kept, "_id": f"busy-{number}", "state": "running"} for number in range(MOST_UNFINISHED)])
    assert doctor.get(f"Observation?subject={declared}", **ASYNC).status_code == 200
    jobs.delete_many({"_id": {"$regex": "^busy-"}})


def test_who_may_not_search_by_the_token_cannot_begin(caller, doctor):
    narrow = replace(
        doctor, token=caller("Practitioner/d", organization="Organization/e1", scope="user/Patient.r").token
    )
    assert narrow.get("Observation?status=final", **ASYNC).status_code == 403
