"""The region that the leak suite asks: written over HTTP by its establishments, with tokens from the operator.

A case is a pair of worlds in one server. Every record has a twin of the same shape whose refused part was never
written: whatever tells the two apart, to a caller who may not see that part, is a leak.
"""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

from joserfc import jwe
from joserfc.jwk import OctKey
from pydicom import dcmread

from consent.release import EXTENSION
from fhirserver.demo import images, resources
from fhirserver.demo.credentials import ClientToken, Keys, PersonalToken
from fhirserver.demo.http import Caller
from fhirserver.demo.identifiers import local, rpps_value
from fhirserver.demo.region import (
    GENERAL_MEDICINE,
    OPERATOR,
    PHYSICIAN,
    RADIODIAGNOSIS,
    Client,
    Establishment,
    Professional,
)
from fhirserver.dicomweb.imaging_study import id_of
from tests.leaks.commands import Commands

Resource = dict[str, Any]
Change = Callable[[Resource], Resource]

PERFORMED: Final = datetime.now(UTC).replace(hour=9, minute=0, second=0, microsecond=0) - timedelta(days=100)
YESTERDAY: Final = (datetime.now(UTC).date() - timedelta(days=2)).isoformat()

# Every type that a record has, in an order in which each is written before what refers to it.
CLINICAL: Final = (
    "Encounter", "ServiceRequest", "Observation", "DiagnosticReport", "DocumentReference", "ImagingStudy",
)  # fmt: skip
TYPES: Final = ("Patient", "RelatedPerson", "CareTeam", "Consent", *CLINICAL, "Binary")

HOME: Final = Establishment("leaks-home", "Hôpital qui tient le dossier", "prov", "670000981", "Colmar", "leaks-home",
                            "1.2.250.1.999.8.1")  # fmt: skip
OTHER: Final = Establishment("leaks-other", "Autre hôpital", "prov", "670000982", "Mulhouse", "leaks-other",
                             "1.2.250.1.999.8.2")  # fmt: skip
CLINIC: Final = Establishment("leaks-clinic", "Cabinet", "prov", "670000983", "Colmar")
INSURER: Final = Establishment("leaks-insurer", "Mutuelle", "ins", "670000984", "Metz", "leaks-insurer")

DOCTOR: Final = Professional(
    "leaks-doctor", "Dr", "Anne", "Médecin", rpps_value("9970000081"), PHYSICIAN, CLINIC.id, GENERAL_MEDICINE
)
RADIOLOGIST: Final = Professional(
    "leaks-radiologist", "Dr", "Luc", "Radiologue", rpps_value("9970000082"), PHYSICIAN, HOME.id, RADIODIAGNOSIS
)
INSURERS_DOCTOR: Final = Professional(
    "leaks-insurers-doctor", "Dr", "Guy", "Conseil", rpps_value("9970000083"), PHYSICIAN, INSURER.id, GENERAL_MEDICINE
)

_EVERYTHING: Final = "system/*.cruds"
CLIENTS: Final = tuple(
    Client(
        each.client or "",
        each.name,
        category,  # type: ignore[arg-type]  # the demo has no payer
        _EVERYTHING,
        f"Organization/{each.id}",
        f"urn:oid:{each.oid}" if each.oid else None,
    )
    for each, category in ((HOME, "care"), (OTHER, "care"), (INSURER, "payer"))
)


