"""Search of contained resources, whose containers are returned (https://hl7.org/fhir/R4/search.html#contained)."""

from __future__ import annotations

import uuid

import pytest

from fhirserver.store.indexes import BY_CONTAINED
from tests.fhirserver.rest.conftest import issues_of
from tests.fhirserver.rest.test_search_type import follow, link, matches


@pytest.fixture
def family():
    """A name that nobody else has."""
    return f"F{uuid.uuid4().hex}"


@pytest.fixture
def containing(his, declared):
    """Make a report of a patient, the declared one if none is said, that contains these resources; gives its id."""

    def make(*contained, patient=declared, **references):
        report = {"resourceType": "DiagnosticReport", "status": "final", "code": {"text": "x"}}
        return his.make({**report, "subject": {"reference": patient}, "contained": contained, **references})["id"]

    return make


@pytest.fixture
def report(containing, declared, family):
    """Make a report of a patient, the declared one if none is said, that contains a practitioner of that name."""

    def make(patient=declared):
        contained = {"resourceType": "Practitioner", "id": "p", "name": [{"family": family, "given": ["Ada"]}]}
        return containing(contained, patient=patient, performer=[{"reference": "#p"}])

    return make


def found(response):
    return [(one["resourceType"], one["id"]) for one in matches(response)]


def test_what_contains_a_match_is_found_whole(doctor, report, family):
    made = report()
    response = doctor.get(f"Practitioner?family={family}&_contained=true")
    assert found(response) == [("DiagnosticReport", made)]
    [entry] = response.json["entry"]
    assert entry["fullUrl"] == f"http://fhir.example/fhir/DiagnosticReport/{made}"
    assert entry["resource"]["contained"][0]["name"][0]["family"] == family
    assert response.json["total"] == 1
    assert link(response, "self") == f"http://fhir.example/fhir/Practitioner?family={family}&_contained=true"


def test_without_it_contained_resources_are_no_matches(doctor, report, family):
    report()
    assert found(doctor.get(f"Practitioner?family={family}")) == []
    assert found(doctor.get(f"Practitioner?family={family}&_contained=false")) == []


def test_both_finds_the_resources_themselves_too(caller, doctor, report, family):
    made = report()
    operator = caller("Client/operator", category="operator")
    alone = operator.make({"resourceType": "Practitioner", "active": True, "name": [{"family": family}]})["id"]
    response = doctor.get(f"Practitioner?family={family}&_contained=both&_sort=_lastUpdated&_total=accurate")
    assert found(response) == [("DiagnosticReport", made), ("Practitioner", alone)]
    assert response.json["total"] == 2


def test_every_criterion_holds_of_one_contained_resource(doctor, containing, family):
    names = [{"family": family}, {"given": ["Eve"]}]
    contained = [{"resourceType": "Practitioner", "id": f"p{n}", "name": [name]} for n, name in enumerate(names)]
    containing(*contained, performer=[{"reference": "#p0"}, {"reference": "#p1"}])
    assert len(found(doctor.get(f"Practitioner?family={family}&_contained=true"))) == 1
    assert found(doctor.get(f"Practitioner?family={family}&given=Eve&_contained=true")) == []
    assert len(found(doctor.get(f"Practitioner?family={family}&given:missing=true&_contained=true"))) == 1
    assert found(doctor.get(f"Organization?name={family}&_contained=true")) == []


