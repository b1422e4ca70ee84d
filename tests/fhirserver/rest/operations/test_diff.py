"""`$diff` between versions and between resources."""

from __future__ import annotations

import json

import pytest

from resources import validation
from tests.fhirserver.rest.conftest import issues_of

MASKED = {
    "system": "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument",
    "code": "MASQUE_PS",
}


@pytest.fixture
def changed(his, declared):
    """An observation of three versions, which gave 1.50, then 1.5, then 2."""
    text = '{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject":{"reference":"%s"},"valueQuantity":{"value":%s}%s}'  # noqa: E501
    made = his.request("POST", "Observation", (text % (declared, "1.50", "")).encode()).json
    for value in ("1.5", "2"):
        body = text % (declared, value, f',"id":"{made["id"]}"')
        assert his.request("PUT", f"Observation/{made['id']}", body.encode()).status_code == 200
    return f"Observation/{made['id']}"


def operations(response):
    assert response.status_code == 200, response.text
    validation.check("Parameters", response.data)
    return [
        {part["name"]: next(v for k, v in part.items() if k != "name") for part in one["part"]}
        for one in response.json.get("parameter", ())
    ]


def test_the_last_change_is_told_with_what_was_there_before(his, doctor, changed):
    for caller in (his, doctor):
        response = caller.get(f"{changed}/$diff")
        [one] = operations(response)
        assert (one["type"], one["path"]) == ("replace", "Observation.value.value")
        assert '"previousValue","valueDecimal":1.5}' in response.text
        assert '"value","valueDecimal":2}' in response.text


def test_digits_are_a_difference(his, changed):
    response = his.get(f"{changed}/$diff?fromVersion=1&toVersion=2")
    assert "1.50" in response.text
    assert operations(response)
    assert operations(his.get(f"{changed}/$diff?fromVersion=2&toVersion=2")) == []


def test_metadata_are_compared_where_that_is_asked(his, changed):
    paths = [one["path"] for one in operations(his.get(f"{changed}/$diff?includeMeta=true"))]
    assert "Observation.meta.versionId" in paths
    paths = [one["path"] for one in operations(his.get(f"{changed}/$diff?includeMeta=false"))]
    assert paths == ["Observation.value.value"]


def test_two_resources_of_a_type_are_compared(his, changed, declared):
    other = his.make({"resourceType": "Observation", "status": "amended", "code": {"text": "x"}, "subject": {"reference": declared}})  # noqa: E501  # fmt: skip
    for path in ("$diff", "Observation/$diff"):
        found = operations(his.get(f"{path}?from={changed}/_history/1&to=Observation/{other['id']}"))
        assert [(one["type"], one["path"]) for one in found] == [
            ("replace", "Observation.status"),
            ("delete", "Observation.value"),
        ]


@pytest.mark.parametrize(
    ("query", "status"),
    [("$diff?from=Patient/x", 400), ("$diff?from=Patient/x&to=Observation/y", 400),
     ("$diff?from=Patient&to=Patient/x", 400),
     ("$diff?from=Patient/x?y&to=Patient/x", 400), ("$diff?from=Patient/a b&to=Patient/x", 400),
     ("Observation/$diff?from=Patient/x&to=Patient/y", 400), ("$diff?from=Nosuch/x&to=Nosuch/y", 404),
     ("$diff?from=Patient/never&to=Patient/was", 404), ("$diff?from=Patient/x/$meta&to=Patient/x", 400)],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused(his, query, status):
    response = his.get(query)
    assert response.status_code == status, response.text
    assert issues_of(response)


@pytest.mark.parametrize(
    ("query", "status"),
    [("fromVersion=9", 404), ("fromVersion=x", 404), ("fromVersion=0", 404), ("toVersion=1", 404), ("x=1", 400)],
)  # fmt: skip
def test_a_version_that_is_not_there_is_not_compared(his, changed, query, status):
    assert his.get(f"{changed}/$diff?{query}").status_code == status


def test_a_deletion_is_gone(his, changed):
    his.delete(changed)
    assert his.get(f"{changed}/$diff").status_code == 410
    assert his.get(f"{changed}/$diff?fromVersion=1&toVersion=3").status_code == 200


def test_who_may_not_see_both_sees_no_difference(his, doctor, stranger, changed):
    for address in (changed, "Observation/never-was"):
        for path in (f"{address}/$diff", f"$diff?from={address}&to={address}"):
            response = stranger.get(path)
            assert response.status_code == 404
            assert issues_of(response)[0]["diagnostics"] == f"{address} is not known."
    his.put(changed, his.get(changed).json | {"meta": {"security": [MASKED]}})
    assert his.get(f"{changed}/$diff").status_code == 200
    assert doctor.get(f"{changed}/$diff?fromVersion=1&toVersion=2").status_code == 404
    his.post(f"{changed}/$meta-delete", {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"security": [MASKED]}}]})  # noqa: E501  # fmt: skip
    assert doctor.get(f"{changed}/$diff?fromVersion=3&toVersion=5").status_code == 200
    assert doctor.get(f"{changed}/$diff?fromVersion=4&toVersion=5").status_code == 404


def test_both_readings_are_in_the_audit(his, changed, audit_of):
    his.get(f"{changed}/$diff", X_Request_Id="diff-1")
    events = [event for event in audit_of() if "diff-1" in json.dumps(event)]
    assert {event["subtype"][0]["code"] for event in events} == {"read", "vread"}
