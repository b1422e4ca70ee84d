"""Composition: https://hl7.org/fhir/R4/composition.html. Its sections may contain anything, also a study."""

from __future__ import annotations

from resources.declaration import Behaviour

BEHAVIOUR = Behaviour(
    authors="author | attester.party",
    related="encounter",
    studies="section.entry",
    codes="type | category",
)
