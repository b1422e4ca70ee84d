"""Search of contained resources, whose containers are returned (https://hl7.org/fhir/R4/search.html#contained)."""

from __future__ import annotations

import json
import uuid

import pytest

from fhirserver.store.indexes import BY_CONTAINED
from tests.fhirserver.rest.conftest import issues_of
from tests.fhirserver.rest.test_search_type import follow, link, matches

OF_CONTAINED = {"url": "http://example.org/x", "valueReference": {"reference": "#p"}}


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


@pytest.mark.parametrize("order", ["_lastUpdated", "-_lastUpdated", "_id", "-_id"])
def test_both_are_paged_in_one_order_and_what_is_both_is_given_once(his, operator, report, family, order):
    person = {"resourceType": "Practitioner", "name": [{"family": family}]}
    twice = {**person, "contained": [{**person, "id": "p"}], "extension": [OF_CONTAINED]}
    made = [("Practitioner", operator.make(one)["id"]) for one in (person, twice)]
    made += [("DiagnosticReport", report()), ("Practitioner", operator.make(person)["id"])]
    made.append(("DiagnosticReport", report()))
    response = his.get(f"Practitioner?family={family}&_contained=both&_sort={order}&_count=2")
    given = found(response)
    while (following := link(response, "next")) is not None:
        response = follow(his, following)
        given += found(response)
    in_order = sorted(made) if order.endswith("_id") else made
    assert given == (in_order[::-1] if order.startswith("-") else in_order)


@pytest.mark.parametrize("asked", ["", "active=true&"])
def test_both_look_at_no_more_than_each_alone_does(doctor, operator, report, database, asked):
    report()
    for number in range(60):
        operator.make({"resourceType": "Practitioner", "active": True, "name": [{"family": f"N{number}"}]})
    containers = database.resources.count_documents({"in.t": "Practitioner"})
    database.database.command("profile", 2)
    answer = doctor.get(f"Practitioner?{asked}_contained=both&_count=3")
    database.database.command("profile", 0)
    read = {"op": "query", "command.find": database.resources.name, "command.limit": 4}
    looked = [
        (one["docsExamined"], one["command"].get("hint")) for one in database.database["system.profile"].find(read)
    ]
    database.database["system.profile"].drop()
    assert len(found(answer)) == 3
    [(own, _), (contained, hint)] = looked
    assert hint == BY_CONTAINED
    assert contained <= containers
    assert own <= 10


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


# The contained resources themselves

ITSELF = "_contained=true&_containedType=contained"


def told(response):
    assert response.status_code == 200, response.text
    return [(one["fullUrl"].removeprefix("http://fhir.example/fhir/"), one["resource"]) for one in entries(response)]


def entries(response):
    return [one for one in response.json.get("entry", ()) if one["search"]["mode"] == "match"]


@pytest.fixture
def people(containing, family):
    """Make a report that contains practitioners of that name, by their ids, and one of another name."""

    def make(*ids, **options):
        practitioner = {"resourceType": "Practitioner", "name": [{"family": family}]}
        contained = [{**practitioner, "id": id_} for id_ in ids]
        other = {"resourceType": "Practitioner", "id": "other", "name": [{"family": "Other"}]}
        device = {"resourceType": "Organization", "id": "org", "name": family}
        performers = [{"reference": f"#{id_}"} for id_ in (*ids, "other", "org")]
        return containing(device, *contained, other, performer=performers, **options)

    return make


def test_a_contained_resource_is_itself_the_entry_at_the_address_of_its_container(doctor, people, family):
    made = people("a", "b")
    response = doctor.get(f"Practitioner?family={family}&{ITSELF}")
    expected = {"resourceType": "Practitioner", "name": [{"family": family}]}
    assert told(response) == [
        (f"DiagnosticReport/{made}#a", {**expected, "id": "a"}),
        (f"DiagnosticReport/{made}#b", {**expected, "id": "b"}),
    ]
    assert response.json["total"] == 2
    assert link(response, "self") == f"http://fhir.example/fhir/Practitioner?family={family}&{ITSELF}"