@pytest.mark.parametrize(
    ("asked", "is_found"),
    [
        ("birthdate=ge1980", True),
        ("birthdate=lt1980", False),
        ("gender:not=male", True),
        ("gender:not=female", False),
        ("_id=p", True),
        ("name:contains=da", True),
        ("_filter=birthdate gt 1979 and not (gender eq male)", True),
    ],
)
def test_modifiers_prefixes_and_filters_are_those_of_any_search(doctor, containing, family, asked, is_found):
    patient = {"resourceType": "Patient", "id": "p", "birthDate": "1980", "gender": "female"}
    named = {**patient, "name": [{"family": family, "given": ["Ada"]}]}
    seen = {"resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "x"}}
    made = containing({**seen, "subject": {"reference": "#p"}}, named, result=[{"reference": "#o"}])
    response = doctor.get(f"Patient?family={family}&{asked}&_contained=true")
    assert found(response) == ([("DiagnosticReport", made)] if is_found else [])


def test_nobody_finds_what_is_contained_in_what_they_may_not_see(his, doctor, stranger, report, family):
    other = his.make({"resourceType": "Patient"})["id"]
    mine, theirs = report(), report(f"Patient/{other}")
    asked = f"Practitioner?family={family}&_contained=true&_total=accurate&_sort=_id"
    assert sorted(found(his.get(asked))) == sorted([("DiagnosticReport", mine), ("DiagnosticReport", theirs)])
    assert found(doctor.get(asked)) == [("DiagnosticReport", mine)]
    assert stranger.get(asked).json["total"] == 0
    assert stranger.get(f"Practitioner?family={family}&_contained=both&_summary=count").json["total"] == 0


def test_only_containers_that_the_token_covers_are_searched(caller, report, family):
    report()
    who = ("Practitioner/d",)
    asked = f"Practitioner?family={family}&_contained=true"
    narrow = caller(*who, organization="Organization/e1", scope="user/Practitioner.rs user/Observation.rs")
    assert found(narrow.get(asked)) == []
    without = caller(*who, organization="Organization/e1", scope="user/DiagnosticReport.rs")
    assert without.get(asked).status_code == 403


def test_what_refers_to_a_resource_does_not_refer_to_a_contained_one_of_its_id(his, doctor, declared, report, family):
    report()
    his.make(
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "x"},
            "subject": {"reference": declared},
            "performer": [{"reference": "Practitioner/p"}],
        }
    )
    asked = f"Practitioner?family={family}&_has:Observation:performer:status=final&_contained=true"
    assert found(doctor.get(asked)) == []


def test_pages_neither_lose_nor_repeat(doctor, report, family):
    made = {report() for _ in range(3)}
    response = doctor.get(f"Practitioner?family={family}&_contained=true&_count=2")
    ids = [id_ for _, id_ in found(response)]
    ids += [id_ for _, id_ in found(follow(doctor, link(response, "next")))]
    assert (len(ids), set(ids)) == (3, made)


def test_a_new_version_is_found_by_what_it_contains(his, doctor, report, family):
    made = report()
    body = his.get(f"DiagnosticReport/{made}").json
    del body["contained"], body["performer"]
    his.put(f"DiagnosticReport/{made}", body)
    assert found(doctor.get(f"Practitioner?family={family}&_contained=true")) == []


def test_it_is_asked_by_form_and_in_a_batch_too(doctor, report, family):
    made = report()
    form = f"family={family}&_contained=true".encode()
    answered = doctor.request("POST", "Practitioner/_search", form, Content_Type="application/x-www-form-urlencoded")
    assert found(answered) == [("DiagnosticReport", made)]
    entry = {"request": {"method": "GET", "url": f"Practitioner?family={family}&_contained=true"}}
    batch = doctor.post("", {"resourceType": "Bundle", "type": "batch", "entry": [entry]})
    assert [one["resource"]["id"] for one in batch.json["entry"][0]["resource"]["entry"]] == [made]
    later = doctor.get(f"Practitioner?family={family}&_contained=true", Prefer="respond-async")
    assert found(later) == [("DiagnosticReport", made)]


def test_the_words_of_all_that_is_contained_are_bounded_together(doctor, containing, database):
    long = [" ".join(f"w{n}x{word}" for word in range(1500)) for n in range(20)]
    made = containing(
        *[
            {"resourceType": "Observation", "id": f"o{n}", "status": "final", "code": {"text": text}}
            for n, text in enumerate(long)
        ],
        result=[{"reference": f"#o{n}"} for n in range(20)],
    )
    row = database.resources.find_one({"_id": f"DiagnosticReport/{made}"})
    assert sum(atom.startswith("_content") for one in row["in"] for atom in one["tk"]) == 2000
    assert found(doctor.get("Observation?_content=w0x7&_contained=true")) == [("DiagnosticReport", made)]
    assert found(doctor.get("Observation?_content=w19x7&_contained=true")) == []
    assert found(doctor.get("Observation?code:text=w19x0&_contained=true")) == [("DiagnosticReport", made)]


