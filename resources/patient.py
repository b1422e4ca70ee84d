"""Patient: https://hl7.org/fhir/R4/patient.html. Its record is its own; who its practitioner is makes nobody an author."""

from __future__ import annotations

from resources.declaration import Behaviour

BEHAVIOUR = Behaviour(kind="patient", authors="", performed="", related="", studies="", codes="")
