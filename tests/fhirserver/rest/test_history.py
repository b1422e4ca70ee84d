"""The history of one resource (https://hl7.org/fhir/R4/http.html#history)."""

from __future__ import annotations

import pytest

from tests.fhirserver.rest.conftest import issues_of


@pytest.fixture
def changed(his, patient):
    """A patient of four versions, the last a deletion."""
    for year in ("1981", "1982"):
        his.put(patient, his.get(patient).json | {"birthDate": year})
    his.delete(patient)
    return patient


def versions(response):
    assert response.status_code == 200, response.text
    return [entry["response"]["etag"] for entry in response.json["entry"]]


def test_versions_come_newest_first_with_what_made_them(his, changed):
    bundle = his.get(f"{changed}/_history").json
    assert bundle["type"] == "history"
    assert bundle["total"] == 4
    requests = [(entry["request"]["method"], entry["response"]["status"]) for entry in bundle["entry"]]
    assert requests == [("DELETE", "204 No Content"), ("PUT", "200 OK"), ("PUT", "200 OK"), ("POST", "201 Created")]
    assert "resource" not in bundle["entry"][0]
    assert bundle["entry"][1]["resource"]["birthDate"] == "1982"


def test_a_history_is_paged(his, changed):
    response = his.get(f"{changed}/_history?_count=3")
    seen = versions(response)
    assert "total" not in response.json
    [url] = [link["url"] for link in response.json["link"] if link["relation"] == "next"]
    seen += versions(his.get(url.removeprefix("http://fhir.example/fhir")))
    assert seen == ['W/"4"', 'W/"3"', 'W/"2"', 'W/"1"']


def test_a_history_may_begin_at_an_instant(his, changed):
    since = his.get(f"{changed}/_history").json["entry"][1]["response"]["lastModified"]
    assert versions(his.get(f"{changed}/_history?_since={since}")) == ['W/"4"', 'W/"3"']


@pytest.mark.parametrize(
    "query",
    [
        "_since=yesterday",
        "_count=0",
        "_count=x",
        "_at=never",
        "_before=x",
        "_sort=x",
        "_since=2026&_since=2025",
        "_page=abc",
    ],
)
def test_a_parameter_that_cannot_be_used_is_refused(his, changed, query):
    response = his.get(f"{changed}/_history?{query}")
    assert response.status_code == 400
    assert issues_of(response)


def test_a_stranger_sees_no_history(stranger, patient):
    assert stranger.get(f"{patient}/_history").status_code == 404


def test_a_page_link_of_a_search_does_not_open_a_history(his, changed):
    for _ in range(2):
        his.make({"resourceType": "Patient", "name": [{"family": "Paging"}]})
    response = his.get("Patient?family=paging&_count=1")
    page = next(link["url"] for link in response.json["link"] if link["relation"] == "next").partition("_page=")[2]
    assert his.get(f"{changed}/_history?_page={page}").status_code == 400


def test_a_history_is_audited_once(his, changed, audit_of):
    his.get(f"{changed}/_history", X_Request_Id="history-1")
    assert len([event for event in audit_of() if "history-1" in str(event)]) == 1


def test_a_history_without_a_version_is_audited_for_it_says_that_the_resource_is_there(his, changed, audit_of):
    response = his.get(f"{changed}/_history?_since=2999-01-01", X_Request_Id="history-2")
    assert (response.status_code, "entry" in response.json) == (200, False)
    [event] = [event for event in audit_of() if "history-2" in str(event)]
    assert changed in [entity.get("what", {}).get("reference") for entity in event["entity"]]


# Of a type, and of all


BASE = "http://fhir.example/fhir"


def told(his, path):
    """Reference, method and version of each entry of all pages."""
    found = []
    while path is not None:
        response = his.get(path)
        assert response.status_code == 200, response.text
        bundle = response.json
        for entry in bundle.get("entry", ()):
            reference = entry["fullUrl"].removeprefix(f"{BASE}/")
            found.append((reference, entry["request"]["method"], entry["response"]["etag"]))
        following = [link["url"] for link in bundle["link"] if link["relation"] == "next"]
        path = following[0].removeprefix(f"{BASE}/") if following else None
    return found


OF_CHANGED = [("DELETE", 'W/"4"'), ("PUT", 'W/"3"'), ("PUT", 'W/"2"'), ("POST", 'W/"1"')]


@pytest.mark.parametrize("path", ["Patient/_history", "_history"])
@pytest.mark.parametrize("query", ["", "?_count=2", "?_sort=_lastUpdated&_count=3"])
def test_the_history_of_a_type_and_of_all_has_every_version(his, changed, path, query):
    found = told(his, path + query)
    of_changed = [(method, tag) for reference, method, tag in found if reference == changed]
    assert of_changed == (OF_CHANGED[::-1] if "_sort" in query else OF_CHANGED)
    assert len(found) == len(set(found))
    assert {reference.partition("/")[0] for reference, _, _ in found} >= {"Patient"}


def test_a_bundle_says_up_to_when_it_is_complete_and_every_page_says_the_same(his, changed):
    first = his.get("Patient/_history?_count=1").json
    following = next(link["url"] for link in first["link"] if link["relation"] == "next")
    second = his.get(following.removeprefix(f"{BASE}/")).json
    assert first["meta"]["lastUpdated"] == second["meta"]["lastUpdated"]
    assert first["type"] == "history"
    assert "total" not in first
    again = his.get(f"Patient/_history?_since={first['meta']['lastUpdated']}")
    assert again.status_code == 200


def test_the_whole_has_a_total_and_nothing_is_an_empty_bundle(his, patient):
    bundle = his.get("Patient/_history?_since=2100-01-01").json
    assert (bundle["total"], "entry" in bundle) == (0, False)


