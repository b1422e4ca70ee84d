"""Who treats a patient by having performed, interpreted or reported an exam."""

from __future__ import annotations

from collections.abc import Iterable

from consent.documents import Relation, Span
from consent.period import OPEN_END, OPEN_START
from consent.policy import DEFAULT, Policy
from consent.reference import type_of

_RESOLVED = frozenset({"Practitioner", "PractitionerRole"})


def relations(
    performers: Iterable[str], performed: Span | None, source: str, policy: Policy = DEFAULT
) -> list[Relation]:
    """Return the treating relations of one study or report.

    `performers` are the references of those who performed or interpreted it; only practitioners and their roles count.
    The relation opens the whole record from the start of the exam for the policy's treating window. With span "exam",
    or without a date, there is none: the author rule alone lets professionals read the exams they made.
    """
    if policy.span == "exam" or performed is None or performed["from"] == OPEN_START:
        return []
    start = performed["from"]
    until = start + policy.treating_window if start < OPEN_END - policy.treating_window else OPEN_END
    return [
        {
            "kind": "treating",
            "key": performer,
            "organization": None,
            "from": start,
            "until": until,
            "source": source,
        }
        for performer in dict.fromkeys(performers)
        if type_of(performer) in _RESOLVED
    ]
