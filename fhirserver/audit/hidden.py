"""What an event must not tell the person concerned, or their representatives: that a hidden resource was looked at.

An event carries the labels that say who may see the resource it tells of (TRE_A07), as a fact and not in its JSON; the
rules of `consent` then hide it from whom that resource is hidden. It keeps them, for the trail is never rewritten.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence

from fhirserver.access import Access, Noted, named, visibility
from fhirserver.store.rows import Row

Labels = tuple[str, ...]

_REFERENCE = re.compile(rb'([A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64})(?:"|/_history/)')


def labels_of(access: Access, interaction: str, row: Row) -> Labels:
    """The labels of a row given out or written.

    Of a past version also those of the present one, by which it was decided: a version from before an exam was hidden
    names the exam all the same. Of a Binary also those of the resource that it hangs on.
    """
    own = visibility(row.facts)
    if row.type == "Binary":
        return _noted(access, {row.reference, *row.facts.get("related", ())}, own)
    return _noted(access, {row.reference}, own) if interaction in {"vread", "history"} else own


def told_of(row: Row) -> tuple[str, ...]:
    """The resources that an event about a row names: see `access.named`."""
    return named(row.reference, row.facts)


def labels_refused(access: Access, noted: Noted) -> Labels:
    """The labels of a resource that was refused: a state that is refused may have fewer than the one that is stored."""
    return _noted(access, {f"{noted.type}/{noted.id}"}, noted.labels)


def labels_of_any(access: Access, rows: Iterable[Row]) -> Labels:
    """The labels of every one of some rows, and of everything decided on so far."""
    found = dict.fromkeys(label for row in rows for label in visibility(row.facts))
    return tuple(dict.fromkeys((*found, *(label for noted in access.decisions for label in noted.labels))))


def _noted(access: Access, references: Collection[str], own: Labels) -> Labels:
    found = dict.fromkeys(own)
    for noted in access.decisions:
        if noted.labels and f"{noted.type}/{noted.id}" in references:
            found.update(dict.fromkeys(noted.labels))
    return tuple(found)


def by_labels(rows: Iterable[Row]) -> dict[Labels, Sequence[str]]:
    """The patients whom rows concern, by the labels of the rows; nobody, without a label, where there is no row."""
    patients: dict[Labels, dict[str, None]] = {}
    for row in rows:
        patients.setdefault(visibility(row.facts), {}).update(dict.fromkeys(row.patients))
    return {labels: sorted(concerned) for labels, concerned in patients.items()} or {(): ()}


def disclosed(
    matches: Sequence[Row], included: Sequence[Row], *, are_matches_given: bool = True
) -> Counter[tuple[str, Labels]]:
    """How many of the rows of a searchset, its matches (if they are given) and what they include, each patient had."""
    if are_matches_given and not any(visibility(row.facts) for row in (*matches, *included)):
        found: Counter[tuple[str, Labels]] = Counter()
        for patients, count in Counter([row.patients for row in (*matches, *included)]).items():
            for patient in patients:
                found[patient, ()] += count
        return found
    labelled = [(row, visibility(row.facts)) for row in matches]
    others = [(row, visibility(row.facts)) for row in included]
    if any(labels for _, labels in (*labelled, *others)):
        others = list(_hanging(labelled, others))
    given = (*labelled, *others) if are_matches_given else others
    return Counter((patient, labels) for row, labels in given for patient in row.patients)


def _hanging(
    matches: Sequence[tuple[Row, Labels]], included: Sequence[tuple[Row, Labels]]
) -> Iterator[tuple[Row, Labels]]:
    """Give a row that is there only because hidden ones include it their labels too: its number would tell of them.

    Who refers to whom is read from the bytes; a row for which that cannot be seen has the labels of every match.
    """
    every = tuple(dict.fromkeys(label for _, labels in matches for label in labels))
    by_reference = {match.reference: labels for match, labels in matches}
    referring: dict[str, list[Labels]] = {row.reference: [] for row, _ in included}
    for match, labels in matches:
        for reference in _references(match) & referring.keys():
            referring[reference].append(labels)
    for row, labels in included:
        above = [*referring[row.reference], *(by_reference[one] for one in _references(row) & by_reference.keys())]
        inherited = () if () in above else [label for more in above for label in more] or every
        yield row, tuple(dict.fromkeys((*labels, *inherited)))


def _references(row: Row) -> set[str]:
    """The resources of this server that a row names, with or without a version, by whatever address."""
    return {reference.decode() for reference in _REFERENCE.findall(row.body)}
