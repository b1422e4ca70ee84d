"""`$everything` of Patient and Encounter (https://hl7.org/fhir/R4/patient-operation-everything.html)."""

from __future__ import annotations

import json

import pytest

from tests.fhirserver.rest.conftest import issues_of

MASKED = {
    "system": "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument",
    "code": "MASQUE_PS",
}

PACS = {
    "resourceType": "Endpoint",
    "id": "pacs",
    "status": "active",
    "connectionType": {"code": "dicom-wado-rs"},
    "payloadType": [{"text": "DICOM"}],
    "address": "http://pacs.example",
}


def about(patient, type_="Observation", **elements):
    plain = {
        "Observation": {"status": "final", "code": {"text": "x"}},
        "DiagnosticReport": {"status": "final", "code": {"text": "x"}},
        "ImagingStudy": {"status": "available"},
        "Encounter": {"status": "finished", "class": {"code": "AMB"}},
    }
    return {"resourceType": type_, **plain[type_], "subject": {"reference": patient}, **elements}


def reference(made):
    return f"{made['resourceType']}/{made['id']}"


def found(response, mode="match"):
    assert response.status_code == 200, response.text
    return [reference(one["resource"]) for one in response.json.get("entry", ()) if one["search"]["mode"] == mode]


def follow(response):
    urls = [link["url"] for link in response.json["link"] if link["relation"] == "next"]
    return urls[0].removeprefix("http://fhir.example/fhir") if urls else None


@pytest.fixture
def observations(his, declared):
    return [reference(his.make(about(declared, effectiveDateTime=f"202{year}-05-06"))) for year in range(3)]


def test_the_patient_comes_first_and_then_the_record(his, declared, observations):
    response = his.get(f"{declared}/$everything")
    rows = found(response)
    assert rows[0] == declared
    assert set(observations) < set(rows)
    assert [one.partition("/")[0] for one in rows] == [
        "Patient",
        "CareTeam",
        "Observation",
        "Observation",
        "Observation",
    ]
    assert response.json["total"] == 5
    assert response.json["type"] == "searchset"
    assert response.json["link"][0]["url"] == f"http://fhir.example/fhir/{declared}/$everything"


def test_it_may_be_asked_by_post(his, declared, observations):
    body = {
        "resourceType": "Parameters",
        "parameter": [{"name": "_type", "valueCode": "Observation"}, {"name": "_count", "valueInteger": 2}],
    }
    response = his.post(f"{declared}/$everything", body)
    assert len(found(response)) == 2
    assert len(found(his.get(follow(response)))) == 1


def test_what_the_record_refers_to_is_included_where_it_is_nobody_elses(his, operator, doctor, declared):
    operator.put("Practitioner/reader", {"resourceType": "Practitioner", "id": "reader", "active": True})
    operator.put("Endpoint/pacs", PACS)
    his.make(about(declared, "ImagingStudy", endpoint=[{"reference": "http://fhir.example/fhir/Endpoint/pacs"}]))
    other = his.make({"resourceType": "Patient", "name": [{"family": "Other"}]})
    foreign = his.make(about(reference(other)))
    his.make(
        about(
            declared,
            "DiagnosticReport",
            resultsInterpreter=[{"reference": "Practitioner/reader"}, {"reference": "Practitioner/never-was"}],
            result=[{"reference": reference(foreign)}],
        )
    )
    for caller in (his, doctor):
        response = caller.get(f"{declared}/$everything")
        assert {"Practitioner/reader", "Endpoint/pacs", "Practitioner/d"} == set(found(response, "include"))
        assert reference(foreign) not in found(response) + found(response, "include")


@pytest.mark.parametrize(
    ("query", "years"),
    [("start=2021-01-01", {1, 2}), ("end=2021-05-06", {0, 1}), ("start=2021&end=2021", {1}), ("start=2023", set())],
)
def test_the_record_may_be_limited_to_care_of_some_time(his, declared, observations, query, years):
    rows = found(his.get(f"{declared}/$everything?{query}"))
    assert {index for index, one in enumerate(observations) if one in rows} == years
    assert declared in rows


def test_the_record_may_be_limited_to_what_changed_and_to_some_types(his, declared, observations):
    since = his.get(observations[2]).json["meta"]["lastUpdated"]
    rows = found(his.get(f"{declared}/$everything?_since={since}"))
    assert observations[2] in rows
    assert declared not in rows
    assert found(his.get(f"{declared}/$everything?_type=CareTeam,Patient"))[0] == declared
    assert found(his.get(f"{declared}/$everything?_type=Observation&_type=Encounter")) == sorted(observations)


@pytest.mark.parametrize(
    "query",
    ["_count=0", "_count=x", "_type=Nosuch", "_type=AuditEvent", "_type=Binary", "start=soon", "_since=x", "nosuch=1",
     "start=2020&start=2021", "_include=x"],
)  # fmt: skip
def test_a_parameter_that_cannot_be_used_is_refused(his, declared, query):
    response = his.get(f"{declared}/$everything?{query}")
    assert response.status_code == 400
    assert issues_of(response)[0]["expression"]


