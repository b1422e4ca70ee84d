"""`$graphql` (https://hl7.org/fhir/R4/graphql.html)."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

MASKED = {
    "system": "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument",
    "code": "MASQUE_PS",
}


def ask(caller, query, at="", **more):
    return caller.request("POST", f"{at}/$graphql", {"query": query, **more}, Content_Type="application/json")


def data(response):
    assert response.status_code == 200, response.text
    assert response.content_type == "application/json"
    return response.json["data"]


def error(response, status=400):
    assert response.status_code == status, response.text
    assert response.content_type == "application/json"
    assert response.json["data"] is None
    [told] = response.json["errors"]
    outcome = told["extensions"]["resource"]
    assert outcome["resourceType"] == "OperationOutcome"
    assert outcome["issue"][0]["diagnostics"] == told["message"]
    return told["message"]


def reference(made):
    return f"{made['resourceType']}/{made['id']}"


@pytest.fixture
def example(his):
    """The patient of the examples in the specification, in what they show."""
    return reference(
        his.make(
            {
                "resourceType": "Patient",
                "identifier": [{"system": "urn:oid:1.2.36.146.595.217.0.1", "value": "12345"}],
                "active": True,
                "name": [
                    {"use": "official", "family": "Chalmers", "given": ["Peter", "James"]},
                    {"use": "usual", "given": ["Jim"]},
                    {"use": "maiden", "family": "Windsor", "given": ["Peter", "James"]},
                ],
                "birthDate": "1974-12-25",
                "_birthDate": {"extension": [{"url": "urn:birthTime", "valueDateTime": "1974-12-25T14:35:45Z"}]},
                "contained": [{"resourceType": "Organization", "id": "o", "name": "Inner"}],
                "managingOrganization": {"reference": "#o"},
            }
        )
    )


@pytest.fixture
def record(his, declared):
    """A report of two observations of the declared patient, and a study without a report."""
    observations = [
        his.make(
            {
                "resourceType": "Observation",
                "status": "final",
                "code": {"coding": [{"system": "urn:graphql", "code": code}]},
                "subject": {"reference": declared},
                "performer": [{"reference": "Practitioner/d"}],
                "valueQuantity": {"value": 1.5, "unit": "mg"},
            }
        )
        for code in ("a", "b")
    ]
    report = his.make(
        {
            "resourceType": "DiagnosticReport",
            "status": "final",
            "code": {"text": "x"},
            "subject": {"reference": declared},
            "result": [{"reference": f"http://fhir.example/fhir/{reference(one)}"} for one in observations],
        }
    )
    return declared, [one["id"] for one in observations], report["id"]


# Fields


def test_the_elements_of_a_resource_are_asked_for(his, example):
    query = "{ id active name { given family } birthDate _birthDate { extension { valueDateTime } } resourceType }"
    assert data(ask(his, query, example)) == {
        "id": example.partition("/")[2],
        "active": True,
        "name": [
            {"given": ["Peter", "James"], "family": "Chalmers"},
            {"given": ["Jim"]},
            {"given": ["Peter", "James"], "family": "Windsor"},
        ],
        "birthDate": "1974-12-25",
        "_birthDate": {"extension": [{"valueDateTime": "1974-12-25T14:35:45Z"}]},
        "resourceType": "Patient",
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('{ name(use: "official") { family } }', {"name": [{"family": "Chalmers"}]}),
        ("{ name(use: maiden) { family } }", {"name": [{"family": "Windsor"}]}),
        ("{ name(_count: 1, _offset: 1) { use } }", {"name": [{"use": "usual"}]}),
        ('{ name(given: "Jim") { use } }', {"name": [{"use": "usual"}]}),
        ("{ name @first { use } }", {"name": {"use": "official"}}),
        ("{ one: name(use: usual) { g: given } }", {"one": [{"g": ["Jim"]}]}),
        ("{ active @skip(if: true) id @include(if: false) gender }", {}),
        ("query($u: code) { name(use: $u) { use } }", {"name": [{"use": "maiden"}]}),
        ("query($u: code = usual) { name(use: $u) { use } }", {"name": [{"use": "maiden"}]}),
        (
            "{ ...F active } fragment F on Patient { name(use: usual) { given } }",
            {"name": [{"given": ["Jim"]}], "active": True},
        ),
        (
            "{ name(use: usual) { use } ...F } fragment F on Patient { name(use: usual) { given } }",
            {"name": [{"use": "usual", "given": ["Jim"]}]},
        ),
        (
            "{ managingOrganization { reference resource { ... on Organization { name __typename } } } }",
            {"managingOrganization": {"reference": "#o", "resource": {"name": "Inner", "__typename": "Organization"}}},
        ),
        (
            "{ contained { id ... on Organization { name } ... on Patient { active } } }",
            {"contained": [{"id": "o", "name": "Inner"}]},
        ),
        # The examples of flattening in the specification.
        (
            "{ identifier @flatten { system value } active name @flatten { text given family } }",
            {
                "system": ["urn:oid:1.2.36.146.595.217.0.1"],
                "value": ["12345"],
                "active": True,
                "given": [["Peter", "James"], ["Jim"], ["Peter", "James"]],
                "family": ["Chalmers", "Windsor"],
            },
        ),
        (
            "{ name @flatten { given @first family } }",
            {"given": ["Peter", "Jim", "Peter"], "family": ["Chalmers", "Windsor"]},
        ),
        (
            (
                "{ identifier @flatten { system @singleton value @singleton }"
                " name @flatten @first { given family @singleton } }"
            ),
            {
                "system": "urn:oid:1.2.36.146.595.217.0.1",
                "value": "12345",
                "given": ["Peter", "James"],
                "family": "Chalmers",
            },
        ),
        (
            '{ name @flatten @slice(path: "use") { given family @singleton } }',
            {
                "given.official": ["Peter", "James"],
                "family.official": "Chalmers",
                "given.usual": ["Jim"],
                "given.maiden": ["Peter", "James"],
                "family.maiden": "Windsor",
            },
        ),
        (
            '{ name @flatten @slice(path: "$index") { given @first @singleton family } }',
            {
                "given.0": "Peter",
                "family.0": ["Chalmers"],
                "given.1": "Jim",
                "given.2": "Peter",
                "family.2": ["Windsor"],
            },
        ),
    ],
)
def test_what_is_asked_for_is_shaped_as_it_is_asked(his, example, query, expected):
    if "text given family" in query:
        expected = expected | {"given": ["Peter", "James", "Jim", "Peter", "James"]}
    assert data(ask(his, query, example, variables={"u": "maiden"})) == expected


@pytest.mark.parametrize(
    "query",
    [
        "{",
        "{ nosuch }",
        "{ name }",
        "{ id { x } }",
        "{ id(x: 1) }",
        "{ name(nosuch: 1) { use } }",
        "{ name(_count: -1) { use } }",
        '{ name(fhirpath: "family.exists()") { use } }',
        "{ id @nosuch }",
        "{ id @include }",
        "{ ...F }",
        "subscription { x }",
        "{ ...F } fragment F on Patient { ...F }",
        "{ ... on Observation { status } }",
        "{ ... on Nosuch { id } }",
        "mutation { PatientDelete(id: 1) { id } }",
        "query A { id } query B { id }",
        "query($v: String!) { name(use: $v) { use } }",
        "{ name(use: $undeclared) { use } }",
        "{ id: active id }",
        "{ a: name(use: usual) { use } a: name(use: official) { use } }",
        "type X { y: String }",
        "{ __schema { types { nosuch } } }",
        "{ ObservationList { id } }",
        "{ ObservationList(_reference: code) { id } }",
        "{ ObservationList(_reference: nosuch) { id } }",
        '{ name @flatten @slice(path: "given.first()") { family } }',
        "{ name @flatten { family @singleton } }",
        "{ managingOrganization { resource } }",
        "{ managingOrganization { resource(x: 1) { id } } }",
        "{ managingOrganization { resource(type: Nosuch) { id } } }",
        "{ ... F @first } fragment F on Patient { id }",
    ],
)
def test_what_is_not_in_the_schema_is_an_error(his, example, query):
    assert error(ask(his, query, example))


def test_what_would_unfold_without_end_is_refused(his, example):
    deep = "{ extension " * 30 + "{ url }" + " }" * 30
    wide = "{ " + "id " * 2_000 + "}"
    doubled = "{ ...A1 } " + " ".join(f"fragment A{n} on Patient {{ ...A{n + 1} ...A{n + 1} }}" for n in range(1, 14))
    long = "{ " + "id " * 20_000 + "}"
    for query in (deep, wide, long, doubled + " fragment A14 on Patient { id }"):
        response = ask(his, query, example)
        assert error(response)
        assert response.json["errors"][0]["extensions"]["resource"]["issue"][0]["code"] in {"too-costly", "invalid"}


def test_decimals_keep_their_digits(his, declared):
    body = '{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject":{"reference":"%s"},"valueQuantity":{"value":1.50}}'  # noqa: E501
    made = his.request("POST", "Observation", (body % declared).encode()).json
    assert '"value":1.50}' in ask(his, "{ valueQuantity { value } }", reference(made)).text


# How it is called


def test_it_is_called_by_get_and_in_both_kinds_of_body(his, example):
    query = "{ active }"
    for response in (
        his.get(f"{example}/$graphql?query={quote(query)}"),
        his.get(f"{example}/$graphql?query={quote(query)}", Accept="application/json"),
        his.request("POST", f"{example}/$graphql?query={quote(query)}"),
        his.request("POST", f"{example}/$graphql", query.encode(), Content_Type="application/graphql"),
        ask(his, "query A { active } query B { id }", example, operationName="A"),
    ):
        assert data(response) == {"active": True}


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"query":1}', "application/json", 400),
        (b"\xff", "application/graphql", 400),
        (b"{ id }", "text/plain", 415),
        (b'{"query":"{id}","variables":[]}', "application/json", 400),
        (b'{"query":"{id}","variables":{"a":"\xff"}}', "application/json", 400),
    ],
)
def test_a_body_that_is_no_request_is_an_error(his, example, body, content_type, status):
    assert error(his.request("POST", f"{example}/$graphql", body, Content_Type=content_type), status)


def test_without_a_query_there_is_an_error(his, example):
    assert error(his.get(f"{example}/$graphql"))
    assert error(his.get(f"{example}/$graphql?query=%7Bid%7D&nosuch=1"))


def test_it_is_not_called_within_a_bundle(his, example):
    entry = {"request": {"method": "GET", "url": f"{example}/$graphql?query=%7Bid%7D"}}
    response = his.post("", {"resourceType": "Bundle", "type": "batch", "entry": [entry]})
    assert response.json["entry"][0]["response"]["status"].startswith("400")


# References, searches


def test_references_are_followed(his, doctor, record):
    _, observations, report = record
    query = """{ result { resource { ... on Observation { id performer { resource(type: Practitioner) { id }
                 resource(type: Organization) { name } } } } } subject { resource { ...P } } }
               fragment P on Patient { birthDate }"""
    for caller in (his, doctor):
        assert data(ask(caller, query, f"DiagnosticReport/{report}")) == {
            "result": [{"resource": {"id": one, "performer": [{"resource": {"id": "d"}}]}} for one in observations],
            "subject": {"resource": {"birthDate": "1980-02-03"}},
        }


def test_a_reference_that_cannot_be_resolved_is_an_error_unless_it_is_optional(his, doctor, declared, record):
    _, observations, report = record
    hidden = reference(
        his.make(
            his.get(f"Observation/{observations[0]}").json
            | {"meta": {"security": [MASKED]}, "performer": [{"display": "x"}]}
        )
    )
    for target in (hidden, "Observation/never-was"):
        made = his.put(
            f"DiagnosticReport/{report}",
            his.get(f"DiagnosticReport/{report}").json | {"result": [{"reference": target}]},
        ).json
        message = error(ask(doctor, "{ result { resource { id } } }", reference(made)), 404)
        assert message == f"{target} is not known."
        shown = ask(doctor, "{ id result { reference resource(optional: true) { id } } }", reference(made))
        assert data(shown)["result"] == [{"reference": target}]


def test_what_refers_to_a_resource_is_searched_from_it(his, doctor, record):
    patient, observations, report = record
    query = """{ ObservationList(_reference: patient, code: "urn:graphql|a") { id }
                 DiagnosticReportConnection(_reference: subject) { count edges { mode resource { id } } }
                 ImagingStudyList(_reference: patient) { id } }"""
    for caller in (his, doctor):
        assert data(ask(caller, query, patient)) == {
            "ObservationList": [{"id": observations[0]}],
            "DiagnosticReportConnection": {"count": 1, "edges": [{"mode": "match", "resource": {"id": report}}]},
            "ImagingStudyList": [],
        }


def test_a_search_within_many_resources_is_one_search(his, record, monkeypatch):
    from fhirserver.store.resource_store import ResourceStore

    patient, observations, report = record
    search, asked = ResourceStore.search, []
    monkeypatch.setattr(
        ResourceStore, "search", lambda self, query, **more: asked.append(1) or search(self, query, **more)
    )
    query = f'{{ ObservationList(patient: "{patient}") {{ id DiagnosticReportList(_reference: result) {{ id }} }} }}'
    found = data(ask(his, query))["ObservationList"]
    assert {one["id"]: one["DiagnosticReportList"] for one in found} == {
        each: [{"id": report}] for each in observations
    }
    assert len(asked) == 2


def test_a_resource_a_list_and_a_connection_are_asked_for_at_the_root(his, doctor, record):
    patient, observations, _ = record
    id_ = patient.partition("/")[2]
    query = f"""{{ p: Patient(id: "{id_}") {{ id }}
                  ObservationList(patient: "{id_}", code: ["a", "b"], _sort: "code") {{ code {{ coding {{ code }} }} }}
                  a: ObservationList(patient: "{id_}", code: a, status: final, _count: 1) {{ id }} __typename }}"""
    for caller in (his, doctor):
        found = data(ask(caller, query))
        assert found["p"] == {"id": id_}
        assert [one["code"]["coding"][0]["code"] for one in found["ObservationList"]] == ["a", "b"]
        assert found["a"] == [{"id": observations[0]}]
        assert found["__typename"] == "Query"


def test_a_connection_has_pages(his, doctor, record):
    patient, observations, _ = record
    query = f'{{ ObservationConnection(patient: "{patient}", _count: 1) {{ count offset pagesize next previous edges {{ resource {{ id }} }} }} }}'  # noqa: E501
    first = data(ask(doctor, query))["ObservationConnection"]
    assert (first["count"], first["offset"], first["pagesize"], first["previous"]) == (2, 0, 1, None)
    cursor = json.dumps(first["next"])
    on = f"{{ ObservationConnection(_cursor: {cursor}) {{ next edges {{ resource {{ id }} }} }} }}"
    second = data(ask(doctor, on, "Observation"))["ObservationConnection"]
    assert second["next"] is None
    seen = [one["resource"]["id"] for page in (first, second) for one in page["edges"]]
    assert sorted(seen) == sorted(observations)
    assert error(ask(his, on))
    assert error(ask(doctor, on.replace("Observation", "Patient")))


@pytest.mark.parametrize(
    "query",
    [
        "{ Nosuch(id: 1) { id } }",
        "{ Patient { id } }",
        "{ Patient(id: 1) }",
        '{ Patient(id: "a b") { id } }',
        "{ PatientList }",
        "{ PatientList(nosuch: 1) { id } }",
        "{ PatientList(name: []) { id } }",
        "{ PatientList(name: null) { id } }",
        "{ PatientList(_include: x) { id } }",
        "{ PatientList(_reference: x) { id } }",
        "{ PatientList(birthdate: x) { id } }",
        "{ PatientConnection { nosuch } }",
        "{ PatientConnection { edges } }",
        "{ PatientConnection { edges { nosuch } } }",
        "{ PatientConnection { edges { resource { nosuch } } } }",
        "{ PatientList(_cursor: x) { id } }",
        "{ id }",
        "{ PatientList @flatten { id } }",
        "{ PatientConnection { edges { mode } edges { mode } } }",
        "{ PatientConnection(_cursor: x, name: y) { next } }",
        "{ PatientConnection(_cursor: x) { next } }",
    ],
)
def test_a_query_at_the_root_that_cannot_be_answered_is_an_error(his, query):
    assert error(ask(his, query))


def test_a_query_of_a_type_stays_with_it(his, record):
    patient, _, _ = record
    assert data(ask(his, f'{{ Patient(id: "{patient.partition("/")[2]}") {{ active }} }}', "Patient")) == {
        "Patient": {}
    }
    assert error(ask(his, "{ ObservationList { id } }", "Patient"))


def test_too_many_queries_are_refused(his):
    many = "{ " + " ".join(f"a{n}: PatientList(_count: 1) {{ id }}" for n in range(51)) + " }"
    assert "50" in error(ask(his, many))


# Who may see what


def test_a_stranger_is_told_what_is_told_of_nobody(stranger, record):
    patient, observations, _ = record
    for address in (patient, "Patient/never-was"):
        assert error(ask(stranger, "{ id }", address), 404) == f"{address} is not known."
        id_ = address.partition("/")[2]
        assert error(ask(stranger, f'{{ Patient(id: "{id_}") {{ id }} }}'), 404) == f"{address} is not known."
        found = data(
            ask(
                stranger,
                f"""{{ ObservationList(patient: "{id_}") {{ id }}
                         ObservationConnection(patient: "{id_}") {{ count edges {{ mode }} }} }}""",
            )
        )
        assert found == {"ObservationList": [], "ObservationConnection": {"count": 0, "edges": []}}
    assert observations


def test_what_is_hidden_is_not_in_a_list_nor_counted(his, doctor, record):
    patient, observations, _ = record
    plain = {
        name: value for name, value in his.get(f"Observation/{observations[0]}").json.items() if name != "performer"
    }
    his.make(plain | {"meta": {"security": [MASKED]}})
    query = f'{{ ObservationConnection(patient: "{patient}") {{ count edges {{ resource {{ id }} }} }} }}'
    assert data(ask(his, query))["ObservationConnection"]["count"] == 3
    found = data(ask(doctor, query))["ObservationConnection"]
    assert (found["count"], len(found["edges"])) == (2, 2)


def test_the_scopes_of_a_token_count(caller, record):
    patient, _, _ = record
    app = caller(patient, scope="patient/Patient.r")
    assert data(ask(app, "{ birthDate }", patient))
    assert error(ask(app, "{ ObservationList(_reference: patient) { id } }", patient), 403)


def test_each_reading_is_in_the_audit(doctor, record, audit_of):
    patient, _, report = record
    body = {"query": "{ result { resource { ... on Observation { status } } } }"}
    doctor.request(
        "POST", f"DiagnosticReport/{report}/$graphql", body, Content_Type="application/json", X_Request_Id="g-1"
    )
    events = [event for event in audit_of() if "g-1" in json.dumps(event)]
    assert [event["subtype"][0]["code"] for event in events] == ["read", "operation"]
    assert all(patient in json.dumps(event) for event in events)


def test_a_refusal_is_in_the_audit(stranger, record, audit_of):
    patient, _, _ = record
    stranger.request(
        "POST", f"{patient}/$graphql", {"query": "{ id }"}, Content_Type="application/json", X_Request_Id="g-2"
    )
    assert [event for event in audit_of() if "g-2" in json.dumps(event) and event["outcome"] == "8"]
