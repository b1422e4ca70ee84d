"""AuditEvents: their form (R4 and BALP), whom they concern, what they never tell, and what they cost."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent.decision import Decision, Reason
from consent.facts import OPEN_END, OPEN_START, VISIBILITY_SYSTEMS, audience
from consent.policy import DEFAULT
from consent.request import Actor, parse_scopes
from fhirserver import audit
from fhirserver.access import Access, Noted
from fhirserver.audit import codes
from fhirserver.audit.event import Event
from fhirserver.audit.hidden import disclosed
from fhirserver.search.values import extract
from fhirserver.store.facts import static_facts
from fhirserver.store.rows import Row
from resources import SUPPORTED
from resources.validation import check

NOW = datetime(2026, 11, 24, 9, 0, 0, 123_000, tzinfo=UTC)
ZONE = ZoneInfo("Europe/Paris")


def access(reference: str = "Practitioner/d", **changes: Any) -> Access:
    kind = {"Practitioner": "professional", "Patient": "patient", "Client": "system"}[reference.partition("/")[0]]
    actor = Actor(
        kind=kind,  # type: ignore[arg-type]  # one of the literals
        reference=reference,
        organization=changes.pop("organization", "Organization/c"),
        keys=frozenset({reference}),
        patients=frozenset(),
        organization_types=frozenset(),
        professions=frozenset(),
        specialties=frozenset(),
        sectors=frozenset(),
        is_active=True,
        scopes=(),
        launch_patient=None,
        client_id="viewer",
        display=changes.pop("display", "Dr Camille Durand"),
    )
    values = {"purpose": "TREAT", "token_id": "0d9f", "client_address": "192.0.2.7"} | changes
    return Access(actor=actor, now=NOW, request_id="76d148b6-586d", **values)


def row(type_: str = "ImagingStudy", id_: str = "a", patients: Sequence[str] = ("Patient/p",), **facts: Any) -> Row:
    subjects = [{"patient": patient, "relations": [], "rulings": [], "base": []} for patient in patients]
    known = {"type": type_, "id": id_, "subjects": subjects} | facts
    return Row(type=type_, id=id_, version=3, last_updated=NOW, body=b"{}", facts=known)


def decision(
    effect: str = "permit", code: str = "permit-declared", sources: Sequence[str] = ("CareTeam/c1/_history/4#0",)
) -> Decision:
    reason = Reason(code=code, rule="relation", detail="", sources=tuple(sources))
    return Decision(effect=effect, code=code, reasons=(reason,), obligations=(), instant=NOW, status="absent")  # type: ignore[arg-type]


BY_CONSENT = decision(code="permit-grant", sources=("Consent/b1/_history/2",))
REFUSED = decision("deny", "no-relationship", ())
REFUSED_BY_CONSENT = decision("deny", "consent-deny", ("Consent/b2/_history/1", "Consent/b3/_history/5"))


def noted(decided: Decision, id_: str | None = "a", patients: Sequence[str] = ("Patient/p",)) -> Noted:
    return Noted("read", "ImagingStudy", id_, tuple(patients), decided)


def resource(event: Event) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(event.body)
    return parsed


def entities(event: Event, code: str) -> list[dict[str, Any]]:
    return [entity for entity in resource(event)["entity"] if entity["type"]["code"] == code]


def of_role(event: Event, code: str) -> list[dict[str, Any]]:
    return [entity for entity in resource(event)["entity"] if entity.get("role", {}).get("code") == code]


def agent(event: Event, code: str) -> dict[str, Any]:
    (found,) = (
        each for each in resource(event)["agent"] if code in {coding["code"] for coding in each["type"]["coding"]}
    )
    return found


def examples() -> list[tuple[str, Event]]:
    doctor, establishment = access(), access("Client/his", display=None)
    named: dict[str, list[Event]] = {
        "read": audit.read_events(doctor, row(), decision()),
        "read by Consent": audit.read_events(doctor, row(), BY_CONSENT),
        "read of nobody's": audit.read_events(doctor, row("Organization", "c", ()), decision()),
        "vread": audit.read_events(doctor, row(), decision(), "vread"),
        "history": audit.read_events(doctor, row(), decision(), "history"),
        "own read": audit.read_events(access("Patient/p", organization=None, purpose="PATRQT"), row(), decision()),
        "search": audit.search_events(doctor, "ImagingStudy", "patient=Patient/p&_sort=-started", [row()]),
        "search of nobody's": audit.search_events(doctor, "Organization", "name=H%C3%B4pital", []),
        "search of the trail": audit.search_events(doctor, "AuditEvent", "patient=p", []),
        "create": audit.write_events(establishment, "create", row()),
        "update": audit.write_events(establishment, "update", row()),
        "delete": audit.write_events(establishment, "delete", row()),
        "refusal": audit.refusal_events(doctor, noted(REFUSED)),
        "refusal by Consent": audit.refusal_events(doctor, noted(REFUSED_BY_CONSENT)),
        "refusal by the token": audit.refusal_events(doctor, noted(REFUSED, None, ())),
        "retrieve": audit.dicom_events(doctor, "retrieve", "1.2.3", patients=["Patient/p"], study="ImagingStudy/a"),
        "metadata": audit.dicom_events(doctor, "metadata", "1.2.3", patients=["Patient/p"], study="ImagingStudy/a"),
        "store": audit.dicom_events(establishment, "store", "1.2.3", patients=["Patient/p"], instances=2),
        "store refused": audit.dicom_events(establishment, "store", "1.2.3", patients=["Patient/p"], refused="opposed"),
        "query": audit.dicom_events(doctor, "query", patients=["Patient/p"], query="/studies?PatientID=42"),
        "token": audit.token_events("issued", now=NOW, client_id="his", organization="Organization/h", token_id="0d9f"),
        "no token": audit.token_events("refused", now=NOW, client_id=None, address="192.0.2.7", reason="expired"),
        "token revoked": audit.token_events("revoked", now=NOW, client_id="his", request_id="r1"),
        "operator": audit.operator_events("anne", "client-add", "his", now=NOW, details={"scope": "system/*.rs"}),
    }
    return [(f"{name} {number}", event) for name, events in named.items() for number, event in enumerate(events)]


every_event = pytest.mark.parametrize(("name", "event"), examples(), ids=[name for name, _ in examples()])


# ------------------------------------------------------------------------------------------------------- form


@every_event
def test_every_event_is_valid_r4(name: str, event: Event) -> None:
    assert check("AuditEvent", event.body).resource["id"] == event.id


@every_event
def test_the_search_values_are_those_of_the_finished_json(name: str, event: Event) -> None:
    extracted = extract(SUPPORTED["AuditEvent"], check("AuditEvent", event.body).resource, ZONE)

    assert sorted(event.document["tk"]) == sorted(extracted.tk)
    assert event.document["rg"] == extracted.rg
    assert event.document["so"] == {name: {"a": low, "z": high} for name, (low, high) in extracted.so.items()}


@every_event
def test_the_facts_are_those_of_the_finished_json(name: str, event: Event) -> None:
    facts = static_facts(check("AuditEvent", event.body).resource, event.id, (), DEFAULT)

    made = {name: value for name, value in event.document["facts"].items() if name != "about"}
    assert {**made, "subjects": []} == {**facts, "subjects": []}
    assert event.document["aud"] == audience(event.document["facts"])
    known = {subject["patient"] for subject in facts["subjects"]}
    assert {subject["patient"] for subject in event.document["facts"]["subjects"]} <= known


@every_event
def test_the_row_agrees_with_the_json(name: str, event: Event) -> None:
    document, json_ = event.document, resource(event)

    assert document["_id"] == f"AuditEvent/{json_['id']}"
    assert (document["t"], document["v"], document["lu"]) == ("AuditEvent", 1, NOW)
    assert json_["meta"]["versionId"] == "1"
    assert json_["recorded"] == json_["meta"]["lastUpdated"] == "2026-11-24T09:00:00.123Z"


def test_ids_grow_with_time_and_within_a_millisecond() -> None:
    ids = [audit.token_events("issued", now=NOW, client_id="his")[0].id for _ in range(500)]

    assert ids == sorted(set(ids))
    assert all(len(id_) == 32 and id_[12] == "7" and id_[16] in "89ab" for id_ in ids)


# ------------------------------------------------------------------------------------------------------- BALP


def profiles() -> list[Path]:
    folder = Path(os.environ.get("FHIR_CASES", "")) / "balp"
    return sorted(folder.glob("StructureDefinition-IHE.BasicAudit.*.json")) if "FHIR_CASES" in os.environ else []


def published() -> Mapping[str, list[dict[str, Any]]]:
    """The elements of each published profile, with those of the profile it constrains before its own."""
    read = {definition["url"]: definition for definition in (json.loads(path.read_text()) for path in profiles())}

    def elements(url: str) -> list[dict[str, Any]]:
        if url not in read:
            return []
        return elements(read[url]["baseDefinition"]) + read[url]["differential"]["element"]

    return {url: elements(url) for url in read}


def holds(pattern: Any, value: Any) -> bool:
    """Whether a value has at least what the pattern has: https://hl7.org/fhir/R4/elementdefinition.html, pattern[x]."""
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(holds(part, value.get(name)) for name, part in pattern.items())
    if isinstance(pattern, list):
        return isinstance(value, list) and all(any(holds(part, each) for each in value) for part in pattern)
    return bool(pattern == value)


