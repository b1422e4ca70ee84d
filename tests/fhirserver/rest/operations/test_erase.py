"""`$erase` and `$erase-status`: a record goes for good, and nobody can tell that it was there."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import uuid

import pytest

from fhirserver.access import SystemAccess
from fhirserver.operations.erase import events_of_end
from fhirserver.store.erasing import Erasures
from fhirserver.store.resource_store import ResourceStore
from tests.conftest import NOW
from tests.fhirserver.rest.conftest import issues_of
from tests.fhirserver.rest.operations.test_share_link import make_study, share

INS = "urn:oid:1.2.250.1.213.1.4.8"
BASE = "http://fhir.example/fhir"
LOCAL = "urn:oid:1.2.3"
TRE_A07 = "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument"
SECRET = "a-finding-that-is-nobodys-business"


def erase(caller, patient):
    return caller.post(f"{patient}/$erase", b"")


def status(caller, patient):
    return caller.get(f"{patient}/$erase-status")


def told(response):
    """What a receipt says, by name."""
    found = {}
    for one in response.json["parameter"]:
        if one["name"] == "removed":
            kind, count = (next(v for k, v in part.items() if k != "name") for part in one["part"])
            found[kind] = count
        else:
            found[one["name"]] = next(value for name, value in one.items() if name != "name")
    return found


def observation(patient, **fields):
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": SECRET},
        "subject": {"reference": patient},
        **fields,
    }


def reference(made):
    return f"{made['resourceType']}/{made['id']}"


@pytest.fixture
def finish(config, database):
    """Remove what is locked, or wait until the server has."""
    return lambda: Erasures(database, config).run(events_of_end)


@pytest.fixture
def lock(config, database):
    """Lock the record of a patient and remove nothing yet, as if the server had stopped there."""
    by = {"reference": "test", "organization": None, "client": "test", "purpose": None, "request": None}

    def work(patient):
        store = ResourceStore(database, SystemAccess.named("operator", NOW, "test"), config)
        store.transact(lambda unit: unit.erase(patient.partition("/")[2], by, is_operator=True))

    return work


@pytest.fixture
def erased(his, finish):
    """Erase a record to its end; the receipt."""

    def work(patient):
        assert erase(his, patient).status_code == 202
        finish()
        answer = status(his, patient)
        assert answer.status_code == 200, answer.text
        return told(answer)

    return work


@pytest.fixture
def exam(his, declared):
    """An observation of two versions."""
    made = his.make(observation(declared))
    his.put(reference(made), {**made, "status": "amended"})
    return reference(made)


@pytest.fixture
def person(caller, declared):
    return caller(declared)


@pytest.fixture
def auditor(caller):
    return caller("Client/auditor", category="auditor")


def left_of(database, patient):
    """The documents of every collection that still name a patient, but for what is documented to stay."""
    kept = {"audit", "erasures", "first_accesses", "patient_access", "identities"}
    found = []
    for name in database.database.list_collection_names():
        if name not in kept and not name.startswith("system."):
            found += [(name, one["_id"]) for one in database.database[name].find() if patient in repr(one)]
    return found


# Who may ask


def test_the_answer_says_where_to_ask_and_then_the_receipt_is_there(his, declared, exam, erased):
    answer = erase(his, declared)
    assert answer.status_code == 202, answer.text
    assert answer.headers["Content-Location"] == f"http://fhir.example/fhir/{declared}/$erase-status"
    assert answer.headers["X-Progress"].endswith(" %")
    receipt = erased(declared)
    assert receipt["status"] == "done"
    assert receipt["by"] == "Client/his-e1"
    assert receipt["organization"] == {"reference": "Organization/e1"}
    assert receipt["asked"] <= receipt["ended"]
    assert (receipt["resources"], receipt["versions"], receipt["withheld"]) == (3, 1, 0)
    assert exam not in json.dumps(receipt)


def test_the_digest_is_of_the_names_of_what_was_there(his, declared, exam, database, erased):
    names = [
        row["_id"] for row in database.resources.find({"facts.subjects.patient": declared, "t": {"$ne": "Patient"}})
    ]
    lines = "".join(f"{name}\n" for name in (declared, *sorted(names)))
    assert erased(declared)["digest"] == hashlib.sha256(lines.encode()).hexdigest()


def test_the_operator_may_ask_for_it_and_reads_nothing(operator, his, declared, exam, finish):
    assert erase(operator, declared).status_code == 202
    finish()
    assert told(status(operator, declared))["by"] == "Client/operator"
    assert his.get(exam).status_code == 404


@pytest.mark.parametrize("who", ["person", "doctor", "stranger", "auditor"])
def test_nobody_else_may_whatever_is_stored(request, his, declared, who):
    caller = request.getfixturevalue(who)
    answers = [erase(caller, one) for one in (declared, "Patient/nobody")]
    assert [one.status_code for one in answers] == [403, 403]
    assert answers[0].json == answers[1].json
    assert his.get(declared).status_code == 200


def test_a_token_that_may_not_delete_may_not_erase(caller, declared):
    reader = caller("Client/his-e1", organization="Organization/e1", scope="system/*.cru")
    assert erase(reader, declared).status_code == 403


def test_an_establishment_whose_patient_it_is_not_learns_nothing(his, other_his, declared, erased, exam):
    here, nowhere = (erase(other_his, one) for one in (declared, "Patient/nobody"))
    assert (here.status_code, here.text) == (404, nowhere.text.replace("Patient/nobody", declared))
    assert his.get(exam).status_code == 200
    erased(declared)
    after = erase(other_his, declared)
    assert (after.status_code, after.text) == (404, here.text)
    asked = [status(other_his, one) for one in (declared, "Patient/nobody")]
    assert [one.status_code for one in asked] == [404, 404]
    assert asked[0].text == asked[1].text.replace("Patient/nobody", declared)


def test_a_patient_who_never_was_cannot_be_erased(his, operator):
    for caller in (his, operator):
        answer = erase(caller, "Patient/never")
        assert answer.status_code == 404
        assert issues_of(answer)[0]["diagnostics"] == "Patient/never is not known."
        assert status(caller, "Patient/never").status_code == 404


def test_it_takes_no_if_match(his, declared):
    assert his.post(f"{declared}/$erase", b"", If_Match='W/"1"').status_code == 400
    assert his.get(declared).status_code == 200


def test_who_asks_again_is_given_the_same_receipt(his, operator, declared, exam, erased):
    receipt = erased(declared)
    for caller in (his, operator):
        again = erase(caller, declared)
        assert again.status_code == 200
        assert told(again) == receipt


def test_the_receipt_is_for_who_may_ask_and_for_auditors(request, his, operator, auditor, declared, erased):
    receipt = erased(declared)
    assert told(status(operator, declared)) == receipt
    assert told(status(auditor, declared)) == receipt
    for who in ("person", "doctor"):
        assert status(request.getfixturevalue(who), declared).status_code == 403


def test_a_deleted_patient_is_erased_with_what_is_left(his, database, declared, exam, erased):
    assert his.delete(declared).status_code == 204
    erased(declared)
    assert left_of(database, declared) == [("resources", declared)]


# From the answer on


@pytest.mark.parametrize("is_removed", [False, True])
@pytest.mark.parametrize("who", ["his", "doctor", "person"])
def test_the_record_is_as_if_it_had_never_been(request, declared, exam, lock, finish, who, is_removed):
    caller = request.getfixturevalue(who)
    seen = [exam, f"{exam}/_history", f"{exam}/_history/1", f"{exam}/_history/2", declared, f"{declared}/_history"]
    assert {caller.get(path).status_code for path in seen} == {200}
    etag = caller.get(exam).headers["ETag"]
    lock(declared)
    if is_removed:
        finish()
    other = {exam: f"Observation/{'0' * 32}", declared: f"Patient/{'0' * 32}"}
    for path in (*seen, f"{declared}/_history/1", f"{declared}/$everything", f"{declared}/Observation"):
        answer = caller.get(path)
        twin = path.replace(exam, other[exam]).replace(declared, other[declared])
        assert answer.status_code == 404, path
        assert answer.text == caller.get(twin).text.replace(other[exam], exam).replace(other[declared], declared)
    assert caller.get(exam, If_None_Match=etag).status_code == 404
    for query in (f"Observation?patient={declared}", f"Observation?_id={exam[12:]}", f"Patient?_id={declared[8:]}"):
        assert caller.get(f"{query}&_total=accurate").json["total"] == 0
    history = caller.get("Observation/_history?_count=1000")
    assert exam not in history.text


@pytest.mark.parametrize("is_removed", [False, True])
def test_what_is_written_about_the_person_is_refused_as_about_a_stranger(
    his, other_his, declared, exam, lock, finish, is_removed
):
    lock(declared)
    if is_removed:
        finish()
    for caller in (his, other_his):
        for method, path in (("POST", "Observation"), ("PUT", f"Observation/{uuid.uuid4().hex}")):
            answers = [
                caller.request(method, path, observation(one) | ({"id": path[12:]} if method == "PUT" else {}))
                for one in (declared, "Patient/nobody")
            ]
            assert [one.status_code for one in answers] == [422, 422]
            assert answers[0].text == answers[1].text.replace("Patient/nobody", declared)
    patient = {"resourceType": "Patient", "id": declared[8:]}
    for caller in (his, other_his):
        answer = caller.put(declared, patient)
        assert answer.status_code == 404
        assert issues_of(answer)[0]["diagnostics"] == f"{declared} is not known."
    assert his.delete(declared).status_code == 404


def test_a_page_link_from_before_brings_nothing_of_it(his, declared, lock, finish):
    for _ in range(5):
        his.make(observation(declared))
    first = his.get(f"Observation?patient={declared}&_count=2").json
    (link,) = [one["url"] for one in first["link"] if one["relation"] == "next"]
    lock(declared)
    for step in (lambda: None, finish):
        step()
        page = his.get(link.removeprefix(BASE))
        assert page.status_code == 200
        assert "entry" not in page.json


def test_a_search_that_was_to_be_answered_later_keeps_no_name_of_it(his, database, declared, exam, erased):
    begun = his.get(f"Observation?_id={exam[12:]}", Prefer="respond-async")
    assert begun.status_code == 202
    address = begun.headers["Content-Location"].removeprefix(BASE)
    while his.get(address).status_code == 202:
        threading.Event().wait(0.05)
    assert exam in repr(list(database.jobs.find()))
    assert erased(declared)["results"] == 1
    assert exam not in repr(list(database.jobs.find()))
    assert "entry" not in his.get(address).json["entry"][0]["resource"]


# What is removed, and what stays


def test_nothing_of_the_person_is_left_but_an_id(his, database, config, declared, exam, erased):
    large = base64.b64encode(b"x" * 40_000).decode()
    contents = {"contentType": "text/plain", "data": large}
    own = his.make({"resourceType": "Binary", "securityContext": {"reference": exam}, **contents})
    loose = his.make({"resourceType": "Binary", **contents})
    other = his.make({"resourceType": "Binary", **contents})
    his.put(reference(own), {**own, "data": large[4:]})
    his.make(
        {
            "resourceType": "DocumentReference",
            "status": "current",
            "subject": {"reference": declared},
            "content": [{"attachment": {"url": reference(loose), "contentType": "text/plain"}}],
        }
    )
    files = [path for path in (config.data / "objects" / "binary").rglob("*") if path.is_file()]
    receipt = erased(declared)
    assert left_of(database, declared) == [("resources", declared)]
    assert database.resources.find_one({"_id": declared})["b"] == b""
    assert receipt["objects"] == 3
    gone = [path for path in files if not path.exists()]
    assert len(gone) == 3
    assert his.get(reference(loose)).status_code == 404
    assert his.get(reference(other)).status_code == 200


@pytest.mark.parametrize("form", ["{}", BASE + "/{}", "{}/_history/1"])
def test_a_content_that_another_persons_document_has_too_stays(his, declared, erased, form):
    other = reference(his.make({"resourceType": "Patient", "name": [{"family": "Else"}]}))
    content = his.make({"resourceType": "Binary", "contentType": "text/plain", "data": "eA=="})
    shared = reference(content)
    for one in (declared, other):
        his.make(
            {
                "resourceType": "DocumentReference",
                "status": "current",
                "subject": {"reference": one},
                "content": [{"attachment": {"url": form.format(shared), "contentType": "text/plain"}}],
            }
        )
    erased(declared)
    assert his.get(shared).status_code == 200
    erased(other)
    assert his.get(shared).status_code == 404


def test_a_provenance_goes_with_the_last_of_what_it_is_about(his, declared, patient, exam, erased):
    def provenance(*targets):
        return his.make(
            {
                "resourceType": "Provenance",
                "target": [{"reference": one} for one in targets],
                "recorded": "2026-11-24T10:00:00Z",
                "agent": [{"who": {"reference": "Organization/e1"}}],
            }
        )

    kept = his.make({"resourceType": "Basic", "code": {"text": "x"}})
    alone, shared = provenance(exam), provenance(exam, reference(kept))
    erased(declared)
    assert his.get(reference(alone)).status_code == 404
    assert his.get(reference(shared)).status_code == 200


def test_what_others_share_is_withheld_until_its_establishment_sets_it_right(his, other_his, declared, erased):
    other = reference(his.make({"resourceType": "Patient", "name": [{"family": "Else"}]}))
    members = [{"entity": {"reference": one}} for one in (declared, other)]
    group = his.make({"resourceType": "Group", "type": "person", "actual": True, "member": members})
    receipt = erased(declared)
    assert receipt["withheld"] == 1
    where = reference(group)
    assert his.get(where).status_code == 404
    assert his.get(f"{where}/_history").status_code == 404
    assert his.put(where, {**group, "name": "other"}).status_code == 422
    assert other_his.put(where, {**group, "member": members[1:]}).status_code == 404
    assert his.put(where, {**group, "member": members[1:]}).status_code == 200
    assert his.get(where).json["member"] == members[1:]
    assert his.get(f"{where}/_history/1").status_code == 404
    assert his.get(f"{where}/_history").json["total"] == 1


def test_a_version_that_was_the_persons_goes_from_the_history_of_anothers(his, database, declared, erased):
    other = reference(his.make({"resourceType": "Patient", "name": [{"family": "Else"}]}))
    made = his.make(observation(declared))
    moved = his.put(reference(made), {**made, "subject": {"reference": other}})
    assert moved.status_code == 200
    assert his.get(f"{reference(made)}/_history/1").status_code == 200
    assert erased(declared)["versions"] == 1
    assert his.get(f"{reference(made)}/_history/1").status_code == 404
    assert his.get(reference(made)).status_code == 200


def test_an_id_that_an_erased_resource_had_is_free_again(his, database, declared, patient, exam, erased):
    other = reference(his.make({"resourceType": "Patient", "name": [{"family": "Else"}]}))
    erased(declared)
    for text, code in (("1", 201), ("2", 200), ("3", 200)):
        written = his.put(exam, observation(other, id=exam[12:], code={"text": text}))
        assert written.status_code == code, written.text
    assert his.get(f"{exam}/_history").json["total"] == 3


def test_sessions_and_notices_of_an_emergency_go(database, declared, erased):
    database.emergencies.insert_one({"_id": uuid.uuid4().hex, "patient": declared, "text": SECRET})
    database.notices.insert_many([{"_id": uuid.uuid4().hex, "patient": declared, "sent": sent} for sent in (None, NOW)])
    receipt = erased(declared)
    assert (receipt["sessions"], receipt["notices"]) == (1, 1)  # the one that waited was not sent: it went at once
    assert left_of(database, declared) == [("resources", declared)]


def test_a_link_to_an_exam_opens_nothing_from_then_on(his, person, database, declared, lock, finish):
    study = make_study(his, declared)
    link = share(person, study)
    assert link.ask().status_code == 200
    unknown = link.http.post("/shl/none", json={"recipient": "Dr Ada Byron"})
    lock(declared)
    for step in (lambda: None, finish):
        step()
        answer = link.ask()
        assert (answer.status_code, answer.data) == (404, unknown.data)
    assert database.share_links.count_documents({"patient": declared}) == 0
    assert told(status(his, declared))["links"] == 1


def test_no_write_slips_through_between_lock_and_end(his, caller, database, declared, finish):
    answers, begun = [], threading.Barrier(3)

    def write():
        mine = caller("Client/his-e1", organization="Organization/e1")
        begun.wait()
        while not answers or answers[-1] == 201:
            answers.append(mine.post("Observation", observation(declared)).status_code)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for one in writers:
        one.start()
    begun.wait()
    assert erase(his, declared).status_code == 202
    for one in writers:
        one.join()
    finish()
    assert set(answers) <= {201, 422}
    assert left_of(database, declared) == [("resources", declared)]


# The opposition, and who comes back


def person_of(his, number, **identifiers):
    systems = [{"system": INS, "value": number}] if identifiers.get("ins", True) else []
    made = his.make(
        {
            "resourceType": "Patient",
            "identifier": [*systems, {"system": LOCAL, "value": f"local-{number}"}],
            "name": [{"family": "Martin"}],
        }
    )
    return reference(made)


@pytest.mark.parametrize("ins", [True, False])
def test_an_opposition_outlives_the_record(his, other_his, caller, database, erased, ins):
    number = uuid.uuid4().hex
    first = person_of(his, number, ins=ins)
    assert his.post(f"{first}/$opposition", b"").status_code == 200
    erased(first)
    again = person_of(other_his, number, ins=ins)
    assert other_his.post("Observation", observation(again)).status_code == 403
    # Who kept the erased record lets go of it; another establishment cannot.
    assert told(other_his.post(f"{again}/$withdraw-opposition", b""))["opposed"] is True
    mine = person_of(his, number, ins=ins)
    assert told(his.post(f"{mine}/$withdraw-opposition", b""))["opposed"] is False
    assert his.post("Observation", observation(mine)).status_code == 201
    assert other_his.post("Observation", observation(again)).status_code == 201


def test_an_opposition_that_another_record_said_ends_there(his, other_his, erased):
    number = uuid.uuid4().hex
    carried = {"resourceType": "Patient", "identifier": [{"system": INS, "value": number}]}
    first, second = person_of(his, number), reference(other_his.make(carried))
    assert other_his.post(f"{second}/$opposition", b"").status_code == 200
    erased(first)
    assert other_his.post("Observation", observation(second)).status_code == 403
    assert told(other_his.post(f"{second}/$withdraw-opposition", b""))["opposed"] is False
    other_his.put(second, {**other_his.get(second).json, "active": True})
    for one in (second, reference(other_his.make(carried))):
        assert other_his.post("Observation", observation(one)).status_code == 201


def test_an_opposition_outlives_the_records_that_came_after_it(his, other_his, erased):
    number = uuid.uuid4().hex
    first = person_of(his, number)
    assert his.post(f"{first}/$opposition", b"").status_code == 200
    erased(first)
    carried = [{"system": INS, "value": number}]
    second = reference(other_his.make({"resourceType": "Patient", "identifier": carried}))
    assert other_his.post(f"{second}/$erase", b"").status_code == 202
    third = reference(other_his.make({"resourceType": "Patient", "identifier": carried}))
    assert other_his.post("Observation", observation(third)).status_code == 403


def test_without_an_opposition_the_person_may_come_back_under_another_id(his, database, erased):
    number = uuid.uuid4().hex
    first = person_of(his, number)
    erased(first)
    assert list(database.identities.find({"_id": {"$regex": number}})) == []
    again = person_of(his, number)
    assert again != first
    assert his.post("Observation", observation(again)).status_code == 201


def test_what_is_refused_on_another_record_of_the_person_goes_on_to_count(his, doctor, other_his, erased):
    number = uuid.uuid4().hex
    first, second = person_of(his, number), person_of(other_his, number)
    other_his.make(
        {
            "resourceType": "CareTeam",
            "status": "active",
            "subject": {"reference": second},
            "participant": [{"member": {"reference": "Practitioner/d"}}],
        }
    )
    exam = reference(other_his.make(observation(second)))
    assert doctor.get(exam).status_code == 200
    his.make(
        {
            "resourceType": "Consent",
            "status": "active",
            "scope": {
                "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]
            },
            "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
            "dateTime": "2026-11-01T09:00:00Z",
            "patient": {"reference": first},
            "performer": [{"reference": first}],
            "policy": [{"uri": "urn:fhirserver:policy:restriction"}],
            "provision": {
                "type": "deny",
                "actor": [
                    {
                        "role": {
                            "coding": [
                                {"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}
                            ]
                        },
                        "reference": {"reference": "Practitioner/d"},
                    }
                ],
            },
        }
    )
    assert doctor.get(exam).status_code == 404
    erased(first)
    assert doctor.get(exam).status_code == 404
    other_his.put(second, other_his.get(second).json | {"active": True})
    assert doctor.get(exam).status_code == 404


def test_a_record_that_was_linked_stays_and_none_can_be_linked_anew(his, database, erased):
    def linked(first):
        return {"resourceType": "Patient", "link": [{"other": {"reference": first}, "type": "replaces"}]}

    first = person_of(his, uuid.uuid4().hex)
    second = reference(his.make(linked(first)))
    assert his.post(f"{first}/$opposition", b"").status_code == 200
    erased(first)
    assert his.get(second).status_code == 200
    assert his.post("Observation", observation(second)).status_code == 403
    assert his.put(second, {**his.get(second).json, "active": True}).status_code == 200
    assert his.post("Patient", linked(first)).status_code == 422
    assert told(his.post(f"{second}/$withdraw-opposition", b""))["opposed"] is False
    assert his.post("Observation", observation(second)).status_code == 201
    assert [one["_id"] for one in database.resources.find({"facts.subjects.patient": first})] == [first]


# The trail


def test_the_trail_tells_of_the_erasure_and_of_nothing_clinical(his, doctor, auditor, declared, exam, audit_of, erased):
    doctor.get(exam)
    receipt = erased(declared)
    events = [one for one in audit_of() if one["type"]["code"] == "destroy" and declared in json.dumps(one)]
    details = [
        {detail["type"]: detail["valueString"] for detail in entity.get("detail", ())}
        for one in events
        for entity in one["entity"][:1]
    ]
    assert [one["entity"][0]["what"]["identifier"]["value"] for one in events] == ["erasure-begun", "erasure-ended"]
    assert (details[1]["resources"], details[1]["digest"]) == (str(receipt["resources"]), receipt["digest"])
    assert SECRET not in json.dumps(audit_of())
    found = auditor.get(f"AuditEvent?patient={declared}&_count=100").json
    told_of = [one["resource"] for one in found["entry"]]
    assert exam in json.dumps(told_of)
    assert {"destroy", "rest"} <= {one["type"]["code"] for one in told_of}


def test_what_was_hidden_from_the_person_stays_unnamed_in_their_trail(his, doctor, person, declared, exam, erased):
    doctor.get(exam)
    assert exam in person.get(f"AuditEvent?patient={declared}&_count=100").text
    present = his.get(exam).json
    present["meta"]["security"] = [{"system": TRE_A07, "code": "INVISIBLE_PATIENT"}]
    his.put(exam, present)
    assert exam not in person.get(f"AuditEvent?patient={declared}&_count=100").text
    erased(declared)
    trail = person.get(f"AuditEvent?patient={declared}&_count=100")
    assert trail.status_code == 200
    assert exam not in trail.text
    assert "erasure-ended" in trail.text


def test_a_refused_erasure_is_in_the_trail_and_changes_nothing(other_his, database, declared, audit_of):
    erase(other_his, declared)
    assert database.erasures.find_one({"_id": declared}) is None
    assert [one["outcome"] for one in audit_of()] != []
