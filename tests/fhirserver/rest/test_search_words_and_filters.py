"""`_filter`, `_text`, `_content`, `near`, totals and shapes over HTTP: within permission, on every page."""

from __future__ import annotations

import uuid

import pytest

from tests.fhirserver.rest.conftest import issues_of

DIV = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'


def matches(response):
    assert response.status_code == 200, response.text
    return [entry["resource"] for entry in response.json.get("entry", ()) if entry["search"]["mode"] == "match"]


def ids(response):
    return {resource["id"] for resource in matches(response)}


def follow(caller, response):
    url = next((one["url"] for one in response.json["link"] if one["relation"] == "next"), None)
    return None if url is None else caller.get(url.removeprefix("http://fhir.example/fhir"))


def report(patient, narrative, **more):
    return {
        "resourceType": "DiagnosticReport",
        "status": "final",
        "code": {"text": "report"},
        "subject": {"reference": patient},
        "text": {"status": "generated", "div": DIV.format(narrative)},
        **more,
    }


@pytest.fixture
def reports(his, declared):
    """Three reports of a declared patient, by a word that only they have."""
    key = uuid.uuid4().hex
    made = {
        "lung": his.make(report(declared, f"Lésion du poumon {key}", conclusion="no fracture"))["id"],
        "liver": his.make(report(declared, f"Lésion du foie {key}", status="preliminary"))["id"],
        "silent": his.make(report(declared, "rien", conclusion=f"said elsewhere {key}"))["id"],
    }
    return key, made, declared


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("_text={key}", {"lung", "liver"}),
        ("_content={key}", {"lung", "liver", "silent"}),
        ("_text={key} lesion NOT foie", {"lung"}),
        ('_text="poumon {key}"', {"lung"}),
        ('_text="lésion du" "f* {key}"', {"liver"}),
        ('_content={key} NOT "lesion du poumon"', {"liver", "silent"}),
        ('_content="elsewhere {key}"', {"silent"}),
        ('_text="lesion {key}"', set()),
        ("_text={key} (poumon OR foie)", {"lung", "liver"}),
        ("_content={key} fract*", {"lung"}),
        ("_text={key}&status=preliminary", {"liver"}),
        ("_content={key}&_filter=not (status eq preliminary)", {"lung", "silent"}),
    ],
)
def test_words_are_searched_with_the_other_criteria(doctor, reports, asked, expected):
    key, made, _ = reports
    assert ids(doctor.get(f"DiagnosticReport?{asked.format(key=key)}")) == {made[name] for name in expected}


def test_words_of_what_may_not_be_seen_find_and_count_nothing(stranger, reports):
    key, *_ = reports
    for asked in (
        f"_text={key}",
        f"_content={key}",
        f'_text="poumon {key}"',
        f"_filter=status eq final&_content={key}",
    ):
        for total in ("accurate", "estimate"):
            assert stranger.get(f"DiagnosticReport?{asked}&_total={total}").json["total"] == 0


def test_pages_of_words_answer_from_one_state(his, doctor, reports):
    key, made, patient = reports
    response = doctor.get(f"DiagnosticReport?_content={key}&_sort=_id&_count=1")
    found = [one["id"] for one in matches(response)]
    his.make(report(patient, f"later {key}"))
    changed = his.put(
        f"DiagnosticReport/{max(made.values())}", {**report(patient, "nothing"), "id": max(made.values())}
    )
    assert changed.status_code == 200
    while (response := follow(doctor, response)) is not None:
        found += [one["id"] for one in matches(response)]
    assert found == sorted(made.values())


def test_the_words_of_a_new_version_replace_those_of_the_old(his, doctor, reports):
    key, made, patient = reports
    his.put(f"DiagnosticReport/{made['lung']}", {**report(patient, f"rate {key}"), "id": made["lung"]})
    assert ids(doctor.get(f"DiagnosticReport?_text={key} poumon")) == set()
    assert ids(doctor.get(f"DiagnosticReport?_text={key} rate")) == {made["lung"]}


@pytest.mark.parametrize(
    "asked",
    [
        'subject.name co "artin"',
        "subject:Patient.birthdate lt 1981",
        'subject[gender pr false and name sw mart].birthdate ge 1980 and status eq "final"',
        "patient.identifier sw urn or subject.given eq ada",
        "subject.organization pr false",
        "not (subject.name co nosuch)",
    ],
)
def test_a_filter_follows_references_to_what_may_be_seen(doctor, stranger, reports, asked):
    key, made, _patient = reports
    asked = f"DiagnosticReport?_content={key}&_filter=({asked}) and _id eq {made['lung']}"
    assert ids(doctor.get(asked)) == {made["lung"]}
    assert ids(stranger.get(asked)) == set()


def test_what_a_bracket_asks_holds_of_the_same_resource(doctor, reports):
    key, *_ = reports
    both = f"DiagnosticReport?_content={key}&_filter=subject[name eq martin].birthdate gt 1990"
    assert ids(doctor.get(both)) == set()