@dataclass(frozen=True)
class Record:
    """The names of everything in one patient's record; `key` stands in all of them that a person chose."""

    key: str

    @cached_property
    def instance(self) -> bytes:
        """The one image of the study."""
        identity = images.Identity(self.key, "HOME", HOME.oid, f"Family-{self.key}", "Leak", "2012-03-04", "female")
        origin = images.Origin(self.key, f"Study {self.key}", PERFORMED, HOME.name, self.key.upper()[:16])
        dataset = dcmread(io.BytesIO(images.instances(("CT_small.dcm",), identity, origin)[0]))
        dataset.add_new(0x6000_3000, "OW", bytes(2_048))  # long enough to be bulk data
        written = io.BytesIO()
        dataset.save_as(written)
        return written.getvalue()

    @cached_property
    def uids(self) -> tuple[str, str, str]:
        """UIDs of study, series and instance."""
        header = dcmread(io.BytesIO(self.instance), stop_before_pixels=True)
        return header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID

    @cached_property
    def study_id(self) -> str:
        """The id that the server gives the ImagingStudy of a study that was stored unannounced."""
        return id_of(self.uids[0])

    def id(self, type_: str) -> str:
        """The id of this record's resource of a type."""
        return self.study_id if type_ == "ImagingStudy" else self.key

    def reference(self, type_: str) -> str:
        """The same as a reference."""
        return f"{type_}/{self.id(type_)}"

    @property
    def announcement(self) -> Resource:
        """The ImagingStudy as an establishment announces it before it sends the images."""
        return {
            "resourceType": "ImagingStudy",
            "id": self.study_id,
            "status": "registered",
            "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{self.uids[0]}"}],
            "subject": {"reference": self.reference("Patient")},
        }

    @cached_property
    def names(self) -> dict[str, str]:
        """Whatever a caller may have put into a question, and what to call it when answers are compared."""
        study, series, instance = self.uids
        return {
            instance: "{instance}",
            series: "{series}",
            study: "{study}",
            self.study_id: "{study-id}",
            self.key.upper()[:16]: "{accession}",
            self.key: "{key}",
        }

    def resources(self, members: Iterable[Resource] = ()) -> dict[str, Resource]:
        """One resource of each type; `members` take part in the care team beside the radiologist."""
        subject = {"reference": self.reference("Patient")}
        study = {"reference": self.reference("ImagingStudy")}
        versions = [
            {"reference": f"{self.reference(type_)}/_history/1"} for type_ in ("ImagingStudy", "DiagnosticReport")
        ]
        identifier = [{"system": "urn:leaks", "value": self.key}]
        code = {"coding": [{"system": "urn:leaks:code", "code": self.key}], "text": self.key}
        at = PERFORMED.isoformat()
        made: dict[str, Resource] = {
            "Patient": {
                "identifier": [local(HOME.oid, self.key)],
                "active": True,
                "name": [{"family": f"Family-{self.key}", "given": ["Leak"]}],
                "gender": "female",
                "birthDate": "2012-03-04",
                "address": [{"city": self.key}],
            },
            "RelatedPerson": {
                "active": True,
                "identifier": identifier,
                "patient": subject,
                "relationship": [
                    {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "MTH"}]}
                ],
            },
            "CareTeam": {
                "status": "active",
                "identifier": identifier,
                "name": self.key,
                "subject": subject,
                "participant": [{"member": {"reference": f"Practitioner/{RADIOLOGIST.id}"}}, *members],
            },
            "Consent": resources.block(self.key, self.reference("Patient"), INSURERS_DOCTOR.id, PERFORMED),
            "Encounter": {
                "status": "finished",
                "identifier": identifier,
                "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
                "subject": subject,
                "period": {"start": at},
                "length": {"value": 20, "unit": "min", "system": "http://unitsofmeasure.org", "code": "min"},
            },
            "ServiceRequest": {
                "status": "completed",
                "identifier": identifier,
                "intent": "order",
                "code": code,
                "subject": subject,
                "authoredOn": at,
            },
            "Observation": {
                "status": "final",
                "identifier": identifier,
                "code": code,
                "subject": subject,
                "effectiveDateTime": at,
                "valueQuantity": {"value": 5, "unit": "mm", "system": "http://unitsofmeasure.org", "code": "mm"},
            },
            "DiagnosticReport": {
                "status": "final",
                "identifier": identifier,
                "code": code,
                "subject": subject,
                "effectiveDateTime": at,
                "imagingStudy": [study],
                "result": [{"reference": self.reference("Observation")}],
                "specimen": [{"reference": "#s"}],
                "contained": [{"resourceType": "Specimen", "id": "s", "identifier": identifier}],
            },
            "DocumentReference": {
                "status": "current",
                "identifier": identifier,
                "subject": subject,
                "description": self.key,
                "content": [{"attachment": {"url": f"urn:leaks:{self.key}", "contentType": "text/plain"}}],
                "context": {"period": {"start": at, "end": at}, "related": [study, *versions]},
            },
            "Binary": {
                "contentType": "text/plain",
                "securityContext": subject,
                "data": base64.b64encode(b"leak").decode(),
            },
        }
        return {type_: {"resourceType": type_, "id": self.key, **content} for type_, content in made.items()}


