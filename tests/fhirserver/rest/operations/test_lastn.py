"""`$lastn` of Observation (https://hl7.org/fhir/R4/observation-operation-lastn.html)."""

from __future__ import annotations

import json

import pytest

from tests.fhirserver.rest.conftest import issues_of

MASKED = {
    "system": "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument",
    "code": "MASQUE_PS",
}
CATEGORY = [{"coding": [{"system": "urn:category", "code": "vital"}]}]


def coded(*codes):
    return {"coding": [{"system": "urn:lastn", "code": code} for code in codes]}


@pytest.fixture
def observe(his, declared):
    """Make an observation of a code and day, and give its id."""

    def make(code, day, **elements):
        dated = {} if day is None else {"effectiveDateTime": f"2024-05-{day:02}"}
        return his.make(
            {
                "resourceType": "Observation",
                "status": "final",
                "category": CATEGORY,
                "code": code,
                "subject": {"reference": declared},
                **dated,
                **elements,
            }
        )["id"]

    return make


def found(response):
    assert response.status_code == 200, response.text
    assert response.json["total"] == len(response.json.get("entry", ()))
    return [one["resource"]["id"] for one in response.json.get("entry", ())]


def test_the_latest_of_each_code_are_given(his, doctor, declared, observe):
    pulse = [observe(coded("pulse"), day) for day in (1, 3, 2)]
    weight = [observe(coded("weight"), day) for day in (4, None)]
    for caller in (his, doctor):
        assert found(caller.get(f"Observation/$lastn?patient={declared}&category=vital")) == [weight[0], pulse[1]]
        two = found(caller.get(f"Observation/$lastn?subject={declared}&category=urn:category|vital&max=2"))
        assert two == [weight[0], weight[1], pulse[1], pulse[2]]
        assert found(caller.get(f"Observation/$lastn?patient={declared}&code=urn:lastn|pulse")) == [pulse[1]]


def test_observations_that_share_a_coding_are_of_one_code(his, declared, observe):
    newest, bridge, old = (observe(coded(*codes), day) for codes, day in ((("a",), 9), (("a", "b"), 8), (("b",), 7)))
    text = [observe({"text": word}, day) for word, day in (("Pulse", 6), ("weight", 5), ("pulse", 4))]
    assert found(his.get(f"Observation/$lastn?patient={declared}&category=vital")) == [newest, text[0], text[1]]
    assert found(his.get(f"Observation/$lastn?patient={declared}&category=vital&max=3")) == [
        newest, bridge, old, text[0], text[2], text[1],
    ]  # fmt: skip


def test_criteria_of_a_search_count(his, declared, observe):
    observe(coded("pulse"), 3, status="preliminary")
    final = observe(coded("pulse"), 2)
    assert found(his.get(f"Observation/$lastn?patient={declared}&category=vital&status=final")) == [final]
    assert found(his.get(f"Observation/$lastn?patient={declared}&category=vital&date=lt2024-05-01")) == []


def test_it_is_asked_by_post(his, declared, observe):
    one = observe(coded("pulse"), 3)
    body = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "max", "valuePositiveInt": 1},
            {"name": "patient", "valueString": declared},
            {"name": "category", "valueString": "vital"},
        ],
    }
    assert found(his.post("Observation/$lastn", body)) == [one]


@pytest.mark.parametrize(
    "query",
    ["category=vital", "patient=x", "patient=x&category=y&max=0", "patient=x&category=y&_sort=date",
     "patient=x&category=y&_count=1", "patient=x&category=y&_include=Observation:subject",
     "patient=x&category=y&nosuch=1",
     "patient=x&category=y&max=1&max=2"],
)  # fmt: skip
def test_what_cannot_be_answered_is_refused(his, query):
    response = his.get(f"Observation/$lastn?{query}")
    assert response.status_code == 400
    assert issues_of(response)


def test_what_is_hidden_takes_no_place(his, doctor, stranger, declared, observe):
    hidden = observe(coded("pulse"), 9, meta={"security": [MASKED]})
    seen = observe(coded("pulse"), 1)
    query = f"Observation/$lastn?patient={declared}&category=vital"
    assert found(his.get(query)) == [hidden]
    assert found(doctor.get(query)) == [seen]
    assert found(stranger.get(query)) == []


def test_the_patient_is_told_how_many(doctor, declared, observe, audit_of):
    observe(coded("pulse"), 9)
    doctor.get(f"Observation/$lastn?patient={declared}&category=vital", X_Request_Id="lastn-1")
    [event] = [event for event in audit_of() if "lastn-1" in json.dumps(event)]
    assert event["subtype"][0]["code"] == "operation"
    assert declared in json.dumps(event)
