"""Every reason for which a caller is refused, as a pair of records: one refused, and its twin that is absent.

The refused part of the twin was never written; the rest of it stands as in the record, so that a caller who may see
that rest meets two records that differ in nothing but what must not be told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Final

from fhirserver.demo import resources
from fhirserver.demo.http import Caller
from tests.leaks.edges import EDGES
from tests.leaks.world import (
    CLIENTS,
    CLINICAL,
    DOCTOR,
    INSURERS_DOCTOR,
    OTHER,
    PERFORMED,
    RADIOLOGIST,
    TYPES,
    YESTERDAY,
    Change,
    Record,
    World,
    in_error,
    label,
    member,
    release,
    years_ago,
)

_CONFIDENTIALITY: Final = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
_VISIBILITY: Final = (
    "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument"
)
_DOCTOR: Final = f"Practitioner/{DOCTOR.id}"
_OF_THE_STUDY: Final = ("DiagnosticReport", "ImagingStudy")

Who = Callable[[World, Record], Caller]
Write = Callable[[World, Record, bool], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A reason to be refused: who asks, and how a record comes to be refused.

    `write` is called for the record, and with False for its twin. `caller` may depend on the record: a person's own
    token, say. `refused` are the types that the caller may not see; `is_denied` says that the token alone refuses, so
    that the answer is 403 or 401 for whatever is asked.
    """

    name: str
    caller: Who
    write: Write
    refused: tuple[str, ...] = TYPES
    is_denied: bool = False

    @property
    def here(self) -> Record:
        """The record that is refused."""
        return record_of(f"{self.name}-here")

    @property
    def gone(self) -> Record:
        """The one that is not there."""
        return record_of(f"{self.name}-none")

    @property
    def pair(self) -> tuple[Record, Record]:
        """Both."""
        return self.here, self.gone

    def __str__(self) -> str:
        """As it is called in the name of a test."""
        return self.name


@cache
def record_of(key: str) -> Record:
    """The record of this key; its image is made once."""
    return Record(key)


# Who asks


def doctor(world: World, _record: Record) -> Caller:
    """A doctor of a practice."""
    return world.professional(DOCTOR)


def _other_establishment(world: World, _record: Record) -> Caller:
    return world.other


def _person(type_: str) -> Who:
    return lambda world, record: world.person(record.reference(type_))


def _always(reference: str) -> Who:
    return lambda world, _record: world.person(reference)


# What is written


def _all(*members: resources.Resource) -> Write:
    """The whole record with these members of its care team; nothing of the twin."""

    def write(world: World, record: Record, is_here: bool) -> None:
        if is_here:
            world.write(record, members=members)

    return write


def _part(change: Change, missing: Iterable[str] = CLINICAL, *members: resources.Resource) -> Write:
    """A record of which some types are changed so that they are refused; the twin lacks them."""
    left_out = set(missing)

    def write(world: World, record: Record, is_here: bool) -> None:
        if is_here:
            world.write(record, members=members, change=change, changed=left_out)
        else:
            world.write(record, members=members, only=set(TYPES) - left_out)

    return write


def _blocked(world: World, record: Record, is_here: bool) -> None:
    if is_here:
        world.write(record, members=[member(_DOCTOR)])
        said = resources.block(f"{record.key}-block", record.reference("Patient"), DOCTOR.id, PERFORMED)
        world.home.put(said).expect(201)


def _suspended(world: World, record: Record, is_here: bool) -> None:
    if is_here:
        world.write(record, members=[member(_DOCTOR)])
        team = world.home.read(record.reference("CareTeam")).json()
        world.home.put({**team, "status": "suspended"}).expect(200)


def _opposed(world: World, record: Record, is_here: bool) -> None:
    if is_here:
        world.write(record, members=[member(_DOCTOR)])
        said = resources.opposition(f"{record.key}-opposition", record.reference("Patient"), PERFORMED)
        world.home.put(said).expect(201)


def _looked_at(change: Change) -> Write:
    """A clinical record that is hidden from the start, and that a professional has asked for in every way."""

    def write(world: World, record: Record, is_here: bool) -> None:
        if is_here:
            world.write(record, change=change, is_announced=True)
        else:
            world.write(record, only=set(TYPES) - set(CLINICAL))
        for edge in EDGES:
            edge.put(world.professional(RADIOLOGIST), record)

    return write


