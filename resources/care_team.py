"""CareTeam: https://hl7.org/fhir/R4/careteam.html.

A team is part of the record of its subject. The published compartment also gives it to every patient who participates;
helping to care for someone does not make their team one's own record.
"""

from __future__ import annotations

from resources.declaration import Behaviour

BEHAVIOUR = Behaviour(kind="care-team", patients=("subject",), authors="", performed="", studies="", codes="category")
