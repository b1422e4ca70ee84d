"""Patient: https://hl7.org/fhir/R4/patient.html. Its record is its own and nobody is its author."""

from __future__ import annotations

from resources.declaration import Behaviour

BEHAVIOUR = Behaviour(kind="patient", authors="", performed="", related="", studies="", codes="")