def _without_the_study(world: World, record: Record, is_here: bool) -> None:
    left = set(TYPES) - set(_OF_THE_STUDY)
    world.write(record, members=[member(_DOCTOR)], only=TYPES if is_here else left)
    said = resources.block(f"{record.key}-deny", record.reference("Patient"), DOCTOR.id, PERFORMED)
    named = [{"meaning": "instance", "reference": {"reference": record.reference("ImagingStudy")}}]
    said["provision"] = {"type": "deny", "data": named}
    world.home.put(said).expect(201)


def _deleted(world: World, record: Record, is_here: bool) -> None:
    if is_here:
        world.write(record)
        world.delete(record)


def _erased(world: World, record: Record, is_here: bool) -> None:
    if is_here:
        world.write(record, members=[member(_DOCTOR)])
        world.erase(record)


def _of_age(world: World, record: Record, is_here: bool) -> None:
    if is_here:
        world.write(record)
        patient = world.home.read(record.reference("Patient")).json()
        world.home.put({**patient, "birthDate": years_ago(19)}).expect(200)


_READABLE: Final = (member(_DOCTOR),)
_FORMER: Final = record_of("no-relation-here")

OUTCOMES: Final = (
    Outcome("no-relation", doctor, _all()),
    Outcome("ended-participation", doctor, _all(member(_DOCTOR, period={"start": "2020-01-01", "end": YESTERDAY}))),
    Outcome("suspended-team", doctor, _suspended),
    Outcome("other-activity", doctor, _all(member(_DOCTOR, onBehalfOf={"reference": f"Organization/{OTHER.id}"}))),
    Outcome("narrow-scope", lambda world, _: world.narrowly(DOCTOR, "user/Patient.rs user/Encounter.r"), _all()),
    Outcome("blocked", doctor, _blocked),
    Outcome("opposed", doctor, _opposed),
    Outcome("restricted", doctor, _part(label("R", _CONFIDENTIALITY), CLINICAL, *_READABLE), ("Consent", *CLINICAL)),
    Outcome("masked", doctor, _part(label("MASQUE_PS", _VISIBILITY), CLINICAL, *_READABLE), ("Consent", *CLINICAL)),
    Outcome("one-study-denied", doctor, _without_the_study, ("Consent", *_OF_THE_STUDY)),
    Outcome("in-error", doctor, _part(in_error, CLINICAL, *_READABLE), ("Consent", *CLINICAL)),
    Outcome("deleted", doctor, _deleted),
    Outcome("erased", doctor, _erased),
    Outcome("erased-elsewhere", _other_establishment, _erased),
    Outcome("deleted-elsewhere", _other_establishment, _deleted),
    Outcome("opposed-elsewhere", _other_establishment, _opposed),
    Outcome("other-patient", _always(_FORMER.reference("Patient")), _all(member(_DOCTOR))),
    Outcome("other-establishment", _other_establishment, _all(member(_DOCTOR))),
    Outcome("hidden-from-patient", _person("Patient"), _looked_at(label("INVISIBLE_PATIENT", _VISIBILITY)), CLINICAL),
    Outcome("not-released", _person("Patient"), _looked_at(release("2099-01-01T00:00:00Z")), CLINICAL),
    Outcome("held-back-later", _person("Patient"), _part(release("2099-01-01T00:00:00Z")), CLINICAL),
    Outcome("hidden-later", _person("Patient"), _part(label("INVISIBLE_PATIENT", _VISIBILITY)), CLINICAL),
    Outcome(
        "hidden-from-parent",
        _person("RelatedPerson"),
        _looked_at(label("INVISIBLE_REPRESENTANTS_LEGAUX", _VISIBILITY)),
        CLINICAL,
    ),
    Outcome("of-age", _always(record_of("of-age-here").reference("RelatedPerson")), _of_age),
    Outcome("other-child", _always(_FORMER.reference("RelatedPerson")), _all()),
    Outcome("insurers-doctor", lambda world, _: world.professional(INSURERS_DOCTOR), _all(), is_denied=True),
    Outcome("insurer", lambda world, _: world.client(CLIENTS[2]), _all(), is_denied=True),
    Outcome(
        "payment",
        lambda world, _: world.person(_DOCTOR, f"Organization/{DOCTOR.establishment}", "HPAYMT"),
        _all(member(_DOCTOR)),
        is_denied=True,
    ),
    Outcome("link-to-another", lambda world, _: world.holder(_FORMER), _all()),
    Outcome("no-token", lambda world, _: world.nobody(), _all(), is_denied=True),
)