def test_a_filter_follows_references_backwards(doctor, stranger, reports):
    _key, _, patient = reports
    id_ = patient.partition("/")[2]
    for asked in (
        "_has:DiagnosticReport:subject:status eq preliminary",
        "_has:DiagnosticReport:patient:subject.name eq martin",
    ):
        query = f"Patient?_id={id_}&_filter={asked}"
        assert ids(doctor.get(query)) == {id_}
        assert ids(stranger.get(query)) == set()
    assert ids(doctor.get(f"Patient?_id={id_}&_filter=_has:DiagnosticReport:subject:status eq amended")) == set()


def test_a_filter_that_follows_too_many_references_is_refused(doctor):
    many = " or ".join(["subject.name eq a"] * 40)
    response = doctor.get(f"DiagnosticReport?_filter={many}")
    assert (response.status_code, issues_of(response)[0]["code"]) == (400, "too-costly")


def test_places_are_found_by_distance(operator, doctor):
    key = uuid.uuid4().hex[:8]
    for name, latitude, longitude in (("paris", 48.8566, 2.3522), ("lyon", 45.7640, 4.8357)):
        operator.put(
            f"Location/{name}-{key}",
            {
                "resourceType": "Location",
                "id": f"{name}-{key}",
                "name": key,
                "position": {"latitude": latitude, "longitude": longitude},
            },
        )
    operator.put(f"Location/nowhere-{key}", {"resourceType": "Location", "id": f"nowhere-{key}", "name": key})
    for asked, expected in (
        ("near=48.85|2.35|20|km", {"paris"}),
        ("near=48.85|2.35|400|km", {"paris", "lyon"}),
        ("near=48.85|2.35|400|km&_filter=_id ne lyon", {"paris", "lyon"}),
        ("near:missing=true", {"nowhere"}),
        ("near=48.85|2.35|10|[mi_i],45.76|4.83|5000|m", {"paris", "lyon"}),
    ):
        assert ids(doctor.get(f"Location?name={key}&{asked}")) == {f"{name}-{key}" for name in expected}, asked
    moved = operator.put(f"Location/paris-{key}", {"resourceType": "Location", "id": f"paris-{key}", "name": key})
    assert moved.status_code == 200
    assert ids(doctor.get(f"Location?name={key}&near=48.85|2.35|20|km")) == set()


@pytest.mark.parametrize(("total", "expected"), [("accurate", 3), ("estimate", 3), ("none", None)])
def test_a_total_is_told_as_it_is_asked_for(doctor, reports, total, expected):
    key, *_ = reports
    response = doctor.get(f"DiagnosticReport?_content={key}&_count=2&_total={total}")
    assert response.json.get("total") == expected
    assert doctor.get(f"DiagnosticReport?_content={key}&_total={total}").json.get("total") == expected


def test_elements_are_those_of_the_matches_and_included_resources_come_whole(doctor, reports):
    key, *_ = reports
    response = doctor.get(f"DiagnosticReport?_content={key}&_elements=conclusion&_include=DiagnosticReport:subject")
    assert {"text", "subject"}.isdisjoint(matches(response)[0])
    assert {"status", "code"} <= matches(response)[0].keys()  # mandatory
    [patient] = [one["resource"] for one in response.json["entry"] if one["search"]["mode"] == "include"]
    assert "name" in patient
    assert "tag" not in patient["meta"]


@pytest.mark.parametrize("summary", ["true", "text", "data"])
def test_a_part_of_each_match_is_marked_as_one(doctor, reports, summary):
    key, *_ = reports
    for resource in matches(doctor.get(f"DiagnosticReport?_content={key}&_summary={summary}")):
        assert resource["meta"]["tag"][-1]["code"] == "SUBSETTED"
        assert ("text" in resource) is (summary == "text")


def test_a_modifier_extension_is_never_left_out(his, doctor, declared):
    told = {"modifierExtension": [{"url": "http://x.example/not-done", "valueBoolean": True}]}
    made = his.make(report(declared, "x", **told))
    for shape in ("_summary=true", "_summary=text", "_elements=status"):
        assert "modifierExtension" in doctor.get(f"DiagnosticReport/{made['id']}?{shape}").json


@pytest.mark.parametrize(
    "ignored",
    ["nosuch=1", "_query=nosuch", "_sort=nosuch", "_include=DiagnosticReport:nosuch", "nosuch:exact=1", "conclusion="],
)
@pytest.mark.parametrize("by_form", [False, True])
def test_leniency_names_what_it_ignored_and_the_self_link_leaves_it_out(doctor, reports, ignored, by_form):
    key, made, _ = reports
    used = f"_content={key}"
    if by_form:
        form = {"Content_Type": "application/x-www-form-urlencoded", "Prefer": "handling=lenient"}
        response = doctor.post("DiagnosticReport/_search", f"{used}&{ignored}".encode(), **form)
    else:
        response = doctor.get(f"DiagnosticReport?{used}&{ignored}", Prefer="handling=lenient")
    assert ids(response) == set(made.values())
    [outcome] = [one["resource"] for one in response.json["entry"] if one["search"]["mode"] == "outcome"]
    assert outcome["issue"][0]["expression"] == [ignored.partition("=")[0]]
    assert response.json["link"][0] == {"relation": "self", "url": f"http://fhir.example/fhir/DiagnosticReport?{used}"}
    strict = doctor.get(f"DiagnosticReport?{used}&{ignored}")
    assert strict.status_code == 400