def test_a_contained_resource_keeps_its_digits(his, doctor, containing, family):
    body = {"resourceType": "Observation", "id": "o", "status": "final", "code": {"text": family}}
    made = containing({**body, "valueQuantity": {"value": 1.5}}, result=[{"reference": "#o"}])
    stored = his.get(f"DiagnosticReport/{made}").data.replace(b'"value": 1.5', b'"value": 1.500')
    assert his.request("PUT", f"DiagnosticReport/{made}", stored).status_code == 200
    assert b'"value": 1.500' in doctor.get(f"Observation?code:text={family}&{ITSELF}").data


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_its_pages_hold_as_many_as_were_asked_for_and_each_once(doctor, people, family, count):
    made = [people(*ids) for ids in (("a", "b", "c"), ("a",), ("x", "y"))]
    found, sizes = [], []
    response = doctor.get(f"Practitioner?family={family}&{ITSELF}&_sort=_lastUpdated&_count={count}&_total=accurate")
    assert response.json["total"] == 6
    while response is not None:
        found += [address for address, _ in told(response)]
        sizes.append(len(entries(response)))
        following = link(response, "next")
        response = follow(doctor, following) if following else None
    places = [
        f"DiagnosticReport/{id_}#{name}" for id_, names in zip(made, ("abc", "a", "xy"), strict=True) for name in names
    ]
    assert found == places
    assert all(size == count for size in sizes[:-1])


def test_a_page_that_begins_within_a_container_is_decided_anew(his, doctor, people, family, declared):
    first, second = people("a", "b", "c"), people("x")
    response = doctor.get(f"Practitioner?family={family}&{ITSELF}&_sort=_lastUpdated&_count=2")
    assert [address for address, _ in told(response)] == [f"DiagnosticReport/{first}#{one}" for one in "ab"]
    assert his.delete(f"DiagnosticReport/{first}").status_code == 204
    assert [address for address, _ in told(follow(doctor, link(response, "next")))] == [f"DiagnosticReport/{second}#x"]


@pytest.mark.parametrize(
    "asked", ["_summary=count", "_count=0", "_total=accurate&_count=1", "_total=estimate&_count=1"]
)
def test_its_total_counts_the_contained_resources(doctor, people, family, asked):
    people("a", "b")
    people("c")
    assert doctor.get(f"Practitioner?family={family}&{ITSELF}&{asked}").json["total"] == 3


def test_both_kinds_of_matches_stand_together(caller, doctor, people, family):
    made = people("a", "b")
    operator = caller("Client/operator", category="operator")
    inner = {"resourceType": "Organization", "id": "i", "name": "Inner"}
    alone = {"resourceType": "Practitioner", "active": True, "name": [{"family": family}], "contained": [inner]}
    issuer = {"qualification": [{"code": {"text": "x"}, "issuer": {"reference": "#i"}}]}
    id_ = operator.make({**alone, **issuer})["id"]
    asked = f"Practitioner?family={family}&_contained=both&_containedType=contained&_sort=_lastUpdated&_total=accurate"
    for count in (10, 1):
        response = doctor.get(f"{asked}&_count={count}")
        assert response.json["total"] == 3
        found = [address for address, _ in told(response)]
        while (following := link(response, "next")) is not None:
            response = follow(doctor, following)
            found += [address for address, _ in told(response)]
        assert found == [f"DiagnosticReport/{made}#a", f"DiagnosticReport/{made}#b", f"Practitioner/{id_}"]


