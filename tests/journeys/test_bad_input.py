"""Whatever is sent, the answer is a clear 4xx in the right form, nothing is stored, and the server goes on."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pydicom import dcmread

from fhirserver.demo import images
from fhirserver.demo.http import FHIR_JSON, Answer, Caller, resources_of
from fhirserver.demo.region import REGION

MARK = "Badinput"


@pytest.fixture(scope="module")
def hospital(server: Any) -> Iterator[Caller]:
    return server.demo.establishment("sainte-odile")


@pytest.fixture(autouse=True)
def nothing_is_stored_and_the_server_goes_on(server: Any, hospital: Caller) -> Iterator[None]:
    yield
    assert resources_of(hospital.search("Patient", family=MARK)) == []
    assert server.is_ready()


def is_operation_outcome(answer: Answer) -> bool:
    told = answer.json()
    return bool(
        answer.headers["Content-Type"].startswith(FHIR_JSON)
        and told["resourceType"] == "OperationOutcome"
        and all(issue["severity"] in {"error", "fatal"} and issue["code"] for issue in told["issue"])
    )


def patient(**changes: Any) -> bytes:
    return json.dumps({"resourceType": "Patient", "name": [{"family": MARK}]} | changes).encode()


def raw(members: bytes) -> bytes:
    """A patient with members that no JSON library would write."""
    return b'{"resourceType":"Patient","name":[{"family":"Badinput"}],' + members + b"}"


DEEP = raw(b'"extension":' + b"[" * 5_000 + b"]" * 5_000)

BODIES = {
    "nothing": (b"", {400}),
    "no JSON": (b"<Patient/>", {400}),
    "half a JSON": (b'{"resourceType":"Patient","name":[{"family":"Badinput"', {400}),
    "not UTF-8": (b'{"resourceType":"Patient","name":[{"family":"Badinput\xff"}]}', {400}),
    "a list": (b"[]", {400, 422}),
    "null": (b"null", {400, 422}),
    "another type": (json.dumps({"resourceType": "Observation"}).encode(), {400, 422}),
    "no type": (json.dumps({"name": [{"family": MARK}]}).encode(), {400, 422}),
    "a wrong type of value": (patient(birthDate=1970), {400, 422}),
    "an unknown element": (patient(favouriteColour="blue"), {400, 422}),
    "a date that is none": (patient(birthDate="1970-02-30"), {400, 422}),
    "an unknown code": (patient(gender="whatever"), {400, 422}),
    "a huge number": (patient(multipleBirthInteger=10**400), {400, 422}),
    "a number that is none": (raw(b'"multipleBirthInteger":NaN'), {400}),
    "a name twice": (raw(b'"gender":"male","gender":"female"'), {400, 422}),
    "a lone surrogate": (raw(b'"language":"\\ud800"'), {400, 422}),
    "deep nesting": (DEEP, {400, 413, 422}),
    "a script in the narrative": (
        patient(text={"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml"><script>x</script></div>'}),
        {400, 422},
    ),
    "too much": (patient(photo=[{"data": "A" * 17_000_000}]), {413}),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_no_patient_is_refused(hospital: Caller, name: str) -> None:
    body, statuses = BODIES[name]

    answer = hospital.ask("POST", "/fhir/Patient", body=body, content_type=FHIR_JSON)

    assert answer.status in statuses
    assert is_operation_outcome(answer)


@pytest.mark.parametrize("content_type", ["text/plain", "application/fhir+turtle", "application/x-www-form-urlencoded"])
def test_a_body_of_another_content_type_is_refused(hospital: Caller, content_type: str) -> None:
    answer = hospital.ask("POST", "/fhir/Patient", body=patient(), content_type=content_type)

    assert answer.status == 415
    assert is_operation_outcome(answer)


@pytest.mark.parametrize(
    "path",
    [
        "/fhir/Patient?colour=blue",
        "/fhir/Patient?birthdate=yesterday",
        "/fhir/Patient?general-practitioner.nosuch=x",
        "/fhir/Patient?_has:Observation:patient:code=x",
        "/fhir/Patient?_count=many",
        "/fhir/Patient?_sort=colour",
        "/fhir/Patient?_include=Patient:colour",
        "/fhir/Patient?_page=tampered",
        "/fhir/NoSuchType",
        "/fhir/Patient/$everything",
        "/fhir/Patient/not%20an%20id",
        "/fhir/no/such/route/at/all",
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(hospital: Caller, path: str) -> None:
    answer = hospital.ask("GET", path)

    assert 400 <= answer.status < 500
    assert is_operation_outcome(answer)


def test_a_page_link_that_was_changed_or_is_another_callers_is_refused(server: Any, hospital: Caller) -> None:
    page = hospital.search("Patient", _count="1").expect(200).json()
    (link,) = (each["url"] for each in page["link"] if each["relation"] == "next")
    path = link.removeprefix(server.base)

    changed = hospital.ask("GET", path[:-3] + ("AAA" if not path.endswith("AAA") else "BBB"))
    foreign = server.demo.establishment("rangen").ask("GET", path)

    assert (changed.status, foreign.status) == (400, 400)
    assert is_operation_outcome(changed)
    assert is_operation_outcome(foreign)


def unsigned(token: str) -> str:
    head, claims, _ = token.split(".")
    fields = json.loads(base64.urlsafe_b64decode(head + "=="))
    none = base64.urlsafe_b64encode(json.dumps({**fields, "alg": "none"}).encode()).rstrip(b"=").decode()
    return f"{none}.{claims}."


def altered(token: str) -> str:
    head, claims, signature = token.split(".")
    fields = json.loads(base64.urlsafe_b64decode(claims + "=="))
    other = base64.urlsafe_b64encode(json.dumps({**fields, "scope": "system/*.cruds"}).encode()).rstrip(b"=").decode()
    return f"{head}.{other}.{signature}"


@pytest.mark.parametrize("make", [unsigned, altered, lambda _: "rubbish", lambda _: ""], ids=range(4))
@pytest.mark.parametrize("path", ["/fhir/Patient", "/dicomweb/studies"])
def test_a_token_that_is_not_ours_is_refused(server: Any, hospital: Caller, make: Any, path: str) -> None:
    stranger = Caller(server.base, lambda: make(hospital._token()))  # type: ignore[misc]  # it has a token

    answer = stranger.ask("GET", path, accept="application/dicom+json" if "dicom" in path else None)

    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    if path.startswith("/fhir"):
        assert is_operation_outcome(answer)


# -------------------------------------------------------------------------------------------------------- DICOM


def instance() -> bytes:
    person, establishment = REGION.patients["diallo"], REGION.establishments["sainte-odile"]
    identity = images.Identity(
        person.number, "SAINTE-ODILE", establishment.oid, person.family, person.given, person.birth_date, person.gender
    )
    origin = images.Origin("bad", "Radio", datetime(2026, 11, 20, 9, tzinfo=UTC), establishment.name, "BAD")
    return images.instances(["MR_small.dcm"], identity, origin)[0]


def part(content: bytes, content_type: str = "application/dicom") -> bytes:
    return f"--b\r\nContent-Type: {content_type}\r\n\r\n".encode() + content + b"\r\n"


def without(*keywords: str) -> bytes:
    dataset = dcmread(io.BytesIO(instance()))
    for keyword in keywords:
        delattr(dataset, keyword)
    written = io.BytesIO()
    dataset.save_as(written)
    return written.getvalue()


RELATED = 'multipart/related; type="application/dicom"; boundary=b'
END = b"--b--\r\n"

UPLOADS = {
    "no multipart": ("application/json", lambda: b"{}", {415}),
    "no boundary": ('multipart/related; type="application/dicom"', lambda: part(instance()), {400, 415}),
    "no part": (RELATED, lambda: END, {400}),
    "a part that is not DICOM": (RELATED, lambda: part(b"not DICOM") + END, {400, 409}),
    "a part that is half a file": (RELATED, lambda: part(instance()[:400]) + END, {400, 409}),
    "no Study Instance UID": (RELATED, lambda: part(without("StudyInstanceUID")) + END, {400, 409}),
    "no patient": (RELATED, lambda: part(without("PatientID")) + END, {400, 409}),
    "another type of part": (RELATED, lambda: part(instance(), "image/jpeg") + END, {400, 409, 415}),
    "an end that never comes": (RELATED, lambda: part(instance()), {400}),
}


@pytest.mark.parametrize("name", UPLOADS)
def test_an_upload_that_is_no_dicom_is_refused(server: Any, hospital: Caller, name: str) -> None:
    content_type, body, statuses = UPLOADS[name]
    before = sorted((server.data / "objects").rglob("*"))

    answer = hospital.ask(
        "POST", "/dicomweb/studies", body=body(), content_type=content_type, accept="application/dicom+json"
    )

    assert answer.status in statuses, answer.body
    assert sorted((server.data / "objects").rglob("*")) == before


@pytest.mark.parametrize(
    "path",
    [
        "/dicomweb/studies?NoSuchAttribute=1",
        "/dicomweb/studies?StudyDate=yesterday",
        "/dicomweb/studies?limit=many",
        "/dicomweb/studies/not-a-uid",
        "/dicomweb/no/such/route",
    ],
)
def test_a_dicom_question_that_cannot_be_answered_is_refused(hospital: Caller, path: str) -> None:
    assert 400 <= hospital.ask("GET", path, accept="application/dicom+json").status < 500
