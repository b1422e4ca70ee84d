"""Endpoint: https://hl7.org/fhir/R4/endpoint.html. Where images are served: part of the directory, about no patient."""

from __future__ import annotations

from resources.declaration import Behaviour

BEHAVIOUR = Behaviour(kind="directory", authors="", performed="", related="", studies="", codes="")
