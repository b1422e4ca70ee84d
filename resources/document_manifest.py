"""DocumentManifest: https://hl7.org/fhir/R4/documentmanifest.html. Undated; its content may be a study."""

from __future__ import annotations

from resources.declaration import Behaviour

BEHAVIOUR = Behaviour(performed="", related="related.ref", studies="content | related.ref", codes="type")
