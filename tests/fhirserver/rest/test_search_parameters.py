"""Search parameters that the operator adds, over HTTP: checked, indexed, then searched by, and told of."""

from __future__ import annotations

import base64
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from fhirserver import audit
from fhirserver.store.audit_log import AuditLog
from fhirserver.store.database import Database
from fhirserver.store.reindex import Reindex
from resources import validation
from tests.fhirserver.rest.conftest import Caller, issues_of

URL = "http://example.org/fhir/StructureDefinition/"


def parameter(code: str, type_: str, expression: str, *base: str, **fields: Any) -> dict[str, Any]:
    """A SearchParameter whose id is its code."""
    return {
        "resourceType": "SearchParameter",
        "id": code,
        "url": f"http://example.org/fhir/SearchParameter/{code}",
        "name": "X",
        "status": "active",
        "description": uuid.uuid4().hex,  # the same bytes again would write nothing
        "code": code,
        "base": list(base or ("Observation",)),
        "type": type_,
        "expression": expression,
        **fields,
    }


@pytest.fixture(autouse=True)
def _quick(database: Database) -> Iterator[None]:
    """One process, which knows at once; no parameter is left behind."""
    database.search_parameters.age = 0.0
    database.in_flight.margin = timedelta(0)
    yield
    database.database["search_parameters"].delete_many({"_id": {"$ne": "generation"}})


@pytest.fixture
def add(operator: Caller, database: Database, config: Any) -> Callable[..., None]:
    """Add a parameter, and let it be indexed."""

    def made(*parts: Any, **fields: Any) -> None:
        resource = parameter(*parts, **fields)
        assert operator.put(f"SearchParameter/{resource['id']}", resource).status_code in {200, 201}
        reindex(operator, database, config)

    return made


def reindex(operator: Caller, database: Database, config: Any) -> None:
    assert operator.post("$reindex", b"").status_code == 202
    assert Reindex(database, config).run().status == "done"


def observation(patient: str, **fields: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": patient},
        **fields,
    }


def ids(caller: Caller, path: str) -> list[str]:
    response = caller.get(path)
    assert response.status_code == 200, response.text
    return [entry["resource"]["id"] for entry in response.json.get("entry", ())]


# One stored value for each type of parameter, a search that finds it and one that does not.
KINDS = {
    "token": (
        {"interpretation": [{"coding": [{"system": "s", "code": "H"}]}]},
        "Observation.interpretation",
        ("s|H", "L"),
    ),
    "string": ({"note": [{"text": "Very loud"}]}, "Observation.note.text", ("very", "loud")),
    "date": ({"issued": "2026-01-02T03:04:05Z"}, "Observation.issued", ("2026-01", "lt2026-01")),
    "number": (
        {"component": [{"code": {"text": "x"}, "valueInteger": 7}]},
        "Observation.component.value.ofType(integer)",
        ("gt6", "gt7"),
    ),
    "quantity": (
        {
            "referenceRange": [
                {"low": {"value": 3.5, "unit": "mg", "system": "http://unitsofmeasure.org", "code": "mg"}}
            ]
        },
        "Observation.referenceRange.low",
        ("3.5|http://unitsofmeasure.org|mg", "5"),
    ),
    "reference": (
        {"extension": [{"url": f"{URL}by", "valueReference": {"reference": "Practitioner/d"}}]},
        f"Observation.extension.where(url='{URL}by').value.ofType(Reference)",
        ("Practitioner/d", "Practitioner/s"),
    ),
    "uri": (
        {"implicitRules": "http://example.org/rules"},
        "Observation.implicitRules",
        ("http://example.org/rules", "x"),
    ),
    "composite": (
        {"component": [{"code": {"coding": [{"code": "a"}]}, "valueQuantity": {"value": 5}}]},
        "Observation.component",
        ("a$ge5", "b$ge5"),
    ),
}
COMPONENTS = [
    {"definition": "http://hl7.org/fhir/SearchParameter/Observation-component-code", "expression": "code"},
    {
        "definition": "http://hl7.org/fhir/SearchParameter/Observation-component-value-quantity",
        "expression": "value.as(Quantity)",
    },
]


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("is_first", [True, False], ids=["defined first", "stored first"])
def test_a_parameter_of_each_type_is_answered(
    his: Caller, doctor: Caller, declared: str, add: Callable[..., None], kind: str, *, is_first: bool
) -> None:
    fields, expression, (hit, miss) = KINDS[kind]
    more = {"component": COMPONENTS} if kind == "composite" else {}
    if is_first:
        add("own", kind, expression, **more)
    made = his.make(observation(declared, **fields))["id"]
    if not is_first:
        add("own", kind, expression, **more)
    assert ids(doctor, f"Observation?subject={declared}&own={hit}") == [made]
    assert ids(doctor, f"Observation?subject={declared}&own={miss}") == []


