"""The parts of which every AuditEvent is joined: their JSON, made once, with the search values they contribute.

A search value of an AuditEvent comes from one part only, so the values of the whole are those of its parts together (a
test compares them with the extraction from the finished JSON). What stays the same is kept by part; an event then costs
a join of ready bytes.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

import msgspec

from consent.link import SYSTEM as LINK
from fhirserver.access import Access
from fhirserver.audit import codes
from fhirserver.audit.caller import Caller
from fhirserver.config import Config
from fhirserver.search.values import extract
from resources import SUPPORTED

Role = Literal["read", "query", "create", "update", "delete", "decision", "authentication"]

# Who stands where: the client's and the server's agent types, and the user's, by the BALP profile of the event.
_ROLES: Final[Mapping[Role, tuple[dict[str, str], dict[str, str], dict[str, str]]]] = {
    "read": (codes.DESTINATION, codes.SOURCE, codes.RECIPIENT),
    "query": (codes.SOURCE, codes.DESTINATION, codes.RECIPIENT),
    "create": (codes.SOURCE, codes.DESTINATION, codes.AUTHOR),
    "update": (codes.SOURCE, codes.DESTINATION, codes.AUTHOR),
    "delete": (codes.APPLICATION, codes.CUSTODIAN, codes.KEEPER),
    "decision": (codes.APPLICATION, codes.AUTHORISER, codes.RECIPIENT),
    "authentication": (codes.APPLICATION, codes.AUTHORISER, codes.HUMAN_USER),
}

Action = Literal["C", "R", "U", "D", "E"]

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of JSON (an element of an array, or members of the object) and its search values."""

    json: bytes
    tokens: tuple[str, ...] = ()
    ranges: tuple[dict[str, Any], ...] = ()
    sorts: tuple[tuple[str, tuple[Any, Any]], ...] = ()


@cache
def _settings() -> Config:
    return Config.from_environment()


@cache
def _zone() -> ZoneInfo:
    return ZoneInfo(_settings().zone)


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """A part in which only a few texts differ from one event to the next: extracted once, then filled in.

    `part` was made with `blanks` where the texts will stand; its dates, if any, all name the instant of the event. The
    texts must need no escaping in JSON; identifiers, base64 and references do not.
    """

    part: Part
    blanks: tuple[str, ...]

    def filled(self, *texts: str) -> Filled:
        """The part with `texts` in the places of the blanks."""
        return Filled(self, texts)


@dataclass(frozen=True, slots=True)
class Filled:
    """A template and its texts."""

    template: Template
    texts: tuple[str, ...]


Entity = Part | Filled


# Texts that no identifier of this server contains, of the form of what they stand for.
_BLANK_ID, _BLANK_VERSION = "00000000-blank-id", "918273645"
_BLANK_RESOURCE, _BLANK_REQUEST = "00000000-blank-resource", "00000000-blank-request"
_BLANK_INSTANT = "1867-05-04T03:02:01.987Z"


def _part(json: bytes, fragment: Mapping[str, Any]) -> Part:
    values = extract(SUPPORTED["AuditEvent"], {"resourceType": "AuditEvent", **fragment}, _zone())
    sorts = tuple((name, (ends[0], ends[1])) for name, ends in values.so.items())
    return Part(json, tuple(values.tk), tuple(values.rg), sorts)


def _members(fragment: Mapping[str, Any]) -> Part:
    """A part of top-level members, without the braces."""
    return _part(_encode(fragment)[1:-1], fragment)


def _entity(entity: Mapping[str, Any]) -> Part:
    return _part(_encode(entity), {"entity": [entity]})


# ------------------------------------------------------------------------------------------------- what happened


@dataclass(frozen=True, slots=True)
class Shape:
    """The constant side of an event: which profile it claims, its type and subtypes, its action and outcome."""

    type: tuple[str, str, str]
    action: Action
    subtypes: tuple[tuple[str, str, str], ...] = ()
    outcome: str = codes.SUCCESS
    reason: str | None = None
    profiles: tuple[str, ...] = ()


def frozen(coding: Mapping[str, str]) -> tuple[str, str, str]:
    """A Coding as a tuple, to stand in a `Shape`."""
    return coding["system"], coding["code"], coding.get("display", "")


def _thawed(coding: tuple[str, str, str]) -> dict[str, str]:
    system, code, display = coding
    return {"system": system, "code": code} | ({"display": display} if display else {})


@lru_cache(maxsize=1_024)
def profiles(shape: Shape) -> Part:
    """The members of `meta` that follow from the shape: `"profile":[…]`, or nothing."""
    if not shape.profiles:
        return Part(b"")
    fragment = {"profile": list(shape.profiles)}
    return _part(_encode(fragment)[1:-1], {"meta": fragment})


