"""`$explain-access` and `$who-can-access`: the decision told to those who may know it, as far as they may."""

from __future__ import annotations

import json

import pytest

from resources import validation
from tests.fhirserver.rest.conftest import FHIR_JSON, issues_of

BASE, GRANT, RESTRICTION = (f"urn:fhirserver:policy:{name}" for name in ("base", "grant", "restriction"))
HIDDEN = {
    "system": "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument",
    "code": "INVISIBLE_PATIENT",
}


def consent(patient, family, kind, actor, *, performer=None, **provision):
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]
        },
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": patient},
        "dateTime": "2026-11-24T10:00:00+01:00",
        "performer": [{"reference": performer or patient}],
        "policy": [{"uri": family}],
        "provision": {
            "type": kind,
            "actor": [
                {
                    "role": {
                        "coding": [
                            {
                                "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType",
                                "code": "IRCP",
                            }
                        ]
                    },
                    "reference": {"reference": actor},
                }
            ],
            **provision,
        },
    }


def values(response, name):
    """The values of the parameters of that name, whatever their types."""
    assert response.status_code == 200, response.text
    return [
        next(value for member, value in part.items() if member.startswith("value"))
        for part in response.json["parameter"]
        if part["name"] == name and "part" not in part
    ]


def groups(response, name):
    """The parts of each parameter of that name: names with their values."""
    assert response.status_code == 200, response.text
    return [
        [(each["name"], next(value for member, value in each.items() if member != "name")) for each in part["part"]]
        for part in response.json["parameter"]
        if part["name"] == name
    ]


def holders(response):
    """Who may read: reference and code of each."""
    return {dict(one)["actor"]["reference"]: dict(one)["code"] for one in groups(response, "holder")}


@pytest.fixture
def person(caller, declared):
    """The patient who declared Practitioner/d."""
    return caller(declared)


@pytest.fixture
def auditor(caller):
    return caller("Client/auditor", category="auditor", scope="system/*.rs")


@pytest.fixture
def study(his, declared):
    return (
        "ImagingStudy/"
        + his.make(
            {
                "resourceType": "ImagingStudy",
                "status": "available",
                "subject": {"reference": declared},
                "started": "2026-11-01",
            }
        )["id"]
    )


def test_the_person_is_told_by_which_care_team_a_doctor_reads_an_exam(person, doctor, study):
    told = person.get(f"{study}/$explain-access?actor=Practitioner/d&organization=Organization/e1")
    assert (values(told, "verdict"), values(told, "code")) == (["permit"], ["permit-declared"])
    assert values(told, "text-fr") == ["Le professionnel est déclaré dans l'équipe de soins."]
    [rule] = [dict(one) for one in groups(told, "rule")]
    assert rule["name"] == "relation"
    assert rule["source"]["reference"].startswith("CareTeam/")
    assert "/_history/1" in rule["source"]["reference"]
    assert rule["participant"] == 0
    validation.check("Parameters", told.data)


def test_the_explanation_is_what_the_doctor_meets(person, doctor, stranger, study):
    assert values(person.get(f"{study}/$explain-access?actor=Practitioner/s"), "code") == ["no-relationship"]
    assert stranger.get(study).status_code == 404
    made = person.make(consent(person_of(person, study), RESTRICTION, "deny", "Practitioner/d"))
    told = person.get(f"{study}/$explain-access?actor=Practitioner/d&organization=Organization/e1")
    assert values(told, "code") == ["blocked-professional"]
    sources = [value["reference"] for one in groups(told, "rule") for name, value in one if name == "source"]
    assert f"Consent/{made['id']}/_history/1" in sources
    assert doctor.get(study).status_code == 404


def person_of(person, study):
    return person.get(study).json["subject"]["reference"]


def test_asking_of_a_doctor_leaves_no_attempt_of_theirs_in_the_trail(person, study, auditor):
    person.get(f"{study}/$explain-access?actor=Practitioner/s")
    patient = person_of(person, study)
    trail = auditor.get(f"AuditEvent?patient={patient}&agent=Practitioner/s").json
    assert trail.get("entry", []) == []
    asked = auditor.get(f"AuditEvent?patient={patient}&agent={patient}&_count=200").json["entry"]
    queries = [entity.get("query") for one in asked for entity in one["resource"].get("entity", ())]
    assert any(queries)


def test_an_interaction_and_a_purpose_may_be_named(person, study):
    told = person.get(f"{study}/$explain-access?actor=Practitioner/d&interaction=update")
    assert values(told, "code") == ["matrix-refusal"]
    told = person.get(f"{study}/$explain-access?actor=Practitioner/d&purpose=HMARKT")
    assert values(told, "code") == ["ban-purpose"]