def test_who_may_not_see_a_row_does_not_find_it_by_an_added_parameter(
    his: Caller, doctor: Caller, stranger: Caller, operator: Caller, declared: str, add: Callable[..., None]
) -> None:
    his.make(observation(declared, note=[{"text": "Secretive"}]))
    add("noted", "string", "Observation.note.text")
    assert len(ids(doctor, "Observation?noted=secretive")) == 1
    for caller in (stranger, operator):
        answer = caller.get("Observation?noted=secretive&_total=accurate")
        assert answer.json["total"] == 0
        nothing = caller.get("Observation?noted=nothing&_total=accurate")
        assert _plain(answer) == _plain(nothing)


def _plain(answer: TestResponse) -> str:
    """The answer without what it says of the question, and its own id."""
    return re.sub(r"noted=\w+|\"id\":\"\w+\"", "", answer.text)


def test_until_it_is_indexed_every_use_is_refused(his: Caller, operator: Caller) -> None:
    operator.put("SearchParameter/own", parameter("own", "reference", "Observation.focus"))
    for path in (
        "Observation?own=Practitioner/d",
        "Observation?own:missing=true",
        "Observation?_sort=own",
        "Observation?_include=Observation:own",
        "Practitioner?_revinclude=Observation:own",
    ):
        for prefer in ("handling=strict", "handling=lenient"):
            [issue] = issues_of(refused := his.get(path, Prefer=prefer))
            assert refused.status_code == 400
            assert issue["code"] == "not-supported"
            assert "being indexed" in issue["diagnostics"]


def test_the_refusal_says_how_far_it_is(his: Caller, operator: Caller, database: Database) -> None:
    operator.put("SearchParameter/own", parameter("own", "string", "Observation.note.text"))
    [issue] = issues_of(his.get("Observation?own=x"))
    assert "an operator has to start it" in issue["diagnostics"]
    job = {"_id": "reindex", "status": "running", "types": [], "total": 200, "done": 89, "order": "x"}
    database.database["search_parameters"].insert_one(job)
    [issue] = issues_of(his.get("Observation?own=x"))
    assert issue["diagnostics"] == "The search parameter 'own' is being indexed: 40 %."


def test_the_statement_names_it_when_it_may_be_used(operator: Caller, his: Caller, add: Callable[..., None]) -> None:
    def named() -> tuple[dict[str, str], str, list[str]]:
        response = his.get("metadata")
        validation.check("CapabilityStatement", response.data)
        [resource] = [one for one in response.json["rest"][0]["resource"] if one["type"] == "Observation"]
        return (
            {one["name"]: one.get("definition", "") for one in resource["searchParam"]},
            response.headers["ETag"],
            resource["searchInclude"],
        )

    before, tag, _ = named()
    assert "own" not in before
    operator.put("SearchParameter/own", parameter("own", "reference", "Observation.focus", target=["Patient"]))
    assert "own" not in named()[0]
    add("own", "reference", "Observation.focus", target=["Patient"])
    after, later, includes = named()
    assert after["own"] == "http://example.org/fhir/SearchParameter/own"
    assert later != tag
    assert "Observation:own" in includes
    operator.delete("SearchParameter/own")
    assert named()[0] == before


