"""ImagingStudy: https://hl7.org/fhir/R4/imagingstudy.html.

Those who interpreted the study or performed a series answer for it as authors; the referrer asked for it and does not.
"""

from __future__ import annotations

from resources.declaration import Behaviour

BEHAVIOUR = Behaviour(
    authors="interpreter | series.performer.actor",
    performed="started",
    related="encounter | basedOn",
    codes="modality | procedureCode",
)
