"""ServiceRequest: https://hl7.org/fhir/R4/servicerequest.html.

Being asked to perform an exam is not having performed it: only the requester is an author.
"""

from __future__ import annotations

from resources.declaration import Behaviour

BEHAVIOUR = Behaviour(authors="requester", performed="occurrence", codes="code | category")
