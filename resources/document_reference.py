"""DocumentReference: https://hl7.org/fhir/R4/documentreference.html.

``date`` is when the reference was made; the care that the document tells of took place in ``context.period``. A
document belongs to a study through ``context.related``, the element that may point to anything.
"""

from __future__ import annotations

from resources.declaration import Behaviour

BEHAVIOUR = Behaviour(
    authors="author | authenticator",
    performed="context.period",
    related="context.encounter | context.related",
    studies="context.related",
    codes="type | category",
)
