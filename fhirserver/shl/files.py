"""The files that a link gives: the exam as a Bundle of FHIR, and the access to its images.

Everything in them has been decided on for the link. Of the person they say what tells a reader whose exam it is, and no
more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from fhirserver.access import SystemAccess
from fhirserver.errors import Gone, NotFound
from fhirserver.interactions.context import Context
from fhirserver.store.rows import Row
from fhirserver.store.search_values import fhir_instant
from resources.exact import encode
from resources.validation import parse

FHIR: Final = "application/fhir+json"
API: Final = "application/smart-api-access"

# What hangs on an exam is a handful; whoever wants more asks with the token.
_MOST: Final = 100
_LARGEST: Final = 8_000_000

_OF_THE_PERSON: Final = ("name", "gender", "birthDate")
_SUBSETTED: Final = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}


@dataclass(frozen=True, slots=True)
class File:
    """One file, in the clear."""

    content_type: str
    content: bytes
    last_updated: datetime


def rows_of(context: Context, row: Row) -> list[Row]:
    """The exam that was shared, and the reports and documents that the link opens with it, as many as fit."""
    rows, size = [row], len(row.body)
    for type_ in ("ImagingStudy", "DiagnosticReport", "DocumentReference"):
        for found in context.store.search(context.query(type_, [("_count", str(_MOST))])).rows:
            size += len(found.body)
            if found.reference != row.reference and len(rows) < _MOST and size <= _LARGEST:
                rows.append(found)
    return rows


def bundle(context: Context, link: Mapping[str, Any], rows: Sequence[Row]) -> File:
    """The rows as they are stored, after what is said of the person."""
    base = context.config.fhir_base
    entries = [(link["patient"], _person(context, link["patient"])), *((row.reference, row.body) for row in rows)]
    joined = b",".join(
        b'{"fullUrl":%b,"resource":%b}' % (orjson.dumps(f"{base}/{reference}"), body)
        for reference, body in entries
        if body
    )
    at = orjson.dumps(fhir_instant(context.access.now))
    content = b'{"resourceType":"Bundle","type":"collection","timestamp":%b,"entry":[%b]}' % (at, joined)
    return File(FHIR, content, max(row.last_updated for row in rows))


def api_access(context: Context, token: Mapping[str, Any], row: Row) -> File:
    """The token response, with where it is good, for what, and which questions it answers."""
    patient = token["patient"]
    body: dict[str, Any] = {
        **token,
        "aud": context.config.fhir_base,
        "fhirContext": [{"reference": row.reference}],
        "query": [
            f"{row.type}?_id={row.id}",
            *(f"{type_}?patient={patient}" for type_ in ("DiagnosticReport", "DocumentReference") if type_ != row.type),
        ],
    }
    if row.dicom is not None:
        body["dicomweb"] = f"{context.config.dicomweb_base}/studies/{row.dicom['StudyInstanceUID']}"
    return File(API, orjson.dumps(body), context.access.now)


def _person(context: Context, patient: str) -> bytes:
    """Who the person is, as little as is needed; nothing where they are gone."""
    access = context.access
    system = SystemAccess.named("share-link", access.now, access.request_id, access.policy)
    type_, _, id_ = patient.partition("/")
    try:
        resource = parse(context.store.beside(system).read(type_, id_).body)
    except (NotFound, Gone):
        return b""
    known = {name: resource[name] for name in _OF_THE_PERSON if name in resource}
    return encode({"resourceType": type_, "id": id_, "meta": {"tag": [_SUBSETTED]}, **known})