def pattern_of(element: Mapping[str, Any]) -> Any:
    return next((value for name, value in element.items() if name.startswith("pattern")), None)


def values_at(node: Any, path: str) -> list[Any]:
    nodes = [node]
    for name in path.split("."):
        nodes = [each[name] for each in nodes if isinstance(each, dict) and name in each]
        nodes = [item for each in nodes for item in (each if isinstance(each, list) else [each])]
    return nodes


def breaches(elements: Sequence[Mapping[str, Any]], json_: Mapping[str, Any]) -> list[str]:
    """What of a profile an event does not keep: cardinalities and patterns, of elements and within slices."""
    found = []
    slices = {
        element["id"]: element
        for element in elements
        if element["id"].count(":") == 1 and element["id"].split(":")[1].count(".") == 0
    }
    for id_, element in slices.items():
        path = id_.partition(":")[0].removeprefix("AuditEvent.")
        typed = next((each for each in elements if each["id"] == f"{id_}.type"), {})
        own, by_type = pattern_of(element), pattern_of(typed)
        members = (
            [
                value
                for value in values_at(json_, path)
                if (own is None or holds(own, value)) and (by_type is None or holds(by_type, value.get("type")))
            ]
            if own or by_type
            else []
        )
        if (own or by_type) and not element.get("min", 0) <= len(members):
            found.append(f"{id_}: {len(members)} of at least {element['min']}")
        for inner in elements:
            below = inner["id"].removeprefix(f"{id_}.")
            if below == inner["id"]:
                continue
            for member in members:
                present = values_at(member, below)
                pattern = pattern_of(inner)
                if len(present) < inner.get("min", 0) or (inner.get("max") == "0" and present):
                    found.append(f"{inner['id']}: {len(present)}")
                if pattern is not None and below != "type" and not all(holds(pattern, each) for each in present):
                    found.append(f"{inner['id']}: {present}")
    for element in elements:
        if ":" in element["id"] or element["id"] == "AuditEvent":
            continue
        present = values_at(json_, element["id"].removeprefix("AuditEvent."))
        pattern = pattern_of(element)
        if len(present) < element.get("min", 0) or (element.get("max") == "0" and present):
            found.append(f"{element['id']}: {len(present)}")
        if pattern is not None and not all(holds(pattern, each) for each in present):
            found.append(f"{element['id']}: {present}")
    return found


