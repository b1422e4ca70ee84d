"""Observation: https://hl7.org/fhir/R4/observation.html.

The published compartment also gives an observation to the patient who performed it; measuring someone else does not
make it one's own record, so only the subject counts.
"""

from __future__ import annotations

from resources.declaration import Behaviour

BEHAVIOUR = Behaviour(patients=("subject",), authors="performer", codes="code | category")
