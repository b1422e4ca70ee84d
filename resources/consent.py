"""Consent: https://hl7.org/fhir/R4/consent.html.

It belongs to the patient whose record it governs; its authors are those who gave it. Its codes and dates describe what
it governs, not what it is, so it offers none to be matched by another Consent.
"""

from __future__ import annotations

from resources.declaration import Behaviour

BEHAVIOUR = Behaviour(
    kind="consent", patients=("patient",), authors="performer", performed="", related="", studies="", codes=""
)
