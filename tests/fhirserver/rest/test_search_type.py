"""search-type by GET and POST (https://hl7.org/fhir/R4/http.html#search)."""

from __future__ import annotations

import uuid
from urllib.parse import quote

import pytest

from tests.fhirserver.rest.conftest import issues_of


@pytest.fixture
def studies(his, declared):
    """Five studies of a declared patient, by day."""
    for day in range(1, 6):
        his.make(
            {
                "resourceType": "ImagingStudy",
                "status": "available",
                "subject": {"reference": declared},
                "started": f"2024-01-0{day}T10:00:00+01:00",
                "description": f"day {day}",
                "numberOfSeries": 1,
            }
        )
    return declared


def matches(response):
    assert response.status_code == 200, response.text
    return [entry["resource"] for entry in response.json.get("entry", ()) if entry["search"]["mode"] == "match"]


def link(response, relation):
    return next((one["url"] for one in response.json["link"] if one["relation"] == relation), None)


def follow(caller, url):
    return caller.get(url.removeprefix("http://fhir.example/fhir"))


def test_a_searchset_holds_what_was_asked_with_full_urls(doctor, studies):
    response = doctor.get(f"ImagingStudy?patient={studies}")
    assert response.json["type"] == "searchset"
    assert response.json["total"] == 5
    entry = response.json["entry"][0]
    assert entry["fullUrl"] == f"http://fhir.example/fhir/ImagingStudy/{entry['resource']['id']}"
    assert entry["search"] == {"mode": "match"}


def test_a_stranger_gets_an_empty_searchset_and_no_count(stranger, studies):
    for query in (f"patient={studies}", f"patient={studies}&_total=accurate", f"patient={studies}&_summary=count"):
        response = stranger.get(f"ImagingStudy?{query}")
        assert response.json["total"] == 0
        assert "entry" not in response.json


def test_a_search_is_audited_with_its_query_and_its_patient(doctor, studies, audit_of):
    doctor.get(f"ImagingStudy?patient={studies}", X_Request_Id="search-1")
    [event] = [event for event in audit_of() if "search-1" in str(event)]
    assert event["action"] == "E"
    assert any(entity.get("what", {}).get("reference") == studies for entity in event["entity"])
    assert any("query" in entity for entity in event["entity"])


def test_the_form_of_a_post_counts_with_the_parameters_of_the_address(doctor, studies):
    response = doctor.post(
        "ImagingStudy/_search?_count=2",
        f"patient={quote(studies, safe='')}&_sort=started".encode(),
        Content_Type="application/x-www-form-urlencoded",
    )
    assert [study["description"] for study in matches(response)] == ["day 1", "day 2"]


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data", "text/plain"])
def test_a_search_by_post_takes_forms_only(doctor, content_type):
    assert doctor.post("ImagingStudy/_search", b"{}", Content_Type=content_type).status_code == 415


def test_a_form_that_is_not_utf8_is_refused(doctor):
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    assert doctor.post("ImagingStudy/_search", b"patient=%ff", **form).status_code == 400
    assert doctor.post("ImagingStudy/_search", b"patient=\xff", **form).status_code == 400
    assert doctor.get("ImagingStudy?patient=%ff").status_code == 400


def test_repeated_parameters_all_count(doctor, studies):
    response = doctor.get(f"ImagingStudy?patient={studies}&started=ge2024-01-02&started=lt2024-01-04&_sort=started")
    assert [study["description"] for study in matches(response)] == ["day 2", "day 3"]


def test_the_self_link_tells_what_was_used(doctor, studies):
    response = doctor.get(f"ImagingStudy?nosuch=1&patient={studies}", Prefer="handling=lenient")
    assert link(response, "self") == f"http://fhir.example/fhir/ImagingStudy?patient={studies}"


def test_the_self_link_can_be_followed(doctor, studies):
    first = doctor.get(f"ImagingStudy?patient={studies}&started=gt2024-01-03T00:00:00%2B01:00&_sort=-started")
    again = follow(doctor, link(first, "self"))
    assert matches(again) == matches(first)
    assert len(matches(first)) == 3


def test_pages_follow_each_other_without_loss_or_repetition(doctor, studies):
    response = doctor.get(f"ImagingStudy?patient={studies}&_sort=started&_count=2")
    seen = [study["description"] for study in matches(response)]
    assert "total" not in response.json
    while (url := link(response, "next")) is not None:
        response = follow(doctor, url)
        seen += [study["description"] for study in matches(response)]
    assert seen == [f"day {day}" for day in range(1, 6)]


def test_a_page_link_tells_nothing_of_the_query(doctor, studies):
    url = link(doctor.get(f"ImagingStudy?patient={studies}&_count=2"), "next")
    assert studies.partition("/")[2] not in url
    assert "patient" not in url


