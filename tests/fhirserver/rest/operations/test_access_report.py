"""`$access-report`: who saw what, for the person and auditors; nothing that the trail hides."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from werkzeug.test import TestResponse

from fhirserver.store.resource_store import ResourceStore
from tests.fhirserver.rest.conftest import Caller, issues_of

PROFESSIONS = "urn:oid:1.2.250.1.71.1.2.7"
LABELS = "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument"
RELEASE = "urn:fhirserver:extension:release"


@pytest.fixture(scope="module", autouse=True)
def directory(operator: Caller, his: Caller, doctor: Caller) -> None:
    """Practitioner/d is Dr Ada Durand, a physician of Organization/e1, which is the Hôpital Sainte-Odile."""
    organization = {"resourceType": "Organization", "id": "e1", "active": True, "name": "Hôpital Sainte-Odile"}
    operator.put("Organization/e1", organization)
    name = [{"prefix": ["Dr"], "given": ["Ada"], "family": "Durand"}]
    operator.put("Practitioner/d", {"resourceType": "Practitioner", "id": "d", "active": True, "name": name})
    role = {
        "resourceType": "PractitionerRole",
        "id": "role-d",
        "active": True,
        "practitioner": {"reference": "Practitioner/d"},
        "organization": {"reference": "Organization/e1"},
        "code": [{"coding": [{"system": PROFESSIONS, "code": "10"}]}],
    }
    his.put("PractitionerRole/role-d", role)


@pytest.fixture
def person(declared: str, caller: Callable[..., Caller]) -> Caller:
    return caller(declared)


@pytest.fixture
def auditor(caller: Callable[..., Caller]) -> Caller:
    return caller("Client/auditor", category="auditor")


@pytest.fixture
def study(his: Caller, declared: str) -> str:
    return f"ImagingStudy/{his.make(imaging_study(declared))['id']}"


def imaging_study(patient: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "ImagingStudy",
        "status": "available",
        "subject": {"reference": patient},
        "description": "Scanner <thorax>",
        "modality": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "CT"}],
        **more,
    }


def lines(response: TestResponse) -> list[dict[str, Any]]:
    """The lines of a report; what comes several times is a list."""
    assert response.status_code == 200, response.text
    return [
        {
            name: [value_of(part) for part in one["part"] if part["name"] == name]
            for name in {part["name"] for part in one["part"]}
        }
        for one in response.json.get("parameter", ())
        if one["name"] == "line"
    ]


def value_of(part: dict[str, Any]) -> Any:
    return next(value for key, value in part.items() if key.startswith("value"))


def report(caller: Caller, patient: str, query: str = "form=lines&own=false", **headers: str) -> list[dict[str, Any]]:
    return lines(caller.get(f"{patient}/$access-report?{query}", **headers))


def ids(response: TestResponse) -> list[str]:
    assert response.status_code == 200, response.text
    return [one["resource"]["id"] for one in response.json.get("entry", ())]


def test_a_person_reads_who_saw_what_when_why_and_with_what_result(
    person: Caller, doctor: Caller, declared: str, study: str
) -> None:
    before = datetime.now(UTC)
    assert doctor.get(study).status_code == 200

    line = report(person, declared)[0]

    assert line["who"] == [{"reference": "Practitioner/d", "display": "Dr Ada Durand"}]
    assert line["profession"] == ["médecin"]
    assert line["structure"] == [{"reference": "Organization/e1", "display": "Hôpital Sainte-Odile"}]
    assert (line["kind"], line["action"], line["result"]) == (["professional"], ["read"], ["permitted"])
    assert line["resource"] == [{"reference": study}]
    assert line["why"][0]["code"] == "TREAT"
    when = datetime.fromisoformat(line["when"][0])
    assert when.utcoffset() in {timedelta(hours=1), timedelta(hours=2)}
    assert abs(when - before) < timedelta(minutes=1)
    assert "Consultation : examen d'imagerie (CT Scanner <thorax>)" in line["text"][0]
    assert "soins – permis" in line["text"][0]


def test_an_establishment_is_named_and_not_its_address_or_client(person: Caller, declared: str, study: str) -> None:
    line = report(person, declared)[0]

    assert line["kind"] == ["establishment"]
    assert "Hôpital Sainte-Odile" in line["text"][0]
    assert not {"127.0.0.1", "his-e1"} & set(line["text"][0].replace(",", " ").split())


def test_a_refusal_is_a_line_with_its_reason(person: Caller, stranger: Caller, declared: str, study: str) -> None:
    assert stranger.get(study).status_code == 404

    line = report(person, declared, "form=lines&language=en")[0]

    assert (line["result"], line["reason"], line["action"]) == (["refused"], ["no-relationship"], ["access"])
    assert line["resource"] == [{"reference": study}]
    assert "refused" in line["text"][0]


def test_several_events_of_one_request_are_one_line(
    person: Caller, doctor: Caller, his: Caller, declared: str, study: str
) -> None:
    entries = [{"request": {"method": "GET", "url": url}} for url in (study, declared, study)]
    doctor.post("", {"resourceType": "Bundle", "type": "batch", "entry": entries})

    line = report(person, declared)[0]

    assert len(line["event"]) == 3
    assert line["resource"] == [{"reference": study}, {"reference": declared}]


def test_what_is_repeated_within_a_minute_is_told_once_with_its_number(
    person: Caller, doctor: Caller, declared: str, study: str
) -> None:
    for _ in range(3):
        doctor.get(study)

    found = [line for line in report(person, declared) if line["kind"] == ["professional"]]

    assert sum(line["times"][0] for line in found) == 3
    assert len(found) <= 2  # a minute may have ended meanwhile


def test_the_same_request_id_in_two_requests_is_two_requests(
    person: Caller, doctor: Caller, declared: str, study: str
) -> None:
    doctor.get(study, X_Request_Id="always-the-same")
    doctor.get(declared, X_Request_Id="always-the-same")

    resources = [line["resource"] for line in report(person, declared)[:2]]

    assert resources == [[{"reference": declared}], [{"reference": study}]]


def test_the_events_are_those_of_the_trail(person: Caller, doctor: Caller, declared: str, study: str) -> None:
    doctor.get(study)
    trail = ids(person.get(f"AuditEvent?patient={declared}&_sort=-date&_count=100"))

    found = person.get(f"{declared}/$access-report?_count=100")

    assert found.json["type"] == "searchset"
    assert ids(found)[1:] == trail  # the first is that the trail was read
    assert found.json["total"] == len(trail) + 1


def test_own_reads_are_left_out_where_that_is_asked(person: Caller, doctor: Caller, declared: str, study: str) -> None:
    person.get(study)
    doctor.get(study)

    assert report(person, declared, "form=lines")[0]["kind"] == ["professional"]
    kinds = [line["kind"][0] for line in report(person, declared, "form=lines&_count=100")]
    assert "person" in kinds
    assert "person" not in [line["kind"][0] for line in report(person, declared)]
    whole = person.get(f"{declared}/$access-report?_count=100").json["total"]
    assert person.get(f"{declared}/$access-report?_count=100&own=false").json["total"] < whole


def test_dates_bound_the_report_and_a_year_is_the_default(person: Caller, declared: str, study: str, database) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date()
    assert report(person, declared, f"form=lines&date=ge{tomorrow}") == []
    assert report(person, declared, f"form=lines&date=ge2020&date=lt{tomorrow}") != []
    long_ago = datetime.now(UTC) - timedelta(days=366)
    database.audit.update_many(
        {"facts.about": study},
        {"$set": {"rg.$[one].lo": long_ago, "rg.$[one].hi": long_ago}},
        array_filters=[{"one.n": "date"}],
    )
    assert all(study not in json.dumps(line) for line in report(person, declared, "form=lines"))
    assert any(study in json.dumps(line) for line in report(person, declared, "form=lines&date=ge2000"))
    assert issues_of(person.get(f"{declared}/$access-report?date=yesterday"))[0]["expression"] == ["date"]


def test_pages_give_every_event_once_and_no_request_in_two(
    person: Caller, doctor: Caller, declared: str, study: str
) -> None:
    for _ in range(3):
        entries = [{"request": {"method": "GET", "url": study}}] * 2
        doctor.post("", {"resourceType": "Bundle", "type": "batch", "entry": entries})
    every = {
        event["reference"]
        for line in report(person, declared, "form=lines&own=false&_count=100")
        for event in line["event"]
    }

    found: list[str] = []
    path: str | None = f"{declared}/$access-report?form=lines&own=false&_count=3"
    while path is not None:
        response = person.get(path)
        found += [event["reference"] for line in lines(response) for event in line["event"]]
        following = [value_of(one) for one in response.json["parameter"] if one["name"] == "next"]
        path = following[0].partition("/fhir/")[2] if following else None

    assert len(found) == len(set(found))
    assert set(found) == every


def test_a_page_in_html_is_given_to_who_asks_for_it(person: Caller, doctor: Caller, declared: str, study: str) -> None:
    doctor.get(study)
    browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

    french = person.get(f"{declared}/$access-report", Accept=browser)
    english = person.get(f"{declared}/$access-report?_format=html", Accept_Language="en-GB,en;q=0.9")

    assert french.content_type == "text/html; charset=utf-8"
    assert (french.headers["Content-Language"], english.headers["Content-Language"]) == ("fr", "en")
    assert "<td>Dr Ada Durand<br>médecin<br>Hôpital Sainte-Odile</td>" in french.text
    assert "Scanner &lt;thorax&gt;" in french.text
    assert "<td>Dr Ada Durand<br>physician<br>Hôpital Sainte-Odile</td>" in english.text
    assert "default-src 'none'" in french.headers["Content-Security-Policy"]
    assert person.get(f"{declared}/$access-report", Accept="application/fhir+json").json["resourceType"] == "Bundle"
    assert person.get(f"{declared}/$access-report?_format=pdf").status_code == 406


def test_a_page_in_html_leads_to_the_next(person: Caller, declared: str, study: str) -> None:
    page = person.get(f"{declared}/$access-report?_format=html&_count=1&language=en")
    query = page.text.partition('rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")

    following = person.get(f"{declared}/$access-report{query}")

    assert following.content_type == "text/html; charset=utf-8"
    assert following.headers["Content-Language"] == "en"


def test_a_client_leaves_out_its_own_reads_too(
    auditor: Caller, operator: Caller, his: Caller, doctor: Caller, declared: str, study: str
) -> None:
    doctor.get(study)
    auditor.get(f"AuditEvent?patient={declared}")

    found = report(auditor, declared, "form=lines&own=false&_count=100")

    assert {line["action"][0] for line in found} == {"read", "create"}
    assert "trail" in {line["action"][0] for line in report(auditor, declared, "form=lines&_count=100")}
    for nobody in (operator, his):
        assert ids(nobody.get(f"{declared}/$access-report?own=false")) == []


def test_a_representative_whose_given_name_is_not_known_is_told_by_the_rest_of_it(
    his: Caller, caller: Callable[..., Caller]
) -> None:
    child = f"Patient/{his.make({'resourceType': 'Patient', 'birthDate': f'{datetime.now(UTC).year - 9}-01-01'})['id']}"
    relationship = {"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "MTH"}
    unknown = {"extension": [{"url": "http://example.org/why", "valueString": "not told"}]}
    mother = his.make(
        {
            "resourceType": "RelatedPerson",
            "active": True,
            "patient": {"reference": child},
            "relationship": [{"coding": [relationship]}],
            "name": [{"given": [None, "Eve"], "_given": [unknown, None], "family": "Martin"}],
        }
    )
    assert caller(f"RelatedPerson/{mother['id']}", scope="user/*.rs").get(child).status_code == 200

    assert report(caller(child), child)[0]["who"][0]["display"] == "Eve Martin"


@pytest.mark.parametrize("hidden", ["label", "release"])
def test_what_is_hidden_is_neither_told_nor_counted(
    person: Caller, doctor: Caller, his: Caller, declared: str, study: str, hidden: str, auditor: Caller
) -> None:
    later = (datetime.now(UTC) + timedelta(days=30)).isoformat(timespec="seconds")
    closed: dict[str, Any] = {
        "label": {"meta": {"security": [{"system": LABELS, "code": "INVISIBLE_PATIENT"}]}},
        "release": {"extension": [{"url": RELEASE, "valueInstant": later}]},
    }[hidden]
    own = report(person, declared, "form=lines&own=false&_count=100")
    exam = his.make(imaging_study(declared, **closed))
    doctor.get(f"ImagingStudy/{exam['id']}")

    answer = person.get(f"{declared}/$access-report?form=lines&own=false&_count=100")

    assert exam["id"] not in answer.text
    assert len(lines(answer)) == len(own)
    assert exam["id"] not in person.get(f"{declared}/$access-report?_count=100").text
    assert exam["id"] not in person.get(f"{declared}/$access-report?_format=html").text
    assert exam["id"] in auditor.get(f"{declared}/$access-report?_count=100").text


@pytest.mark.parametrize("hidden", ["label", "release", "later"])
def test_an_auditor_who_reads_of_a_hidden_exam_tells_the_person_nothing_of_it(
    person: Caller, doctor: Caller, his: Caller, declared: str, hidden: str, auditor: Caller
) -> None:
    later = (datetime.now(UTC) + timedelta(days=30)).isoformat(timespec="seconds")
    closed: dict[str, Any] = {
        "label": {"meta": {"security": [{"system": LABELS, "code": "INVISIBLE_PATIENT"}]}},
        "release": {"extension": [{"url": RELEASE, "valueInstant": later}]},
    }
    made = his.make(imaging_study(declared, **closed.get(hidden, {})))
    exam = f"ImagingStudy/{made['id']}"
    doctor.get(exam)
    if hidden == "later":
        his.put(exam, imaging_study(declared, id=made["id"], **closed["label"]))
    everything = ids(auditor.get(f"AuditEvent?patient={declared}&_count=100"))
    for id_ in everything:
        assert auditor.get(f"AuditEvent/{id_}").status_code == 200
    auditor.get(f"{declared}/$access-report?_count=100")

    answer = person.get(f"{declared}/$access-report?form=lines&_count=100")

    named = {one["reference"] for line in lines(answer) for one in line.get("resource", ())}
    events = {one for one in named if one.startswith("AuditEvent/")}
    assert events
    assert {person.get(one).status_code for one in events} == {200}
    told = [line for line in lines(answer) if line["action"] == ["trail"] and line["kind"] == ["service"]]
    assert told
    assert all("found" not in line for line in told)


def test_an_exam_that_is_hidden_later_takes_its_lines_along(
    person: Caller, doctor: Caller, his: Caller, declared: str, study: str
) -> None:
    doctor.get(study)
    assert study in person.get(f"{declared}/$access-report?form=lines").text
    labelled = imaging_study(declared, id=study.partition("/")[2])
    labelled["meta"] = {"security": [{"system": LABELS, "code": "INVISIBLE_PATIENT"}]}
    his.put(study, labelled)

    assert study not in person.get(f"{declared}/$access-report?form=lines").text


def test_nobody_else_is_told_and_absent_looks_the_same(
    person: Caller, doctor: Caller, his: Caller, caller: Callable[..., Caller], declared: str, study: str
) -> None:
    other = his.make({"resourceType": "Patient", "name": [{"family": "Other"}]})
    neighbour = caller(f"Patient/{other['id']}")

    here = neighbour.get(f"{declared}/$access-report?form=lines")
    gone = neighbour.get("Patient/nobody/$access-report?form=lines")

    assert (here.status_code, here.json) == (gone.status_code, gone.json) == (200, {"resourceType": "Parameters"})
    for refused in (doctor, his):  # the trail is not theirs, whose patient it may be
        assert ids(refused.get(f"{declared}/$access-report")) == []


def test_a_title_is_told_only_of_what_the_token_may_read(
    caller: Callable[..., Caller], doctor: Caller, declared: str, study: str, auditor: Caller
) -> None:
    doctor.get(study)
    narrow = caller(declared, scope="patient/AuditEvent.rs")

    for reader in (narrow, auditor):
        answer = reader.get(f"{declared}/$access-report?form=lines")
        assert "Dr Ada Durand" in answer.text
        assert "thorax" not in answer.text
    assert caller(declared, scope="patient/ImagingStudy.rs").get(f"{declared}/$access-report").status_code == 403


def test_the_reading_of_the_report_is_in_the_trail_with_what_it_told(
    person: Caller, doctor: Caller, declared: str, study: str, audit_of: Callable[[], list[dict[str, Any]]]
) -> None:
    doctor.get(study)
    count = len(lines(person.get(f"{declared}/$access-report?form=lines&_count=100")))
    event = audit_of()[-1]

    codes = [subtype["code"] for subtype in event["subtype"]]
    assert codes == ["operation", "110101"]
    assert any(entity.get("what", {}).get("reference") == declared for entity in event["entity"])
    [disclosed] = [
        int(detail["valueString"])
        for entity in event["entity"]
        for detail in entity.get("detail", ())
        if detail["type"] == "disclosed"
    ]
    assert disclosed > count  # the events, and the exam whose title was told


def test_names_and_titles_are_looked_up_once_for_the_page(
    person: Caller, doctor: Caller, declared: str, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    doctor.get(study)
    doctor.get(declared)
    asked: list[str] = []
    for name in ("described", "readable"):
        whole = getattr(ResourceStore, name)
        monkeypatch.setattr(
            ResourceStore, name, lambda self, wanted, name=name, whole=whole: asked.append(name) or whole(self, wanted)
        )

    assert len(report(person, declared, "form=lines&_count=50")) > 2

    assert asked == ["described", "readable"]


@pytest.mark.parametrize(
    ("query", "expression"),
    [("form=table", "form"), ("language=de", "language"), ("own=maybe", "own"), ("_count=0", "_count"), ("x=1", "x")],
)
def test_what_cannot_be_used_is_refused(person: Caller, declared: str, query: str, expression: str) -> None:
    response = person.get(f"{declared}/$access-report?{query}")

    assert response.status_code == 400
    assert issues_of(response)[0]["expression"] == [expression]
