"""PractitionerRole: https://hl7.org/fhir/R4/practitionerrole.html. Directory: who works where, about no patient."""

from __future__ import annotations

from resources.declaration import Behaviour

BEHAVIOUR = Behaviour(kind="directory", authors="", performed="", related="", studies="", codes="")
