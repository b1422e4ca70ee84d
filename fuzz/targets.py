"""One function for each kind of input: it feeds bytes to what reads them, and lets only the documented refusals pass.

Where two things must agree (written out and read again, whole and in pieces), the function asserts it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace as with_settings
from datetime import UTC, datetime, timedelta
from functools import cache
from types import SimpleNamespace
from typing import Any, Final, cast
from zoneinfo import ZoneInfo

import bson
from authlib.oauth2.rfc6749 import InvalidClientError
from joserfc.jwk import ECKey, KeySet

from fhirserver.config import Config
from fhirserver.dicomweb import frames, matching, media_types
from fhirserver.dicomweb.attributes import Level
from fhirserver.dicomweb.dicom_json import Converter
from fhirserver.dicomweb.dicom_json import encode as dicom_encode
from fhirserver.dicomweb.multipart import boundary_of, parts
from fhirserver.dicomweb.part10 import NotDicom, read_header
from fhirserver.errors import BadRequest, FhirError
from fhirserver.forwarded import address_of, parse_forwarded
from fhirserver.interactions.context import Context, query_pairs
from fhirserver.interactions.entries import parse_target, read_bundle
from fhirserver.interactions.patch import Form, read_patch, sent_patch
from fhirserver.interactions.preconditions import is_not_modified, parse_http_date, parse_versions
from fhirserver.oauth.client_assertion import ClientAssertion
from fhirserver.operations.graphql import OPERATION as GRAPHQL
from fhirserver.operations.graphql.document import read_query
from fhirserver.rest import negotiation
from fhirserver.rest.subset import subset
from fhirserver.search.cursor import unseal
from fhirserver.search.links import replaced
from fhirserver.search.parse import Query, parse, parse_together
from fhirserver.search.values import extract
from fhirserver.store.compile import compile_search
from resources import SUPPORTED, exact
from resources.patch.document import PatchError, patched
from resources.patch.path import Budget, Path
from resources.search_parameter import DefinitionError
from resources.search_parameter import read as read_search_parameter
from resources.validation import Invalid, check
from resources.xml import NotXmlError, root_of, to_json, to_xml

Target = Callable[[bytes], None]

ZONE: Final = ZoneInfo("Europe/Paris")
BASE: Final = "https://here.example/fhir"
NOW: Final = datetime(2026, 11, 24, tzinfo=UTC)
BOUNDARY: Final = b"b"
PREAMBLE: Final = bytes(128) + b"DICM"

PATIENT: Final = json.dumps(
    {
        "resourceType": "Patient",
        "id": "p",
        "meta": {"versionId": "1", "lastUpdated": "2026-11-24T10:00:00.000Z"},
        "extension": [{"url": "http://here.example/weight", "valueDecimal": 1.50}],
        "identifier": [{"system": "urn:oid:1.2.3", "value": "1"}, {"value": "2"}],
        "name": [{"family": "Martin", "given": ["Jeanne", "Marie"]}, {"text": "J. Martin"}],
        "birthDate": "1970-01-02",
        "_birthDate": {"extension": [{"url": "http://here.example/time", "valueDateTime": "1970-01-02T03:04:05Z"}]},
        "deceasedBoolean": False,
        "multipleBirthInteger": 2,
    }
).encode()
"""What patches and paths are tried on."""


def _text(data: bytes) -> str:
    """The bytes as a server hands headers on: each of them is a character."""
    return data.decode("latin-1")


# -- search -----------------------------------------------------------------------------------------------------------


def _compiled(query: Query) -> None:
    """What is understood can be asked of the database, references being followed first."""
    for expression in (query.expression, *(branch.expression for branch in query.branches)):
        bson.encode(compile_search(replaced(expression, lambda reference: reference.part)))


def search(data: bytes) -> None:
    """`Type?parameters`, strictly and leniently; without a type, a search of several."""
    path, _, query = data.decode("utf-8", "replace").partition("?")
    for handling in ("strict", "lenient"):
        with suppress(FhirError):
            pairs = query_pairs(query)
            if path in SUPPORTED:
                _compiled(parse(SUPPORTED[path], pairs, handling=handling, zone=ZONE, supported=SUPPORTED, base=BASE))
            else:
                several = [SUPPORTED["Patient"], SUPPORTED["Observation"]]
                _compiled(parse_together(several, pairs, handling=handling, zone=ZONE, supported=SUPPORTED, base=BASE))


def filter_(data: bytes) -> None:
    """The value of `_filter`."""
    pairs = [("_filter", data.decode("utf-8", "replace"))]
    with suppress(FhirError):
        _compiled(parse(SUPPORTED["Observation"], pairs, handling="strict", zone=ZONE, supported=SUPPORTED, base=BASE))


def page_link(data: bytes) -> None:
    """What follows `_page=`: nobody makes a link but this server."""
    with suppress(BadRequest):
        unseal(_text(data), [bytes(32)], caller="Practitioner/d", now=NOW, lifetime=timedelta(hours=1))
        raise AssertionError("a link that was not made here was opened")


def entry(data: bytes) -> None:
    """The address in an entry of a Bundle, and its parameters."""
    with suppress(FhirError):
        target = parse_target(data.decode("utf-8", "replace"), BASE)
        query_pairs(target.query)


def bundle(data: bytes) -> None:
    """A Bundle of the base, as far as it is read before anything is done."""
    config = with_settings(Config(), public_base=BASE.removesuffix("/fhir"))
    with suppress(FhirError):
        read_bundle(cast("Context", SimpleNamespace(config=config)), data)


def search_parameter(data: bytes) -> None:
    """The expression of a SearchParameter for Patient: type, then expression."""
    type_, _, expression = data.decode("utf-8", "replace").partition(" ")
    definition = {
        "url": "http://here.example/p",
        "code": "p",
        "type": type_,
        "base": ["Patient"],
        "expression": expression,
    }
    with suppress(DefinitionError):
        read_search_parameter(definition, SUPPORTED)


# -- JSON, XML --------------------------------------------------------------------------------------------------------


def json_(data: bytes) -> None:
    """JSON read in each way; numbers come out as they went in."""
    for read in (exact.parse, exact.verbatim, exact.parse_literally, exact.members_of):
        with suppress(exact.MalformedError):
            read(data)
    with suppress(exact.MalformedError):
        value = exact.parse(data)
        with suppress(RecursionError):  # documented
            exact.has_duplicate_names(data, value)
        again = exact.encode(exact.verbatim(data))
        assert exact.encode(exact.parse_literally(data)) == again
        assert exact.parse(again) == value


def resource(data: bytes) -> None:
    """A body of any type: what passes the gate has search values, parts, XML, and comes back from it."""
    type_ = "Patient"
    with suppress(exact.MalformedError):
        value = exact.parse(data)
        if isinstance(value, dict) and value.get("resourceType") in list(SUPPORTED):
            type_ = value["resourceType"]
    with suppress(Invalid):
        _stored(type_, check(type_, data).body)


def _stored(type_: str, body: bytes) -> None:
    declaration = SUPPORTED[type_]
    stamped = exact.splice(body, "p", 1, "2026-11-24T10:00:00.000Z")
    value = check(type_, stamped).resource
    with suppress(FhirError):
        extract(declaration, value, ZONE, BASE)
    for known in (declaration.patients, declaration.authors, declaration.codes, declaration.studies):
        known(value)
    for summary in ("true", "text", "data"):
        subset(stamped, type_, summary, ())
    with suppress(NotXmlError):
        again = to_json(to_xml(stamped))
        # A narrative and a number may be written otherwise, so it is what XML says again that is the same.
        assert to_xml(again) == to_xml(stamped)


def xml(data: bytes) -> None:
    """XML of any type: what passes the gate as JSON can be written as XML again."""
    root_of(data)
    with suppress(Invalid):
        body = to_json(data)
        type_ = exact.parse(body)["resourceType"]
        if type_ in SUPPORTED:
            _stored(type_, check(type_, body).body)


# -- patches ----------------------------------------------------------------------------------------------------------

FORMS: Final[tuple[Form, ...]] = ("json-patch", "merge-patch", "xml-patch", "fhirpath-patch")


def path(data: bytes) -> None:
    """A path of a FHIRPath Patch, read and looked up."""
    with suppress(PatchError):
        Path.read(data.decode("utf-8", "replace")).find(json.loads(PATIENT), Budget(10_000))


def patch(data: bytes) -> None:
    """A patch in each form, and as an entry of a Bundle has it; what it makes of a resource is JSON."""
    with suppress(FhirError):
        sent_patch(data)
    for form in FORMS:
        with suppress(FhirError, PatchError):
            exact.parse(patched(PATIENT, read_patch(form, data), most_bytes=1 << 20))


# -- headers ----------------------------------------------------------------------------------------------------------


def _dates(value: str) -> None:
    since = parse_http_date(value)
    is_not_modified(1, NOW, if_none_match=None, if_modified_since=since)


def _accept(value: str) -> None:
    for read in (
        lambda: negotiation.negotiated(value, None),
        lambda: negotiation.negotiated("", value),
        lambda: negotiation.prefers_content(value, "image/png"),
        lambda: media_types.json_accepted(value),
        lambda: media_types.choose(value, ["application/dicom"]),
    ):
        with suppress(FhirError):
            read()


def _content_type(value: str) -> None:
    for read in (
        negotiation.resource_format,
        negotiation.patch_form,
        negotiation.check_form_content,
        lambda text: boundary_of(text, media_types.DICOM),
    ):
        with suppress(FhirError):
            read(value)


def _forwarded(value: str) -> None:
    for hop in parse_forwarded(value):
        address_of(hop.client)


HEADERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "accept": _accept,
    "prefer": negotiation.preferences,
    "content-type": _content_type,
    "if-match": lambda value: parse_versions(value, "If-Match"),
    "if-modified-since": _dates,
    "forwarded": _forwarded,
}


def header(data: bytes) -> None:
    """`Name: value`; a value without one of the names is each of them."""
    name, colon, value = _text(data).partition(":")
    chosen = HEADERS.get(name.strip().lower()) if colon else None
    for read in HEADERS.values() if chosen is None else [chosen]:
        with suppress(FhirError):
            read(value.strip() if chosen else _text(data))


@cache
def _assertions() -> tuple[ClientAssertion, KeySet]:
    return ClientAssertion("https://here.example/oauth/token"), KeySet([ECKey.generate_key("P-384", private=False)])


def token(data: bytes) -> None:
    """The assertion with which a client asks for a token: none of these is signed."""
    assertions, keys = _assertions()
    with suppress(InvalidClientError):
        assertions.extract_assertion(_text(data))
    with suppress(InvalidClientError):
        assertions.process_assertion_claims(_text(data), keys)
        raise AssertionError("an assertion that nobody signed was believed")


def graphql(data: bytes) -> None:
    """A document, and a request as JSON has it."""
    assert GRAPHQL.reads is not None
    with suppress(FhirError):
        read_query(data.decode("utf-8", "replace"), None, None)
    for content_type in ("application/json", "application/graphql"):
        with suppress(FhirError):
            given = dict(GRAPHQL.reads(content_type, data))
            read_query(given["query"], given.get("variables"), given.get("operationName"))


# -- DICOM ------------------------------------------------------------------------------------------------------------


def multipart(data: bytes) -> None:
    """A body of which the boundary is b: it has the same parts in whatever pieces it comes."""
    whole, bytewise = _parts(data, len(data) + 1), _parts(data, 1)
    assert whole == bytewise, (whole, bytewise)


def _parts(data: bytes, size: int) -> list[tuple[Mapping[str, str], bytes]] | str:
    pieces = iter([data[at : at + size] for at in range(0, len(data), size)])
    found = []
    try:
        for part in parts(lambda _: next(pieces, b""), BOUNDARY):
            found.append((part.headers, b"".join(part.content)))
            media_types.parse(part.content_type)
    except BadRequest as error:
        return error.code
    return found


def part10(data: bytes) -> None:
    """A DICOM file, the preamble left out; its metadata are JSON, its frames lie within."""
    file = PREAMBLE + data
    with suppress(NotDicom):
        found = read_header(file)
        converter = Converter(found, "@/bulkdata")
        json.loads(dicom_encode(converter.dataset()))
        for place in converter.bulk:
            assert place.offset >= 0, place
            assert place.length >= 0, place
        frames.locate(found, file)


def qido(data: bytes) -> None:
    """The parameters of a search for instances, tried on a row."""
    row = {"StudyDate": "20261124", "PatientName": "martin^jeanne", "Modality": ["CT"], "SeriesNumber": "1"}
    with suppress(FhirError):
        query = matching.parse(query_pairs(data.decode("utf-8", "replace")), Level.INSTANCE)
        for filters in (query.study, query.series, query.instance):
            matching.holds(filters, row)


TARGETS: Final[Mapping[str, Target]] = {
    "search": search,
    "filter": filter_,
    "page-link": page_link,
    "entry": entry,
    "bundle": bundle,
    "search-parameter": search_parameter,
    "json": json_,
    "resource": resource,
    "xml": xml,
    "path": path,
    "patch": patch,
    "header": header,
    "token": token,
    "graphql": graphql,
    "multipart": multipart,
    "part10": part10,
    "qido": qido,
}
