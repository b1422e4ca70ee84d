"""The search parameters of a type as a search may use them: one that is still being indexed is refused wherever it is
named.

A search by a parameter that some rows have no values of yet would miss them in silence. So the refusal lies in the
mapping itself: whoever looks the name up, for a criterion, a chain, an include or a sort, is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fhirserver.errors import NotSupported
from resources.declaration import SearchParameter


class Readable(Mapping[str, SearchParameter]):
    """Parameters by name; `indexing` says of each name that may not be used yet how far its indexing is."""

    def __init__(self, parameters: Mapping[str, SearchParameter], indexing: Mapping[str, str]) -> None:
        """No name is in both."""
        self._parameters = parameters
        self._indexing = indexing

    def __getitem__(self, name: str) -> SearchParameter:
        """Raises NotSupported for one that is being indexed, KeyError for one that is not known."""
        progress = self._indexing.get(name)
        if progress is not None:
            raise NotSupported(f"The search parameter '{name}' is being indexed: {progress}", expression=name)
        return self._parameters[name]

    def __contains__(self, name: object) -> bool:
        """Whether a search may use it. Raises NotSupported for one that is being indexed, which is not just absent."""
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        """The names that a search may use."""
        return iter(self._parameters)

    def __len__(self) -> int:
        """How many a search may use."""
        return len(self._parameters)