@every_event
def test_every_event_keeps_the_published_profiles_it_claims(name: str, event: Event) -> None:
    known = published()
    if not known:
        print("FHIR_CASES is not set: the claims are compared with the facts written in this file only.")
    for claimed in resource(event)["meta"].get("profile", ()):
        if known:
            assert claimed in known
            assert breaches(known[claimed], resource(event)) == []


@pytest.mark.parametrize(
    ("name", "profile", "action", "client", "server"),
    [
        ("read 0", "PatientRead", "R", "110152", "110153"),
        ("read of nobody's 0", "Read", "R", "110152", "110153"),
        ("vread 0", "PatientRead", "R", "110152", "110153"),
        ("search 0", "PatientQuery", "E", "110153", "110152"),
        ("search of nobody's 0", "Query", "E", "110153", "110152"),
        ("create 0", "PatientCreate", "C", "110153", "110152"),
        ("update 0", "PatientUpdate", "U", "110153", "110152"),
        ("delete 0", "PatientDelete", "D", "110150", "custodian"),
    ],
)
def test_each_interaction_has_its_pattern(name: str, profile: str, action: str, client: str, server: str) -> None:
    event = dict(examples())[name]

    assert codes.profile(profile) in resource(event)["meta"]["profile"]
    assert resource(event)["action"] == action
    assert resource(event)["outcome"] == "0"
    assert agent(event, client)["who"]["identifier"]["value"] == "viewer"
    assert agent(event, client)["network"] == {"address": "192.0.2.7", "type": "2"}
    assert agent(event, server)["network"]["type"] == "5"


# ------------------------------------------------------------------------------------------- who, why, by what


def test_the_user_is_told_with_name_establishment_purpose_and_token() -> None:
    (event,) = audit.read_events(access(), row(), decision())

    user = agent(event, "IRCP")
    assert user["who"] == {"reference": "Practitioner/d", "display": "Dr Camille Durand"}
    assert user["requestor"] is True
    assert user["purposeOfUse"][0]["coding"][0]["code"] == "TREAT"
    assert user["policy"] == ["urn:ietf:params:oauth:jti:0d9f"]
    assert agent(event, "PROV")["who"] == {"reference": "Organization/c"}


def test_a_client_that_acts_for_itself_is_told_by_its_identifier() -> None:
    (event,) = audit.write_events(access("Client/his", display=None), "create", row())

    assert agent(event, "AUT")["who"] == {"identifier": {"value": "Client/his"}}
    assert agent(event, "PROV")["who"] == {"reference": "Organization/c"}


def test_the_request_is_told_by_its_id() -> None:
    (event,) = audit.read_events(access(), row(), decision())

    (request,) = entities(event, "XrequestId")
    assert request["what"]["identifier"]["value"] == "76d148b6-586d"


