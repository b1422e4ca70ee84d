"""Events of the DICOMweb Studies service: the triggers of DICOM PS3.15 section A.5.3, in the shape of BALP.

One event for each request, study and patient, however many instances or frames the request moved.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, Literal

from fhirserver.access import Access
from fhirserver.audit import codes, parts
from fhirserver.audit.caller import Caller, Moment
from fhirserver.audit.event import Event, event
from fhirserver.audit.parts import Entity, Shape, Template, frozen

Trigger = Literal["retrieve", "metadata", "store", "query"]

_TRIGGERS: Final[Mapping[Trigger, tuple[Mapping[str, str], parts.Action, parts.Role]]] = {
    "retrieve": (codes.INSTANCES_TRANSFERRED, "R", "read"),
    "metadata": (codes.INSTANCES_ACCESSED, "R", "read"),
    "store": (codes.INSTANCES_TRANSFERRED, "C", "create"),
    "query": (codes.DICOM_QUERY, "E", "query"),
}

# What a template can be filled with. The UID of an address may be any text, which is then extracted as it stands.
_UID = re.compile(r"[0-9.]{1,64}")
_BLANK_UID, _BLANK_ID = "9999.00.blank", "00000000-blank-id"


def dicom_events(
    access: Access,
    trigger: Trigger,
    study_instance_uid: str | None = None,
    *,
    patients: Sequence[str] = (),
    labels: Sequence[str] = (),
    study: str | None = None,
    instances: int | None = None,
    query: str | None = None,
    refused: str | None = None,
    about: Sequence[str] = (),
) -> list[Event]:
    """Instances of a study were sent, described, stored or refused, or studies were queried.

    `patients` are references of the patients concerned, `labels` what says who may see the studies, `study` the
    reference of the ImagingStudy, `instances` how many were moved. `query` is path and query string of a QIDO-RS
    request; where it concerns several patients each is told the path only, for the values may be those of others, and
    an event about nobody has the whole. `refused` is the code of the decision, where an instance was refused at the
    door. `about` are the resources that the event names, if not `study`.
    """
    coding, action, role = _TRIGGERS[trigger]
    shape = Shape(
        frozen(coding),
        action,
        outcome=codes.SERIOUS_FAILURE if refused else codes.SUCCESS,
        reason=refused,
        profiles=(codes.OAUTH_MINIMAL,),
    )
    concerned: Sequence[str | None] = tuple(dict.fromkeys(patients)) or (None,)
    is_shared = query is not None and len(concerned) > 1
    told: list[Entity] = []
    if study_instance_uid is not None:
        told.append(_study(study_instance_uid, study, instances))
    whole = told
    if query is not None:
        path = query.partition("?")[0]
        whole = [*told, parts.query(query, path)]
        told = [*told, parts.query(path, path)] if is_shared else whole
    request = parts.request(access.request_id)
    caller, moment = Caller.of(access), Moment(access.now, access.request_id)
    return [
        event(
            shape,
            caller,
            role,
            moment,
            (_patient(patient), *told, request, *parts.sessions_of(access, patient)) if patient else (*whole, request),
            patient=patient,
            labels=labels,
            about=about or (() if study is None else (study,)),
            is_access=refused is None and trigger != "store",
        )
        for patient in (*concerned, *([None] if is_shared else []))
    ]


# A viewer asks for the instances of one study one after the other, and each event names the same study and patient.


@lru_cache(maxsize=1_024)
def _patient(reference: str) -> Entity:
    return parts.patient(reference)


def _study(uid: str, reference: str | None, instances: int | None) -> Entity:
    if not _UID.fullmatch(uid):
        return parts.study(uid, reference, _details(instances))
    return _filled_study(uid, reference, instances)


@lru_cache(maxsize=1_024)
def _filled_study(uid: str, reference: str | None, instances: int | None) -> Entity:
    """All that differs between the studies of one count are UID and id."""
    if reference is None:
        return _study_template(None, instances).filled(uid, "")
    type_, _, id_ = reference.partition("/")
    return _study_template(f"{type_}/{_BLANK_ID}", instances).filled(uid, id_)


@lru_cache(maxsize=1_024)
def _study_template(reference: str | None, instances: int | None) -> Template:
    return Template(parts.study(_BLANK_UID, reference, _details(instances)), (_BLANK_UID, _BLANK_ID))


def _details(instances: int | None) -> Sequence[tuple[str, str]]:
    return () if instances is None else (("instances", str(instances)),)
