"""`:in`, `:not-in`, `:above`, `:below`: asked of the definitions and hierarchies that the caller may read."""

from __future__ import annotations

import uuid

import pytest

from tests.fhirserver.rest.conftest import issues_of


def matches(response):
    assert response.status_code == 200, response.text
    return {entry["resource"]["id"] for entry in response.json.get("entry", ()) if entry["search"]["mode"] == "match"}


@pytest.fixture(scope="module")
def definitions(operator):
    """A code system of organs, and value sets over it."""
    system = "http://x.example/organs"
    nested = [{"code": "lung", "concept": [{"code": "left-lung"}, {"code": "right-lung"}]}, {"code": "liver"}]
    operator.put(
        "CodeSystem/organs",
        {
            "resourceType": "CodeSystem",
            "id": "organs",
            "url": system,
            "version": "1.10",
            "status": "active",
            "content": "complete",
            "concept": nested,
        },
    )
    old = {"resourceType": "CodeSystem", "url": system, "version": "1.9", "status": "active", "content": "complete"}
    operator.put("CodeSystem/organs-old", {**old, "id": "organs-old", "concept": [{"code": "lung"}]})
    below_lung = {"system": system, "filter": [{"property": "concept", "op": "is-a", "value": "lung"}]}
    for id_, include in {
        "lungs": below_lung,
        "old-lungs": {**below_lung, "version": "1.9"},
        "absent": {"system": "http://x.example/nowhere"},
    }.items():
        operator.put(
            f"ValueSet/{id_}",
            {
                "resourceType": "ValueSet",
                "id": id_,
                "url": f"http://x.example/ValueSet/{id_}",
                "status": "active",
                "compose": {"include": [include]},
            },
        )
    return system


@pytest.fixture
def reports(his, declared, definitions):
    """Reports of one patient by the code they are of; the id of each by its code."""
    made = {}
    for code in ("lung", "left-lung", "liver", None):
        coding = {} if code is None else {"coding": [{"system": definitions, "code": code}]}
        report = {"resourceType": "DiagnosticReport", "status": "final", "code": {"text": "t", **coding}}
        made[code] = his.make({**report, "subject": {"reference": declared}})["id"]
    return declared, made


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("code:in=http://x.example/ValueSet/lungs", {"lung", "left-lung"}),
        ("code:in=ValueSet/lungs", {"lung", "left-lung"}),
        ("code:in=http://fhir.example/fhir/ValueSet/lungs", {"lung", "left-lung"}),
        ("code:in=http://x.example/ValueSet/old-lungs", {"lung"}),
        ("code:not-in=ValueSet/lungs", {"liver", None}),
        ("code:below=http://x.example/organs|lung", {"lung", "left-lung"}),
        ("code:above=http://x.example/organs|left-lung", {"lung", "left-lung"}),
        ("code:above=http://x.example/organs|liver", {"liver"}),
        ("_filter=code in ValueSet/lungs", {"lung", "left-lung"}),
        ("_filter=code ni ValueSet/lungs", {"liver", None}),
        ("_filter=code ss http://x.example/organs|lung", {"lung", "left-lung"}),
        ("_filter=code sb http://x.example/organs|left-lung", {"lung", "left-lung"}),
        ("_filter=not (code in ValueSet/lungs) and code pr true", {"liver"}),
    ],
)
def test_concepts_are_found_by_set_and_by_kind(doctor, reports, asked, expected):
    patient, made = reports
    if expected == {"liver"} and "pr true" in asked:
        expected = {"liver", None}  # its text is a value of the parameter
    found = matches(doctor.get(f"DiagnosticReport?patient={patient}&{asked}"))
    assert found == {made[code] for code in expected}


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("code:in=http://x.example/ValueSet/nowhere", "not-found"),
        ("code:in=ValueSet/nowhere", "not-found"),
        ("code:not-in=http://x.example/ValueSet/nowhere", "not-found"),
        ("code:in=http://x.example/ValueSet/absent", "not-found"),
        ("code:below=http://x.example/nowhere|a", "not-found"),
        ("code:below=http://x.example/organs|heart", "not-found"),
        ("code:below=lung", "invalid"),
    ],
)
def test_what_cannot_be_known_is_refused_and_never_empty(doctor, reports, asked, code):
    patient, _ = reports
    for handling in ("strict", "lenient"):
        response = doctor.get(f"DiagnosticReport?patient={patient}&{asked}", Prefer=f"handling={handling}")
        assert response.status_code == 400
        assert [issue["code"] for issue in issues_of(response)] == [code]
        assert issues_of(response)[0]["expression"] == ["code"]


def test_a_caller_who_may_not_read_value_sets_is_told_what_an_absent_one_is_told(caller, definitions):
    narrow = caller("Client/narrow", organization="Organization/e1", scope="system/DiagnosticReport.cruds")
    refused = narrow.get("DiagnosticReport?code:in=http://x.example/ValueSet/lungs")
    absent = narrow.get("DiagnosticReport?code:in=http://x.example/ValueSet/nowhr")
    assert refused.status_code == absent.status_code == 400
    assert refused.text.replace("lungs", "") == absent.text.replace("nowhr", "")