def test_pages_are_of_one_state_of_the_data(his, declared, observations):
    response = his.get(f"{declared}/$everything?_count=1")
    assert found(response) == [declared]
    his.make(about(declared))
    his.put(observations[1], his.get(observations[1]).json | {"status": "amended"})
    rows = found(response)
    while path := follow(response):
        response = his.get(path)
        assert len(found(response)) == 1
        rows += found(response)
    assert rows[2:] == sorted(observations)
    assert len(rows) == 5
    assert len(found(his.get(f"{declared}/$everything"))) == 6


def test_a_page_link_carries_no_right(his, doctor, declared, observations):
    response = doctor.get(f"{declared}/$everything?_count=2&_type=Observation")
    first = found(response)
    masked = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"security": [MASKED]}}]}
    left = ({*observations} - {*first}).pop()
    his.post(f"{left}/$meta-add", masked)
    assert found(doctor.get(follow(response))) == []
    assert his.get(follow(response)).status_code == 400
    assert doctor.get(follow(response).replace("$everything", "_history")).status_code == 400


def test_rows_that_are_hidden_from_the_caller_are_not_there(his, doctor, declared, observations):
    hidden = reference(his.make(about(declared, meta={"security": [MASKED]})))
    assert hidden in found(his.get(f"{declared}/$everything"))
    response = doctor.get(f"{declared}/$everything")
    assert hidden not in response.text
    assert response.json["total"] == len(found(response)) == 5


def test_a_page_link_that_was_made_up_is_refused(his, declared):
    assert his.get(f"{declared}/$everything?_page=abc").status_code == 400


def test_a_stranger_is_told_what_is_told_of_nobody(stranger, declared):
    for address in (declared, "Patient/never-was"):
        response = stranger.get(f"{address}/$everything")
        assert response.status_code == 404
        assert issues_of(response)[0]["diagnostics"] == f"{address} is not known."


def test_a_patient_gets_their_own_record_without_naming_it(caller, his, declared, observations):
    app = caller(declared)
    response = app.get("Patient/$everything")
    assert found(response)[0] == declared
    assert set(observations) <= set(found(response))
    assert found(app.get(f"{declared}/$everything")) == found(response)
    assert len(found(app.get(follow(app.get("Patient/$everything?_count=2"))))) == 2
    assert his.get("Patient/$everything").status_code == 400


def test_the_scopes_of_a_token_count_for_each_type(caller, declared, observations):
    app = caller(declared, scope="patient/Patient.r patient/Observation.s")
    assert {one.partition("/")[0] for one in found(app.get(f"{declared}/$everything"))} == {"Patient", "Observation"}
    assert caller(declared, scope="patient/Observation.rs").get(f"{declared}/$everything").status_code == 403


def test_a_deleted_patient_is_gone(his, patient):
    his.delete(patient)
    assert his.get(f"{patient}/$everything").status_code == 410


def test_an_encounter_comes_with_what_belongs_to_it_and_what_it_refers_to(
    his, doctor, stranger, declared, observations
):
    seen = [{"individual": {"reference": "Practitioner/d"}}]
    encounter = reference(his.make(about(declared, "Encounter", participant=seen)))
    within = {
        reference(his.make(about(declared, type_, encounter={"reference": encounter})))
        for type_ in ("Observation", "ImagingStudy", "DiagnosticReport")
    }
    for caller in (his, doctor):
        response = caller.get(f"{encounter}/$everything")
        assert found(response)[0] == encounter
        assert set(found(response)) == {encounter, *within}
        assert set(found(response, "include")) == {declared, "Practitioner/d"}
    assert found(his.get(f"{encounter}/$everything?_type=ImagingStudy"))[0].startswith("ImagingStudy/")
    assert his.get(f"{encounter}/$everything?start=2020").status_code == 400
    assert stranger.get(f"{encounter}/$everything").status_code == 404


def test_an_encounter_of_nobody_is_given_alone(his):
    encounter = reference(his.make({"resourceType": "Encounter", "status": "finished", "class": {"code": "AMB"}}))
    assert found(his.get(f"{encounter}/$everything")) == [encounter]


def test_the_patient_is_told_how_much_was_disclosed(doctor, declared, observations, audit_of):
    doctor.get(f"{declared}/$everything", X_Request_Id="everything-1")
    [event] = [event for event in audit_of() if "everything-1" in json.dumps(event)]
    assert event["subtype"][0]["code"] == "operation"
    assert declared in json.dumps(event)


def test_the_patient_is_told_when_there_was_nothing_of_the_types_asked(his, declared, audit_of):
    encounter = reference(his.make(about(declared, "Encounter")))
    for record in (declared, encounter):
        request = f"nothing-{record.partition('/')[0]}"
        assert found(his.get(f"{record}/$everything?_type=Media", X_Request_Id=request)) == []
        [event] = [event for event in audit_of() if request in json.dumps(event)]
        assert declared in [entity.get("what", {}).get("reference") for entity in event["entity"]]


def test_it_is_asked_within_a_batch(his, declared, observations):
    entry = {"request": {"method": "GET", "url": f"{declared}/$everything?_type=Observation"}}
    response = his.post("", {"resourceType": "Bundle", "type": "batch", "entry": [entry]})
    assert len(response.json["entry"][0]["resource"]["entry"]) == 3
