"""Media: https://hl7.org/fhir/R4/media.html. The operator took the picture."""

from __future__ import annotations

from resources.declaration import Behaviour

BEHAVIOUR = Behaviour(authors="operator", performed="created", codes="type | modality | view")