def test_a_condition_of_a_write_may_ask_a_value_set(his, reports, definitions):
    patient, _ = reports
    report = {
        "resourceType": "DiagnosticReport",
        "status": "final",
        "code": {"text": "new"},
        "subject": {"reference": patient},
    }
    condition = f"patient={patient}&code:in=ValueSet/old-lungs"
    assert his.post("DiagnosticReport", report, If_None_Exist=condition).status_code == 200
    refused = his.post("DiagnosticReport", report, If_None_Exist=f"patient={patient}&code:in=ValueSet/nowhere")
    assert refused.status_code == 400


@pytest.fixture
def places(operator, his, declared):
    """A hospital with a floor and a ward, and encounters in them; ids of both by the name of the place."""
    key = uuid.uuid4().hex[:8]
    names = {"hospital": None, "floor": "hospital", "ward": "floor", "elsewhere": None}
    for name, within in names.items():
        place = {"resourceType": "Location", "id": f"{name}-{key}", "name": name}
        part = {} if within is None else {"partOf": {"reference": f"Location/{within}-{key}"}}
        assert operator.put(f"Location/{name}-{key}", {**place, **part}).status_code == 201
    encounter = {"resourceType": "Encounter", "status": "finished", "class": {"code": "IMP"}}
    made = {}
    for name in names:
        made[name] = his.make(
            {
                **encounter,
                "subject": {"reference": declared},
                "location": [{"location": {"reference": f"Location/{name}-{key}"}}],
            }
        )["id"]
    return key, made


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("below=hospital", {"hospital", "floor", "ward"}),
        ("below=Location/floor", {"floor", "ward"}),
        ("below=ward", {"ward"}),
        ("above=ward", {"hospital", "floor", "ward"}),
        ("above=Location/hospital", {"hospital"}),
        ("below=elsewhere", {"elsewhere"}),
    ],
)
def test_a_hierarchy_of_places_is_followed_up_and_down(doctor, places, declared, asked, expected):
    key, made = places
    found = matches(doctor.get(f"Encounter?patient={declared}&location:{asked}-{key}"))
    assert found == {made[name] for name in expected}
    below = matches(doctor.get(f"Location?partof:below=hospital-{key}"))
    assert below == {f"floor-{key}", f"ward-{key}"}


def test_a_hierarchy_of_encounters_shows_only_those_that_may_be_seen(doctor, stranger, his, declared):
    """What a stranger may not see is no step of a hierarchy for them."""
    outer = his.make(
        {
            "resourceType": "Encounter",
            "status": "finished",
            "class": {"code": "IMP"},
            "subject": {"reference": declared},
        }
    )
    inner = his.make(
        {
            "resourceType": "Encounter",
            "status": "finished",
            "class": {"code": "IMP"},
            "subject": {"reference": declared},
            "partOf": {"reference": f"Encounter/{outer['id']}"},
        }
    )
    report = {"resourceType": "DiagnosticReport", "status": "final", "code": {"text": "t"}}
    made = his.make(
        {**report, "subject": {"reference": declared}, "encounter": {"reference": f"Encounter/{inner['id']}"}}
    )
    asked = f"DiagnosticReport?encounter:below={outer['id']}"
    assert matches(doctor.get(asked)) == {made["id"]}
    assert matches(stranger.get(asked)) == set()
    absent = stranger.get("DiagnosticReport?encounter:below=nowhere")
    assert (absent.status_code, absent.json.get("total")) == (200, 0)


def test_a_loop_of_places_ends(operator, doctor, declared):
    for one, other in (("loop-a", "loop-b"), ("loop-b", "loop-a")):
        part = {"partOf": {"reference": f"Location/{other}"}}
        operator.put(f"Location/{one}", {"resourceType": "Location", "id": one, "name": one, **part})
    assert matches(doctor.get("Location?partof:below=loop-a")) == {"loop-a", "loop-b"}


@pytest.mark.parametrize("asked", ["subject:below=x", "subject:below=Patient/x", "performer:above=Practitioner/x"])
def test_what_forms_no_hierarchy_is_refused(doctor, asked):
    assert doctor.get(f"DiagnosticReport?{asked}").status_code == 400


def test_every_page_asks_the_value_set_as_it_was_at_the_first(operator, his, doctor, declared):
    system, key = "http://x.example/pages", uuid.uuid4().hex[:8]

    def keep(*codes):
        listed = {"system": system, "concept": [{"code": code} for code in codes]}
        content = {
            "resourceType": "ValueSet",
            "id": f"pages-{key}",
            "status": "active",
            "compose": {"include": [listed]},
        }
        assert operator.put(f"ValueSet/pages-{key}", content).status_code in {200, 201}

    def make(code):
        report = {"resourceType": "DiagnosticReport", "status": "final", "subject": {"reference": declared}}
        return his.make({**report, "code": {"coding": [{"system": system, "code": code}]}})["id"]

    keep("a", "b")
    wanted = {make("a"), make("b"), make("a")}
    make("c")
    response = doctor.get(f"DiagnosticReport?patient={declared}&code:in=ValueSet/pages-{key}&_count=1")
    found = matches(response)
    keep("c")
    while (url := next((one["url"] for one in response.json["link"] if one["relation"] == "next"), None)) is not None:
        response = doctor.get(url.removeprefix("http://fhir.example/fhir"))
        found |= matches(response)
    assert found == wanted
