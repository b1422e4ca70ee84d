"""AuditEvent: https://hl7.org/fhir/R4/auditevent.html. Nobody is its author: the server records, people are recorded."""

from __future__ import annotations

from resources.declaration import Behaviour

BEHAVIOUR = Behaviour(kind="audit", authors="", performed="recorded", related="", studies="", codes="type | subtype")
