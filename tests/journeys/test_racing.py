"""Many at once: conditional creates make one resource, uploads of one study lose nothing, updates do not overwrite."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest

from fhirserver.demo import images
from fhirserver.demo.http import FHIR_JSON, Caller, resources_of
from fhirserver.demo.region import REGION

T = TypeVar("T")
AT_ONCE = 8


@pytest.fixture(scope="module")
def hospital(server: Any) -> Caller:
    caller: Caller = server.demo.establishment("sainte-odile")
    caller.search("Patient", _count="1").expect(200)  # the token is there before the race
    return caller


def at_once(work: Callable[[int], T], count: int = AT_ONCE) -> Sequence[T]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count)))


def test_conditional_creates_at_once_make_one_patient(hospital: Caller) -> None:
    value = secrets.token_hex(6)
    body = f'{{"resourceType":"Patient","identifier":[{{"system":"urn:oid:1.2.3","value":"{value}"}}]}}'.encode()
    condition = {"If-None-Exist": f"identifier=urn:oid:1.2.3|{value}"}

    answers = at_once(
        lambda _: hospital.ask("POST", "/fhir/Patient", body=body, content_type=FHIR_JSON, headers=condition)
    )

    assert sorted(answer.status for answer in answers) == [200] * (AT_ONCE - 1) + [201]
    assert len(resources_of(hospital.search("Patient", identifier=f"urn:oid:1.2.3|{value}"))) == 1


def test_updates_at_once_of_one_version_let_one_through(hospital: Caller) -> None:
    created = hospital.post({"resourceType": "Patient", "active": True}).expect(201).json()
    path = f"/fhir/Patient/{created['id']}"

    def change(number: int) -> int:
        body = f'{{"resourceType":"Patient","id":"{created["id"]}","name":[{{"family":"F{number}"}}]}}'.encode()
        return hospital.ask("PUT", path, body=body, content_type=FHIR_JSON, headers={"If-Match": 'W/"1"'}).status

    assert sorted(at_once(change)) == [200] + [412] * (AT_ONCE - 1)
    assert hospital.ask("GET", path).json()["meta"]["versionId"] == "2"


def test_uploads_at_once_of_one_study_lose_no_instance(hospital: Caller) -> None:
    person, establishment = REGION.patients["diallo"], REGION.establishments["sainte-odile"]
    identity = images.Identity(
        person.number, "SAINTE-ODILE", establishment.oid, person.family, person.given, person.birth_date, person.gender
    )
    key = secrets.token_hex(4)
    origin = images.Origin(key, "IRM", datetime(2026, 11, 20, 9, tzinfo=UTC), establishment.name, key)
    sent = images.instances(["MR_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm"], identity, origin)
    sent += images.instances(["CT_small.dcm"], identity, origin)[1:]

    answers = at_once(lambda number: hospital.store([sent[number]]), len(sent))

    uid = images.study_instance_uid(key)
    (study,) = resources_of(hospital.search("ImagingStudy", identifier=f"urn:dicom:uid|urn:oid:{uid}"))
    assert [answer.status for answer in answers] == [200] * len(sent)
    assert study["numberOfInstances"] == len(sent) == 5