@lru_cache(maxsize=1_024)
def happening(shape: Shape) -> Part:
    """Type, subtypes, action, outcome and its reason."""
    fragment: dict[str, Any] = {"type": _thawed(shape.type)}
    if shape.subtypes:
        fragment["subtype"] = [_thawed(subtype) for subtype in shape.subtypes]
    fragment |= {"action": shape.action, "outcome": shape.outcome}
    if shape.reason:
        fragment["outcomeDesc"] = shape.reason
    return _members(fragment)


@cache
def recorded() -> Template:
    """The instant of the event; id and last update, which stand elsewhere in the JSON, give search values here."""
    fragment = {"id": _BLANK_ID, "meta": {"lastUpdated": _BLANK_INSTANT}, "recorded": _BLANK_INSTANT}
    return Template(_part(b'"recorded":"%b"' % _BLANK_INSTANT.encode("ascii"), fragment), (_BLANK_ID, _BLANK_INSTANT))


@cache
def source() -> Part:
    """The member that names this server as the reporter."""
    site = _settings().base
    return _members(
        {"source": {"site": site, "observer": {"display": "fhirserver"}, "type": [codes.APPLICATION_SERVER]}}
    )


# ------------------------------------------------------------------------------------------------------- agents


@lru_cache(maxsize=4_096)
def agents(caller: Caller, role: Role) -> Part:
    """The `agent` member: the client application, this server, the user, and the establishment acted for."""
    client_type, server_type, user_type = _ROLES[role]
    agent = [
        _client(caller, client_type),
        _server(caller, server_type),
        _user(caller, user_type),
    ]
    if caller.organization:
        agent.append(
            {"type": _concept(codes.ORGANISATION), "who": {"reference": caller.organization}, "requestor": False}
        )
    return _members({"agent": agent})


def _concept(*codings: Mapping[str, str]) -> dict[str, Any]:
    return {"coding": list(codings)}


def _client(caller: Caller, type_: Mapping[str, str]) -> dict[str, Any]:
    client_id = caller.client_id or "unknown"
    network = {"address": caller.address, "type": "2"} if caller.address else {"address": "localhost", "type": "1"}
    return {
        "type": _concept(type_),
        "who": {"identifier": {"value": client_id}, "display": client_id},
        "requestor": False,
        "network": network,
    }


def _server(caller: Caller, type_: Mapping[str, str]) -> dict[str, Any]:
    server = {"type": _concept(type_), "who": {"display": "fhirserver"}, "requestor": False}
    if type_ == codes.AUTHORISER:  # AuthZconsent forbids a network here.
        return server
    base = _settings().dicomweb_base if caller.transport == "DICOMweb" else _settings().fhir_base
    return server | {"network": {"address": base, "type": "5"}}


def _user(caller: Caller, type_: Mapping[str, str]) -> dict[str, Any]:
    who: dict[str, Any] = (
        {"reference": caller.reference} if caller.reference else {"identifier": {"value": caller.name}}
    )
    types = [type_]
    user: dict[str, Any] = {}
    if caller.token_id:
        types.append(codes.OAUTH_USER)
        user["policy"] = [codes.JTI + caller.token_id]
    if caller.display:
        who["display"] = caller.display
        user["name"] = caller.display
    if caller.purpose:
        user["purposeOfUse"] = [_concept({"system": codes.PURPOSE_SYSTEM, "code": caller.purpose})]
    return {"type": _concept(*types), "who": who, "requestor": True} | user


# ----------------------------------------------------------------------------------------------------- entities


def patient(reference: str, disclosed: int | None = None) -> Filled:
    """The patient concerned; of a search also how many resources of theirs the answer held."""
    return _patient(disclosed).filled(reference.removeprefix("Patient/"))


@lru_cache(maxsize=1_024)
def _patient(disclosed: int | None) -> Template:
    reference = f"Patient/{_BLANK_ID}"
    entity: dict[str, Any] = {"what": {"reference": reference}, "type": codes.PERSON, "role": codes.PATIENT}
    if disclosed is not None:
        entity["detail"] = [{"type": "disclosed", "valueString": str(disclosed)}]
    return Template(_entity(entity), (_BLANK_ID,))


def data(reference: str, decision: str | None = None) -> Filled:
    """The resource read or written, with the code of the decision that opened it."""
    type_, id_, *version = reference.split("/")
    if not version:
        return _data(f"{type_}/{_BLANK_ID}", decision).filled(id_, _BLANK_VERSION)
    return _data(f"{type_}/{_BLANK_ID}/_history/{_BLANK_VERSION}", decision).filled(id_, version[1])