def label(code: str, system: str) -> Change:
    """Add a security label."""

    def change(resource: Resource) -> Resource:
        meta = resource.get("meta", {})
        return {**resource, "meta": {**meta, "security": [{"system": system, "code": code}]}}

    return change


def release(instant: str) -> Change:
    """Let the person concerned see it from this instant on."""

    def change(resource: Resource) -> Resource:
        said = {"url": EXTENSION, "valueInstant": instant}
        return {**resource, "extension": [*resource.get("extension", ()), said]}

    return change


def in_error(resource: Resource) -> Resource:
    """Say that it was entered in error."""
    return {**resource, "status": "entered-in-error"}


@dataclass(slots=True)
class World:
    """A server whose region these callers know; tokens are asked for once."""

    base: str
    data: Path
    _operator: Commands = field(init=False)
    _keys: Keys = field(init=False)
    _callers: dict[tuple[str, ...], Caller] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Nothing is asked yet."""
        self._operator, self._keys = Commands(self.data), Keys(self.data)

    # Callers

    def client(self, client: Client) -> Caller:
        """A backend."""
        return self._kept(("client", client.id), lambda: ClientToken(self.base, client, self._keys.of(client)))

    def person(self, reference: str, organization: str | None = None, purpose: str | None = None) -> Caller:
        """A person in one activity, for one purpose."""
        asked = (reference, organization or "", purpose or "")
        return self._kept(asked, lambda: PersonalToken(self._operator, reference, organization, purpose))

    def narrowly(self, who: Professional, scope: str) -> Caller:
        """A professional whose token covers no more than these scopes."""
        asked = ("token", "--as", f"Practitioner/{who.id}", "--organization", f"Organization/{who.establishment}")
        return self._kept((who.id, scope), lambda: cache(lambda: self._operator.run(*asked, "--scope", scope)))

    def professional(self, who: Professional) -> Caller:
        """A professional in the activity of the directory."""
        return self.person(f"Practitioner/{who.id}", f"Organization/{who.establishment}")

    def holder(self, record: Record) -> Caller:
        """Who holds a link that the person gave to the study of this record."""
        return self._kept(("link", record.key), lambda: LinkToken(self.base, self._link(record)))

    def _link(self, record: Record) -> str:
        path = f"/fhir/{record.reference('ImagingStudy')}/$share?link=true"
        parts = self.person(record.reference("Patient")).ask("POST", path).expect(200).json()["parameter"]
        uri: str = next(part["valueUri"] for part in parts if part["name"] == "link")
        return uri

    def nobody(self) -> Caller:
        """Who has no token."""
        return self._kept(("nobody",), lambda: None)

    def _kept(self, key: tuple[str, ...], token: Callable[[], Any]) -> Caller:
        if key not in self._callers:
            self._callers[key] = Caller(self.base, token())
        return self._callers[key]

    @property
    def home(self) -> Caller:
        """The establishment that keeps the records."""
        return self.client(CLIENTS[0])

    @property
    def other(self) -> Caller:
        """Another establishment."""
        return self.client(CLIENTS[1])

    # Writing

    def build(self) -> None:
        """Register the clients and write the directory."""
        clients = (OPERATOR, *CLIENTS)
        publics = [self._keys.make(client) for client in clients]
        with ThreadPoolExecutor(max_workers=2) as pool:
            list(pool.map(self._operator.register, clients, publics))
        for client in clients:
            self._keys.keep(client)
        people = (DOCTOR, RADIOLOGIST, INSURERS_DOCTOR)
        directory = [
            *map(resources.organization, (HOME, OTHER, CLINIC, INSURER)),
            *map(resources.practitioner, people),
            *map(resources.practitioner_role, people),
        ]
        self.client(OPERATOR).post(resources.transaction(directory)).expect(200)

    def sign_in(self, callers: Iterable[Caller]) -> None:
        """Ask for the tokens of these callers."""
        for caller in callers:
            if caller._token:
                caller._token()

    def close(self) -> None:
        """Leave the operator's command line."""
        self._operator.close()

    def write(
        self,
        record: Record,
        *,
        members: Iterable[Resource] = (),
        only: Iterable[str] = TYPES,
        change: Change | None = None,
        changed: Iterable[str] = CLINICAL,
        is_announced: bool = False,
    ) -> None:
        """Write a record, or `only` some types of it; `change` is what is special about those in `changed`.

        An ImagingStudy is changed once its images are here, or announced with the change before they come.
        """
        wanted, special = set(only), set(changed)
        whole = record.resources(members)
        if change is not None:
            whole = {type_: change(each) if type_ in special else each for type_, each in whole.items()}
        entries = [each for type_, each in whole.items() if type_ in wanted]
        if entries:
            self.home.post(resources.transaction(entries)).expect(200)
        if "ImagingStudy" not in wanted:
            return
        if change is not None and is_announced:
            self.home.put(change(record.announcement)).expect(201)
            self.home.store([record.instance]).expect(200)
            return
        self.home.store([record.instance]).expect(200)
        if change is not None and "ImagingStudy" in special:
            study = self.home.read(record.reference("ImagingStudy")).expect(200).json()
            self.home.put(change(study)).expect(200)

    def delete(self, record: Record) -> None:
        """Delete all of a record, what refers to others first."""
        for type_ in reversed(TYPES):
            self.home.ask("DELETE", f"/fhir/{record.reference(type_)}").expect(204)

    def erase(self, record: Record) -> None:
        """Erase a record, and return when nothing of it is left."""
        path = f"/fhir/{record.reference('Patient')}/$erase"
        self.home.ask("POST", path).expect(200, 202)
        while self.home.ask("GET", f"{path}-status").expect(200, 202).status == 202:
            time.sleep(0.05)


class LinkToken:
    """The token that a link gives, asked for anew before it ends."""

    def __init__(self, base: str, uri: str) -> None:
        """Nothing is asked yet."""
        self._caller = Caller(base, None)
        text = uri.removeprefix("shlink:/")
        self._payload = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        self._token, self._until = "", 0.0

    def __call__(self) -> str:
        """The token."""
        if time.monotonic() >= self._until:
            path = "/shl/" + self._payload["url"].rpartition("/")[2]
            body = json.dumps({"recipient": "leaks"}).encode()
            answer = self._caller.ask("POST", path, body=body, content_type="application/json").expect(200)
            key = OctKey.import_key(base64.urlsafe_b64decode(self._payload["key"] + "="))
            access = json.loads(jwe.decrypt_compact(answer.json()["files"][0]["embedded"], key).plaintext or b"")
            self._token, self._until = access["access_token"], time.monotonic() + access["expires_in"] / 2
        return self._token


def member(reference: str, **element: Any) -> Resource:
    """A participant of a care team."""
    return {"member": {"reference": reference}, **element}


def years_ago(years: int) -> str:
    """A birth date."""
    today = datetime.now(UTC).date()
    return date(today.year - years, 1, 1).isoformat()
