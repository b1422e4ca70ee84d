"""JSON Merge Patch: the members that change, with null for those that go.

A list is replaced as a whole. RFC 7396.
"""

from __future__ import annotations

from typing import Any

from resources.patch.document import MalformedPatchError, read_json


class MergePatch:
    """A merge patch of an object."""

    def __init__(self, members: dict[str, Any]) -> None:
        """Keep the members."""
        self._members = members

    @classmethod
    def read(cls, body: bytes) -> MergePatch:
        """A patch document. Raises MalformedPatchError: what is no object would replace the resource as a whole."""
        members = read_json(body)
        if not isinstance(members, dict):
            raise MalformedPatchError("A merge patch of a resource is an object")
        return cls(members)

    def apply(self, resource: dict[str, Any], most_bytes: int) -> Any:  # noqa: ARG002 - it copies nothing
        """The resource with the members merged into it."""
        return merged(resource, self._members)


def merged(target: Any, patch: Any) -> Any:
    """RFC 7396 section 2; an object is changed in place."""
    if not isinstance(patch, dict):
        return patch
    if not isinstance(target, dict):
        target = {}
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        else:
            target[name] = merged(target.get(name), value)
    return target
