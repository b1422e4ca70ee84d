"""Binary: https://hl7.org/fhir/R4/binary.html.

A Binary says nothing of whose it is. What guards it is the resource named by ``securityContext``, which counts as the
thing it is related to, and as its study when it is one.
"""

from __future__ import annotations

from resources.declaration import Behaviour

BEHAVIOUR = Behaviour(kind="other", related="securityContext", studies="securityContext", codes="")
