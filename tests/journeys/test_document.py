"""A document goes in as a PDF, and comes out as one for exactly the right people."""

from __future__ import annotations

import os
from typing import Any

PDF = b"%PDF-1.7\n" + os.urandom(3_000_000)


def test_a_report_in_pdf_is_downloaded_by_a_declared_doctor_and_by_the_patient_and_by_nobody_else(
    server: Any, professional: Any
) -> None:
    hospital = server.demo.establishment("sainte-odile")
    document = {
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"reference": "Patient/martin"},
        "content": [{"attachment": {"title": "Compte rendu", "contentType": "application/pdf"}}],
    }
    reference = f"DocumentReference/{hospital.post(document).expect(201).json()['id']}"
    headers = {"X-Security-Context": reference, "Prefer": "return=minimal"}
    sent = hospital.ask("POST", "/fhir/Binary", body=PDF, content_type="application/pdf", headers=headers).expect(201)
    path = sent.headers["Location"].removeprefix(server.base).partition("/_history")[0]

    for caller in (professional("durand"), server.demo.person("Patient/martin"), hospital):
        got = caller.ask("GET", path, accept="application/pdf").expect(200)
        assert got.body == PDF
        assert got.headers["Content-Type"] == "application/pdf"

    refused = professional("muller").ask("GET", path, accept="application/pdf")
    absent = professional("muller").ask("GET", "/fhir/Binary/absent", accept="application/pdf")
    assert (refused.status, refused.body.count(b"not-found")) == (absent.status, 1) == (404, 1)

    trail = server.demo.person("Patient/martin").search("AuditEvent", patient="Patient/martin", _count="500")
    assert path.removeprefix("/fhir/").encode() in trail.expect(200).body
