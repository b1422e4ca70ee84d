"""Named operations (`$…`), one per module; `OFFERED` is the list, and what is not on it is refused.

No operation bypasses `store.ResourceStore`, and none imports Flask. This release offers none: `/metadata` lists none
and every `$…` route is answered with a refusal that says so.

https://hl7.org/fhir/R4/operations.html
"""

from __future__ import annotations

OFFERED: tuple[str, ...] = ()