@lru_cache(maxsize=4_096)
def _data(reference: str, decision: str | None) -> Template:
    entity: dict[str, Any] = {
        "what": {"reference": reference},
        "type": codes.SYSTEM_OBJECT,
        "role": codes.DOMAIN_RESOURCE,
    }
    if decision:
        entity["detail"] = [{"type": "decision", "valueString": decision}]
    return Template(_entity(entity), (_BLANK_ID, _BLANK_VERSION))


def query(url: str, description: str) -> Filled:
    """The search as it was asked: base64 of its URL, and a description that carries names of parameters only."""
    return _query(description).filled(base64.b64encode(url.encode()).decode("ascii"))


@lru_cache(maxsize=1_024)
def _query(description: str) -> Template:
    entity = {
        "type": codes.SYSTEM_OBJECT,
        "role": codes.QUERY,
        "description": description,
        "query": _BLANK_ID,
    }
    return Template(_entity(entity), (_BLANK_ID,))


def study(uid: str, reference: str | None, details: Iterable[tuple[str, str]]) -> Part:
    """The DICOM study, by its UID and, where known, its ImagingStudy."""
    what: dict[str, Any] = {"identifier": {"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}}
    if reference:
        what = {"reference": reference} | what
    entity: dict[str, Any] = {"what": what, "type": codes.SYSTEM_OBJECT, "role": codes.DOMAIN_RESOURCE}
    if detail := _details(details):
        entity["detail"] = detail
    return _entity(entity)


def consent(reference: str, interaction: str, resource: str, request_id: str) -> Filled:
    """A Consent, with its version, that determined the decision on this interaction with a resource."""
    _, id_, _, version = reference.split("/")
    return _consent(interaction).filled(id_, version, resource, request_id)


@lru_cache(maxsize=64)
def _consent(interaction: str) -> Template:
    details = (("interaction", interaction), ("resource", _BLANK_RESOURCE), ("X-Request-Id", _BLANK_REQUEST))
    entity: dict[str, Any] = {
        "what": {"reference": f"Consent/{_BLANK_ID}/_history/{_BLANK_VERSION}"},
        "type": codes.CONSENT,
        "detail": _details(details),
    }
    return Template(_entity(entity), (_BLANK_ID, _BLANK_VERSION, _BLANK_RESOURCE, _BLANK_REQUEST))


def token(token_id: str) -> Filled:
    """The access token of a decision, by its `jti`; never the token."""
    return _token().filled(token_id)


@cache
def _token() -> Template:
    return Template(
        _entity({"what": {"identifier": {"value": codes.JTI + _BLANK_ID}}, "type": codes.OAUTH_USER}), (_BLANK_ID,)
    )


def request(request_id: str) -> Filled:
    """The request, by its X-Request-Id."""
    return _request().filled(request_id)


@cache
def _request() -> Template:
    entity = {"what": {"identifier": {"value": _BLANK_ID}}, "type": codes.REQUEST_ID}
    return Template(_entity(entity), (_BLANK_ID,))


def session(name: str, details: Iterable[tuple[str, str]] = ()) -> Part:
    """The session of break-glass in which something was done."""
    entity: dict[str, Any] = {
        "what": {"identifier": {"system": codes.BREAK_GLASS, "value": name}},
        "type": codes.SYSTEM_OBJECT,
        "role": codes.SECURITY_USER,
    }
    if detail := _details(details):
        entity["detail"] = detail
    return _entity(entity)


def link(name: str, details: Iterable[tuple[str, str]]) -> Part:
    """The link by which something was given out; never what it is opened by."""
    return _entity(
        {
            "what": {"identifier": {"system": LINK, "value": name}},
            "type": codes.SYSTEM_OBJECT,
            "role": codes.SECURITY_USER,
            "detail": _details(details),
        }
    )


@lru_cache(maxsize=1_024)
def _kept_session(name: str) -> Part:
    return session(name)


def sessions_of(access: Access, patient: str | None) -> tuple[Part, ...]:
    """The session in which the caller reads of a patient, if any."""
    name = access.sessions.get(patient or "") if access.sessions else None
    return () if name is None else (_kept_session(name),)


def subject_of_change(name: str, details: Iterable[tuple[str, str]] = ()) -> Part:
    """The client or person whose rights an operator or a token request touches."""
    entity: dict[str, Any] = {
        "what": {"identifier": {"value": name}},
        "type": codes.SYSTEM_OBJECT,
        "role": codes.SECURITY_USER,
    }
    if detail := _details(details):
        entity["detail"] = detail
    return _entity(entity)


def _details(details: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"type": name, "valueString": value} for name, value in details]