def test_the_description_for_tools_names_it_when_it_may_be_used(
    app: Flask, operator: Caller, add: Callable[..., None]
) -> None:
    def named(type_: str, parameter: str = "") -> set[str]:
        response = app.test_client().get(f"/openapi.json?type={type_}")
        found = response.json["paths"][f"/fhir/{type_}"]["get"]["parameters"]
        if parameter:
            found = [one["schema"]["items"] for one in found if one["name"] == parameter]
            return set(found[0]["enum"])
        return {one["name"] for one in found if one["in"] == "query"}

    before = named("Observation")
    operator.put("SearchParameter/own", parameter("own", "reference", "Observation.focus", target=["Patient"]))
    assert named("Observation") == before
    add("own", "reference", "Observation.focus", target=["Patient"])
    assert named("Observation") == before | {"own"}
    assert "own" not in named("Patient")
    assert "Observation:own" in named("Observation", "_include")
    assert "Observation:own" in named("Patient", "_revinclude")
    operator.delete("SearchParameter/own")
    assert named("Observation") == before


def test_a_query_of_graphql_takes_it_as_an_argument(
    his: Caller, stranger: Caller, operator: Caller, add: Callable[..., None], declared: str
) -> None:
    def ask(caller: Caller, query: str, at: str = "") -> TestResponse:
        return caller.request("POST", f"{at}/$graphql", {"query": query}, Content_Type="application/json")

    made = his.make(observation(declared, note=[{"text": "Very loud"}], focus=[{"reference": declared}]))["id"]
    operator.put("SearchParameter/own-note", parameter("own-note", "string", "Observation.note.text"))
    query = '{ ObservationList(own_note: "very", patient: "%s") { id } }' % declared  # noqa: UP031 - braces
    assert "is being indexed" in ask(his, query).json["errors"][0]["message"]
    add("own-note", "string", "Observation.note.text")
    add("own-about", "reference", "Observation.focus", target=["Patient"])
    assert ask(his, query).json["data"] == {"ObservationList": [{"id": made}]}
    assert ask(stranger, query).json["data"] == {"ObservationList": []}
    within = "{ ObservationList(_reference: own_about) { id } }"
    assert ask(his, within, declared).json["data"] == {"ObservationList": [{"id": made}]}
    none = ask(his, '{ ConditionList(own_note: "very") { id } }')
    assert (none.status_code, none.json["data"]) == (400, None)


REFUSED = {
    "taken by R4": (parameter("code", "token", "Observation.code"), "SearchParameter.code"),
    "not a name": (parameter("a:b", "token", "Observation.code"), "SearchParameter.code"),
    "of the server": (parameter("_own", "token", "Observation.code"), "SearchParameter.code"),
    "special": (parameter("own", "special", "Observation.code"), "SearchParameter.type"),
    "phonetic": (
        parameter("own", "string", "Observation.note.text", xpathUsage="phonetic"),
        "SearchParameter.xpathUsage",
    ),
    "no expression": (parameter("own", "token", ""), "SearchParameter.expression"),
    "unknown element": (parameter("own", "token", "Observation.nothing"), "SearchParameter.expression"),
    "another type": (parameter("own", "token", "Patient.gender"), "SearchParameter.expression"),
    "unknown function": (parameter("own", "token", "Observation.code.first()"), "SearchParameter.expression"),
    "empty step": (parameter("own", "token", "Observation.code | .code | "), "SearchParameter.expression"),
    "too long": (
        parameter("own", "token", "Observation.code" + " | Observation.code" * 60),
        "SearchParameter.expression",
    ),
    "too deep": (parameter("own", "token", "(" * 20 + "Observation.code" + ")" * 20), "SearchParameter.expression"),
    "not a date": (parameter("own", "date", "Observation.code"), "SearchParameter.expression"),
    "some not tokens": (parameter("own", "token", "Observation.value"), "SearchParameter.expression"),
    "the trail": (parameter("own", "token", "AuditEvent.action", "AuditEvent"), "SearchParameter.base[0]"),
    "binaries": (parameter("own", "token", "Binary.contentType", "Patient", "Binary"), "SearchParameter.base[1]"),
    "abstract": (parameter("own", "token", "Resource.language", "Resource"), "SearchParameter.base[0]"),
    "components of none": (
        parameter("own", "token", "Observation.code", component=COMPONENTS),
        "SearchParameter.component",
    ),
    "composite of one": (
        parameter("own", "composite", "Observation.component", component=COMPONENTS[:1]),
        "SearchParameter.component",
    ),
    "unknown component": (
        parameter(
            "own",
            "composite",
            "Observation.component",
            component=[COMPONENTS[0], {"definition": "http://example.org/x", "expression": "code"}],
        ),
        "SearchParameter.component[1]",
    ),
    "component that finds nothing": (
        parameter(
            "own",
            "composite",
            "Observation.component",
            component=[COMPONENTS[0], {**COMPONENTS[1], "expression": "nothing"}],
        ),
        "SearchParameter.component[1].expression",
    ),
    "two ordered": (
        parameter("own", "composite", "Observation.component", component=[COMPONENTS[1], COMPONENTS[1]]),
        "SearchParameter.component",
    ),
}


