"""Images by a link: whoever holds it finds and retrieves the one study that it was given for."""

from __future__ import annotations

import io
import json
import zlib
from base64 import urlsafe_b64decode
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydicom import dcmread

from tests.fhirserver.dicomweb.conftest import Caller, Person, instance

VISIBILITY = "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument"
ANY = 'multipart/related; type="application/dicom"; transfer-syntax=*'


def bytes_of(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def uid_of(file: bytes) -> str:
    return str(dcmread(io.BytesIO(file), stop_before_pixels=True).StudyInstanceUID)


def link_to(person: Caller, study: str) -> tuple[str, dict[str, Any]]:
    """A link to a study: the Consent behind it, and the payload."""
    body = {"resourceType": "Parameters", "parameter": [{"name": "link", "valueBoolean": True}]}
    path = f"/fhir/{study}/$share"
    answer = person.ask("POST", path, json.dumps(body).encode(), Content_Type="application/fhir+json")
    parts = {part["name"]: part for part in answer.json["parameter"]}
    payload = json.loads(bytes_of(parts["link"]["valueUri"].removeprefix("shlink:/")))
    return f"Consent/{parts['return']['resource']['id']}", payload


def access_by(person: Caller, payload: dict[str, Any]) -> dict[str, Any]:
    """What the manifest gives to reach the images."""
    path = "/shl/" + payload["url"].rpartition("/")[2]
    manifest = person.http.post(path, json={"recipient": "Dr Ada"}).json
    (file,) = [one for one in manifest["files"] if one["contentType"] == "application/smart-api-access"]
    header, _, iv, text, tag = file["embedded"].split(".")
    clear = AESGCM(bytes_of(payload["key"])).decrypt(bytes_of(iv), bytes_of(text) + bytes_of(tag), header.encode())
    access: dict[str, Any] = json.loads(zlib.decompress(clear, wbits=-15))
    return access


def test_the_holder_of_a_link_finds_and_retrieves_its_study_and_no_other(
    his: Caller, caller: Callable[..., Caller], patient: Person
) -> None:
    file, other = instance(patient), instance(patient)
    assert his.store(file).status_code == his.store(other).status_code == 200
    uid, other_uid = uid_of(file), uid_of(other)
    study = his.fhir(f"ImagingStudy?identifier=urn:dicom:uid|urn:oid:{uid}")["entry"][0]["resource"]
    person = caller(patient.reference)
    consent, payload = link_to(person, f"ImagingStudy/{study['id']}")
    access = access_by(person, payload)
    holder = Caller(person.http, access["access_token"])

    assert access["dicomweb"].endswith(f"/dicomweb/studies/{uid}")
    assert [one["0020000D"]["Value"] for one in holder.get("/studies").json] == [[uid]]
    assert holder.get(f"/studies?StudyInstanceUID={other_uid}").json == []
    assert holder.get(f"/studies/{uid}/series").status_code == 200
    assert holder.get(f"/studies/{uid}/metadata").status_code == 200
    assert holder.get(f"/studies/{uid}", Accept=ANY).status_code == 200
    for path in (f"/studies/{other_uid}", f"/studies/{other_uid}/metadata", "/studies/1.2.3/metadata"):
        assert holder.get(path, Accept=ANY if path.endswith(other_uid) else "application/dicom+json").status_code == 404
    assert holder.store(instance(patient)).status_code == 403

    revoked = person.ask("POST", f"/fhir/{consent}/$revoke", b"", Content_Type="application/fhir+json")
    assert revoked.status_code == 200
    assert holder.get("/studies").json == []
    assert holder.get(f"/studies/{uid}", Accept=ANY).status_code == 404


def test_28_and_29_an_exam_that_is_hidden_from_the_person_gets_no_link_and_closes_those_it_has(
    his: Caller, caller: Callable[..., Caller], patient: Person
) -> None:
    file = instance(patient)
    assert his.store(file).status_code == 200
    uid = uid_of(file)
    study = his.fhir(f"ImagingStudy?identifier=urn:dicom:uid|urn:oid:{uid}")["entry"][0]["resource"]
    person = caller(patient.reference)
    _, payload = link_to(person, f"ImagingStudy/{study['id']}")
    holder = Caller(person.http, access_by(person, payload)["access_token"])
    assert holder.get(f"/studies/{uid}", Accept=ANY).status_code == 200

    his.put({**study, "meta": {"security": [{"system": VISIBILITY, "code": "INVISIBLE_PATIENT"}]}})

    share = f"/fhir/ImagingStudy/{study['id']}/$share?link=true"
    assert person.ask("POST", share).status_code == 404
    manifest = person.http.post("/shl/" + payload["url"].rpartition("/")[2], json={"recipient": "Dr Ada"})
    assert manifest.status_code == 404
    assert holder.ask("GET", f"/fhir/ImagingStudy/{study['id']}").status_code == 404
    assert holder.get("/studies").json == []
    assert holder.get(f"/studies/{uid}", Accept=ANY).status_code == 404
    assert holder.get(f"/studies/{uid}/metadata").status_code == 404