@pytest.mark.parametrize(
    ("query", "expression"),
    [
        ("actor=Practitioner/d&interaction=create", "interaction"),
        ("actor=Practitioner/d&interaction=fly", "interaction"),
        ("actor=Device/d", "actor"),
        ("actor=Practitioner/d/_history/1", "actor"),
        ("actor=Practitioner?_id=d", "actor"),
        ("actor=Practitioner/d&organization=Practitioner/d", "organization"),
        ("actor=Organization/e1&organization=Organization/e2", "organization"),
        ("actor=Practitioner/d&who=me", "who"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(person, study, query, expression):
    response = person.get(f"{study}/$explain-access?{query}")
    assert response.status_code == 400, response.text
    assert issues_of(response)[0]["expression"] == [expression]


def test_the_person_may_ask_of_themselves(person, study):
    assert values(person.get(f"{study}/$explain-access"), "code") == ["permit-self"]


def test_an_operator_and_an_auditor_are_told_of_anything_and_read_nothing(operator, auditor, study):
    for one in (operator, auditor):
        told = one.get(f"{study}/$explain-access?actor=Practitioner/d&organization=Organization/e1")
        assert values(told, "code") == ["permit-declared"]
        assert one.get(study).status_code in {403, 404}
        assert one.get(f"{study}/$explain-access").status_code == 400
        assert one.get("ImagingStudy/nothing/$explain-access?actor=Practitioner/d").status_code == 404


def test_the_person_finds_in_their_trail_that_an_operator_asked(operator, person, study):
    operator.get(f"{study}/$explain-access?actor=Practitioner/d")
    trail = person.get("AuditEvent?_count=200").json["entry"]
    assert any(
        agent.get("who", {}).get("reference") == "Client/operator"
        or agent.get("who", {}).get("identifier", {}).get("value") == "operator"
        for one in trail
        for agent in one["resource"]["agent"]
    )


@pytest.mark.parametrize("name", ["explain-access", "who-can-access"])
def test_a_professional_and_a_hospital_are_not_told(doctor, stranger, his, study, name):
    query = "?actor=Practitioner/d" if name == "explain-access" else ""
    for one in (doctor, stranger, his):
        here, nowhere = one.get(f"{study}/${name}{query}"), one.get(f"ImagingStudy/nothing/${name}{query}")
        assert (here.status_code, nowhere.status_code) == (403, 403)
        assert here.data == nowhere.data


@pytest.mark.parametrize("name", ["explain-access", "who-can-access"])
def test_another_person_is_told_that_there_is_nothing(caller, his, study, name):
    other = his.make({"resourceType": "Patient", "birthDate": "1970-01-01"})
    stranger = caller(f"Patient/{other['id']}")
    here, nowhere = stranger.get(f"{study}/${name}"), stranger.get(f"ImagingStudy/nothing/${name}")
    assert (here.status_code, nowhere.status_code) == (404, 404)


def test_everybody_who_may_read_is_listed_with_the_reason(person, his, study, stranger):
    patient = person_of(person, study)
    found = holders(person.get(f"{study}/$who-can-access"))
    assert found == {patient: "permit-self", "Organization/e1": "permit-custodian", "Practitioner/d": "permit-declared"}
    data = [{"meaning": "instance", "reference": {"reference": study}}]
    person.make(consent(patient, GRANT, "permit", "Practitioner/s", data=data, period={"end": "2030-01-01"}))
    response = person.get(f"{study}/$who-can-access")
    assert holders(response)["Practitioner/s"] == "permit-grant"
    assert stranger.get(study).status_code == 200
    [granted] = [dict(one) for one in groups(response, "holder") if dict(one)["code"] == "permit-grant"]
    assert granted["until"].startswith("2030-01-01T23:00:00")
    validation.check("Parameters", response.data)
    person.make(consent(patient, RESTRICTION, "deny", "Practitioner/d"))
    assert "Practitioner/d" not in holders(person.get(f"{study}/$who-can-access"))


def test_a_team_an_organisation_and_a_representative_are_listed_as_such(caller, his, person, study):
    patient = person_of(person, study)
    inner = his.make(
        {
            "resourceType": "CareTeam",
            "status": "active",
            "subject": {"reference": patient},
            "participant": [{"member": {"reference": "Practitioner/s"}}],
        }
    )
    his.make(
        {
            "resourceType": "CareTeam",
            "status": "active",
            "subject": {"reference": patient},
            "participant": [
                {"member": {"reference": "Organization/e2"}},
                {"member": {"reference": f"CareTeam/{inner['id']}"}},
            ],
        }
    )
    found = holders(person.get(f"{study}/$who-can-access"))
    assert found["Organization/e2"] == "permit-organisation"
    assert found[f"CareTeam/{inner['id']}"] == "permit-declared"


def test_what_a_hidden_exam_opens_is_not_told_to_the_person(his, person, operator, study):
    patient = person_of(person, study)
    operator.put("Practitioner/reader", {"resourceType": "Practitioner", "id": "reader", "active": True})
    his.make(
        {
            "resourceType": "ImagingStudy",
            "status": "available",
            "meta": {"security": [HIDDEN]},
            "subject": {"reference": patient},
            "started": "2026-11-20",
            "interpreter": [{"reference": "Practitioner/reader"}],
        }
    )
    asked = f"{study}/$explain-access?actor=Practitioner/reader"
    assert values(person.get(asked), "code") == ["no-relationship"]
    assert "Practitioner/reader" not in holders(person.get(f"{study}/$who-can-access"))
    assert values(operator.get(asked), "code") == ["permit-treating"]
    assert holders(operator.get(f"{study}/$who-can-access"))["Practitioner/reader"] == "permit-treating"


def test_it_may_be_asked_by_post_and_in_a_batch(person, study):
    body = {"resourceType": "Parameters", "parameter": [{"name": "actor", "valueString": "Practitioner/d"}]}
    assert values(person.post(f"{study}/$explain-access", body), "verdict") == ["permit"]
    entry = {"request": {"method": "GET", "url": f"{study}/$who-can-access"}}
    answer = person.post("", {"resourceType": "Bundle", "type": "batch", "entry": [entry]})
    [inner] = answer.json["entry"]
    assert inner["response"]["status"].startswith("200")
    assert inner["resource"]["resourceType"] == "Parameters"
    assert json.loads(answer.data)
    assert answer.content_type.startswith(FHIR_JSON)


def test_a_refusal_that_the_person_may_not_read_counts_without_its_source(his, person, doctor, study):
    patient = person_of(person, study)
    his.make(consent(patient, RESTRICTION, "deny", "Practitioner/d") | {"meta": {"security": [HIDDEN]}})
    told = person.get(f"{study}/$explain-access?actor=Practitioner/d&organization=Organization/e1")
    assert values(told, "code") == ["blocked-professional"]
    assert '"source"' not in told.text
    assert "Practitioner/d" not in holders(person.get(f"{study}/$who-can-access"))


def test_a_token_that_does_not_cover_what_the_answer_rests_on_is_refused(caller, person, study):
    narrow = caller(person_of(person, study), scope="patient/ImagingStudy.rs patient/CareTeam.rs")
    for name in ("explain-access?actor=Practitioner/d", "who-can-access"):
        assert narrow.get(f"{study}/${name}").status_code == 403


def test_another_establishment_that_holds_something_of_the_person_is_not_told_to_them(
    database, his, person, operator, study
):
    patient = person_of(person, study)
    database.patient_access.update_one({"_id": patient}, {"$addToSet": {"establishments": "Organization/e2"}})
    his.put(patient, {**his.get(patient).json, "gender": "female"})
    assert "Organization/e2" not in holders(person.get(f"{patient}/$who-can-access"))
    assert "Organization/e2" in holders(operator.get(f"{patient}/$who-can-access"))


def test_a_patient_who_is_only_asked_about_is_not_told(caller, his, person, study):
    other = his.make({"resourceType": "Patient", "birthDate": "1970-01-01"})
    person.get(f"{study}/$explain-access?actor=Patient/{other['id']}")
    trail = caller(f"Patient/{other['id']}").get("AuditEvent?_count=200").text
    assert study not in trail
    assert person_of(person, study) not in trail


def test_what_an_operator_does_not_find_is_in_the_audit(auditor, operator):
    operator.get("ImagingStudy/never-there/$explain-access?actor=Practitioner/d")
    found = auditor.get("AuditEvent?entity=ImagingStudy/never-there").json
    assert len(found.get("entry", ())) == 1


@pytest.mark.parametrize("resource", ["Practitioner/d", "AuditEvent/x", "Binary/x"])
def test_what_no_consent_opens_or_closes_is_not_explained(person, doctor, resource):
    response = person.get(f"{resource}/$who-can-access")
    assert response.status_code == 400
    assert issues_of(response)[0]["code"] == "not-supported"


def test_a_base_consent_that_the_person_may_not_read_takes_the_place_of_nothing(his, person, operator, study):
    patient = person_of(person, study)
    his.make(consent(patient, BASE, "permit", "Practitioner/other") | {"meta": {"security": [HIDDEN]}})
    asked = f"{study}/$explain-access?actor=Practitioner/d&organization=Organization/e1"
    assert values(person.get(asked), "code") == ["permit-declared"]
    assert values(operator.get(asked), "code") == ["not-covered-by-consent"]


def test_the_trail_does_not_tell_by_its_code_that_a_hidden_exam_relates_a_doctor(caller, his, person, operator, study):
    patient = person_of(person, study)
    for name in ("declared-too", "of-hidden"):
        operator.put(f"Practitioner/{name}", {"resourceType": "Practitioner", "id": name, "active": True})
    team = {"resourceType": "CareTeam", "status": "active", "subject": {"reference": patient}}
    his.make({**team, "participant": [{"member": {"reference": "Practitioner/declared-too"}}]})
    exam = {"resourceType": "ImagingStudy", "status": "available", "subject": {"reference": patient}}
    hidden = {**exam, "meta": {"security": [HIDDEN]}, "interpreter": [{"reference": "Practitioner/of-hidden"}]}
    his.make({**hidden, "started": "2026-11-20"})

    def told(name):
        event = person.get(f"AuditEvent?agent=Practitioner/{name}&entity={study}").json["entry"][-1]["resource"]
        [code] = [
            detail["valueString"] for entity in event["entity"] for detail in entity.get("detail", ())
            if detail["type"] == "decision"
        ]  # fmt: skip
        return code

    for name in ("declared-too", "of-hidden"):
        assert caller(f"Practitioner/{name}", organization="Organization/e2").get(study).status_code == 200
    assert told("declared-too") == told("of-hidden") == "permit-relation"


@pytest.fixture
def shared_document(his, person, study):
    """A document about the patient that another patient, a child of the same mother, wrote with them."""
    patient = person_of(person, study)
    other = f"Patient/{his.make({'resourceType': 'Patient', 'birthDate': '2019-01-01'})['id']}"
    document = {
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"reference": patient},
        "author": [{"reference": other}],
        "content": [{"attachment": {"contentType": "text/plain"}}],
    }
    return f"DocumentReference/{his.make(document)['id']}", patient, other


@pytest.mark.parametrize("name", ["explain-access?actor=Practitioner/d", "who-can-access"])
def test_what_concerns_two_people_is_explained_to_neither_alone(caller, person, shared_document, name):
    there, _, other = shared_document
    for who in (person, caller(other)):
        assert who.get(f"{there}/${name}").status_code == 404
        assert who.get(f"{there}/${name}").text.replace(there, "it") == who.get(
            f"DocumentReference/never-was/${name}"
        ).text.replace("DocumentReference/never-was", "it")


def test_of_what_concerns_two_people_nobody_holds_who_is_related_to_one(operator, his, shared_document):
    there, _, other = shared_document
    assert "Practitioner/d" not in holders(operator.get(f"{there}/$who-can-access"))
    asked = f"{there}/$explain-access?actor=Practitioner/d"
    assert values(operator.get(asked), "verdict") == ["deny"]
    team = {"resourceType": "CareTeam", "status": "active", "subject": {"reference": other}}
    his.make({**team, "participant": [{"member": {"reference": "Practitioner/d"}}]})
    assert holders(operator.get(f"{there}/$who-can-access"))["Practitioner/d"] == "permit-declared"
    assert values(operator.get(asked), "verdict") == ["permit"]


def test_an_opposition_of_one_of_two_people_closes_what_concerns_both(operator, his, shared_document):
    there, _, other = shared_document
    his.post(f"{other}/$opposition", {"resourceType": "Parameters"})
    assert values(operator.get(f"{there}/$explain-access?actor=Practitioner/d"), "code") == ["opposed"]
    assert holders(operator.get(f"{there}/$who-can-access")) == {}


def test_who_represents_one_of_two_people_is_told_nothing_and_shares_nothing(caller, his, shared_document):
    there, _, other = shared_document
    mother = his.make(mother_of(other))
    represented = caller(f"RelatedPerson/{mother['id']}", scope="user/*.cruds")
    assert represented.get(other).status_code == 200
    assert represented.get(f"{there}/$who-can-access").status_code == 404
    body = {"resourceType": "Parameters", "parameter": [{"name": "recipient", "valueString": "Practitioner/d"}]}
    assert represented.post(f"{there}/$share", body).status_code == 404


def mother_of(patient):
    coding = {"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "MTH"}
    return {
        "resourceType": "RelatedPerson",
        "patient": {"reference": patient},
        "relationship": [{"coding": [coding]}],
    }
