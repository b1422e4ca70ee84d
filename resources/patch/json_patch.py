"""JSON Patch: a list of operations on the JSON of the resource.

The library does the operations; here they are counted, and what they copy is measured, since copies of copies grow
without bound.

RFC 6902, https://hl7.org/fhir/R4/http.html#patch
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jsonpatch
from jsonpatch import JsonPointer, JsonPointerException

from resources.exact import encode
from resources.patch.document import (
    MOST_OPERATIONS,
    CostlyPatchError,
    InapplicablePatchError,
    MalformedPatchError,
    read_json,
)

_VALUED = frozenset({"add", "replace", "test"})
_SOURCED = frozenset({"move", "copy"})


class JsonPatch:
    """A JSON Patch that is one."""

    def __init__(self, operations: list[Mapping[str, Any]]) -> None:
        """Read the operations. Raises MalformedPatchError, CostlyPatchError."""
        if len(operations) > MOST_OPERATIONS:
            raise CostlyPatchError(f"At most {MOST_OPERATIONS} operations in one patch; this one has {len(operations)}")
        self._operations = [
            (_named(index, operation), jsonpatch.JsonPatch([operation])) for index, operation in enumerate(operations)
        ]

    @classmethod
    def read(cls, body: bytes) -> JsonPatch:
        """A patch document. Raises MalformedPatchError, CostlyPatchError."""
        operations = read_json(body)
        if not isinstance(operations, list):
            raise MalformedPatchError("A JSON Patch is a list of operations")
        return cls(operations)

    def apply(self, resource: Any, most_bytes: int) -> Any:
        """What the operations make of a JSON value, which they change. Raises InapplicablePatchError, CostlyPatchError.

        No operation of a patch that fails is done: the value is not used any more.
        """
        copied = 0
        for name, operation in self._operations:
            try:
                copied += _copied(operation, resource)
                if copied > most_bytes:
                    raise CostlyPatchError(f"{name}: the patch copies more than {most_bytes} bytes")
                resource = operation.apply(resource, in_place=True)
            except jsonpatch.JsonPatchTestFailed as error:
                raise InapplicablePatchError(f"{name}: the test fails") from error
            except (jsonpatch.JsonPatchException, JsonPointerException) as error:
                raise InapplicablePatchError(f"{name}: {_reason(error)}") from error
        return resource


def _named(index: int, operation: Any) -> str:
    """An operation in words. Raises MalformedPatchError unless it has what RFC 6902 section 4 asks of it."""
    if not isinstance(operation, dict):
        raise MalformedPatchError(f"Operation {index} is not an object")
    kind, path = operation.get("op"), operation.get("path")
    if not isinstance(kind, str) or kind not in jsonpatch.JsonPatch.operations:
        raise MalformedPatchError(f"Operation {index}: op is one of {', '.join(jsonpatch.JsonPatch.operations)}")
    _check_pointer(index, "path", path)
    if kind in _SOURCED:
        _check_pointer(index, "from", operation.get("from"))
    if kind in _VALUED and "value" not in operation:
        raise MalformedPatchError(f"Operation {index}: {kind} needs a value")
    return f"Operation {index} ({kind} {path})"


def _check_pointer(index: int, member: str, pointer: Any) -> None:
    if not isinstance(pointer, str):
        raise MalformedPatchError(f"Operation {index} needs a {member}, which is a JSON Pointer")
    try:
        JsonPointer(pointer)
    except JsonPointerException as error:
        raise MalformedPatchError(f"Operation {index}: {member} is no JSON Pointer") from error


def _copied(operation: jsonpatch.JsonPatch, resource: Any) -> int:
    """The bytes that an operation adds by copying them from the resource itself."""
    (one,) = operation.patch
    if one["op"] != "copy":
        return 0
    try:
        return len(encode(JsonPointer(one["from"]).resolve(resource, None)))
    except TypeError as error:  # `-` names what is not there yet, RFC 6901 section 4
        raise JsonPointerException("There is nothing at the end of a list") from error


def _reason(error: Exception) -> str:
    """Why an operation cannot be done, without quoting what is in the resource."""
    if isinstance(error, jsonpatch.JsonPatchPathNotFound | JsonPointerException):
        return "nothing is there"
    return "it cannot be done there"