def test_nobody_is_given_what_is_contained_in_what_they_may_not_see(his, doctor, stranger, people, family):
    other = his.make({"resourceType": "Patient"})["id"]
    mine, theirs = people("a"), people("a", "b", patient=f"Patient/{other}")
    asked = f"Practitioner?family={family}&{ITSELF}&_total=accurate"
    assert his.get(asked).json["total"] == 3
    assert {address.partition("#")[0] for address, _ in told(his.get(asked))} == {
        f"DiagnosticReport/{one}" for one in (mine, theirs)
    }
    assert [address for address, _ in told(doctor.get(asked))] == [f"DiagnosticReport/{mine}#a"]
    assert doctor.get(asked).json["total"] == 1
    assert stranger.get(asked).json["total"] == 0
    assert stranger.get(f"Practitioner?family={family}&{ITSELF}&_summary=count").json["total"] == 0


def test_whose_record_the_container_is_of_is_told(doctor, people, family, declared, audit_of):
    people("a", "b")
    assert doctor.get(f"Practitioner?family={family}&{ITSELF}", X_Request_Id="c-1").status_code == 200
    events = [event for event in audit_of() if "c-1" in json.dumps(event)]
    assert any(
        entity["what"].get("reference") == declared
        for event in events
        for entity in event["entity"]
        if "what" in entity
    )


def test_its_parts_are_asked_for_like_those_of_any_resource(doctor, people, family):
    people("a")
    [(_, found)] = told(doctor.get(f"Practitioner?family={family}&{ITSELF}&_elements=active"))
    assert set(found) == {"resourceType", "id", "meta"}
    [(_, found)] = told(doctor.get(f"Practitioner?family={family}&{ITSELF}", Accept="application/fhir+json"))
    assert "name" in found
    xml = doctor.get(f"Practitioner?family={family}&{ITSELF}", Accept="application/fhir+xml").text
    assert '#a"/><resource><Practitioner' in xml


def test_it_is_asked_for_in_a_batch_and_at_once_where_it_was_to_be_later(doctor, people, family):
    made = people("a")
    entry = {"request": {"method": "GET", "url": f"Practitioner?family={family}&{ITSELF}"}}
    batch = doctor.post("", {"resourceType": "Bundle", "type": "batch", "entry": [entry]})
    [inner] = batch.json["entry"][0]["resource"]["entry"]
    assert inner["fullUrl"] == f"http://fhir.example/fhir/DiagnosticReport/{made}#a"
    later = doctor.get(f"Practitioner?family={family}&{ITSELF}", Prefer="respond-async")
    assert [address for address, _ in told(later)] == [f"DiagnosticReport/{made}#a"]


@pytest.mark.parametrize(
    "asked",
    [
        "family:missing=false&_content={}",
        "name:contains={}",
        '_content="{} ada"',
        "_filter=name sw {} and not (gender eq male)",
    ],
)
def test_what_the_database_found_is_what_is_taken_out(doctor, containing, family, asked):
    patient = {"resourceType": "Patient", "gender": "female"}
    ada, eve = (
        {**patient, "id": one, "name": [{"text": f"{family} {one}", "family": family if one == "ada" else "x"}]}
        for one in ("ada", "eve")
    )
    man = {"resourceType": "Patient", "id": "man", "gender": "male"}
    links = [
        {"url": "http://example.org/p", "valueReference": {"reference": f"#{one}"}} for one in ("ada", "eve", "man")
    ]
    made = containing(ada, eve, man, extension=links)
    found = [address for address, _ in told(doctor.get(f"Patient?{asked.format(family)}&{ITSELF}"))]
    assert f"DiagnosticReport/{made}#ada" in found
    assert f"DiagnosticReport/{made}#man" not in found
    assert (f"DiagnosticReport/{made}#eve" in found) == ("ada" not in asked)


def test_without_contained_resources_their_form_means_nothing(doctor, people, family):
    people("a")
    assert told(doctor.get(f"Practitioner?family={family}&_containedType=contained")) == []
    assert doctor.get(f"Practitioner?family={family}&_contained=true&_containedType=x").status_code == 400


@pytest.mark.parametrize(
    ("asked", "expression"),
    [
        ("DiagnosticReport?_contained=true&_containedType=contained&_include=DiagnosticReport:patient", "_contained"),
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