@pytest.mark.parametrize("asked", ["family:contains=f", "family:missing=false", "_id=p"])
def test_only_what_contains_something_is_looked_at(doctor, report, database, asked):
    made = report()
    database.database.command("profile", 2)
    answer = doctor.get(f"Practitioner?{asked}&_contained=true&_count=1000")
    database.database.command("profile", 0)
    read = {"op": "query", "command.find": database.resources.name}
    hints = [one["command"]["hint"] for one in database.database["system.profile"].find(read)]
    database.database["system.profile"].drop()
    assert ("DiagnosticReport", made) in found(answer)
    assert hints == [BY_CONTAINED]


@pytest.mark.parametrize(
    ("asked", "is_told"),
    [
        ("Practitioner?_id={}&_contained=true", False),
        ("Patient?_id={}&_contained=true", True),
        ("Observation?patient={}&_contained=true", True),
        ("Observation?subject=Patient/{}&_contained=both", True),
    ],
)
def test_whom_a_search_names_is_told_of_it_and_nobody_else(doctor, audit_of, asked, is_told):
    id_ = f"x{uuid.uuid4().hex}"
    assert doctor.get(asked.format(id_)).status_code == 200
    entities = [entity for event in audit_of() for entity in event["entity"]]
    assert any(entity.get("what", {}).get("reference") == f"Patient/{id_}" for entity in entities) == is_told


@pytest.mark.parametrize(
    ("asked", "expression"),
    [
        ("Practitioner?_contained=true&_containedType=contained", "_containedType"),
        ("Practitioner?_contained=true&_sort=family", "_sort"),
        ("DiagnosticReport?_contained=true&_include=DiagnosticReport:patient", "_contained"),
        ("AuditEvent?_contained=true", "_contained"),
        ("?_type=Practitioner,Patient&_contained=true", "_contained"),
        ("Patient/x/Observation?_contained=true", "_contained"),
    ],
)
def test_what_has_no_meaning_with_it_is_refused(doctor, asked, expression):
    response = doctor.get(asked)
    [issue] = issues_of(response)
    assert (response.status_code, issue["code"], issue["expression"]) == (400, "not-supported", [expression])


@pytest.mark.parametrize(
    "contained",
    [
        {"resourceType": "Parameters"},
        {"resourceType": "Binary", "contentType": "text/plain", "data": "YQ=="},
        {"resourceType": "Bundle", "type": "collection"},
        {"resourceType": "Location", "position": {"longitude": 2, "latitude": 48}},
    ],
)
def test_what_cannot_be_searched_may_be_contained_all_the_same(doctor, containing, contained):
    reference = {"url": "http://example.org/about", "valueReference": {"reference": "#c"}}
    made = containing({**contained, "id": "c"}, extension=[reference])
    assert doctor.get(f"DiagnosticReport/{made}").json["contained"][0]["resourceType"] == contained["resourceType"]


def test_a_contained_place_is_near(doctor, containing, family):
    place = {"resourceType": "Location", "id": "l", "name": family, "position": {"longitude": 2, "latitude": 48}}
    containing(place, extension=[{"url": "http://example.org/at", "valueReference": {"reference": "#l"}}])
    assert len(found(doctor.get(f"Location?name={family}&near=48|2|5|km&_contained=true"))) == 1
    assert found(doctor.get(f"Location?name={family}&near=49|2|5|km&_contained=true")) == []


def test_more_contained_resources_than_can_be_searched_are_refused(his, declared):
    def answer(count):
        contained = [{"resourceType": "Device", "id": f"d{n}"} for n in range(count)]
        body = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "contained": contained}
        derived = [{"url": "http://example.org/d", "valueReference": {"reference": f"#d{n}"}} for n in range(count)]
        return his.post("Observation", {**body, "subject": {"reference": declared}, "extension": derived})

    assert answer(1_000).status_code == 201
    response = answer(1_001)
    [issue] = issues_of(response)
    assert (response.status_code, issue["code"], issue["expression"]) == (422, "too-costly", ["Observation.contained"])