@pytest.mark.parametrize("why", sorted(REFUSED))
def test_what_could_not_be_answered_in_full_is_refused_with_the_element(operator: Caller, why: str) -> None:
    resource, element = REFUSED[why]
    resource = {name: value for name, value in resource.items() if value != ""}
    [issue, *_] = issues_of(
        refused := operator.put(
            f"SearchParameter/{resource['id'].strip('_:')[:1]}x",
            {**resource, "id": f"{resource['id'].strip('_:')[:1]}x"},
        )
    )
    assert refused.status_code == 422, refused.text
    assert issue["expression"] == [element]
    draft = {**resource, "id": "draft", "status": "draft"}
    assert operator.put("SearchParameter/draft", draft).status_code in {200, 201}


def test_two_parameters_do_not_share_a_code_or_an_address(operator: Caller) -> None:
    operator.put("SearchParameter/own", parameter("own", "token", "Observation.interpretation"))
    same_code = parameter("own", "string", "Observation.note.text", url="http://example.org/other", id="other")
    [issue] = issues_of(operator.put("SearchParameter/other", same_code))
    assert issue["expression"] == ["SearchParameter.code"]
    same_url = parameter("own", "token", "Patient.language", "Patient", id="other") | {"code": "mine"}
    [issue] = issues_of(operator.put("SearchParameter/other", same_url))
    assert issue["expression"] == ["SearchParameter.url"]
    elsewhere = parameter("own", "token", "Patient.language", "Patient", url="http://example.org/other", id="other")
    assert operator.put("SearchParameter/other", elsewhere).status_code == 201


def test_a_transaction_that_fails_adds_nothing(operator: Caller, database: Database) -> None:
    entries = [
        {
            "request": {"method": "PUT", "url": f"SearchParameter/{resource['id']}"},
            "resource": resource,
        }
        for resource in (
            parameter("own", "token", "Observation.interpretation"),
            parameter("bad", "token", "Observation.nothing"),
        )
    ]
    answer = operator.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert answer.status_code == 422
    assert issues_of(answer)[0]["expression"] == ["Bundle.entry[1].resource.expression"]
    assert database.search_parameters.refresh().added == ()


# The operations


def test_only_an_operator_reindexes(his: Caller, doctor: Caller, stranger: Caller, operator: Caller) -> None:
    operator.put("SearchParameter/own", parameter("own", "token", "Observation.interpretation"))
    for caller in (his, doctor, stranger):
        for path in ("$reindex", "SearchParameter/own/$reindex"):
            assert caller.post(path, b"").status_code == 403
        for path in ("$reindex-status", "SearchParameter/own/$reindex-status"):
            assert caller.get(path).status_code == 403