def test_a_permit_carries_the_code_of_its_decision() -> None:
    (event,) = audit.read_events(access(), row(), decision(code="permit-self"))

    (data,) = of_role(event, "4")
    assert data["what"]["reference"] == "ImagingStudy/a"
    assert data["detail"] == [{"type": "decision", "valueString": "permit-self"}]


@pytest.mark.parametrize("code", ["permit-declared", "permit-treating", "permit-organisation"])
def test_what_relates_a_professional_to_the_person_is_told_alike(code: str) -> None:
    (event,) = audit.read_events(access(), row(), decision(code=code))

    (data,) = of_role(event, "4")
    assert data["detail"] == [{"type": "decision", "valueString": "permit-relation"}]


# ----------------------------------------------------------------------------------------------------- patients


def test_each_patient_disclosed_has_an_event_that_names_no_other() -> None:
    events = audit.read_events(access(), row(patients=["Patient/p", "Patient/q"]), decision())

    assert [of_role(event, "1")[0]["what"]["reference"] for event in events] == ["Patient/p", "Patient/q"]
    assert b"Patient/q" not in events[0].body
    assert b"Patient/p" not in events[1].body


def test_a_patient_may_read_an_event_that_concerns_them() -> None:
    (event,) = audit.read_events(access(), row(), decision())

    assert [subject["patient"] for subject in event.document["facts"]["subjects"]] == ["Patient/p"]
    assert "Patient/p" in event.document["aud"]


def test_a_patient_who_acts_on_the_record_of_another_does_not_take_the_event_from_them() -> None:
    (event,) = audit.read_events(access("Patient/q", organization=None), row(), decision())

    assert [subject["patient"] for subject in event.document["facts"]["subjects"]] == ["Patient/p"]


def test_what_a_patient_asks_of_nobodys_record_is_in_their_own_trail() -> None:
    (event,) = audit.search_events(access("Patient/q", organization=None), "Organization", "name=x", [])

    assert [subject["patient"] for subject in event.document["facts"]["subjects"]] == ["Patient/q"]


def test_an_event_keeps_no_relation_that_could_outlive_the_authority_it_speaks_of() -> None:
    mother = {"kind": "representative", "key": "RelatedPerson/m", "organization": None, "from": NOW, "until": NOW}
    subject = {"patient": "Patient/p", "relations": [mother], "rulings": [], "base": []}

    (event,) = audit.read_events(access(), row(subjects=[subject]), decision())

    assert event.document["facts"]["subjects"][0]["relations"] == []
    assert event.document["aud"] == ["Patient/p", "auditor"]


def test_a_search_that_finds_nothing_is_still_told_to_the_patient_it_names() -> None:
    queries = [
        ("ImagingStudy", "patient=p"),
        ("ImagingStudy", "patient=Patient%2Fp&_count=3"),
        ("ImagingStudy", "subject=Patient/p"),
        ("ImagingStudy", "subject:Patient=p"),
        ("ImagingStudy", "patient=https://example.org/fhir/Patient/p"),
        ("Patient", "_id=p"),
        ("ImagingStudy", "_filter=status eq available and patient eq p"),
        ("ImagingStudy", '_filter=(subject eq "Patient/p")'),
        ("ImagingStudy", "_filter=patient._id eq p"),
        ("Patient", "_filter=_id eq p"),
    ]
    for type_, query in queries:
        (event,) = audit.search_events(access(), type_, query, [])
        assert of_role(event, "1")[0]["what"]["reference"] == "Patient/p", query


@pytest.mark.parametrize(
    "query",
    ["", "status=available", "subject=Group/p", "patient=%22x", "patient:missing=true", "_filter=_id eq p",
     "_filter=patient pr true", "_filter=patient.name eq p"],
)  # fmt: skip
def test_a_search_that_names_nobody_concerns_nobody(query: str) -> None:
    (event,) = audit.search_events(access(), "ImagingStudy", query, [])

    assert of_role(event, "1") == []
    assert event.document["facts"]["subjects"] == []


def test_a_search_that_names_very_many_patients_is_bounded() -> None:
    query = "patient=" + ",".join(f"p{number}" for number in range(500))

    assert len(audit.search_events(access(), "ImagingStudy", query, [])) == 50 + 1


def test_a_search_that_concerns_several_patients_tells_none_of_them_the_others() -> None:
    events = audit.search_events(access(), "ImagingStudy", "patient=p1,p2", [])
    told = {event.document["facts"]["subjects"][0]["patient"]: event.body for event in events[:-1]}
    whole = base64.b64encode(b"ImagingStudy?patient=p1,p2")
    assert set(told) == {"Patient/p1", "Patient/p2"}
    assert not any(whole in body for body in told.values())
    assert whole in events[-1].body
    assert events[-1].document["facts"]["subjects"] == []


def test_a_search_tells_what_was_asked_and_not_what_was_found() -> None:
    (event,) = audit.search_events(access(), "ImagingStudy", "patient=p&modality=CT", [row(), row(id_="b")])

    (query,) = of_role(event, "24")
    assert base64.b64decode(query["query"]) == b"ImagingStudy?patient=p&modality=CT"
    assert query["description"] == "ImagingStudy?modality&patient"
    assert b"ImagingStudy/a" not in event.body


