"""Events of the DICOMweb Studies service: the triggers of DICOM PS3.15 section A.5.3, in the shape of BALP.

One event for each request, study and patient, however many instances or frames the request moved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from fhirserver.access import Access
from fhirserver.audit import codes, parts
from fhirserver.audit.caller import Caller, Moment
from fhirserver.audit.event import Event, event
from fhirserver.audit.parts import Shape, frozen

Trigger = Literal["retrieve", "metadata", "store", "query"]

_TRIGGERS: Final[Mapping[Trigger, tuple[Mapping[str, str], parts.Action, parts.Role]]] = {
    "retrieve": (codes.INSTANCES_TRANSFERRED, "R", "read"),
    "metadata": (codes.INSTANCES_ACCESSED, "R", "read"),
    "store": (codes.INSTANCES_TRANSFERRED, "C", "create"),
    "query": (codes.DICOM_QUERY, "E", "query"),
}


def dicom_events(
    access: Access,
    trigger: Trigger,
    study_instance_uid: str | None = None,
    *,
    patients: Sequence[str] = (),
    study: str | None = None,
    instances: int | None = None,
    query: str | None = None,
    refused: str | None = None,
) -> list[Event]:
    """Instances of a study were sent, described, stored or refused, or studies were queried.

    `patients` are references of the patients concerned, `study` the reference of the ImagingStudy, `instances` how many
    were moved. `query` is path and query string of a QIDO-RS request. `refused` is the code of the decision, where an
    instance was refused at the door.
    """
    coding, action, role = _TRIGGERS[trigger]
    shape = Shape(
        frozen(coding),
        action,
        outcome=codes.SERIOUS_FAILURE if refused else codes.SUCCESS,
        reason=refused,
        profiles=(codes.OAUTH_MINIMAL,),
    )
    entities = []
    if study_instance_uid is not None:
        details = (("instances", str(instances)),) if instances is not None else ()
        entities.append(parts.study(study_instance_uid, study, details))
    if query is not None:
        entities.append(parts.query(query, query.partition("?")[0]))
    entities.append(parts.request(access.request_id))
    caller, moment = Caller.of(access), Moment(access.now, access.request_id)
    concerned: Sequence[str | None] = tuple(dict.fromkeys(patients)) or (None,)
    return [
        event(
            shape, caller, role, moment, (parts.patient(patient), *entities) if patient else entities, patient=patient
        )
        for patient in concerned
    ]