def test_versions_before_an_instant_and_those_current_at_one(his, changed):
    entries = his.get(f"{changed}/_history").json["entry"]
    third = entries[1]["response"]["lastModified"]
    assert versions(his.get(f"{changed}/_history?_before={third}")) == ['W/"2"', 'W/"1"']
    assert versions(his.get(f"{changed}/_history?_at={third}")) == ['W/"3"']
    of_type = [tag for reference, _, tag in told(his, f"Patient/_history?_at={third}") if reference == changed]
    assert of_type == ['W/"3"']
    assert len(versions(his.get(f"{changed}/_history?_at={third[:4]}"))) == 4


@pytest.mark.parametrize("path", ["Patient/_history", "_history"])
@pytest.mark.parametrize("query", ["_at=never", "_before=x", "_sort=status", "_count=0", "_page=abc", "_type=Patient"])
def test_a_parameter_of_a_feed_that_cannot_be_used_is_refused(his, path, query):
    response = his.get(f"{path}?{query}")
    assert response.status_code == 400
    assert issues_of(response)


def test_a_page_link_is_good_for_its_own_feed_only(his, other_his, changed):
    url = next(link["url"] for link in his.get("Patient/_history?_count=1").json["link"] if link["relation"] == "next")
    page = url.partition("_page=")[2]
    assert his.get(f"Patient/_history?_page={page}").status_code == 200
    assert his.get(f"_history?_page={page}").status_code == 400
    assert his.get(f"{changed}/_history?_page={page}").status_code == 400
    assert his.get(f"Patient?_page={page}").status_code == 400
    assert other_his.get(f"Patient/_history?_page={page}").status_code == 400


def test_a_stranger_sees_none_of_it(stranger, declared):
    for path in ("Patient/_history", "_history"):
        assert declared not in [reference for reference, _, _ in told(stranger, path)]


def test_who_follows_a_patient_sees_the_versions(doctor, declared):
    assert (declared, "POST", 'W/"1"') in told(doctor, "Patient/_history")
    assert (declared, "POST", 'W/"1"') in told(doctor, "_history")


def test_the_feed_of_all_has_the_types_that_the_token_admits(caller, his, changed):
    some = caller("Client/his-e1", organization="Organization/e1", scope="system/Patient.r system/Basic.r")
    assert {reference.partition("/")[0] for reference, _, _ in told(some, "_history")} == {"Patient"}
    none = caller("Client/his-e1", organization="Organization/e1", scope="system/Patient.s")
    assert none.get("_history").status_code == 403
    assert none.get("Patient/_history").status_code == 403
    assert some.get("Observation/_history").status_code == 403


def test_the_feed_of_all_tells_of_no_audit_event_and_no_binary(operator, his, changed):
    his.make({"resourceType": "Binary", "contentType": "text/plain", "data": "aGVsbG8="})
    assert {reference.partition("/")[0] for reference, _, _ in told(his, "_history")}.isdisjoint(
        {"AuditEvent", "Binary"}
    )


def test_one_audit_event_and_one_binary_have_their_history(caller, his, patient):
    his.get(patient)
    person = caller(patient)
    [found] = person.get("AuditEvent?_count=1&_sort=date").json["entry"]
    assert versions(person.get(f"AuditEvent/{found['resource']['id']}/_history")) == ['W/"1"']
    made = his.make({"resourceType": "Binary", "contentType": "text/plain", "data": "aGVsbG8="})
    made["data"] = "b3RoZXI="
    assert his.put(f"Binary/{made['id']}", made).status_code == 200
    found = his.get(f"Binary/{made['id']}/_history").json["entry"]
    assert [entry["resource"]["data"] for entry in found] == ["b3RoZXI=", "aGVsbG8="]


def test_a_feed_is_audited_for_each_patient_whose_versions_it_told(his, changed, audit_of):
    his.make({"resourceType": "Patient", "active": True})
    told(his, "Patient/_history?_count=1000")
    [event] = [one for one in audit_of() if changed in str(one) and "history-type" in str(one)]
    assert event["subtype"][0]["code"] == "history-type"
    assert event["action"] == "E"
    told(his, "_history?_count=1000")
    assert [one for one in audit_of() if changed in str(one) and "history-system" in str(one)]


def test_a_refused_feed_is_audited(caller, his, audit_of):
    caller("Client/his-e1", organization="Organization/e1", scope="system/Patient.s").get("_history")
    [event] = audit_of()
    assert "insufficient-scope" in str(event)


# Deleted, and back again


def test_a_deleted_resource_is_gone_its_versions_are_not_and_it_may_come_back(his, other_his, changed):
    assert his.get(changed).status_code == 410
    assert his.get(f"{changed}/_history/4").status_code == 410
    assert his.get(f"{changed}/_history/3").json["birthDate"] == "1982"
    for path in (changed, f"{changed}/_history", f"{changed}/_history/3", f"{changed}/_history/4"):
        assert other_his.get(path).status_code == 404
    back = his.put(changed, {"resourceType": "Patient", "id": changed.partition("/")[2], "birthDate": "1990"})
    assert (back.status_code, back.headers["ETag"]) == (201, 'W/"5"')
    assert his.get(changed).json["birthDate"] == "1990"
    assert versions(his.get(f"{changed}/_history")) == [f'W/"{number}"' for number in (5, 4, 3, 2, 1)]
    assert his.get(f"{changed}/_history/4").status_code == 410
    statuses = [entry["response"]["status"] for entry in his.get(f"{changed}/_history").json["entry"]]
    assert statuses == ["201 Created", "204 No Content", "200 OK", "200 OK", "201 Created"]
