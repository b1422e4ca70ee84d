"""DiagnosticReport: https://hl7.org/fhir/R4/diagnosticreport.html.

``performer`` issued the report and ``resultsInterpreter`` drew its conclusions: both are its authors.
"""

from __future__ import annotations

from resources.declaration import Behaviour

BEHAVIOUR = Behaviour(
    authors="performer | resultsInterpreter",
    performed="effective",
    related="encounter | basedOn",
    studies="imagingStudy",
    codes="code | category",
)