@pytest.mark.parametrize("count", [0, 2])
def test_a_patient_is_told_how_many_of_their_resources_a_search_disclosed(count: int) -> None:
    found = [row(id_=f"a{number}") for number in range(count)]

    (event,) = audit.search_events(access(), "ImagingStudy", "patient=p", found)

    assert of_role(event, "1")[0]["detail"] == [{"type": "disclosed", "valueString": str(count)}]


def test_reading_the_trail_is_itself_in_the_trail() -> None:
    (event,) = audit.search_events(access(), "AuditEvent", "patient=p", [])

    assert "110101" in {coding["code"] for coding in resource(event)["subtype"]}


# ---------------------------------------------------------------------------------------------------- decisions


def test_a_permit_by_a_consent_is_told_with_the_consent_and_its_version() -> None:
    _, event = audit.read_events(access(), row(), BY_CONSENT)

    assert codes.profile("AuthZconsent") in resource(event)["meta"]["profile"]
    assert [coding["code"] for coding in resource(event)["subtype"]] == ["AuthZ-Consent"]
    assert (resource(event)["outcome"], resource(event)["outcomeDesc"]) == ("0", "permit-grant")
    (consent,) = entities(event, "Consent")
    assert consent["what"]["reference"] == "Consent/b1/_history/2"
    assert {"type": "resource", "valueString": "ImagingStudy/a"} in consent["detail"]


def test_a_refusal_by_consents_names_them_all_and_its_code() -> None:
    (event,) = audit.refusal_events(access(), noted(REFUSED_BY_CONSENT))

    assert (resource(event)["outcome"], resource(event)["outcomeDesc"]) == ("8", "consent-deny")
    named = [entity["what"]["reference"] for entity in entities(event, "Consent")]
    assert named == ["Consent/b2/_history/1", "Consent/b3/_history/5"]


def test_a_consent_that_spoke_for_the_other_effect_is_not_told() -> None:
    grant = Reason(code="permit-grant", rule="grant", sources=("Consent/b1/_history/2",))
    blocked = Reason(code="blocked-professional", rule="blocked-professional", sources=("Consent/b2/_history/1",))
    refused = Decision("deny", "blocked-professional", NOW, "absent", (grant, blocked))

    (event,) = audit.refusal_events(access(), noted(refused))

    assert [entity["what"]["reference"] for entity in entities(event, "Consent")] == ["Consent/b2/_history/1"]


def test_a_refusal_by_consent_has_only_the_entities_its_profile_admits() -> None:
    (event,) = audit.refusal_events(access(), noted(REFUSED_BY_CONSENT))

    assert {entity["type"]["code"] for entity in resource(event)["entity"]} == {"1", "Consent", "UserOauthAgent"}


def test_a_refusal_by_default_claims_no_consent_profile() -> None:
    (event,) = audit.refusal_events(access(), noted(REFUSED))

    assert codes.profile("AuthZconsent") not in resource(event)["meta"]["profile"]
    assert [coding["code"] for coding in resource(event)["subtype"]] == ["AuthZ-Role"]
    assert (resource(event)["outcome"], resource(event)["outcomeDesc"]) == ("8", "no-relationship")
    assert entities(event, "Consent") == []
    assert of_role(event, "4")[0]["what"]["reference"] == "ImagingStudy/a"


def test_a_refusal_without_an_establishment_does_not_claim_the_profile_that_asks_for_one() -> None:
    (event,) = audit.refusal_events(access("Patient/q", organization=None), noted(REFUSED_BY_CONSENT))

    assert codes.profile("AuthZconsent") not in resource(event)["meta"]["profile"]


def test_a_refusal_is_told_to_the_patient_whose_record_was_asked_for() -> None:
    (event,) = audit.refusal_events(access(), noted(REFUSED))

    assert [subject["patient"] for subject in event.document["facts"]["subjects"]] == ["Patient/p"]


def test_a_refusal_by_the_token_alone_concerns_nobody() -> None:
    (event,) = audit.refusal_events(access(), noted(REFUSED, None, ()))

    assert event.document["facts"]["subjects"] == []
    assert of_role(event, "11")[0]["what"]["identifier"]["value"] == "ImagingStudy"


def test_a_decision_that_permits_is_no_refusal() -> None:
    assert audit.refusal_events(access(), noted(decision())) == []


# -------------------------------------------------------------------------------------------------------- DICOM


