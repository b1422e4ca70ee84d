"""AuditEvent: https://hl7.org/fhir/R4/auditevent.html. It has no author: people are recorded in it."""

from __future__ import annotations

from resources.declaration import Behaviour

BEHAVIOUR = Behaviour(kind="audit", authors="", performed="recorded", related="", studies="", codes="type | subtype")