def test_the_job_is_accepted_and_told_of_until_it_is_done(
    his: Caller, operator: Caller, patient: str, database: Database, config: Any, audit_of: Callable[[], list[Any]]
) -> None:
    his.make(observation(patient, interpretation=[{"text": "x"}]))
    operator.put("SearchParameter/own", parameter("own", "token", "Observation.interpretation"))
    accepted = operator.post("SearchParameter/own/$reindex", b"")
    assert accepted.status_code == 202
    assert accepted.headers["Content-Location"] == "http://fhir.example/fhir/$reindex-status"
    assert accepted.headers["X-Progress"].endswith(" %")
    validation.check("Parameters", accepted.data)
    Reindex(database, config).run()
    done = operator.get("$reindex-status")
    assert done.status_code == 200
    assert "X-Progress" not in done.headers
    told = {part["name"]: part for part in done.json["parameter"]}
    assert told["status"]["valueCode"] == "done"
    assert told["done"] == {**told["total"], "name": "done"}
    assert {"name": "state", "valueCode": "usable"} in told["parameter"]["part"]
    queries = [
        base64.b64decode(entity["query"]).decode()
        for event in audit_of()
        for entity in event["entity"]
        if "query" in entity
    ]
    assert "SearchParameter/own/$reindex?" in queries


def test_no_job_begins_that_the_audit_does_not_tell_of(operator: Caller, database: Database) -> None:
    operator.put("SearchParameter/own", parameter("own", "token", "Observation.interpretation"))
    audit.use(None)
    try:
        assert operator.post("$reindex", b"").status_code == 503
    finally:
        audit.use(cast("AuditLog", database.sealer))
    assert database.database["search_parameters"].find_one({"_id": "reindex"}) is None
    assert operator.post("$reindex?type=Observation", b"").status_code == 202


def test_however_often_it_is_asked_for_one_thread_is_at_it(operator: Caller, database: Database) -> None:
    operator.put("SearchParameter/own", parameter("own", "token", "Observation.interpretation"))
    held = datetime.now(UTC) + timedelta(minutes=1)
    assert operator.post("$reindex", b"").status_code == 202
    jobs = database.database["search_parameters"]
    jobs.update_one({"_id": "reindex"}, {"$set": {"status": "running", "lease": {"by": "another", "until": held}}})
    for _ in range(5):
        assert operator.post("$reindex", b"").status_code == 202
    assert [thread.name for thread in threading.enumerate()].count("reindex") == 1


def test_a_job_is_of_known_types_and_of_a_parameter_of_this_server(operator: Caller) -> None:
    operator.put("SearchParameter/data", parameter("data", "token", "Observation.nothing", status="draft"))
    assert operator.post("SearchParameter/data/$reindex", b"").status_code == 422
    assert operator.post("SearchParameter/unknown/$reindex", b"").status_code == 422
    assert operator.post("$reindex?type=Nothing", b"").status_code == 422
    assert operator.post("$reindex?type=AuditEvent", b"").status_code == 422
    operator.put("SearchParameter/own", parameter("own", "token", "Observation.interpretation"))
    assert operator.post("SearchParameter/own/$reindex?type=Patient", b"").status_code == 400
    assert operator.get("$reindex").status_code == 405


def test_a_job_of_one_type_leaves_a_parameter_of_several_refused(
    his: Caller, operator: Caller, database: Database, config: Any
) -> None:
    operator.put(
        "SearchParameter/own",
        parameter("own", "token", "Observation.language | Patient.language", "Observation", "Patient"),
    )
    assert operator.post("$reindex?type=Patient", b"").status_code == 202
    Reindex(database, config).run()
    assert his.get("Patient?own=fr").status_code == 400
    assert operator.post("$reindex?type=Patient&type=Observation", b"").status_code == 202
    Reindex(database, config).run()
    assert his.get("Patient?own=fr").status_code == 200
