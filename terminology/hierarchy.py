"""Which code is a kind of which, in a stored CodeSystem (https://hl7.org/fhir/R4/codesystem.html#hierarchy)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class Hierarchy:
    """The is-a relations of one code system; a code may have several parents, and a loop does no harm."""

    def __init__(self, parents: Mapping[str, Iterable[str]]) -> None:
        """Take the direct parents of each code, which is itself a code of the system even if it has none."""
        self._parents: dict[str, tuple[str, ...]] = {code: tuple(above) for code, above in parents.items()}
        self._children: dict[str, list[str]] = {}
        for code, above in self._parents.items():
            for parent in above:
                self._children.setdefault(parent, []).append(code)

    def parents(self, code: str) -> tuple[str, ...]:
        """The direct parents."""
        return self._parents.get(code, ())

    def children(self, code: str) -> tuple[str, ...]:
        """The direct children."""
        return tuple(self._children.get(code, ()))

    def descendants(self, code: str) -> frozenset[str]:
        """The code itself and every code below it."""
        return _reached(code, self._children)

    def ancestors(self, code: str) -> frozenset[str]:
        """The code itself and every code above it."""
        return _reached(code, self._parents)


def _reached(start: str, steps: Mapping[str, Iterable[str]]) -> frozenset[str]:
    found, waiting = {start}, [start]
    while waiting:
        for code in steps.get(waiting.pop(), ()):
            if code not in found:
                found.add(code)
                waiting.append(code)
    return frozenset(found)
