"""ServiceRequest: https://hl7.org/fhir/R4/servicerequest.html.

Being asked to perform an exam is not having performed it, so by the general rule for requests only the requester is an
author. Its time is when the exam is wanted, not when it was written.
"""

from __future__ import annotations

from resources.declaration import Behaviour

BEHAVIOUR = Behaviour(performed="occurrence", codes="code | category")