@pytest.mark.parametrize(
    ("trigger", "type_", "action"),
    [("retrieve", "110104", "R"), ("metadata", "110103", "R"), ("store", "110104", "C")],
)
def test_a_dicom_event_names_the_study(trigger: Any, type_: str, action: str) -> None:
    (event,) = audit.dicom_events(
        access(), trigger, "1.2.840.1", patients=["Patient/p"], study="ImagingStudy/a", instances=50
    )

    assert (resource(event)["type"]["code"], resource(event)["action"]) == (type_, action)
    (study,) = of_role(event, "4")
    assert study["what"]["identifier"] == {"system": "urn:dicom:uid", "value": "urn:oid:1.2.840.1"}
    assert study["what"]["reference"] == "ImagingStudy/a"
    assert study["detail"] == [{"type": "instances", "valueString": "50"}]


def test_a_dicom_query_is_kept_whole_in_base64_and_its_path_in_clear() -> None:
    (event,) = audit.dicom_events(access(), "query", query="/dicomweb/studies?PatientName=Durand*")

    (query,) = of_role(event, "24")
    assert query["description"] == "/dicomweb/studies"
    assert b"Durand*" in base64.b64decode(query["query"])


def test_an_instance_refused_at_the_door_is_a_failure_with_its_code() -> None:
    (event,) = audit.dicom_events(access(), "store", "1.2.3", patients=["Patient/p"], refused="opposed")

    assert (resource(event)["outcome"], resource(event)["outcomeDesc"]) == ("8", "opposed")


# ------------------------------------------------------------------------------------------------------- hidden


TRE_A07 = "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument"
HIDDEN = f"{TRE_A07}|INVISIBLE_PATIENT"
FROM_REPRESENTATIVES = f"{TRE_A07}|INVISIBLE_REPRESENTANTS_LEGAUX"
RESTRICTED = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality|R"


def labels(event: Event) -> list[str]:
    found: list[str] = event.document["facts"]["labels"]
    return found


def is_shown(event: Event, kind: str = "patient") -> bool:
    """Whether the rules show an event to its patient, or to a representative who could read the trail."""
    facts = event.document["facts"]
    subject = facts["subjects"][0]
    reference = subject["patient"] if kind == "patient" else "RelatedPerson/m"
    if kind == "representative":
        authority = {"kind": "representative", "key": reference, "organization": None, "source": "RelatedPerson/m"}
        facts = {
            **facts,
            "subjects": [{**subject, "relations": [{**authority, "from": OPEN_START, "until": OPEN_END}]}],
        }
    actor = Actor(
        kind,  # type: ignore[arg-type]  # one of the literals
        reference,
        keys=frozenset({reference}),
        patients=frozenset({subject["patient"]}),
        scopes=parse_scopes("user/*.rs patient/*.rs"),
    )
    asked = Access(actor=actor, purpose="PATRQT", now=NOW, request_id="r")
    return asked.decide("read", facts).is_permit


def hidden_events() -> dict[str, list[Event]]:
    doctor, exam = access(), row(labels=[RESTRICTED, HIDDEN])
    seen = audit.labels_of(doctor, "retrieve", exam)
    return {
        "read": audit.read_events(doctor, exam, decision()),
        "read by Consent": audit.read_events(doctor, exam, BY_CONSENT),
        "vread": audit.read_events(doctor, exam, decision(), "vread"),
        "history": audit.read_events(doctor, exam, decision(), "history"),
        "update": audit.write_events(access("Client/his"), "update", exam),
        "delete": audit.write_events(access("Client/his"), "delete", exam),
        "refusal": audit.refusal_events(doctor, Noted("read", "ImagingStudy", "a", ("Patient/p",), REFUSED, (HIDDEN,))),
        "retrieve": audit.dicom_events(doctor, "retrieve", "1.2.3", patients=["Patient/p"], labels=seen),
        "explanation": audit.operator_events(
            "anne", "explain", "ImagingStudy/a", now=NOW, patient="Patient/p", labels=seen
        ),
    }


@pytest.mark.parametrize("name", hidden_events())
def test_an_event_about_a_hidden_exam_is_hidden_from_the_patient_and_its_json_does_not_say_so(name: str) -> None:
    for event in hidden_events()[name]:
        assert labels(event) == [HIDDEN]
        assert "security" not in resource(event)["meta"]
        assert not is_shown(event)
        assert "auditor" in event.document["aud"]


def test_an_event_about_an_exam_that_is_not_hidden_is_shown_whatever_its_other_labels() -> None:
    (event,) = audit.read_events(access(), row(labels=[RESTRICTED]), decision())

    assert labels(event) == []
    assert is_shown(event)
    assert is_shown(event, "representative")


def test_an_event_about_an_exam_hidden_from_representatives_is_shown_to_the_patient_only() -> None:
    (event,) = audit.read_events(access(), row(labels=[FROM_REPRESENTATIVES]), decision())

    assert is_shown(event)
    assert not is_shown(event, "representative")


@pytest.mark.parametrize("interaction", ["vread", "history"])
def test_a_version_from_before_an_exam_was_hidden_is_told_as_hidden(interaction: str) -> None:
    doctor = access()
    doctor.note(interaction, "ImagingStudy", "a", ("Patient/p",), decision(), (HIDDEN,))

    events = audit.read_events(doctor, row(), BY_CONSENT, interaction)

    assert [labels(event) for event in events] == [[HIDDEN], [HIDDEN]]


