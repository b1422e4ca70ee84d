"""Clients that go away in the middle leave nothing behind, and the server goes on."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from fhirserver.demo import images
from fhirserver.demo.http import Caller, resources_of
from fhirserver.demo.region import REGION


@pytest.fixture(scope="module")
def hospital(server: Any) -> Iterator[Caller]:
    return server.demo.establishment("sainte-odile")


def instance(key: str) -> bytes:
    person, establishment = REGION.patients["diallo"], REGION.establishments["sainte-odile"]
    identity = images.Identity(
        person.number, "SAINTE-ODILE", establishment.oid, person.family, person.given, person.birth_date, person.gender
    )
    origin = images.Origin(key, "Radio", datetime(2026, 11, 20, 9, tzinfo=UTC), establishment.name, key.upper()[:16])
    (first, *_) = images.instances(["CT_small.dcm"], identity, origin)
    return first


def send_part_of(server: Any, caller: Caller, path: str, content_type: str, body: bytes, announced: int) -> None:
    """Announce a body of one length, send less, and go away."""
    address = urlsplit(server.base)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {caller._token()}\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {announced}\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(head.encode() + body)


def objects(server: Any) -> set[Path]:
    return {path for path in (server.data / "objects").rglob("*") if path.is_file()}


def stow(instances: list[bytes]) -> tuple[str, bytes]:
    parts = [b"--cut\r\nContent-Type: application/dicom\r\n\r\n" + each + b"\r\n" for each in instances]
    return 'multipart/related; type="application/dicom"; boundary=cut', b"".join(parts) + b"--cut--\r\n"


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_an_upload_that_breaks_off_stores_no_study_and_no_object(server: Any, hospital: Caller, share: float) -> None:
    key = f"cut-{int(share * 10)}"
    content_type, body = stow([instance(key)])
    before = objects(server)

    send_part_of(server, hospital, "/dicomweb/studies", content_type, body[: int(len(body) * share)], len(body))
    # The server notices in its own time: an upload that ends well, sent afterwards, shows that it goes on.
    hospital.store([instance(f"{key}-whole")]).expect(200)

    uid = images.study_instance_uid(key)
    assert resources_of(hospital.search("ImagingStudy", identifier=f"urn:oid:{uid}")) == []
    assert len(objects(server) - before) == 1


def test_a_truncated_multipart_is_refused_and_nothing_is_kept(server: Any, hospital: Caller) -> None:
    content_type, body = stow([instance("truncated")])
    before = objects(server)

    answer = hospital.ask(
        "POST",
        "/dicomweb/studies",
        body=body[:-5_000],
        content_type=content_type,
        accept="application/dicom+json",
    )

    assert answer.status == 400
    assert objects(server) == before
    assert hospital.studies(StudyInstanceUID=images.study_instance_uid("truncated")).body in {b"", b"[]"}


def test_a_resource_that_breaks_off_is_not_stored(server: Any, hospital: Caller) -> None:
    body = b'{"resourceType": "Patient", "name": [{"family": "Brokenoff"}]}'

    send_part_of(server, hospital, "/fhir/Patient", "application/fhir+json", body[:40], len(body))

    assert resources_of(hospital.search("Patient", family="Brokenoff")) == []
    assert server.is_ready()
