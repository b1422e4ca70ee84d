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


@pytest.mark.parametrize("query", ["_since=yesterday", "_count=0", "_count=x", "_at=2020", "_sort=x", "_page=abc"])
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