def test_a_page_link_is_of_no_use_to_another_caller_nor_for_another_type_nor_when_changed(doctor, stranger, studies):
    url = link(doctor.get(f"ImagingStudy?patient={studies}&_count=2"), "next")
    assert follow(stranger, url).status_code == 400
    assert follow(doctor, url.replace("ImagingStudy", "Observation")).status_code == 400
    assert follow(doctor, url[:-5] + "AAAAA").status_code == 400
    assert follow(doctor, url + "&_count=3").status_code == 400
    assert issues_of(follow(stranger, url))[0]["code"] == "invalid"


def test_a_page_link_is_of_no_use_to_a_colleague_nor_to_the_same_person_elsewhere(caller, doctor, stranger, studies):
    url = link(doctor.get(f"ImagingStudy?patient={studies}&_count=2"), "next")
    assert follow(caller("Practitioner/s", organization="Organization/e1"), url).status_code == 400
    assert follow(caller("Practitioner/d", organization="Organization/e2"), url).status_code == 400
    assert follow(caller("Practitioner/d", organization="Organization/e1"), url).status_code == 200


def test_the_next_page_is_decided_anew(his, doctor, studies):
    url = link(doctor.get(f"ImagingStudy?patient={studies}&_count=2"), "next")
    [team] = matches(his.get(f"CareTeam?patient={studies}"))
    his.put(f"CareTeam/{team['id']}", team | {"status": "inactive"})
    assert matches(follow(doctor, url)) == []


def test_a_total_is_counted_where_it_is_asked_for(doctor, studies):
    assert doctor.get(f"ImagingStudy?patient={studies}&_count=2&_total=accurate").json["total"] == 5


def test_a_count_alone_brings_no_entries(doctor, studies):
    for parameter in ("_summary=count", "_count=0"):
        bundle = doctor.get(f"ImagingStudy?patient={studies}&{parameter}").json
        assert bundle["total"] == 5
        assert "entry" not in bundle


def test_a_summary_is_marked(doctor, studies):
    [study] = matches(doctor.get(f"ImagingStudy?patient={studies}&_count=1&_summary=true"))
    assert study["meta"]["tag"][0]["code"] == "SUBSETTED"
    assert "status" in study


def test_included_resources_come_marked_and_are_decided_too(his, doctor, studies):
    response = doctor.get(f"ImagingStudy?patient={studies}&_include=ImagingStudy:patient&_count=1")
    included = [entry for entry in response.json["entry"] if entry["search"]["mode"] == "include"]
    assert [entry["fullUrl"].rpartition("/fhir/")[2] for entry in included] == [studies]


def test_an_unknown_parameter_is_refused_by_name(doctor):
    response = doctor.get("ImagingStudy?nosuch=1")
    assert response.status_code == 400
    assert issues_of(response)[0]["expression"] == ["nosuch"]


def test_leniency_says_what_it_passed_over(doctor, studies):
    response = doctor.get(f"ImagingStudy?patient={studies}&nosuch=1", Prefer="handling=lenient")
    [outcome] = [entry for entry in response.json["entry"] if entry["search"]["mode"] == "outcome"]
    issue = outcome["resource"]["issue"][0]
    assert (issue["severity"], issue["expression"]) == ("warning", ["nosuch"])
    assert len(matches(response)) == 5


@pytest.mark.parametrize(
    "query",
    [
        "subject.nosuch:x=x",
        "_has:Observation:patient=x",
        "_filter=x",
        "identifier:in=x",
        "_sort=nosuch",
    ],
)
def test_what_is_not_offered_is_refused_even_with_leniency_where_it_would_change_the_meaning(doctor, query):
    assert doctor.get(f"ImagingStudy?{query}").status_code == 400


def test_a_search_needs_the_scope(caller, his):
    reader = caller("Client/only-reads", organization="Organization/e1", scope="system/*.r")
    assert reader.get("Patient?name=x").status_code == 403


def test_a_very_long_list_of_parameters_is_refused(doctor):
    query = "&".join("_id=x" for _ in range(500))
    assert doctor.get(f"Patient?{query}").status_code == 400


def test_head_of_a_search_has_no_body(doctor, studies):
    response = doctor.request("HEAD", f"ImagingStudy?patient={studies}")
    assert (response.status_code, response.data) == (200, b"")


def test_an_identifier_search_finds_one(his):
    number = uuid.uuid4().hex
    made = his.make({"resourceType": "Patient", "identifier": [{"system": "urn:s", "value": number}]})
    assert [one["id"] for one in matches(his.get(f"Patient?identifier=urn:s|{number}"))] == [made["id"]]
