"""Named operations (`$…`), one per module; `OFFERED` is the list, and what is not on it is refused.

No operation bypasses `store.ResourceStore`, and none imports Flask. Routes, `/metadata` and the page that a test asks
for follow from the list.

https://hl7.org/fhir/R4/operations.html
"""

from __future__ import annotations

from fhirserver.operations import (
    access_report,
    break_glass,
    break_glass_review,
    diff,
    document,
    erase,
    everything,
    explain_access,
    explain_search,
    expunge,
    graphql,
    lastn,
    links,
    meta,
    meta_add,
    meta_delete,
    opposition,
    reindex,
    reindex_status,
    share,
    who_can_access,
)
from fhirserver.operations.operation import Operation

OFFERED: tuple[Operation, ...] = (
    everything.OF_PATIENT,
    everything.OF_ENCOUNTER,
    lastn.OPERATION,
    document.OPERATION,
    diff.OF_VERSIONS,
    diff.OF_RESOURCES,
    meta.OPERATION,
    meta_add.OPERATION,
    meta_delete.OPERATION,
    opposition.OPPOSITION,
    opposition.WITHDRAWAL,
    share.SHARE,
    share.REVOKE,
    links.OPERATION,
    explain_access.OPERATION,
    who_can_access.OPERATION,
    access_report.OPERATION,
    break_glass.BEGIN,
    break_glass.END,
    break_glass_review.OPERATION,
    erase.OPERATION,
    erase.STATUS,
    expunge.OPERATION,
    graphql.OPERATION,
    reindex.OPERATION,
    reindex_status.OPERATION,
    explain_search.OPERATION,
)
"""Every operation, in reading order."""