def test_a_binary_is_as_hidden_as_what_it_hangs_on_now() -> None:
    doctor = access()
    doctor.note("read", "DocumentReference", "d", ("Patient/p",), decision(), (HIDDEN,))
    doctor.note("read", "DocumentReference", "e", ("Patient/p",), decision(), (FROM_REPRESENTATIVES,))

    (event,) = audit.read_events(doctor, row("Binary", "b", related=["DocumentReference/d"]), decision())

    assert labels(event) == [HIDDEN]


def test_a_refused_attempt_to_take_the_label_away_is_told_as_hidden() -> None:
    establishment = access("Client/his")
    establishment.note("update", "ImagingStudy", "a", ("Patient/p",), decision(), (HIDDEN,))
    establishment.note("update", "ImagingStudy", "a", ("Patient/p",), REFUSED)

    (event,) = audit.refusal_events(establishment, establishment.decisions[-1])

    assert labels(event) == [HIDDEN]


def test_a_decision_is_noted_with_the_labels_that_say_who_may_see() -> None:
    doctor = access()
    facts = {**static_facts({"resourceType": "ImagingStudy"}, "a", (), DEFAULT), "labels": [RESTRICTED, HIDDEN]}

    doctor.decide("read", facts)

    assert doctor.decisions[-1].labels == (HIDDEN,)


def counts(events: Sequence[Event]) -> dict[str, tuple[str, list[str]]]:
    """Of events of a search: how many of whose resources, and with which labels."""
    told = [(of_role(event, "1")[0], labels(event)) for event in events if of_role(event, "1")]
    return {
        f"{one['what']['reference']} {number}": (one["detail"][0]["valueString"], with_labels)
        for number, (one, with_labels) in enumerate(told)
    }


def test_a_search_counts_what_is_hidden_in_an_event_that_is_hidden() -> None:
    found = [row(), row(id_="b", labels=[HIDDEN]), row(id_="c", labels=[RESTRICTED])]

    events = audit.search_events(access(), "ImagingStudy", "modality=CT", found)

    assert counts(events) == {"Patient/p 0": ("2", []), "Patient/p 1": ("1", [HIDDEN])}
    assert [is_shown(event) for event in events] == [True, False]


def test_a_search_that_finds_hidden_exams_only_is_told_as_one_that_finds_nothing() -> None:
    found = [row(labels=[HIDDEN])]

    shown, hidden = audit.search_events(access(), "ImagingStudy", "patient=p&modality=CT", found)
    (nothing,) = audit.search_events(access(), "ImagingStudy", "patient=p&modality=CT", [])

    assert resource(shown)["entity"] == resource(nothing)["entity"]
    assert (is_shown(shown), is_shown(hidden)) == (True, False)


def test_a_search_that_names_nobody_and_finds_hidden_exams_only_is_not_told_to_the_patient() -> None:
    (event,) = audit.search_events(access(), "ImagingStudy", "modality=CT", [row(labels=[HIDDEN])])

    assert not is_shown(event)
    assert counts([event]) == {"Patient/p 0": ("1", [HIDDEN])}
    assert base64.b64decode(of_role(event, "24")[0]["query"]) == b"ImagingStudy?modality=CT"


def test_a_search_counts_what_is_hidden_from_representatives_apart() -> None:
    events = audit.search_events(access(), "ImagingStudy", "patient=p", [row(), row(labels=[FROM_REPRESENTATIVES])])

    assert [is_shown(event) for event in events] == [True, True]
    assert [is_shown(event, "representative") for event in events] == [True, False]


def referring(id_: str, reference: str, **facts: Any) -> Row:
    return replace(row("DiagnosticReport", id_, **facts), body=b'{"encounter":{"reference":"%b"}}' % reference.encode())


def test_what_only_a_hidden_match_includes_is_not_counted_for_the_patient() -> None:
    matches = [referring("r1", "Encounter/e1"), referring("r2", "Encounter/e2", labels=[HIDDEN])]
    included = [row("Encounter", "e1"), row("Encounter", "e2")]

    events = audit.search_events(access(), "DiagnosticReport", "patient=p", matches, included=included)

    assert counts(events) == {"Patient/p 0": ("2", []), "Patient/p 1": ("2", [HIDDEN])}


def test_what_a_hidden_and_another_match_include_is_counted_for_the_patient() -> None:
    matches = [referring("r1", "Encounter/e1"), referring("r2", "Encounter/e1", labels=[HIDDEN])]

    events = audit.search_events(access(), "DiagnosticReport", "patient=p", matches, included=[row("Encounter", "e1")])

    assert counts(events) == {"Patient/p 0": ("2", []), "Patient/p 1": ("1", [HIDDEN])}


def test_what_refers_to_a_hidden_match_only_is_not_counted_for_the_patient() -> None:
    matches = [row("Encounter", "e1", labels=[HIDDEN]), row("Encounter", "e2")]
    included = [referring("r1", "Encounter/e1"), referring("r2", "https://fhir.example/fhir/Encounter/e2")]

    events = audit.search_events(access(), "Encounter", "patient=p", matches, included=included)

    assert counts(events) == {"Patient/p 0": ("2", []), "Patient/p 1": ("2", [HIDDEN])}


def test_what_is_included_nobody_knows_why_is_not_counted_for_the_patient_beside_hidden_matches() -> None:
    found = [row(), row(id_="b", labels=[HIDDEN])]

    events = audit.search_events(access(), "ImagingStudy", "patient=p", found, included=[row("Encounter", "e1")])

    assert counts(events) == {"Patient/p 0": ("1", []), "Patient/p 1": ("2", [HIDDEN])}


def test_the_patients_of_a_dicom_query_are_told_by_the_labels_of_their_studies() -> None:
    found = [row(), row(id_="b", labels=[HIDDEN]), row(id_="c", patients=["Patient/q"], labels=[HIDDEN])]

    assert audit.by_labels(found) == {(): ["Patient/p"], (HIDDEN,): ["Patient/p", "Patient/q"]}
    assert audit.by_labels([]) == {(): ()}


# ------------------------------------------------------------------------------------- tokens and administration


@pytest.mark.parametrize(
    ("outcome", "subtype", "code"), [("issued", "110122", "0"), ("refused", "110122", "4"), ("revoked", "110123", "0")]
)
def test_a_token_is_told_when_issued_refused_and_revoked(outcome: Any, subtype: str, code: str) -> None:
    (event,) = audit.token_events(outcome, now=NOW, client_id="his", token_id="0d9f", reason="assertion-expired")

    assert resource(event)["type"]["code"] == "110114"
    assert resource(event)["subtype"][0]["code"] == subtype
    assert resource(event)["outcome"] == code


def test_an_operator_is_told_by_name_with_whose_rights_changed() -> None:
    (event,) = audit.operator_events("anne", "client-add", "his-e1", now=NOW)

    assert resource(event)["subtype"][0]["code"] == "110136"
    assert agent(event, "humanuser")["who"] == {"identifier": {"value": "anne"}}
    assert of_role(event, "11")[0]["what"]["identifier"]["value"] == "his-e1"


# --------------------------------------------------------------------------------------------- never told; cost


def test_no_event_carries_a_whole_token_or_a_narrative() -> None:
    for _, event in examples():
        assert b"eyJ" not in event.body
        assert "text" not in resource(event)


def test_text_from_outside_cannot_leave_its_place_in_the_json() -> None:
    hostile = 'x","outcome":"0","y":"\u0000\n'
    events = audit.token_events("refused", now=NOW, client_id=hostile, reason="expired")

    assert resource(events[0])["outcome"] == "4"


def test_a_dicom_query_that_concerns_several_patients_tells_none_of_them_the_others() -> None:
    patients = ["Patient/p", "Patient/q"]
    events = audit.dicom_events(access(), "query", patients=patients, query="/dicomweb/studies?PatientID=42")
    whole = base64.b64encode(b"/dicomweb/studies?PatientID=42")
    assert [whole in event.body for event in events] == [False, False, True]


# Rows that are there only because hidden ones include them


def _linked(one: Row, other: Row) -> bool:
    return any(f'{b.reference}"'.encode() in a.body for a, b in ((one, other), (other, one)))


@given(
    st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 5), max_size=3)), max_size=5),
    st.lists(st.sets(st.integers(0, 4), max_size=2), max_size=5),
)
def test_what_only_hidden_rows_include_is_counted_for_nobody_from_whom_they_are_hidden(
    matches: list[tuple[bool, set[int]]], included: list[set[int]]
) -> None:
    labels = [f"{system}|x" for system in sorted(VISIBILITY_SYSTEMS)[:1]]

    def made(type_: str, number: int, refers: Iterable[str], *, is_hidden: bool) -> Row:
        found = row(type_, str(number), patients=[f"Patient/{type_}{number}"], labels=labels if is_hidden else [])
        return replace(found, body=json.dumps([{"reference": one} for one in sorted(refers)]).encode())

    first = [
        made("DiagnosticReport", n, {f"Observation/{one}" for one in refers}, is_hidden=is_hidden)
        for n, (is_hidden, refers) in enumerate(matches)
    ]
    others = [
        made("Observation", n, {f"http://x/fhir/DiagnosticReport/{one}" for one in refers}, is_hidden=False)
        for n, refers in enumerate(included)
    ]
    counted = disclosed(first, others)
    for other in others:
        above = [one for one in first if _linked(one, other)]
        # Where it cannot be seen who brought a row, any hidden one may have.
        is_hidden = any(one.facts["labels"] for one in first) and all(one.facts["labels"] for one in above)
        assert counted[other.patients[0], tuple(labels) if is_hidden else ()] == 1
